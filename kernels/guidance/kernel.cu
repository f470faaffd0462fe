// Guidance planes: G-buffer, blended layer and texture to bytes. The definition is reference.py; the arithmetic is that
// of cpu.py. H and W even; h = H / 2, w = W / 2. One frame, after rasterize (one sample a pixel) and blend:
//   drift     grid (ceil(2 F / 128))                      before blend: how the blended faces moved
//   look      grid (ceil(W / 16), ceil(H / 16)), 16 x 16  bytes at full size
//   lie       grid (ceil(w / 16), ceil(h / 16)), 16 x 16  how the nearest surface of each 2 x 2 pixels lies
//   columns   grid (ceil(w / 128))                        nearest surface in each column
//   rows      grid (ceil(h / 128))                        nearest surface of all: the flow beside the surface
//   trust     grid (ceil(w / 16), ceil(h / 16)), 16 x 16  whether the previous frame showed the same thing

#include "texture.cuh"

#define RECORD 12
#define ROW 16
#define ENTRY 16
#define SOLID 0.4f
#define TOLERANCE 0.012f
#define CLEAR_OF 0.75f
#define NONE 3.402823466e38f  // a depth without a surface is +inf, which is more

extern "C" {

__device__ __forceinline__ unsigned char byte_of(float value) {  // [0, 1], rounded as the texture's own bytes are
    return (unsigned char)(fminf(fmaxf(value, 0.f), 1.f) * 255.f + 0.5f);
}

__device__ __forceinline__ unsigned char signed_byte(float value) {
    return (unsigned char)rintf(fminf(fmaxf(127.5f + 127.5f * value, 0.f), 255.f));
}

// What of the light behind an entry of the dense layer gets through; 1 without fragments.
__device__ __forceinline__ float clear_of(const float* entry) {
    return entry[13] > 0.f ? exp2f(entry[15]) : 1.f;
}

// triangle (2 F, 3), owner (2 F,) with -1 for none, place (V', 3), record (V', 12) -> motion (F, 3)
__global__ void drift(const int* __restrict__ triangle, const int* __restrict__ owner, const float* __restrict__ place,
                      const float* __restrict__ record, float* __restrict__ motion, int slots) {
    const int t = blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= slots || owner[t] < 0) return;
    float x = 0.f, y = 0.f, ratio = 0.f;
    for (int c = 0; c < 3; ++c) {
        const int i = triangle[3 * t + c];
        const float* r = record + RECORD * i;
        if (!(r[8] > 1e-3f * r[0])) {
            x = y = 0.f, ratio = 1.f;
            break;
        }
        const float then = 1.f / (3.f * r[8]), now = 1.f / (3.f * place[3 * i + 2]);
        x += r[6] * then - place[3 * i] * now;
        y += r[7] * then - place[3 * i + 1] * now;
        ratio += r[8] / 3.f;
    }
    float* out = motion + 3 * owner[t];
    out[0] = x, out[1] = y, out[2] = ratio;
}

// One channel's light, a row of 12, on a normal in view space (shine.py).
__device__ __forceinline__ float light_of(const float* row, float x, float y, float z) {
    const float along = row[1] + x * row[4] + y * row[7] + z * row[9], across = row[2] + y * row[5] + z * row[8];
    return fminf(fmaxf(row[0] + x * along + y * across + z * (row[3] + z * row[6]), row[10]), row[11]);
}

