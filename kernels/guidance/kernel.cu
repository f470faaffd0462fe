// Guidance planes: G-buffer, blended layer and texture to bytes. The definition is reference.py; the arithmetic is that
// of the CPU's modules. H and W even, at most 8192; h = H / 2, w = W / 2. One sample a pixel. Layouts: gbuffer.cuh. A frame:
//   drift     grid (ceil(count / 128), 1, rows), 128            before kernels/blend: how the blended faces moved
//   sample    grid (ceil(w / 32), ceil(h / 8), rows), 32 x 8    after it: one thread 2 x 2 pixels, all of what they show
//   columns   grid (ceil(w / 32), 1, rows), 32 x 8              nearest surface in each column
//   lead      grid (ceil(w / 256), h, rows), 256                nearest of all: the flow beside the surface; and whether
//                                                               the previous frame showed the same thing

#include "rows.cuh"
#include "gbuffer.cuh"

#define TERMS 12
#define WIDEST 4096    // h and w at most
#define SOLID 0.4f
#define TOLERANCE 0.012f
#define CLEAR_OF 0.75f
#define NONE 268435456  // a squared distance that no two places have

struct Look {  // of a frame: light on normals in view space (kernels/guidance/shine.py), rotation world to view (row-major)
    float light[2][3][TERMS], rotation[9];
    float bias, near, steps;  // log2 of the texture's side; metres where the depth plane begins; its steps a metre
};

__device__ __forceinline__ int rounded(float value) {  // 0..255, as numpy's rint does
    return __float2int_rn(fminf(fmaxf(value, 0.f), 255.f));
}

// Bilinear bytes of a texel, in sixteenths, clamped at the border: even and odd channels as four 16-bit fields each.
__device__ __forceinline__ unsigned long long texel(const unsigned long long* __restrict__ texels, long long start,
                                                    int size, float u, float v) {
    const float limit = (float)(size - 1);
    const float x = fminf(fmaxf(u * size - 0.5f, 0.f), limit), y = fminf(fmaxf(v * size - 0.5f, 0.f), limit);
    const int ix = (int)x, iy = (int)y;
    const unsigned long long fx = (unsigned)((x - ix) * 16.f), fy = (unsigned)((y - iy) * 16.f);
    const unsigned long long *upper = texels + start + (long long)iy * size + ix, *lower = upper + (iy < size - 1 ? size : 0);
    const int right = ix < size - 1;
    const unsigned long long even = 0x00FF00FF00FF00FFull, half = 0x0080008000800080ull;
    const unsigned long long t00 = upper[0], t10 = upper[right], t01 = lower[0], t11 = lower[right];
    const unsigned long long w00 = (16 - fx) * (16 - fy), w10 = fx * (16 - fy), w01 = (16 - fx) * fy, w11 = fx * fy;
    const unsigned long long e = (t00 & even) * w00 + (t10 & even) * w10 + (t01 & even) * w01 + (t11 & even) * w11;
    const unsigned long long o = (t00 >> 8 & even) * w00 + (t10 >> 8 & even) * w10 + (t01 >> 8 & even) * w01 +
                                 (t11 >> 8 & even) * w11;
    return ((e + half) >> 8 & even) | ((o + half) & ~even);
}

// One channel's light on a normal in view space.
__device__ __forceinline__ float light_of(const float* row, float x, float y, float z) {
    const float along = fmaf(x, row[4], fmaf(y, row[7], fmaf(z, row[9], row[1])));
    const float across = fmaf(y, row[5], fmaf(z, row[8], row[2]));
    const float total = fmaf(x, along, fmaf(y, across, fmaf(z, fmaf(z, row[6], row[3]), row[0])));
    return fminf(fmaxf(total, row[10]), row[11]);
}

