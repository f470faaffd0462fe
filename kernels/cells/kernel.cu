// Cells: planes to what the neural renderer reads, and its answer to pixels. The definition is reference.py. H and W are
// multiples of 8.
//   pack     grid (ceil(W / 128), H / 8, rows), 64 x 4: sixteen patches a block, 2 x 2 pixels a thread
//   follow   the same grid: kernels/warp's warp and fade, then pack, in one
//   paint    grid (ceil(W / 64), H / 8, rows), 512: one thread a pixel, sixteen threads a cell; confines where asked
//   show     grid (ceil(W / 32), H / 8, rows), 256, or as paint's: paint, then kernels/compose's finish, in one

#include "rows.cuh"
#include "picture.cuh"
#include "warp.cuh"

#define PACKED 220
#define RESIDUAL 48
#define SHARES 32
#define RUN 16      // patches a block packs
#define PATCH 880   // bytes of a patch: four cells
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define AT_ONCE 2  // blocks of 512 that a multiprocessor must have room for: Turing has 1024 threads
#else
#define AT_ONCE 3
#endif

// A thread's place in its block's patches, and in its cell: byte offsets. tx: half-size columns, ty: half-size rows.
__device__ __forceinline__ int cell_of(int tx, int ty) { return PATCH * (tx / 4) + PACKED * (2 * (ty / 2) + tx / 2 % 2); }

// One plane's byte pairs at 2 x 2 pixels: `upper` and `lower` row.
__device__ __forceinline__ void put(unsigned char* cell, int plane, int tx, int ty, int upper, int lower) {
    unsigned short* at = reinterpret_cast<unsigned short*>(cell + 16 * plane + 8 * (ty % 2) + 2 * (tx % 2));
    at[0] = (unsigned short)upper, at[2] = (unsigned short)lower;
}

__device__ __forceinline__ int pair(const unsigned char* plane, long long at) {
    return *reinterpret_cast<const unsigned short*>(plane + at);
}

// The planes that are the same whatever is said of the previous picture.
__device__ __forceinline__ void put_known(unsigned char* cell, const unsigned char* __restrict__ hi,
                                          const unsigned char* __restrict__ lo, const unsigned char* __restrict__ seen,
                                          int tx, int ty, int x, int y, int H, int W) {
    const long long size = (long long)H * W, half = size / 4, at = 2ll * y * W + 2 * x, low = (long long)y * (W / 2) + x;
#pragma unroll
    for (int p = 0; p < 6; ++p) put(cell, p, tx, ty, pair(hi, p * size + at), pair(hi, p * size + at + W));
    unsigned char* bytes = cell + 160 + 2 * (ty % 2) + tx % 2;
#pragma unroll
    for (int q = 0; q < 6; ++q) bytes[4 * q] = lo[q * half + low];
    bytes[24] = seen[low];
    const int own = lo[6 * half + low];
#pragma unroll
    for (int k = 0; k < 8; ++k) bytes[28 + 4 * k] = k == own ? 255 : 0;
}

// A block's patches, which lie together, to the output.
__device__ __forceinline__ void put_out(const uint4* patches, unsigned char* out, int W) {
    const int first = RUN * blockIdx.x, count = min(RUN, W / 8 - first) * (PATCH / 16);
    uint4* to = reinterpret_cast<uint4*>(out + (long long)PATCH * (blockIdx.y * (W / 8) + first));
    for (int i = threadIdx.y * blockDim.x + threadIdx.x; i < count; i += blockDim.x * blockDim.y) to[i] = patches[i];
}

__device__ __forceinline__ float of_byte(int value) { return value * (1.f / 255.f); }

__device__ __forceinline__ int to_byte(float value) { return (int)(value * 255.f + 0.5f); }

// Pixel i of the cell in row cy, column cx of an answer (Paint or Show): premultiplied sRGB and alpha, red lowest.
template <typename T>
__device__ __forceinline__ unsigned painted(const T& own, int cy, int cx, int i, int H, int W) {
    const int columns = W / 8, below = H / 8 - 1, beside = columns - 1, py = cy / 2, px = cx / 2;
    const long long cell = (long long)cy * (W / 4) + cx;
    const float* __restrict__ shares = own.shares + SHARES * cell;
    const unsigned char* __restrict__ c =
        own.cells + PACKED * (4ll * (py * columns + px) + 2 * (cy % 2) + cx % 2) + i;
    const float cover = fminf(fmaxf(shares[i], 0.f), 1.f);
    const int alpha = to_byte(cover);
    if (!alpha) return 0;
    const float* __restrict__ gain = own.gain;
    const float* __restrict__ residual = own.residual + RESIDUAL * cell + i;
    const int u = px - 1 + cx % 2, v = py - 1 + cy % 2;  // the gain is linear between the middles of patches
    const int u0 = max(u, 0), u1 = min(u + 1, beside), v0 = max(v, 0), v1 = min(v + 1, below);
    const float wx = (i % 4 + 0.5f) / 8.f + (cx % 2 ? 0.f : 0.5f), wy = (i / 4 + 0.5f) / 8.f + (cy % 2 ? 0.f : 0.5f);
    const float kept = cover * shares[16 + i], fresh = cover - kept * of_byte(c[144]);
    unsigned word = (unsigned)alpha << 24;
#pragma unroll
    for (int p = 0; p < 3; ++p) {
        const float g00 = gain[3 * (v0 * columns + u0) + p];
        const float gx = gain[3 * (v0 * columns + u1) + p] - g00, gy = gain[3 * (v1 * columns + u0) + p] - g00;
        const float gxy = gain[3 * (v1 * columns + u1) + p] - g00 - gx - gy;
        const float lit = (wx * gx + g00 + wy * gy + wx * wy * gxy) * of_byte(c[16 * p]);
        const float value = fresh * lit + kept * of_byte(c[96 + 16 * p]) + residual[16 * p];
        word |= (unsigned)to_byte(fminf(fmaxf(value, 0.f), cover)) << 8 * p;
    }
    const int most = own.confine ? c[48] : 255;
    if (alpha <= most) return word;
    unsigned less = (unsigned)most << 24;
    for (int p = 0; p < 3; ++p) less |= (unsigned)min((int)(word >> 8 * p & 255), min((int)c[16 * p], most)) << 8 * p;
    return less;
}

