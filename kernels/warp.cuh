// The previous picture where its surfaces are now, and its fading toward what is known: the integers of kernels/warp.
// Pixels are words, red in the lowest byte. Included by warp and cells.

#define FAR_STEPS 4194304.f  // 256 * 16384 pixels; a flow beyond this is not one
#define FADE 26              // 256ths

__device__ __forceinline__ unsigned blend(unsigned one, unsigned two, unsigned share) {  // 256ths of the second, rounded
    const unsigned even = 0x00FF00FFu, half = 0x00800080u;
    const unsigned low = (one & even) * (256 - share) + (two & even) * share + half;
    const unsigned high = (one >> 8 & even) * (256 - share) + (two >> 8 & even) * share + half;
    return (low >> 8 & even) | (high & ~even);
}

// The pixels of block (bx, by) of 2 x 2, row by row. They look at 3 x 3, the border going on outside. False, and 0, where
// the flow (dx, dy) in pixels is no number.
__device__ __forceinline__ bool move(const unsigned* __restrict__ previous, float dx, float dy, int bx, int by, int H, int W,
                                     unsigned* out) {
    const float fx = rintf(dx * 256.f), fy = rintf(dy * 256.f);
    out[0] = out[1] = out[2] = out[3] = 0;
    if (!(fabsf(fx) <= FAR_STEPS && fabsf(fy) <= FAR_STEPS)) return false;
    const int sx = (int)fx, sy = (int)fy, u = 2 * bx + (sx >> 8), v = 2 * by + (sy >> 8), right = sx & 255, down = sy & 255;
    const int u0 = min(max(u, 0), W - 1), u1 = min(max(u + 1, 0), W - 1), u2 = min(max(u + 2, 0), W - 1);
    unsigned line[3][2];
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        const unsigned* row = previous + (long long)min(max(v + k, 0), H - 1) * W;
        const unsigned a = row[u0], b = row[u1], c = row[u2];
        line[k][0] = blend(a, b, right), line[k][1] = blend(b, c, right);
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) out[k] = blend(line[k / 2][k % 2], line[k / 2 + 1][k % 2], down);
    return true;
}

__device__ __forceinline__ int faded(int was, int lit, int alpha) { return min(was + (((lit - was) * FADE + 128) >> 8), alpha); }
