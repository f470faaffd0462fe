// Compositing: a premultiplied picture over a background. The definition is reference.py; the same integers.
//   over   grid (ceil(H W / 256))

extern "C" {

__device__ __forceinline__ unsigned char lay(int front, int clear, int behind) {  // rounded exactly (Blinn 1994)
    const int product = behind * clear + 128;
    return (unsigned char)min(front + ((product + (product >> 8)) >> 8), 255);
}

// picture (H, W, 4), background (H, W, 3) -> rgb (H, W, 3), alpha (H, W)
__global__ void over(const uchar4* __restrict__ picture, const unsigned char* __restrict__ background,
                     unsigned char* __restrict__ rgb, unsigned char* __restrict__ alpha, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const uchar4 p = picture[i];
    const int clear = 255 - p.w;
    rgb[3 * i] = lay(p.x, clear, background[3 * i]);
    rgb[3 * i + 1] = lay(p.y, clear, background[3 * i + 1]);
    rgb[3 * i + 2] = lay(p.z, clear, background[3 * i + 2]);
    alpha[i] = p.w;
}

}  // extern "C"
