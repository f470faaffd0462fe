// The two mixtures of experts of the neural renderer (engine/render/layers.py), for a whole batch of one network. What
// they read and write belongs to the network and lies row after row, so there is no table of rows; rows from *live on
// are left alone (live may be null: all are meant). The definition is reference.py.
//
//   mix_KIND              grid (ceil(values / LANES / 128), ceil(rows / SPAN)), 128 threads
//   masked_KIND_C, finish_KIND_C
//                         grid (ceil(pixels / T), 1, rows); C 192, 320, 448 is the most channels there may be, with
//                         T = 64, 64, 32 pixels and 256, 256, 128 threads a block
//
// mix: every row's own kernels, out = gate times experts: the experts are read once for SPAN rows, and any number of
// layers lie behind one another in `values`.
// masked: out = x + outward(inward(x) weighed per pixel by its class); what lies between never leaves the chip.
// finish: the second half of a Block after its 3 x 3 convolution, y: SiLU of the scaled y, the row's own 1 x 1 kernel,
// masked, and the sum with x. One read of x and y, one write.
//
// A block of threads holds its pixels in shared memory, each warp 32 of them times a quarter of the channels in registers.
// Weights come straight into registers, in the order in which lanes want them (kernels/experts/__init__.py, pack).

#include "half.cuh"

#define SPAN 16    // rows that a thread of mix makes
#define MOST 8     // experts
#define CLASSES 8  // of the masks
#define SIDE 4     // warps beside each other over the channels

struct Layer {  // activations channels last, (rows, pixels, channels); all of the kind but where it says otherwise
    const unsigned short* x;
    const unsigned short* y;       // finish alone, as are the next two
    const unsigned short* scale;   // (rows, channels): y counts 1 + scale
    const unsigned short* kernel;  // packed (channels, channels) of every row
    const unsigned short* inward;  // packed (inner, channels)
    const unsigned short* outward; // packed (channels, inner)
    const unsigned short* gate;    // (rows, pixels, CLASSES), or null: all classes equal
    unsigned short* out;
    const int* live;               // how many rows are meant, or null
    long long kernel_step;         // from a row's kernel to the next one's
    long long gate_step;           // from a row's gate to the next one's: 0 where all rows have the same
    int pixels, channels, inner;   // channels and inner multiples of 16, inner 128 at most
    float level;                   // of the gates: what multiplies them
    float gain;                    // of SiLU
    float keep, take;              // out = keep x + take y
};

struct Single {  // what mix needs of float32
    static const int LANES = 4;
};

template <typename T>
__device__ __forceinline__ void spread(uint4 v, float (&out)[T::LANES]) {
    const unsigned word[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) out[2 * i] = lower<T>(word[i]), out[2 * i + 1] = upper<T>(word[i]);
}
template <>
__device__ __forceinline__ void spread<Single>(uint4 v, float (&out)[4]) {
    out[0] = __uint_as_float(v.x), out[1] = __uint_as_float(v.y);
    out[2] = __uint_as_float(v.z), out[3] = __uint_as_float(v.w);
}
template <typename T>
__device__ __forceinline__ uint4 gathered(const float (&v)[T::LANES]) {
    return make_uint4(pack<T>(v[0], v[1]), pack<T>(v[2], v[3]), pack<T>(v[4], v[5]), pack<T>(v[6], v[7]));
}
template <>
__device__ __forceinline__ uint4 gathered<Single>(const float (&v)[4]) {
    return make_uint4(__float_as_uint(v[0]), __float_as_uint(v[1]), __float_as_uint(v[2]), __float_as_uint(v[3]));
}

// gate (rows, E) f32; experts (E, words, LANES), out (rows, words, LANES)
template <typename T>
__device__ __forceinline__ void mix(const float* __restrict__ gate, const uint4* __restrict__ experts,
                                    uint4* __restrict__ out, const int* live, int rows, int E, int words) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x, first = blockIdx.y * SPAN;
    const int last = min(first + SPAN, live ? min(*live, rows) : rows);
    if (i >= words || first >= last) return;
    uint4 all[MOST];
#pragma unroll
    for (int e = 0; e < MOST; ++e)
        if (e < E) all[e] = __ldg(experts + (long long)e * words + i);
    for (int row = first; row < last; ++row) {
        float sum[T::LANES] = {};
#pragma unroll
        for (int e = 0; e < MOST; ++e) {
            if (e >= E) break;
            const float share = __ldg(gate + row * E + e);
            float one[T::LANES];
            spread<T>(all[e], one);
#pragma unroll
            for (int k = 0; k < T::LANES; ++k) sum[k] += share * one[k];
        }
        out[(long long)row * words + i] = gathered<T>(sum);
    }
}

template <int PAIRS>
__device__ __forceinline__ void fetch(uint4 (&b)[PAIRS], const uint4* __restrict__ matrix, int own, int pairs, int steps,
                                      int step, int lane) {
#pragma unroll
    for (int j = 0; j < PAIRS; ++j) {
        const int pair = own + SIDE * j;
        if (pair < pairs) b[j] = __ldg(matrix + ((long long)pair * steps + step) * 32 + lane);
    }
}

