// RGB to I420, BT.601 limited range. The definition is reference.py; the same integers.
//   convert   grid (ceil(W / 2 / 16), ceil(H / 2 / 16)), 16 x 16: one thread a 2 x 2 block

extern "C" {

// rgb (H, W, 3) -> out (H * 3 / 2, W): Y, then U and V at half size
__global__ void convert(const unsigned char* __restrict__ rgb, unsigned char* __restrict__ out, int H, int W) {
    const int bx = blockIdx.x * blockDim.x + threadIdx.x, by = blockIdx.y * blockDim.y + threadIdx.y;
    if (2 * bx >= W || 2 * by >= H) return;
    int r = 0, g = 0, b = 0;
    for (int k = 0; k < 2; ++k) {
        for (int j = 0; j < 2; ++j) {
            const int i = (2 * by + k) * W + 2 * bx + j;
            const int p = rgb[3 * i], q = rgb[3 * i + 1], s = rgb[3 * i + 2];
            out[i] = (unsigned char)((16829 * p + 33039 * q + 6416 * s + 1081344) >> 16);
            r += p, g += q, b += s;
        }
    }
    const int i = H * W + by * (W / 2) + bx;
    out[i] = (unsigned char)((-9714 * r - 19071 * g + 28785 * b + 33685504) >> 18);
    out[i + H * W / 4] = (unsigned char)((28784 * r - 24103 * g - 4681 * b + 33685504) >> 18);
}

}  // extern "C"