// face, region (H, W), uv (2, H, W), normal (3, H, W), detail (F,), kinds (256,), light (2, 3, 12) in view space,
// layer (H, W, 16) -> hi (6, H, W), gloss (H, W) of the opaque surface
__global__ void look(const int* __restrict__ face, const unsigned char* __restrict__ region,
                     const float* __restrict__ uv, const float* __restrict__ normal, const float* __restrict__ detail,
                     Texture texture, float bias, const unsigned char* __restrict__ kinds,
                     const float* __restrict__ light, const float* __restrict__ layer, unsigned char* __restrict__ hi,
                     unsigned char* __restrict__ gloss, int H, int W) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= W || y >= H) return;
    const int i = y * W + x, f = face[i], size = H * W;
    float value[6] = {0.f, 0.f, 0.f, 0.f, 0.f, 0.f};
    gloss[i] = 0;
    if (f >= 0) {
        const Texel t = fetch(texture, uv[i], uv[size + i], (int)fmaxf(detail[f] + bias, 0.f));
        const float own[6] = {t.r, t.g, t.b, t.a, t.ao, t.strand};
        for (int c = 0; c < 6; ++c) value[c] = byte_of(own[c]) / 255.f;
        const int kind = kinds[region[i]];
        for (int c = 0; c < 3 && kind; ++c) {
            const float p = light_of(light + 12 * (3 * (kind - 1) + c), normal[i], normal[size + i], normal[2 * size + i]);
            value[c] = rintf(fminf(value[c] * 255.f * p, 255.f)) / 255.f;
        }
        gloss[i] = byte_of(t.gloss);
    }
    const float* entry = layer + (long long)ENTRY * i;
    const float clear = clear_of(entry);
    if (clear < 1.f) {
        const float share = (1.f - clear) / entry[13];
        const float over[6] = {share * entry[0], share * entry[1], share * entry[2], 1.f - clear, share * entry[3],
                               share * entry[6]};
        for (int c = 0; c < 6; ++c) value[c] = clear * value[c] + over[c];
    }
    for (int c = 0; c < 6; ++c) hi[c * size + i] = byte_of(value[c]);
}

// buffer (H, W) of rasterize, the slot's complement in its low half; rotation (9,) world to view;
// -> lo (7, h, w), flow (2, h, w) where mask is not 0, z, mask, before (h, w)
__global__ void lie(const float* __restrict__ depth, const int* __restrict__ face,
                    const unsigned char* __restrict__ region, const float* __restrict__ normal,
                    const float* __restrict__ flow, const unsigned long long* __restrict__ buffer,
                    const float* __restrict__ plane, const float* __restrict__ layer, int hair,
                    const unsigned char* __restrict__ gloss, const float* __restrict__ rotation, float near,
                    float steps, const unsigned char* __restrict__ classes, unsigned char* __restrict__ lo,
                    float* __restrict__ out_flow, float* __restrict__ z, unsigned char* __restrict__ mask,
                    float* __restrict__ before, int H, int W) {
    const int bx = blockIdx.x * blockDim.x + threadIdx.x, by = blockIdx.y * blockDim.y + threadIdx.y;
    const int h = H / 2, w = W / 2, size = H * W, half = h * w, o = by * w + bx;
    if (bx >= w || by >= h) return;
    float nearest = NONE;
    int best = -1;
    bool strands = false;
    for (int k = 0; k < 4; ++k) {
        const int i = (2 * by + (k >> 1)) * W + 2 * bx + (k & 1);
        const float* entry = layer + (long long)ENTRY * i;
        const bool solid = clear_of(entry) <= 1.f - SOLID;
        const float far = solid ? entry[14] / entry[13] : face[i] >= 0 ? depth[i] : NONE;
        if (far < nearest) nearest = far, best = i, strands = solid;
    }
    if (best < 0) {
        z[o] = before[o] = __int_as_float(0x7f800000);
        mask[o] = 0;
        for (int c = 0; c < 7; ++c) lo[c * half + o] = c < 3 ? 128 : 0;
        return;
    }
    float n[3];
    z[o] = nearest;
    if (strands) {
        const float* e = layer + (long long)ENTRY * best;
        const float over = 1.f / e[13], length = rsqrtf(e[7] * e[7] + e[8] * e[8] + e[9] * e[9] + 1e-20f);
        for (int c = 0; c < 3; ++c) n[c] = e[7 + c] * length;
        lo[5 * half + o] = (unsigned char)rintf(fminf(e[4] * over, 1.f) * 255.f);
        mask[o] = (unsigned char)hair;
        out_flow[o] = e[10] * over, out_flow[half + o] = e[11] * over;
        before[o] = e[12] * over * nearest;
    } else {
        for (int c = 0; c < 3; ++c) n[c] = normal[c * size + best];
        lo[5 * half + o] = gloss[best];
        mask[o] = classes[region[best]];
        out_flow[o] = flow[best], out_flow[half + o] = flow[size + best];
        const float* p = plane + 3 * ROW * (long long)~(unsigned)buffer[best];
        const float dx = best % W + 0.5f - p[9], dy = best / W + 0.5f - p[10];
        before[o] = (p[8] + dx * p[ROW + 8] + dy * p[2 * ROW + 8]) * nearest;
    }
    for (int c = 0; c < 3; ++c)
        lo[c * half + o] = signed_byte(rotation[c] * n[0] + rotation[3 + c] * n[1] + rotation[6 + c] * n[2]);
    lo[3 * half + o] = (unsigned char)rintf(fminf(fmaxf(-n[2], 0.f), 1.f) * 255.f);
    lo[4 * half + o] = (unsigned char)rintf(1.f + fminf(fmaxf((nearest - near) * steps, 0.f), 254.f));
    lo[6 * half + o] = mask[o];
}

