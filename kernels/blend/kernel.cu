// Blended layer: weighted, order-independent transparency (McGuire & Bavoil 2013). The definition is reference.py. After
// kernels/rasterize, z of the grid being the row of the table:
//   forget       grid (ceil(4 H W / 256)), 256    layer to zero (a memset of all rows' layers does as well)
//   accumulate   grid (ceil(N / 128)), 128        a warp 32 see-through faces, their pixels shared out among its lanes
// N: of the largest row, at least 1. Scalars of a launch: S, H, W. Sums are float atomics: the last bits depend on the
// order of threads. The layer's layout is that of gbuffer.cuh.

#include "rows.cuh"
#include "gbuffer.cuh"
#include "cover.cuh"
#include "texture.cuh"

struct Blend {
    const int* chosen;  // (N,) the see-through faces
    const int *xy, *triangle, *owner;
    const float *plane, *fade, *detail;
    const float* tangent;  // (F, 3): what slots 10..12 gather, strand directions or kernels/guidance `drift`
    const Lens* lens;
    const unsigned long long* buffer;  // of the opaque faces
    Texture texture;
    float bias;  // log2 of the texture's side, and mip levels to add
    float* layer;
    int chosen_count;
};

// What one fragment adds: the layer's slots, in the lane's part of ``sum``. False where it is not seen.
__device__ __forceinline__ bool fragment(const Blend& r, const Shape& shape, int slot, int x, int y, int S, int W,
                                         float* sum) {
    const int X = SNAP * x + SNAP / 2, Y = SNAP * y + SNAP / 2;
    const float q = nearness(shape, X, Y);
    if (!(q > 0.f) || !covers(shape, X, Y)) return false;
    int free = 0;
    for (int s = 0; s < S; ++s) free += __uint_as_float((unsigned)(r.buffer[(y * S + s) * W + x] >> 32)) <= q;
    if (!free) return false;
    const int face = r.owner[slot];
    const float* p = r.plane + 3 * ROW * slot;
    const float dx = x + 0.5f - shape.x0, dy = y + 0.5f - shape.y0, z = 1.f / q;
    const Texel t = fetch(r.texture, along(p, 4, dx, dy) * z, along(p, 5, dx, dy) * z,
                          (int)fmaxf(r.detail[face] + r.bias, 0.f));
    const float alpha = t.a * r.fade[slot] * free * (1.f / S);
    if (alpha < 1.f / 256.f) return false;
    // Nearer strands hide farther ones: a centimetre in front counts about twice.
    float nearer = fminf(fmaxf(q * r.lens->distance, 0.25f), 2.f);
    nearer *= nearer, nearer *= nearer, nearer *= nearer, nearer *= nearer;  // to the power 16
    const float weight = alpha * nearer * nearer * nearer * nearer, over = weight / t.a;
    const float n0 = along(p, 1, dx, dy), n1 = along(p, 2, dx, dy), n2 = along(p, 3, dx, dy);
    const float size = weight * rsqrtf(n0 * n0 + n1 * n1 + n2 * n2 + 1e-20f);
    const float* tangent = r.tangent + 3 * face;
    sum[0] = t.r * over, sum[1] = t.g * over, sum[2] = t.b * over;
    sum[3] = t.ao * weight, sum[4] = t.gloss * weight, sum[5] = t.sss * weight, sum[6] = t.strand * weight;
    sum[7] = size * n0, sum[8] = size * n1, sum[9] = -size * fabsf(n2);  // seen from both sides
    sum[10] = weight * tangent[0], sum[11] = weight * tangent[1], sum[12] = weight * tangent[2];
    sum[13] = weight, sum[14] = weight * z;
    sum[15] = log2f(fmaxf(1.f - alpha, 1e-6f));
    return true;
}

extern "C" {

__global__ void forget(Rows<Blend> rows, int H, int W) {
    if (rows.off()) return;
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < ENTRY / 4 * H * W) reinterpret_cast<float4*>(rows.own().layer)[i] = make_float4(0.f, 0.f, 0.f, 0.f);
}

__global__ void accumulate(Rows<Blend> rows, int S, int H, int W) {
    __shared__ Walk walks[4];
    __shared__ float sums[4][32][ENTRY + 1];  // one more: lanes that write a column side by side meet no bank twice
    __shared__ int pixels[4][32];
    if (rows.off()) return;
    const Blend& r = rows.own();
    const int n = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    Walk& w = walks[warp];
    const int face = n < r.chosen_count ? r.chosen[n] : -1;
    float* layer = r.layer;
    for (int half = 0; half < 2; ++half) {  // the second slot is that of a face cut in two
        const int slot = 2 * face + half;
        const bool live = face >= 0 && r.owner[slot] >= 0 && r.fade[slot] > 0.f;
        if (!__any_sync(~0u, live)) continue;
        Shape& s = w.shape[lane];
        s.rows = 0;
        if (live) {
            const int2* xy = reinterpret_cast<const int2*>(r.xy);
            const int* corner = r.triangle + 3 * slot;
            const float* p = r.plane + 3 * ROW * slot;
            outline(s, xy[corner[0]], xy[corner[1]], xy[corner[2]], 1, H);
            s.q = p[0], s.gx = p[ROW], s.gy = p[2 * ROW], s.x0 = p[9], s.y0 = p[10], s.slot = slot;
        }
        __syncwarp();
        walk(w, lane, 1, W, [&](bool active, int t, int x, int y) {
            float sum[ENTRY];
            const bool seen = active && fragment(r, w.shape[t], w.shape[t].slot, x, y, S, W, sum);
            const unsigned all = __ballot_sync(~0u, seen);
            if (seen) {
                const int place = __popc(all & ((1u << lane) - 1u));
#pragma unroll
                for (int k = 0; k < ENTRY; ++k) sums[warp][place][k] = sum[k];
                pixels[warp][place] = y * W + x;
            }
            __syncwarp();
            // Sixteen lanes add one fragment's sums, which lie side by side, instead of one lane to sixteen places.
            for (int k = lane / ENTRY; k < __popc(all); k += 32 / ENTRY)
                atomicAdd(layer + (long long)ENTRY * pixels[warp][k] + lane % ENTRY, sums[warp][k][lane % ENTRY]);
            __syncwarp();
        });
    }
}

}  // extern "C"