// sum += tile (32 pixels of `steps` 16 values, rows `stride` words apart) times the packed matrix: the 16 columns `own`,
// own + SIDE, ... of its `pairs` are this warp's.
template <typename T, int PAIRS>
__device__ __forceinline__ void multiply(float (&sum)[2][2 * PAIRS][4], const unsigned* tile, int stride,
                                         const uint4* __restrict__ matrix, int own, int pairs, int steps, int lane) {
    const unsigned* corner = tile + lane / 4 * stride + lane % 4;
    uint4 next[PAIRS];
    fetch<PAIRS>(next, matrix, own, pairs, steps, 0, lane);
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
        uint4 b[PAIRS];
#pragma unroll
        for (int j = 0; j < PAIRS; ++j) b[j] = next[j];
        if (step + 1 < steps) fetch<PAIRS>(next, matrix, own, pairs, steps, step + 1, lane);
        unsigned a[2][4];
#pragma unroll
        for (int m = 0; m < 2; ++m) {
            const unsigned* p = corner + 16 * m * stride + 8 * step;
            a[m][0] = p[0], a[m][1] = p[8 * stride], a[m][2] = p[4], a[m][3] = p[8 * stride + 4];
        }
#pragma unroll
        for (int j = 0; j < PAIRS; ++j) {
            if (own + SIDE * j >= pairs) break;  // the same for the whole warp
#pragma unroll
            for (int m = 0; m < 2; ++m) {
                T::multiply(sum[m][2 * j], a[m], b[j].x, b[j].y);
                T::multiply(sum[m][2 * j + 1], a[m], b[j].z, b[j].w);
            }
        }
    }
}

// What a warp holds of 32 rows, written into the tile.
template <typename T, int PAIRS>
__device__ __forceinline__ void put(const float (&sum)[2][2 * PAIRS][4], unsigned* tile, int stride, int own, int pairs,
                                    int lane) {
#pragma unroll
    for (int j = 0; j < PAIRS; ++j) {
        if (own + SIDE * j >= pairs) break;
#pragma unroll
        for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int n = 0; n < 2; ++n) {
                const float* v = sum[m][2 * j + n];
                unsigned* p = tile + (16 * m + lane / 4) * stride + 8 * (own + SIDE * j) + 4 * n + lane % 4;
                p[0] = pack<T>(v[0], v[1]);
                p[8 * stride] = pack<T>(v[2], v[3]);
            }
    }
}