extern "C" {

struct Pack {
    const unsigned char *hi, *warped, *lo, *seen;  // (6, H, W), (4, H, W), (7, H / 2, W / 2), (H / 2, W / 2)
    unsigned char* out;                            // (H / 8, W / 8, 4, PACKED)
};

__global__ void pack(Rows<Pack> rows, int H, int W) {
    if (rows.off()) return;
    const Pack own = rows.own();
    __shared__ uint4 patches[RUN * PATCH / 16];
    const int tx = threadIdx.x, ty = threadIdx.y, x = blockIdx.x * 64 + tx, y = blockIdx.y * 4 + ty;
    if (2 * x < W) {
        unsigned char* cell = reinterpret_cast<unsigned char*>(patches) + cell_of(tx, ty);
        put_known(cell, own.hi, own.lo, own.seen, tx, ty, x, y, H, W);
        const unsigned char* __restrict__ warped = own.warped;
        const long long size = (long long)H * W, at = 2ll * y * W + 2 * x;
        for (int p = 0; p < 4; ++p) put(cell, 6 + p, tx, ty, pair(warped, p * size + at), pair(warped, p * size + at + W));
    }
    __syncthreads();
    put_out(patches, own.out, W);
}

struct Follow {
    const unsigned* previous;             // (H, W) of four bytes: the picture before; null: there is none
    const float* flow;                    // (2, H / 2, W / 2)
    const unsigned char *hi, *lo, *seen;  // as of Pack
    unsigned char* out;
};

__global__ void follow(Rows<Follow> rows, int H, int W) {
    if (rows.off()) return;
    const Follow own = rows.own();
    __shared__ uint4 patches[RUN * PATCH / 16];
    const int tx = threadIdx.x, ty = threadIdx.y, x = blockIdx.x * 64 + tx, y = blockIdx.y * 4 + ty;
    if (2 * x < W) {
        unsigned char* cell = reinterpret_cast<unsigned char*>(patches) + cell_of(tx, ty);
        put_known(cell, own.hi, own.lo, own.seen, tx, ty, x, y, H, W);
        const int half = (H / 2) * (W / 2), block = y * (W / 2) + x;
        unsigned pixel[4] = {0, 0, 0, 0};
        if (own.previous && own.seen[block]) move(own.previous, own.flow[block], own.flow[half + block], x, y, H, W, pixel);
        const unsigned char* lit = cell + 8 * (ty % 2) + 2 * (tx % 2);
        for (int p = 0; p < 4; ++p) {
            int row[2];
            for (int k = 0; k < 2; ++k) {
                const unsigned left = pixel[2 * k], right = pixel[2 * k + 1];
                int a = left >> 8 * p & 255, b = right >> 8 * p & 255;
                if (p < 3) {
                    a = faded(a, lit[16 * p + 4 * k], left >> 24);
                    b = faded(b, lit[16 * p + 4 * k + 1], right >> 24);
                }
                row[k] = a | b << 8;
            }
            put(cell, 6 + p, tx, ty, row[0], row[1]);
        }
    }
    __syncthreads();
    put_out(patches, own.out, W);
}

struct Paint {  // what a network answers
    const float *residual, *shares, *gain;  // (H / 4, W / 4, RESIDUAL), (H / 4, W / 4, SHARES), (H / 8, W / 8, 3)
    const unsigned char* cells;             // (H / 8, W / 8, 4, PACKED): what they answer
    int confine;                            // whether alpha ends where the lit surface's does
    unsigned* picture;                      // (H, W) of four bytes
};

__global__ void paint(Rows<Paint> rows, int H, int W) {
    if (rows.off()) return;
    const Paint own = rows.own();
    const int i = threadIdx.x % 16, cell = threadIdx.x / 16, cx = blockIdx.x * 16 + cell % 16, cy = 2 * blockIdx.y + cell / 16;
    if (4 * cx >= W) return;
    own.picture[(long long)(4 * cy + i / 4) * W + 4 * cx + i % 4] = painted(own, cy, cx, i, H, W);
}

struct Show {
    const float *residual, *shares, *gain;  // as of Paint
    const unsigned char* cells;
    int confine;
    const unsigned char* background;  // (H, W, 3)
    const signed char* field;         // (H, W) watermark; null: none
    unsigned* picture;                // (H, W) of four bytes: what `paint` gives
    unsigned char* alpha;             // (H, W); null: not wanted
    unsigned char* out;               // (H * 3 / 2, W)
};

__global__ void __launch_bounds__(512, AT_ONCE) show(Rows<Show> rows, int nv12, int H, int W) {
    if (rows.off()) return;
    const Show own = rows.own();
    const int across = blockDim.x / 32, t = threadIdx.x, i = t % 16, low = t / 16 >= across, column = t / 16 - low * across;
    const int left = 4 * across * blockIdx.x, top = 8 * blockIdx.y;                   // of the block's pixels
    const int x = 4 * column + i % 4, y = 4 * low + i / 4;                            // the thread's among them
    const long long at = (long long)(top + y) * W + left + x;
    const bool inside = left + x < W;
    __shared__ __align__(16) unsigned char luma[8][64];
    __shared__ __align__(16) unsigned char opacity[8][64];
    __shared__ __align__(16) unsigned char tone[2][4][32];
    __shared__ int active[2][16];
    unsigned sums = 0;
    int field = 0;
    if (inside) {
        const unsigned char* __restrict__ behind = own.background + 3 * at;
        const int r0 = behind[0], g0 = behind[1], b0 = behind[2];
        if (own.field) field = own.field[at];
        const unsigned word = painted(own, top / 4 + low, left / 4 + column, i, H, W);
        const int clear = 255 - (word >> 24), r = lay(word & 255, clear, r0), g = lay(word >> 8 & 255, clear, g0);
        const int b = lay(word >> 16 & 255, clear, b0);
        own.picture[at] = word;
        luma[y][x] = (unsigned char)luma_of(r, g, b);
        opacity[y][x] = (unsigned char)(word >> 24);
        sums = r | g << 10 | b << 20;
    }
    sums += __shfl_xor_sync(~0u, sums, 1);  // of four pixels at most 1020: ten bits
    sums += __shfl_xor_sync(~0u, sums, 4);
    if (i % 2 == 0 && i / 4 % 2 == 0) {
        const int r = sums & 1023, g = sums >> 10 & 1023, b = sums >> 20;
        tone[0][y / 2][x / 2] = (unsigned char)blue_of(r, g, b);
        tone[1][y / 2][x / 2] = (unsigned char)red_of(r, g, b);
    }
    __syncthreads();
    if (own.field) {
        if (t < 2 * across) {
            const int down = t >= across, beside = t - down * across;
            active[down][beside] = activity(&luma[4 * down][4 * beside], 64, W - left - 4 * beside, 4);
        }
        __syncthreads();
        luma[y][x] = (unsigned char)marked(luma[y][x], field, &active[0][x / 8 * 2], &active[1][x / 8 * 2]);
        __syncthreads();
    }
    // What lies together goes out as words: 8 rows of luma, 8 of alpha, 4 of chroma.
    const int row = t / across, word = t % across;
    const bool there = left + 4 * word < W;
    if (row < 8) {
        const long long to = (long long)(top + row) * W + left + 4 * word;
        if (there) *reinterpret_cast<unsigned*>(own.out + to) = *reinterpret_cast<const unsigned*>(&luma[row][4 * word]);
    } else if (row < 16) {
        const long long to = (long long)(top + row - 8) * W + left + 4 * word;
        if (there && own.alpha)
            *reinterpret_cast<unsigned*>(own.alpha + to) = *reinterpret_cast<const unsigned*>(&opacity[row - 8][4 * word]);
    } else if (row < 20) {
        unsigned char* chroma = own.out + (long long)H * W;
        if (nv12) {
            const int k = row - 16, c = 2 * word;
            const unsigned one = tone[0][k][c] | tone[1][k][c] << 8, two = tone[0][k][c + 1] | tone[1][k][c + 1] << 8;
            if (there) *reinterpret_cast<unsigned*>(chroma + (top / 2 + k) * (long long)W + left + 4 * word) = one | two << 16;
        } else {  // half a row of words is one of U's or V's
            const int k = (row - 16) % 2 * 2 + word / (across / 2), plane = (row - 16) / 2, c = 4 * (word % (across / 2));
            const long long to = (long long)plane * (H * W / 4) + (top / 2 + k) * (long long)(W / 2) + left / 2 + c;
            if (left + 2 * c < W)
                *reinterpret_cast<unsigned*>(chroma + to) = *reinterpret_cast<const unsigned*>(&tone[plane][k][c]);
        }
    }
}

}  // extern "C"
