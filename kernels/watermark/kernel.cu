// Watermark: a pattern added to luma, stronger where the picture hides it. The definition is reference.py; the same
// integers.
//   mark   grid (ceil(W / 64), ceil(H / 8), rows), 64 x 4: eight blocks of 8 x 8 pixels a thread block, two pixels a thread

#include "rows.cuh"
#include "picture.cuh"

extern "C" {

struct Mark {
    unsigned char* luma;       // (H, W), in place
    const signed char* field;  // (H, W) in units of 1 / 32; null: the picture stays
};

__global__ void mark(Rows<Mark> rows, int H, int W) {
    if (rows.off()) return;
    unsigned char* __restrict__ luma = rows.own().luma;
    const signed char* __restrict__ field = rows.own().field;
    if (!field) return;
    __shared__ unsigned char value[8][64];
    __shared__ int active[2][16];
    const int i = threadIdx.x, x = blockIdx.x * 64 + i, top = blockIdx.y * 8;
    for (int j = threadIdx.y; j < 8; j += 4) value[j][i] = x < W && top + j < H ? luma[(top + j) * W + x] : 0;
    __syncthreads();
    const int q = threadIdx.y * 64 + i, qx = 4 * (q % 16), qy = 4 * (q / 16);
    if (q < 32) active[q / 16][q % 16] = activity(&value[qy][qx], 64, W - blockIdx.x * 64 - qx, H - top - qy);
    __syncthreads();
    for (int j = threadIdx.y; j < 8; j += 4) {
        const int at = (top + j) * W + x;
        if (x < W && top + j < H)
            luma[at] = (unsigned char)marked(value[j][i], field[at], &active[0][i / 8 * 2], &active[1][i / 8 * 2]);
    }
}

}  // extern "C"
