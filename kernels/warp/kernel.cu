// Backward warp. The definition is reference.py; the same integers.
//   warp   grid (ceil(W / 16), ceil(H / 16)), 16 x 16: one thread a pixel

extern "C" {

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
    const int w00 = (256 - a) * (256 - b), w10 = a * (256 - b), w01 = (256 - a) * b, w11 = a * b;
    out[i] = (unsigned char)((p.x * w00 + q.x * w10 + r.x * w01 + s.x * w11 + 32768) >> 16);
    out[size + i] = (unsigned char)((p.y * w00 + q.y * w10 + r.y * w01 + s.y * w11 + 32768) >> 16);
    out[2 * size + i] = (unsigned char)((p.z * w00 + q.z * w10 + r.z * w01 + s.z * w11 + 32768) >> 16);
    out[3 * size + i] = (unsigned char)((p.w * w00 + q.w * w10 + r.w * w01 + s.w * w11 + 32768) >> 16);
}

}  // extern "C"
