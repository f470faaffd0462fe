// Backward warp. The definition is reference.py; the same integers. kernels/cells does both, and packs, in one.
//   warp   grid (ceil(W / 2 / 32), ceil(H / 2 / 8), rows), 32 x 8: one thread a block of 2 x 2 pixels
//   fade   grid (ceil(N / 4 / 256), 1, rows), 256: one thread four pixels

#include "rows.cuh"
#include "warp.cuh"

extern "C" {

struct Warp {
    const unsigned* previous;   // (H, W) of four bytes, premultiplied, H and W even; null: there is none
    const float* flow;          // (2, H / 2, W / 2)
    const unsigned char* seen;  // (H / 2, W / 2)
    unsigned char* out;         // (4, H, W)
};

__global__ void warp(Rows<Warp> rows, int H, int W) {
    if (rows.off()) return;
    const int bx = blockIdx.x * blockDim.x + threadIdx.x, by = blockIdx.y * blockDim.y + threadIdx.y;
    if (2 * bx >= W || 2 * by >= H) return;
    const Warp own = rows.own();
    unsigned char* __restrict__ out = own.out;
    const int half = (H / 2) * (W / 2), block = by * (W / 2) + bx;
    unsigned pixel[4] = {0, 0, 0, 0};
    if (own.previous && own.seen[block]) move(own.previous, own.flow[block], own.flow[half + block], bx, by, H, W, pixel);
    for (int c = 0; c < 4; ++c) {
        for (int k = 0; k < 2; ++k) {
            const unsigned pair = (pixel[2 * k] >> 8 * c & 255) | (pixel[2 * k + 1] >> 8 * c & 255) << 8;
            *reinterpret_cast<unsigned short*>(out + ((long long)c * H + 2 * by + k) * W + 2 * bx) = (unsigned short)pair;
        }
    }
}

struct Fade {
    unsigned char* warped;     // (4, N), in place
    const unsigned char* lit;  // (3, N)
};

__global__ void fade(Rows<Fade> rows, int N) {
    if (rows.off()) return;
    unsigned char* __restrict__ warped = rows.own().warped;
    const unsigned char* __restrict__ lit = rows.own().lit;
    const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (N % 4 == 0 && i < N) {
        const unsigned alpha = *reinterpret_cast<const unsigned*>(warped + 3 * N + i);
        for (int p = 0; p < 3; ++p) {
            unsigned* word = reinterpret_cast<unsigned*>(warped + p * N + i);
            const unsigned was = *word, to = *reinterpret_cast<const unsigned*>(lit + p * N + i);
            unsigned now = 0;
            for (int b = 0; b < 32; b += 8) now |= faded(was >> b & 255, to >> b & 255, alpha >> b & 255) << b;
            *word = now;
        }
    } else {  // planes whose words do not lie below each other
        for (int k = i; k < min(i + 4, N); ++k)
            for (int p = 0; p < 3; ++p)
                warped[p * N + k] = (unsigned char)faded(warped[p * N + k], lit[p * N + k], warped[3 * N + k]);
    }
}

}  // extern "C"