extern "C" {

struct Drift {
    const int* blended;  // (count,) faces that are see-through
    int count;
    const int *triangle, *owner;  // (2 F, 3), (2 F,)
    const float *place, *record;  // (V', 3), (V', RECORD)
    float* motion;                // (F, 3): pixels back to the previous frame (2), depth then over depth now
};

__global__ void drift(Rows<Drift> rows) {
    if (rows.off()) return;
    const Drift own = rows.own();
    const int n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= own.count) return;
    const int face = own.blended[n], slot = own.owner[2 * face + 1] == face ? 2 * face + 1 : 2 * face;
    if (own.owner[slot] != face) return;
    const float third = 1.f / 3.f;
    float x = 0.f, y = 0.f, ratio = 0.f;
    for (int c = 0; c < 3; ++c) {
        const int i = own.triangle[3 * slot + c];
        const float *r = own.record + RECORD * (long long)i, *p = own.place + 3ll * i;
        if (!(r[8] > 1e-3f * r[0])) {  // a face that was behind the previous eye did not move
            x = y = 0.f, ratio = 1.f;
            break;
        }
        const float then = third / r[8], now = third / p[2];
        x += r[6] * then - p[0] * now;
        y += r[7] * then - p[1] * now;
        ratio += r[8] * third;
    }
    float* out = own.motion + 3ll * face;
    out[0] = x, out[1] = y, out[2] = ratio;
}

struct Sample {
    const int* face;                                 // the G-buffer: (H, W)
    const unsigned char* region;                     // (H, W)
    const float *depth, *normal, *uv, *flow;         // (H, W), (3, H, W), (2, H, W), (2, H, W)
    const unsigned long long* buffer;                // (H, W)
    const float *plane, *detail;                     // (2 F, 3, ROW), (F,)
    const float* layer;                              // (H, W, ENTRY); null: no blended faces
    const unsigned long long* texels;                // kernels/texture.py's pyramid
    const long long* start;                          // (levels,)
    int levels, side;
    const unsigned char *classes, *kinds;            // (256,) of regions
    int hair;                                        // the class of blended faces
    const Look* look;
    unsigned char *hi, *lo;                          // (6, H, W), (7, h, w)
    float* lead;                                     // (2, h, w) flow, where there is a surface
    float *z, *before;                               // (h, w) depth; that of the same point in the previous frame
    unsigned char* mask;                             // (h, w)
};