// PAIRS of 8-column tiles a warp, TALL warps over the pixels; WHOLE: finish, else masked.
template <typename T, int PAIRS, int TALL, bool WHOLE>
__device__ __forceinline__ void run(const Layer& r) {
    const int row = blockIdx.z, first = blockIdx.x * 32 * TALL;
    if (r.live && row >= *r.live) return;
    __shared__ __align__(16) unsigned room[32 * TALL * ((PAIRS > 2 ? PAIRS : 2) * 8 * SIDE + 4)];
    const int C = r.channels, R = r.inner, stride = (max(C, R) + 8) / 2;  // 4 words aside: every bank once
    const int wide = C / 8, count = min(32 * TALL, r.pixels - first);
    const int lane = threadIdx.x % 32, own = threadIdx.x / 32 % SIDE;
    const long long start = ((long long)row * r.pixels + first) * wide;
    const uint4* __restrict__ x = reinterpret_cast<const uint4*>(r.x) + start;
    const uint4* __restrict__ given = WHOLE ? reinterpret_cast<const uint4*>(r.y) + start : x;
    const uint4* __restrict__ scale = reinterpret_cast<const uint4*>(r.scale) + row * wide;

    for (int i = threadIdx.x; i < 32 * TALL * wide; i += blockDim.x) {
        const int p = i / wide, c = i - p * wide;
        uint4 word = make_uint4(0, 0, 0, 0);
        if (p < count) {
            word = __ldg(given + i);
            if (WHOLE) {
                float v[8], s[8];
                spread<T>(word, v);
                spread<T>(__ldg(scale + c), s);
#pragma unroll
                for (int k = 0; k < 8; ++k) {
                    v[k] *= 1.f + s[k];
                    v[k] *= r.gain / (1.f + __expf(-v[k]));
                }
                word = gathered<T>(v);
            }
        }
        *reinterpret_cast<uint4*>(room + p * stride + 4 * c) = word;
    }
    __syncthreads();

    unsigned* tile = room + threadIdx.x / (32 * SIDE) * 32 * stride;
    float sum[2][2 * PAIRS][4] = {};
    if (WHOLE) {
        const uint4* kernel = reinterpret_cast<const uint4*>(r.kernel + row * r.kernel_step);
        multiply<T, PAIRS>(sum, tile, stride, kernel, own, C / 16, C / 16, lane);
        __syncthreads();
        put<T, PAIRS>(sum, tile, stride, own, C / 16, lane);
        __syncthreads();
    } else {
#pragma unroll
        for (int j = 0; j < PAIRS; ++j) {
            if (own + SIDE * j >= C / 16) break;
#pragma unroll
            for (int m = 0; m < 2; ++m)
#pragma unroll
                for (int n = 0; n < 2; ++n) {
                    const unsigned* p = tile + (16 * m + lane / 4) * stride + 8 * (own + SIDE * j) + 4 * n + lane % 4;
                    float* v = sum[m][2 * j + n];
                    v[0] = lower<T>(p[0]), v[1] = upper<T>(p[0]);
                    v[2] = lower<T>(p[8 * stride]), v[3] = upper<T>(p[8 * stride]);
                }
        }
    }

    float inner[2][4][4] = {};
    multiply<T, 2>(inner, tile, stride, reinterpret_cast<const uint4*>(r.inward), own, R / 16, C / 16, lane);
    const int rank = R / CLASSES, top = first + threadIdx.x / (32 * SIDE) * 32;
    const unsigned short* __restrict__ gate = r.gate ? r.gate + row * r.gate_step : nullptr;
#pragma unroll
    for (int j = 0; j < 2; ++j) {
        if (own + SIDE * j >= R / 16) break;
#pragma unroll
        for (int n = 0; n < 2; ++n) {
            const int kind = (16 * (own + SIDE * j) + 8 * n + 2 * (lane % 4)) / rank;  // of both: ranks are even
#pragma unroll
            for (int m = 0; m < 2; ++m)
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    const int pixel = min(top + 16 * m + 8 * h + lane / 4, r.pixels - 1);
                    const float open = gate ? T::wide(gate[(long long)pixel * CLASSES + kind]) : 1.f / CLASSES;
                    inner[m][2 * j + n][2 * h] *= open * r.level;
                    inner[m][2 * j + n][2 * h + 1] *= open * r.level;
                }
        }
    }
    __syncthreads();
    put<T, 2>(inner, tile, stride, own, R / 16, lane);
    __syncthreads();
    multiply<T, PAIRS>(sum, tile, stride, reinterpret_cast<const uint4*>(r.outward), own, C / 16, R / 16, lane);
    __syncthreads();
    put<T, PAIRS>(sum, tile, stride, own, C / 16, lane);
    __syncthreads();

    uint4* __restrict__ out = reinterpret_cast<uint4*>(r.out) + start;
    for (int i = threadIdx.x; i < count * wide; i += blockDim.x) {
        const int p = i / wide, c = i - p * wide;
        uint4 word = *reinterpret_cast<const uint4*>(room + p * stride + 4 * c);
        if (WHOLE) {
            float v[8], was[8];
            spread<T>(word, v);
            spread<T>(__ldg(x + i), was);
#pragma unroll
            for (int k = 0; k < 8; ++k) v[k] = r.keep * was[k] + r.take * v[k];
            word = gathered<T>(v);
        }
        out[i] = word;
    }
}

extern "C" {

__global__ void mix_f16(const float* gate, const uint4* experts, uint4* out, const int* live, int rows, int E, int words) {
    mix<Half>(gate, experts, out, live, rows, E, words);
}
__global__ void mix_bf16(const float* gate, const uint4* experts, uint4* out, const int* live, int rows, int E, int words) {
    mix<Bfloat>(gate, experts, out, live, rows, E, words);
}
__global__ void mix_f32(const float* gate, const uint4* experts, uint4* out, const int* live, int rows, int E, int words) {
    mix<Single>(gate, experts, out, live, rows, E, words);
}

__global__ void __launch_bounds__(256, 2) masked_f16_192(Layer r) { run<Half, 3, 2, false>(r); }
__global__ void __launch_bounds__(256) masked_f16_320(Layer r) { run<Half, 5, 2, false>(r); }
__global__ void __launch_bounds__(128) masked_f16_448(Layer r) { run<Half, 7, 1, false>(r); }
__global__ void __launch_bounds__(256, 2) masked_bf16_192(Layer r) { run<Bfloat, 3, 2, false>(r); }
__global__ void __launch_bounds__(256) masked_bf16_320(Layer r) { run<Bfloat, 5, 2, false>(r); }
__global__ void __launch_bounds__(128) masked_bf16_448(Layer r) { run<Bfloat, 7, 1, false>(r); }
__global__ void __launch_bounds__(256, 2) finish_f16_192(Layer r) { run<Half, 3, 2, true>(r); }
__global__ void __launch_bounds__(256) finish_f16_320(Layer r) { run<Half, 5, 2, true>(r); }
__global__ void __launch_bounds__(128) finish_f16_448(Layer r) { run<Half, 7, 1, true>(r); }
__global__ void __launch_bounds__(256, 2) finish_bf16_192(Layer r) { run<Bfloat, 3, 2, true>(r); }
__global__ void __launch_bounds__(256) finish_bf16_320(Layer r) { run<Bfloat, 5, 2, true>(r); }
__global__ void __launch_bounds__(128) finish_bf16_448(Layer r) { run<Bfloat, 7, 1, true>(r); }

}
