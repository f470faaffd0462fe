// Backward warp. The definition is reference.py; the same integers.
//   warp   grid (ceil(W / 16), ceil(H / 16)), 16 x 16: one thread a pixel
//   fade   grid ceil(N / 256), 256: one thread a pixel

extern "C" {

__device__ __forceinline__ unsigned char blend(int one, int two, int share) {
    return (unsigned char)((one * (256 - share) + two * share + 128) >> 8);
}

// previous (H, W, 4), flow (2, H/2, W/2), seen (H/2, W/2) -> out (4, H, W)
__global__ void warp(const uchar4* __restrict__ previous, const float* __restrict__ flow,
                     const unsigned char* __restrict__ seen, unsigned char* __restrict__ out, int H, int W) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= W || y >= H) return;
    const int half = (H / 2) * (W / 2), block = (y / 2) * (W / 2) + x / 2, size = H * W, i = y * W + x;
    const float fx = rintf(flow[block] * 256.f), fy = rintf(flow[half + block] * 256.f), far = 256.f * 16384.f;
    if (!seen[block] || !(fabsf(fx) <= far && fabsf(fy) <= far)) {
        for (int c = 0; c < 4; ++c) out[c * size + i] = 0;
        return;
    }
    const int sx = (int)fx, sy = (int)fy, u = x + (sx >> 8), v = y + (sy >> 8), a = sx & 255, b = sy & 255;
    const int u0 = min(max(u, 0), W - 1), u1 = min(max(u + 1, 0), W - 1);
    const int v0 = min(max(v, 0), H - 1), v1 = min(max(v + 1, 0), H - 1);
    const uchar4 p = previous[v0 * W + u0], q = previous[v0 * W + u1], r = previous[v1 * W + u0];
    const uchar4 s = previous[v1 * W + u1];
    out[i] = blend(blend(p.x, q.x, a), blend(r.x, s.x, a), b);
    out[size + i] = blend(blend(p.y, q.y, a), blend(r.y, s.y, a), b);
    out[2 * size + i] = blend(blend(p.z, q.z, a), blend(r.z, s.z, a), b);
    out[3 * size + i] = blend(blend(p.w, q.w, a), blend(r.w, s.w, a), b);
}

// warped (4, N), lit (3, N): warped moves by share / 256 of the way to lit, within its alpha
__global__ void fade(unsigned char* __restrict__ warped, const unsigned char* __restrict__ lit, int share, int N) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= N) return;
    for (int p = 0; p < 3; ++p) {
        const int was = warped[p * N + i];
        const int moved = was + (((lit[p * N + i] - was) * share + 128) >> 8);
        warped[p * N + i] = (unsigned char)min(moved, (int)warped[3 * N + i]);
    }
}

}  // extern "C"
