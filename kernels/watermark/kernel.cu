// Watermark: a pattern added to luma, stronger where the picture hides it. The definition is reference.py; the same
// integers.
//   mark   grid (ceil(W / 8), ceil(H / 8)), 8 x 8: one thread a pixel, one thread block a block of pixels

extern "C" {

// luma (H, W), in place; field (H, W) in units of 1 / 32; the numbers are those of reference.py
__global__ void mark(unsigned char* __restrict__ luma, const signed char* __restrict__ field, int base, int gain,
                     int top, int cap, int H, int W) {
    __shared__ int value[8][8], active[4];
    const int i = threadIdx.x, j = threadIdx.y, x = blockIdx.x * 8 + i, y = blockIdx.y * 8 + j;
    const bool inside = x < W && y < H;
    const int quarter = (j >> 2) * 2 + (i >> 2);
    value[j][i] = inside ? luma[y * W + x] : 0;
    if (i < 4 && j == 0) {  // a quarter that the picture's edge cuts off entirely says nothing
        const bool there = blockIdx.x * 8 + (i & 1) * 4 < W && blockIdx.y * 8 + (i >> 1) * 4 < H;
        active[i] = there ? 0 : 1 << 20;
    }
    __syncthreads();
    if (inside) {
        int sum = 0;
        if ((i & 3) != 3 && x + 1 < W) sum += min(abs(value[j][i + 1] - value[j][i]), cap);
        if ((j & 3) != 3 && y + 1 < H) sum += min(abs(value[j + 1][i] - value[j][i]), cap);
        atomicAdd(&active[quarter], sum);
    }
    __syncthreads();
    if (!inside) return;
    const int quiet = min(min(active[0], active[1]), min(active[2], active[3]));
    const int strength = min(base + (gain * quiet >> 3), top);
    const int told = value[j][i] + ((strength * field[y * W + x] + 1024) >> 11);
    luma[y * W + x] = (unsigned char)min(max(told, 1), 254);
}

}  // extern "C"
