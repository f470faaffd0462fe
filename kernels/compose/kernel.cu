// Compositing: a premultiplied picture over a background. The definition is reference.py; the same integers.
//   over     grid (ceil(H W / 4 / 256), 1, rows), 256: one thread four pixels
//   finish   grid (ceil(W / 64), ceil(H / 16), rows), 32 x 8: straight to I420 or NV12, marked; one thread 2 x 2 pixels

#include "rows.cuh"
#include "picture.cuh"

extern "C" {

struct Over {
    const uchar4* picture;            // (H, W)
    const unsigned char* background;  // (H, W, 3)
    unsigned char* rgb;               // (H, W, 3)
    unsigned char* alpha;             // (H, W); null: not wanted
};

__global__ void over(Rows<Over> rows, int count) {
    if (rows.off()) return;
    const uchar4* __restrict__ picture = rows.own().picture;
    const unsigned char* __restrict__ background = rows.own().background;
    unsigned char *__restrict__ rgb = rows.own().rgb, *__restrict__ alpha = rows.own().alpha;
    const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= count) return;
    if (i + 4 > count) {  // the last few
        for (int k = i; k < count; ++k) {
            const uchar4 p = picture[k];
            rgb[3 * k] = (unsigned char)lay(p.x, 255 - p.w, background[3 * k]);
            rgb[3 * k + 1] = (unsigned char)lay(p.y, 255 - p.w, background[3 * k + 1]);
            rgb[3 * k + 2] = (unsigned char)lay(p.z, 255 - p.w, background[3 * k + 2]);
            if (alpha) alpha[k] = p.w;
        }
        return;
    }
    const uint4 four = *reinterpret_cast<const uint4*>(picture + i);
    const unsigned front[4] = {four.x, four.y, four.z, four.w};
    const unsigned* behind = reinterpret_cast<const unsigned*>(background + 3 * i);
    unsigned* out = reinterpret_cast<unsigned*>(rgb + 3 * i);
    unsigned opacity = 0;
#pragma unroll
    for (int word = 0; word < 3; ++word) {
        const unsigned under = behind[word];
        unsigned laid = 0;
#pragma unroll
        for (int byte = 0; byte < 4; ++byte) {
            const int k = (4 * word + byte) / 3, c = (4 * word + byte) % 3;
            laid |= lay(front[k] >> 8 * c & 255, 255 - (front[k] >> 24), under >> 8 * byte & 255) << 8 * byte;
        }
        out[word] = laid;
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) opacity |= (front[k] >> 24) << 8 * k;
    if (alpha) *reinterpret_cast<unsigned*>(alpha + i) = opacity;
}

struct Finish {
    const uchar4* picture;            // (H, W), H and W even
    const unsigned char* background;  // (H, W, 3)
    const signed char* field;         // (H, W) watermark; null: none
    unsigned char* alpha;             // (H, W); null: not wanted
    unsigned char* out;               // (H * 3 / 2, W)
};

__global__ void finish(Rows<Finish> rows, int nv12, int H, int W) {
    if (rows.off()) return;
    const Finish own = rows.own();
    const uchar4* __restrict__ picture = own.picture;
    const unsigned char* __restrict__ background = own.background;
    const signed char* __restrict__ field = own.field;
    unsigned char *__restrict__ alpha = own.alpha, *__restrict__ out = own.out;
    __shared__ __align__(16) unsigned char shade[16][64];
    __shared__ int active[4][16];
    const int i = 2 * threadIdx.x, j = 2 * threadIdx.y, x = blockIdx.x * 64 + i, y = blockIdx.y * 16 + j;
    const bool inside = x < W && y < H;
    int r = 0, g = 0, b = 0;
    for (int k = 0; k < 2 && inside; ++k) {
        const int at = (y + k) * W + x;  // even: two pixels are three words of two bytes
        const uint2 two = *reinterpret_cast<const uint2*>(picture + at);
        const unsigned short* behind = reinterpret_cast<const unsigned short*>(background + 3 * (long long)at);
        const int s = behind[0], t = behind[1], u = behind[2];
        const int clear0 = 255 - (two.x >> 24), clear1 = 255 - (two.y >> 24);
        const int r0 = lay(two.x & 255, clear0, s & 255), r1 = lay(two.y & 255, clear1, t >> 8);
        const int g0 = lay(two.x >> 8 & 255, clear0, s >> 8), g1 = lay(two.y >> 8 & 255, clear1, u & 255);
        const int b0 = lay(two.x >> 16 & 255, clear0, t & 255), b1 = lay(two.y >> 16 & 255, clear1, u >> 8);
        const int both = luma_of(r0, g0, b0) | luma_of(r1, g1, b1) << 8;
        *reinterpret_cast<unsigned short*>(field ? &shade[j + k][i] : out + at) = (unsigned short)both;
        if (alpha) *reinterpret_cast<unsigned short*>(alpha + at) = (unsigned short)(two.x >> 24 | two.y >> 24 << 8);
        r += r0 + r1, g += g0 + g1, b += b0 + b1;
    }
    if (inside) put_chroma(out, blue_of(r, g, b), red_of(r, g, b), x / 2, y / 2, nv12, H, W);
    if (!field) return;
    __syncthreads();
    const int q = threadIdx.y * 32 + threadIdx.x, qx = 4 * (q % 16), qy = 4 * (q / 16);
    if (q < 64) active[q / 16][q % 16] = activity(&shade[qy][qx], 64, W - blockIdx.x * 64 - qx, H - blockIdx.y * 16 - qy);
    __syncthreads();
    const int *upper = &active[j / 8 * 2][i / 8 * 2], *lower = &active[j / 8 * 2 + 1][i / 8 * 2];
    for (int k = 0; k < 2 && inside; ++k) {
        const int at = (y + k) * W + x;
        const int left = marked(shade[j + k][i], field[at], upper, lower);
        const int right = marked(shade[j + k][i + 1], field[at + 1], upper, lower);
        *reinterpret_cast<unsigned short*>(out + at) = (unsigned short)(left | right << 8);
    }
}

}  // extern "C"