__global__ void __launch_bounds__(256, 4) sample(Rows<Sample> rows, int H, int W) {
    if (rows.off()) return;
    const Sample own = rows.own();  // a copy: no store can change it
    __shared__ __align__(16) Look look;
    for (int k = threadIdx.y * blockDim.x + threadIdx.x; k < sizeof(Look) / 4; k += blockDim.x * blockDim.y)
        reinterpret_cast<float*>(&look)[k] = reinterpret_cast<const float*>(own.look)[k];
    __syncthreads();
    const int bx = blockIdx.x * blockDim.x + threadIdx.x, by = blockIdx.y * blockDim.y + threadIdx.y;
    const int h = H / 2, w = W / 2, size = H * W, half = h * w, o = by * w + bx;
    if (bx >= w || by >= h) return;
    const float4* __restrict__ layer = reinterpret_cast<const float4*>(own.layer);
    const float *__restrict__ uv = own.uv, *__restrict__ normal = own.normal;
    float nearest = __int_as_float(0x7f800000);
    int best = -1, gloss = 0;
    bool strands = false;
#pragma unroll 1
    for (int row = 0; row < 2; ++row) {
        const int first = (2 * by + row) * W + 2 * bx;
        int pair[6] = {0, 0, 0, 0, 0, 0};  // two pixels' bytes of each plane
#pragma unroll
        for (int column = 0; column < 2; ++column) {
            const int i = first + column, f = own.face[i];
            float value[6] = {0.f, 0.f, 0.f, 0.f, 0.f, 0.f};
            float far = __int_as_float(0x7f800000);
            int shine = 0;
            bool solid = false;
            if (f >= 0) {
                const int level = min(max((int)(own.detail[f] + look.bias), 0), own.levels - 1);
                const unsigned long long t = texel(own.texels, own.start[level], own.side >> level, uv[i], uv[size + i]);
                const int place[6] = {0, 8, 16, 24, 32, 56};
                for (int c = 0; c < 6; ++c) value[c] = (float)(unsigned)(t >> place[c] & 255);
                shine = (int)(t >> 40 & 255);
                far = own.depth[i];
                const int kind = own.kinds[own.region[i]];
                if (kind) {
                    const float x = normal[i], y = normal[size + i], z = normal[2 * size + i];
                    for (int c = 0; c < 3; ++c)
                        value[c] = rintf(fminf(value[c] * light_of(look.light[kind - 1][c], x, y, z), 255.f));
                }
            }
            const float4 last = layer ? layer[4ll * i + 3] : make_float4(0.f, 0.f, 0.f, 0.f);
            if (last.y > 0.f) {  // what of the light behind gets through the blended layer, and what lies over it
                const float4 colour = layer[4ll * i];
                const float clear = exp2f(last.w), cover = 255.f * (1.f - clear), share = cover / last.y;
                const float over[6] = {share * colour.x, share * colour.y, share * colour.z, cover, share * colour.w,
                                       share * own.layer[(long long)ENTRY * i + 6]};
                for (int c = 0; c < 6; ++c) value[c] = (float)(int)(fminf(clear * value[c] + over[c], 255.f) + 0.5f);
                solid = clear <= 1.f - SOLID;
                if (solid) far = last.z / last.y;
            }
            if (far < nearest) nearest = far, best = i, strands = solid, gloss = shine;
            for (int c = 0; c < 6; ++c) pair[c] |= (int)value[c] << 8 * column;
        }
        for (int c = 0; c < 6; ++c)
            *reinterpret_cast<unsigned short*>(own.hi + (long long)c * size + first) = (unsigned short)pair[c];
    }

    own.z[o] = nearest;
    if (best < 0) {
        own.before[o] = nearest;
        own.mask[o] = 0;
        for (int c = 0; c < 7; ++c) own.lo[c * half + o] = c < 3 ? 128 : 0;
        return;
    }
    float n[3];
    int mask;
    if (strands) {
        const float* e = own.layer + (long long)ENTRY * best;
        const float over = 1.f / e[13];  // first: the squares of what is weighed may be more than a float holds
        for (int c = 0; c < 3; ++c) n[c] = e[7 + c] * over;
        const float length = 1.f / sqrtf(n[0] * n[0] + n[1] * n[1] + n[2] * n[2] + 1e-20f);
        for (int c = 0; c < 3; ++c) n[c] *= length;
        gloss = rounded(fminf(e[4] * over, 1.f) * 255.f);
        mask = own.hair;
        own.lead[o] = e[10] * over, own.lead[half + o] = e[11] * over;
        own.before[o] = e[12] * over * nearest;
    } else {
        for (int c = 0; c < 3; ++c) n[c] = normal[c * size + best];
        mask = own.classes[own.region[best]];
        own.lead[o] = own.flow[best], own.lead[half + o] = own.flow[size + best];
        const float* p = own.plane + 3 * ROW * (long long)~(unsigned)own.buffer[best];
        const float dx = best % W + 0.5f - p[9], dy = best / W + 0.5f - p[10];
        own.before[o] = fmaf(dy, p[2 * ROW + 8], fmaf(dx, p[ROW + 8], p[8])) * nearest;
    }
    own.mask[o] = (unsigned char)mask;
    for (int c = 0; c < 3; ++c) {
        const float world = fmaf(n[2], look.rotation[6 + c], fmaf(n[1], look.rotation[3 + c], n[0] * look.rotation[c]));
        own.lo[c * half + o] = (unsigned char)rounded(fmaf(world, 127.5f, 127.5f));
    }
    own.lo[3 * half + o] = (unsigned char)rounded(n[2] * -255.f);
    own.lo[4 * half + o] = (unsigned char)rounded(1.f + fminf(fmaxf((nearest - look.near) * look.steps, 0.f), 254.f));
    own.lo[5 * half + o] = (unsigned char)gloss;
    own.lo[6 * half + o] = (unsigned char)mask;
}

struct Columns {
    const unsigned char* mask;  // (h, w)
    short* nearest;             // (h, w) row of the nearest surface in the same column, the upper of equals; -1: none
};

