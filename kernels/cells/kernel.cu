// Cells: planes to what the neural renderer reads, and its answer to pixels. The definition is reference.py.
//   pack    grid (ceil(W / 4 / 16), ceil(H / 4 / 16)), 16 x 16: one thread a cell
//   paint   grid (ceil(W / 16), ceil(H / 16)), 16 x 16: one thread a pixel

#define PACKED 220
#define RESIDUAL 48
#define SHARES 32

extern "C" {

__device__ __forceinline__ long long cell_at(int y, int x, int width) {  // the four cells of a patch lie together
    return ((long long)(y >> 1) * (width >> 1) + (x >> 1)) * 4 + 2 * (y & 1) + (x & 1);
}

// hi (6, H, W), warped (4, H, W), lo (7, H/2, W/2), seen (H/2, W/2) -> out (H/8, W/8, 4, 220)
__global__ void pack(const unsigned char* __restrict__ hi, const unsigned char* __restrict__ warped,
                     const unsigned char* __restrict__ lo, const unsigned char* __restrict__ seen,
                     unsigned char* __restrict__ out, int H, int W) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (4 * x >= W || 4 * y >= H) return;
    const int size = H * W, half = size / 4;
    unsigned char* cell = out + PACKED * cell_at(y, x, W / 4);
    for (int i = 0; i < 16; ++i) {
        const int at = (4 * y + (i >> 2)) * W + 4 * x + (i & 3);
        for (int p = 0; p < 6; ++p) cell[16 * p + i] = hi[p * size + at];
        for (int p = 0; p < 4; ++p) cell[96 + 16 * p + i] = warped[p * size + at];
    }
    for (int i = 0; i < 4; ++i) {
        const int at = (2 * y + (i >> 1)) * (W / 2) + 2 * x + (i & 1), own = lo[6 * half + at];
        for (int q = 0; q < 6; ++q) cell[160 + 4 * q + i] = lo[q * half + at];
        cell[184 + i] = seen[at];
        for (int k = 0; k < 8; ++k) cell[188 + 4 * k + i] = k == own ? 255 : 0;
    }
}

// residual (H/4, W/4, 48), shares (H/4, W/4, 32), gain (H/8, W/8, 3), cells (H/8, W/8, 4, 220) -> out (H, W, 4)
__global__ void paint(const float* __restrict__ residual, const float* __restrict__ shares,
                      const float* __restrict__ gain, const unsigned char* __restrict__ cells, uchar4* __restrict__ out, int H, int W) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= W || y >= H) return;
    const int i = 4 * (y & 3) + (x & 3), rows = H / 8, columns = W / 8;
    const long long cell = (long long)(y / 4) * (W / 4) + x / 4;
    const float *r = residual + RESIDUAL * cell, *a = shares + SHARES * cell;
    const unsigned char* c = cells + PACKED * cell_at(y / 4, x / 4, W / 4);
    const float gx = (x + 0.5f) / 8.f - 0.5f, gy = (y + 0.5f) / 8.f - 0.5f;
    const int u = (int)floorf(gx), v = (int)floorf(gy);
    const int u0 = max(u, 0), u1 = min(u + 1, columns - 1), v0 = max(v, 0), v1 = min(v + 1, rows - 1);
    const float wx = gx - u, wy = gy - v, cover = fminf(fmaxf(a[i], 0.f), 1.f);
    const float kept = cover * a[16 + i], fresh = cover - kept * c[144 + i] / 255.f;
    unsigned char rgb[3];
    for (int p = 0; p < 3; ++p) {
        const float upper = gain[3 * (v0 * columns + u0) + p] * (1.f - wx) + gain[3 * (v0 * columns + u1) + p] * wx;
        const float lower = gain[3 * (v1 * columns + u0) + p] * (1.f - wx) + gain[3 * (v1 * columns + u1) + p] * wx;
        const float lit = (upper + (lower - upper) * wy) * c[16 * p + i] / 255.f;
        const float value = fresh * lit + kept * c[96 + 16 * p + i] / 255.f + r[16 * p + i];
        rgb[p] = (unsigned char)(255.f * fminf(fmaxf(value, 0.f), cover) + 0.5f);
    }
    out[y * W + x] = make_uchar4(rgb[0], rgb[1], rgb[2], (unsigned char)(255.f * cover + 0.5f));
}

}  // extern "C"