// mask (h, w) -> row (h, w): the row of the nearest surface in the same column, the upper of equals; -1: none
__global__ void columns(const unsigned char* __restrict__ mask, int* __restrict__ row, int h, int w) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    if (x >= w) return;
    int last = -1;
    for (int y = 0; y < h; ++y) {
        if (mask[y * w + x]) last = y;
        row[y * w + x] = last;
    }
    last = -1;
    for (int y = h - 1; y >= 0; --y) {
        const int i = y * w + x, above = row[i];
        if (mask[i]) last = y;
        if (last > y && (above < 0 || last - y < y - above)) row[i] = last;
    }
}

// row of `columns`, stack (2, h, w) scratch -> flow (2, h, w) where mask is 0 (Meijster et al. 2000, second phase)
__global__ void rows(const unsigned char* __restrict__ mask, const int* __restrict__ row, int* __restrict__ stack,
                     float* __restrict__ flow, int h, int w) {
    const int y = blockIdx.x * blockDim.x + threadIdx.x;
    if (y >= h) return;
    const int half = h * w, *own = row + y * w;
    int *column = stack + y * w, *start = stack + half + y * w, count = 0;
    for (int u = 0; u < w; ++u) {
        if (own[u] < 0) continue;
        const int far = (own[u] - y) * (own[u] - y);
        int begin = 0;
        while (count > 0) {
            const int i = column[count - 1], t = start[count - 1], near = (own[i] - y) * (own[i] - y);
            if ((t - i) * (t - i) + near <= (t - u) * (t - u) + far) {
                begin = (u * u - i * i + far - near) / (2 * (u - i)) + 1;
                break;
            }
            --count;
        }
        if (begin < w) column[count] = u, start[count] = begin, ++count;
    }
    for (int x = w - 1; x >= 0; --x) {
        while (count > 1 && start[count - 1] > x) --count;
        const int o = y * w + x;
        if (mask[o]) continue;
        const int from = count ? own[column[count - 1]] * w + column[count - 1] : -1;
        flow[o] = from < 0 ? 0.f : flow[from];
        flow[half + o] = from < 0 ? 0.f : flow[half + from];
    }
}

// mask, before, flow of this frame, old_depth and old_mask of the previous one -> seen (h, w)
__global__ void trust(const unsigned char* __restrict__ mask, const float* __restrict__ before,
                      const float* __restrict__ flow, const float* __restrict__ old_depth,
                      const unsigned char* __restrict__ old_mask, unsigned char* __restrict__ seen, int h, int w) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= w || y >= h) return;
    const int o = y * w + x, own = mask[o];
    const float px = x + 0.5f + 0.5f * flow[o], py = y + 0.5f + 0.5f * flow[h * w + o];
    unsigned char same = 0;
    if (px >= 0.f && py >= 0.f && px < w && py < h) {
        const int u = (int)floorf(px - 0.5f), v = (int)floorf(py - 0.5f);
        const float fx = px - 0.5f - u, fy = py - 0.5f - v;
        float alone = 0.f;
        bool found = false;
        for (int k = 0; k < 4; ++k) {
            const int i = min(max(v + (k >> 1), 0), h - 1) * w + min(max(u + (k & 1), 0), w - 1);
            const bool there = own == 0 || fabsf(old_depth[i] - before[o]) <= TOLERANCE;
            found |= there && old_mask[i] == own;
            if (there || old_mask[i] == 0) alone += (k & 1 ? fx : 1.f - fx) * (k >> 1 ? fy : 1.f - fy);
        }
        if (found && alone >= CLEAR_OF) same = 255;
    }
    seen[o] = same;
}

}  // extern "C"
