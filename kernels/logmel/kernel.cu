// A voice's next 40 ms: 48 to 16 kHz, then log-mel. The definition is reference.py. Both keep the end of what they heard
// in `tail` and change it in place, so one block does a whole row: it reads all of the tail before it writes any.
//   decimate   grid (1, 1, rows), 256
//   logmel     grid (1, 1, rows), 256

#include "rows.cuh"

#define VOICE 1920  // samples at 48 kHz
#define TAPS 97
#define SOUND 640  // samples at 16 kHz
#define HOP 160
#define WINDOW 400
#define TAIL 240  // WINDOW - HOP
#define FFT 512
#define HALF 256
#define BINS 80
#define THREADS 256

extern "C" {

// voice (1920,), tail (96,) -> sound (640,), tail
struct Decimate {
    const float* voice;
    float* tail;
    float* sound;
};

// sound (640,), tail (240,) -> mel (4, 80), tail
struct LogMel {
    const float* sound;
    float* tail;
    float* mel;
};

// taps (97,)
__global__ void __launch_bounds__(THREADS) decimate(Rows<Decimate> rows, const float* __restrict__ taps) {
    __shared__ float line[TAPS - 1 + VOICE], tap[TAPS];
    if (rows.off()) return;
    const Decimate& r = rows.own();
    for (int i = threadIdx.x; i < TAPS - 1 + VOICE; i += THREADS)
        line[i] = i < TAPS - 1 ? r.tail[i] : r.voice[i - (TAPS - 1)];
    for (int i = threadIdx.x; i < TAPS; i += THREADS) tap[i] = taps[i];
    __syncthreads();
    for (int i = threadIdx.x; i < SOUND; i += THREADS) {
        float sum = 0.f;
#pragma unroll 8
        for (int k = 0; k < TAPS; ++k) sum += tap[k] * line[3 * i + 2 + k];
        r.sound[i] = sum;
    }
    for (int i = threadIdx.x; i < TAPS - 1; i += THREADS) r.tail[i] = line[VOICE + i];
}

// window (400,); twiddle (256, 2) exp(-2 pi i k / 512); filter b weighs the FFT bins from first[b] on by
// weight[begin[b] : begin[b + 1]]. Two hops are one complex FFT: one is the real part, the next the imaginary.
__global__ void __launch_bounds__(THREADS) logmel(Rows<LogMel> rows, const float* __restrict__ window,
                                                  const float* __restrict__ twiddle, const int* __restrict__ first,
                                                  const int* __restrict__ begin, const float* __restrict__ weight,
                                                  float floor) {
    __shared__ float heard[TAIL + SOUND], power[4][HALF + 1];
    __shared__ float2 z[2][2][FFT];  // from and to, pair of hops, sample
    if (rows.off()) return;
    const LogMel& r = rows.own();
    const int t = threadIdx.x;
    for (int i = t; i < TAIL + SOUND; i += THREADS) heard[i] = i < TAIL ? r.tail[i] : r.sound[i - TAIL];
    __syncthreads();
    for (int i = t; i < TAIL; i += THREADS) r.tail[i] = heard[SOUND + i];
    for (int i = t; i < 2 * FFT; i += THREADS) {
        const int pair = i / FFT, k = i % FFT;
        const float w = k < WINDOW ? window[k] : 0.f;
        const float* h = heard + 2 * pair * HOP + (k < WINDOW ? k : 0);
        z[0][pair][k] = make_float2(w * h[0], w * h[HOP]);
    }
    // Stockham's radix 2: the output of every stage is in order, from one buffer to the other.
    int from = 0;
    for (int size = 1; size < FFT; size *= 2, from ^= 1) {
        __syncthreads();
        const int k = t & (size - 1), to = 2 * (t - k) + k, turn = k * (HALF / size);
        const float c = twiddle[2 * turn], s = twiddle[2 * turn + 1];
        for (int pair = 0; pair < 2; ++pair) {
            const float2 a = z[from][pair][t], b = z[from][pair][t + HALF];
            const float x = c * b.x - s * b.y, y = c * b.y + s * b.x;
            z[from ^ 1][pair][to] = make_float2(a.x + x, a.y + y);
            z[from ^ 1][pair][to + size] = make_float2(a.x - x, a.y - y);
        }
    }
    __syncthreads();
    for (int i = t; i < 2 * (HALF + 1); i += THREADS) {
        const int pair = i / (HALF + 1), k = i % (HALF + 1);
        const float2 a = z[from][pair][k], b = z[from][pair][(FFT - k) % FFT];
        const float re0 = 0.5f * (a.x + b.x), im0 = 0.5f * (a.y - b.y);
        const float re1 = 0.5f * (a.y + b.y), im1 = 0.5f * (b.x - a.x);
        power[2 * pair][k] = re0 * re0 + im0 * im0;
        power[2 * pair + 1][k] = re1 * re1 + im1 * im1;
    }
    __syncthreads();
    for (int i = t; i < 4 * BINS; i += THREADS) {
        const int bin = i % BINS, start = begin[bin], count = begin[bin + 1] - start;
        const float* p = power[i / BINS] + first[bin];
        float sum = 0.f;
        for (int k = 0; k < count; ++k) sum += weight[start + k] * p[k];
        r.mel[i] = 0.5f * (log10f(fmaxf(sum, floor)) + 3.f);
    }
}

}  // extern "C"
