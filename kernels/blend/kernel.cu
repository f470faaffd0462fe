// Blended layer: weighted, order-independent transparency (McGuire & Bavoil 2013). The definition is reference.py.
//   forget       grid (ceil(16 H W / 256))   layer to zero
//   accumulate   grid (ceil(2 F / 4)), 128   one warp a triangle slot of kernels/rasterize, rows over its lanes
// Sums are float atomics: the last bits depend on the order of threads. layer is dense, (H, W, 16): slots 0..14 as in
// cpu.py, slot 15 the sum of log2 of what each fragment lets through. A pixel without fragments has weight 0.

#include "texture.cuh"

#define SNAP 256
#define EDGE_EPS 1e-9
#define ENTRY 16
#define ROW 16

extern "C" {

__global__ void forget(float* __restrict__ layer, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) layer[i] = 0.f;
}

__device__ __forceinline__ void order(int& upper, int& lower, const int* xy) {
    if (xy[2 * lower + 1] < xy[2 * upper + 1]) {
        const int t = upper;
        upper = lower, lower = t;
    }
}

__device__ void add(int slot, int face, int x, int y, const float* plane, float fade, const float* detail,
                    float bias, const float* tangent, const Texture& texture, float reference, const unsigned long long* buffer,
                    int S, int W, float* layer) {
    const float* p = plane + 3 * ROW * slot;
    const float dx = x + 0.5f - p[9], dy = y + 0.5f - p[10];
    const float q = p[0] + dx * p[ROW] + dy * p[2 * ROW];
    if (!(q > 0.f)) return;
    int free = 0;
    for (int s = 0; s < S; ++s)
        free += __uint_as_float((unsigned)(buffer[(long long)(y * S + s) * W + x] >> 32)) <= q;
    if (!free) return;
    const float z = 1.f / q;
    const float u = (p[4] + dx * p[ROW + 4] + dy * p[2 * ROW + 4]) * z, v = (p[5] + dx * p[ROW + 5] + dy * p[2 * ROW + 5]) * z;
    const Texel t = fetch(texture, u, v, (int)fmaxf(detail[face] + bias, 0.f));
    const float alpha = t.a * fade * free / S;
    if (alpha < 1.f / 256.f) return;
    float nearer = fminf(fmaxf(q * reference, 0.25f), 2.f);
    nearer *= nearer, nearer *= nearer, nearer *= nearer, nearer *= nearer;  // to the power 16
    const float weight = alpha * nearer * nearer * nearer * nearer, over = weight / t.a;
    const float n0 = p[1] + dx * p[ROW + 1] + dy * p[2 * ROW + 1], n1 = p[2] + dx * p[ROW + 2] + dy * p[2 * ROW + 2];
    const float n2 = p[3] + dx * p[ROW + 3] + dy * p[2 * ROW + 3];
    const float size = weight * rsqrtf(n0 * n0 + n1 * n1 + n2 * n2 + 1e-20f);
    const float sum[ENTRY] = {t.r * over, t.g * over, t.b * over, t.ao * weight, t.gloss * weight, t.sss * weight,
                              t.strand * weight, size * n0, size * n1, -size * fabsf(n2),
                              weight * tangent[3 * face], weight * tangent[3 * face + 1],
                              weight * tangent[3 * face + 2], weight, weight * z, log2f(fmaxf(1.f - alpha, 1e-6f))};
    float* entry = layer + (long long)ENTRY * (y * W + x);
#pragma unroll
    for (int k = 0; k < ENTRY; ++k) atomicAdd(entry + k, sum[k]);
}

// Slots of blended faces only; buffer is the visibility buffer of the opaque ones.
__global__ void accumulate(const int* __restrict__ xy, const int* __restrict__ triangle, const int* __restrict__ owner,
                           const unsigned char* __restrict__ flag, const float* __restrict__ plane,
                           const float* __restrict__ fade, const float* __restrict__ detail, float bias,
                           const float* __restrict__ tangent, Texture texture, float reference,
                           const unsigned long long* __restrict__ buffer, float* layer, int slots, int S, int H, int W) {
    const int slot = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
    if (slot >= slots || owner[slot] < 0 || flag[owner[slot]] == 0 || fade[slot] <= 0.f) return;
    int a = triangle[3 * slot], b = triangle[3 * slot + 1], c = triangle[3 * slot + 2];
    order(a, b, xy);
    order(a, c, xy);
    order(b, c, xy);
    const double unit = 1.0 / SNAP;
    const long long ya = xy[2 * a + 1], yc = xy[2 * c + 1];
    const int first = (int)max((ya + 127) >> 8, 0ll), last = (int)min((yc + 127) >> 8, (long long)H);
    const double ax = xy[2 * a] * unit, ay = ya * unit, bx = xy[2 * b] * unit, by = xy[2 * b + 1] * unit;
    const double cx = xy[2 * c] * unit, cy = yc * unit;
    const double long_slope = __ddiv_rn(cx - ax, cy - ay);
    for (int y = first + lane; y < last; y += 32) {
        const double line = y + 0.5;
        const bool upper = line < by;
        const double ox = upper ? ax : bx, oy = upper ? ay : by;
        const double slope = upper ? __ddiv_rn(bx - ax, by - ay) : __ddiv_rn(cx - bx, cy - by);
        const double x_long = __dadd_rn(__dadd_rn(ax, __dmul_rn(line - ay, long_slope)), -0.5);
        const double x_short = __dadd_rn(__dadd_rn(ox, __dmul_rn(line - oy, slope)), -0.5);
        const int left = (int)fmax(ceil(fmin(x_long, x_short) - EDGE_EPS), 0.0);
        const int right = (int)fmin(ceil(fmax(x_long, x_short) - EDGE_EPS), (double)W);
        for (int x = left; x < right; ++x)
            add(slot, owner[slot], x, y, plane, fade[slot], detail, bias, tangent, texture, reference, buffer, S, W, layer);
    }
}

}  // extern "C"
