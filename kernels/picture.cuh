// From a painted picture to what an encoder takes, a pixel or a few at a time: the integers of kernels/compose,
// kernels/yuv and kernels/watermark. Included by them and by cells.

#define BASE 60
#define GAIN 4
#define TOP 160
#define CAP 36
#define LOWEST 1
#define HIGHEST 254
#define NOTHING 1048576  // activity of a quarter that the picture's edge cuts off entirely: it says nothing

__device__ __forceinline__ int lay(int front, int clear, int behind) {  // rounded exactly (Blinn 1994)
    const int product = behind * clear + 128;
    return min(front + ((product + (product >> 8)) >> 8), 255);
}

__device__ __forceinline__ int luma_of(int r, int g, int b) { return (16829 * r + 33039 * g + 6416 * b + 1081344) >> 16; }

// U and V of the sums of four pixels.
__device__ __forceinline__ int blue_of(int r, int g, int b) { return (-9714 * r - 19071 * g + 28785 * b + 33685504) >> 18; }
__device__ __forceinline__ int red_of(int r, int g, int b) { return (28784 * r - 24103 * g - 4681 * b + 33685504) >> 18; }

// U and V of the block (bx, by) of 2 x 2 pixels: I420 has a plane of each, NV12 one plane of pairs.
__device__ __forceinline__ void put_chroma(unsigned char* out, int blue, int red, int bx, int by, int nv12, int H, int W) {
    unsigned char* chroma = out + (long long)H * W;
    if (nv12) {
        *reinterpret_cast<unsigned short*>(chroma + by * W + 2 * bx) = (unsigned short)(blue | red << 8);
    } else {
        const int i = by * (W / 2) + bx;
        chroma[i] = (unsigned char)blue;
        chroma[i + H * W / 4] = (unsigned char)red;
    }
}

// How busy a quarter of a block is, of which `across` x `down` pixels (at most 4 x 4) are inside the picture.
__device__ __forceinline__ int activity(const unsigned char* quarter, int stride, int across, int down) {
    if (across <= 0 || down <= 0) return NOTHING;
    int sum = 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const unsigned char* at = quarter + j * stride + i;
            if (i < 3 && i + 1 < across && j < down) sum += min(abs(at[1] - at[0]), CAP);
            if (j < 3 && j + 1 < down && i < across) sum += min(abs(at[stride] - at[0]), CAP);
        }
    }
    return sum;
}

// A pixel of a block whose four quarters' activities are `upper` (2,) and `lower` (2,).
__device__ __forceinline__ int marked(int luma, int field, const int* upper, const int* lower) {
    const int quiet = min(min(upper[0], upper[1]), min(lower[0], lower[1]));
    const int strength = min(BASE + (GAIN * quiet >> 3), TOP);
    return min(max(luma + ((strength * field + 1024) >> 11), LOWEST), HIGHEST);
}
