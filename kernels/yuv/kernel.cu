// RGB to I420 or NV12, BT.601 limited range. The definition is reference.py; the same integers.
//   convert   grid (ceil(W / 2 / 32), ceil(H / 2 / 8), rows), 32 x 8: one thread a block of 2 x 2 pixels

#include "rows.cuh"
#include "picture.cuh"

extern "C" {

struct Convert {
    const unsigned char* rgb;  // (H, W, 3), H and W even
    unsigned char* out;        // (H * 3 / 2, W): Y, then U and V at half size; nv12: pairs of them
};

__global__ void convert(Rows<Convert> rows, int nv12, int H, int W) {
    if (rows.off()) return;
    const int bx = blockIdx.x * blockDim.x + threadIdx.x, by = blockIdx.y * blockDim.y + threadIdx.y;
    if (2 * bx >= W || 2 * by >= H) return;
    const unsigned char* __restrict__ rgb = rows.own().rgb;
    unsigned char* __restrict__ out = rows.own().out;
    int r = 0, g = 0, b = 0;
    for (int k = 0; k < 2; ++k) {
        const int i = (2 * by + k) * W + 2 * bx;  // even: two pixels are three words of two bytes
        const unsigned short* two = reinterpret_cast<const unsigned short*>(rgb + 3 * (long long)i);
        const int s = two[0], t = two[1], u = two[2];
        const int r0 = s & 255, g0 = s >> 8, b0 = t & 255, r1 = t >> 8, g1 = u & 255, b1 = u >> 8;
        *reinterpret_cast<unsigned short*>(out + i) = (unsigned short)(luma_of(r0, g0, b0) | luma_of(r1, g1, b1) << 8);
        r += r0 + r1, g += g0 + g1, b += b0 + b1;
    }
    put_chroma(out, blue_of(r, g, b), red_of(r, g, b), bx, by, nv12, H, W);
}

}  // extern "C"