__global__ void columns(Rows<Columns> rows, int h, int w) {
    if (rows.off()) return;
    const unsigned char* __restrict__ mask = rows.own().mask;
    short* __restrict__ nearest = rows.own().nearest;
    __shared__ unsigned word[WIDEST / 32][32];  // a column's surfaces, 32 rows a word
    const int lane = threadIdx.x, x = blockIdx.x * 32 + lane, words = (h + 31) / 32;
    for (int s = threadIdx.y; s < words; s += blockDim.y) {
        unsigned bits = 0;
#pragma unroll
        for (int j = 0; j < 32; ++j)
            if (x < w && 32 * s + j < h && mask[(32 * s + j) * w + x]) bits |= 1u << j;
        word[s][lane] = bits;
    }
    __syncthreads();
    if (x >= w) return;
    for (int s = threadIdx.y; s < words; s += blockDim.y) {
        int over = s - 1, under = s + 1;
        while (over >= 0 && !word[over][lane]) --over;
        while (under < words && !word[under][lane]) ++under;
        int above = over >= 0 ? 32 * over + 31 - __clz(word[over][lane]) : -1;
        const int next = under < words ? 32 * under + __ffs(word[under][lane]) - 1 : -1;
        const unsigned bits = word[s][lane];
        for (int j = 0; j < 32 && 32 * s + j < h; ++j) {
            const int y = 32 * s + j, below = bits >> j ? y + __ffs(bits >> j) - 1 : next;
            if (bits >> j & 1) above = y;
            const bool upper = above >= 0 && (below < 0 || y - above <= below - y);
            nearest[y * w + x] = (short)(upper ? above : below);
        }
    }
}

struct Lead {
    const unsigned char* mask;      // (h, w)
    const short* nearest;           // of columns
    const float* before;            // of sample
    float* lead;                    // (2, h, w): gets the flow where mask is 0
    const float* old_depth;         // (h, w) what was `z` of the previous frame; null: there was none
    const unsigned char* old_mask;  // (h, w) and `mask`
    unsigned char* seen;            // (h, w)
};

// Whether the previous frame showed at (px, py) what is here, of class `own`, at depth `before` then: 255, else 0.
__device__ __forceinline__ int trusted(const Lead& row, int own, float before, float px, float py, int h, int w) {
    if (!(px >= 0.f && py >= 0.f && px < w && py < h)) return 0;
    const int u = (int)floorf(px - 0.5f), v = (int)floorf(py - 0.5f);
    const float fx = px - 0.5f - u, fy = py - 0.5f - v;
    float alone = 0.f;
    bool same = false;
    for (int k = 0; k < 4; ++k) {
        const int i = min(max(v + k / 2, 0), h - 1) * w + min(max(u + k % 2, 0), w - 1), then = row.old_mask[i];
        const bool there = own == 0 || fabsf(row.old_depth[i] - before) <= TOLERANCE;
        same |= there && then == own;
        if (there || then == 0) alone += (k % 2 ? fx : 1.f - fx) * (k / 2 ? fy : 1.f - fy);
    }
    return same && alone >= CLEAR_OF ? 255 : 0;
}

__global__ void lead(Rows<Lead> rows, int h, int w) {
    if (rows.off()) return;
    const Lead own = rows.own();
    __shared__ int far[WIDEST];  // squared distance to the nearest surface in each column
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y, half = h * w, o = y * w + x;
    for (int u = threadIdx.x; u < w; u += blockDim.x) {
        const int there = own.nearest[y * w + u];
        far[u] = there < 0 ? NONE : (there - y) * (there - y);
    }
    __syncthreads();
    if (x >= w) return;
    const int mask = own.mask[o];
    int from = o;
    if (!mask) {  // columns ever farther away, until none can be nearer: of equals the leftmost
        int best = NONE, column = -1;
        for (int k = 0; k * k <= best && (x >= k || x + k < w); ++k) {
            const int left = x >= k ? far[x - k] + k * k : NONE, right = x + k < w ? far[x + k] + k * k : NONE;
            if (left <= best && left < NONE) best = left, column = x - k;
            if (right < best) best = right, column = x + k;
        }
        from = column < 0 ? -1 : own.nearest[y * w + column] * w + column;
    }
    const float right = from < 0 ? 0.f : own.lead[from], down = from < 0 ? 0.f : own.lead[half + from];
    if (!mask) own.lead[o] = right, own.lead[half + o] = down;
    const float px = x + 0.5f + 0.5f * right, py = y + 0.5f + 0.5f * down;
    own.seen[o] = (unsigned char)(own.old_depth ? trusted(own, mask, own.before[o], px, py, h, w) : 0);
}

}  // extern "C"
