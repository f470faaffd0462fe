// CUDA C++ on a processor, for tests: what the package's kernels use of the language, in plain C++. One block runs after
// the other; its threads run one after the other or, where they wait for each other, as coroutines. A GPU keeps no such
// order: with "reversed" in the environment variable VISAVIS_EMULATE blocks and threads run from the last to the first;
// with "fused", products and sums are rounded once, as nvcc makes them. Shared memory is NaN when a block begins.

#pragma once
#include <ucontext.h>

#include <cfloat>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __shared__ static __attribute__((section("shared_memory")))
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define warpSize 32

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
struct uint3 {
    unsigned x = 0, y = 0, z = 0;
};
static dim3 blockDim, gridDim;
static uint3 threadIdx, blockIdx;

#define EMULATE_VECTOR(T, N)                                                           \
    struct N##2 { T x, y; };                                                           \
    struct N##3 { T x, y, z; };                                                        \
    struct __attribute__((aligned(4 * sizeof(T)))) N##4 { T x, y, z, w; };             \
    static inline N##2 make_##N##2(T x, T y) { return {x, y}; }                        \
    static inline N##3 make_##N##3(T x, T y, T z) { return {x, y, z}; }                \
    static inline N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMULATE_VECTOR(float, float)
EMULATE_VECTOR(int, int)
EMULATE_VECTOR(unsigned char, uchar)
EMULATE_VECTOR(signed char, char)
EMULATE_VECTOR(short, short)
EMULATE_VECTOR(unsigned short, ushort)
EMULATE_VECTOR(double, double)
struct uint2 { unsigned x, y; };
struct __attribute__((aligned(16))) uint4 { unsigned x, y, z, w; };
static inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// Arithmetic. min and max as CUDA overloads them: the wider type wins.
template <typename A, typename B>
static inline std::common_type_t<A, B> min(A a, B b) {
    using T = std::common_type_t<A, B>;
    return (T)b < (T)a ? (T)b : (T)a;
}
template <typename A, typename B>
static inline std::common_type_t<A, B> max(A a, B b) {
    using T = std::common_type_t<A, B>;
    return (T)a < (T)b ? (T)b : (T)a;
}
using std::abs;
template <typename T, typename F>
static inline T bits_as(F value) {
    static_assert(sizeof(T) == sizeof(F), "the same size");
    T out;
    std::memcpy(&out, &value, sizeof out);
    return out;
}
static inline float rsqrtf(float x) { return 1.f / std::sqrt(x); }
static inline float __frcp_rn(float x) { return 1.f / x; }
static inline float __fdividef(float x, float y) { return x / y; }
#define __expf expf
#define __logf logf
#define __sinf sinf
#define __cosf cosf
static inline void sincospif(float x, float* s, float* c) { *s = (float)sin(M_PI * x), *c = (float)cos(M_PI * x); }
static inline float __saturatef(float x) { return fminf(fmaxf(x, 0.f), 1.f); }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dsub_rn(double a, double b) { return a - b; }
static inline double __ddiv_rn(double a, double b) { return a / b; }
static inline int __float2int_rn(float x) { return (int)nearbyintf(x); }
static inline int __float2int_rd(float x) { return (int)floorf(x); }
static inline int __float2int_rz(float x) { return (int)x; }
static inline unsigned __float2uint_rn(float x) { return (unsigned)nearbyintf(x); }
static inline unsigned __float_as_uint(float x) { return bits_as<unsigned>(x); }
static inline int __float_as_int(float x) { return bits_as<int>(x); }
static inline float __uint_as_float(unsigned x) { return bits_as<float>(x); }
static inline float __int_as_float(int x) { return bits_as<float>(x); }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __ffsll(long long x) { return __builtin_ffsll(x); }
template <typename T>
static inline T __ldg(const T* p) { return *p; }

// One thread at a time: an atomic is an ordinary operation.
template <typename T, typename V>
static inline T atomicAdd(T* p, V v) { const T old = *p; *p = old + (T)v; return old; }
template <typename T, typename V>
static inline T atomicMax(T* p, V v) { const T old = *p; if (old < (T)v) *p = (T)v; return old; }
template <typename T, typename V>
static inline T atomicMin(T* p, V v) { const T old = *p; if ((T)v < old) *p = (T)v; return old; }
template <typename T, typename V>
static inline T atomicOr(T* p, V v) { const T old = *p; *p = old | (T)v; return old; }
template <typename T, typename V>
static inline T atomicAnd(T* p, V v) { const T old = *p; *p = old & (T)v; return old; }
template <typename T, typename V>
static inline T atomicExch(T* p, V v) { const T old = *p; *p = (T)v; return old; }
template <typename T, typename V, typename W>
static inline T atomicCAS(T* p, V expected, W v) { const T old = *p; if (old == (T)expected) *p = (T)v; return old; }
static inline void __threadfence() {}
static inline void __threadfence_block() {}

// Where the linker puts shared memory, if there is any.
extern "C" __attribute__((weak, visibility("hidden"))) char __start_shared_memory[], __stop_shared_memory[];

// Threads that wait for each other.
namespace emulate {

enum State { RUNS, AT_BLOCK, AT_WARP, DONE };
constexpr int THREADS = 1024, STACK = 1 << 16;
static ucontext_t home, thread[THREADS];
static char* stack = nullptr;
static State state[THREADS];
static int now = 0, count = 0;
static const char* trouble = nullptr;
static void (*body)(void**) = nullptr;
static void** arguments = nullptr;
static unsigned long long given[THREADS];  // what a thread offers to its warp

static bool reversed = false;
static int nth(int n) { return reversed ? count - 1 - n : n; }  // which thread runs as the n-th

static void place(int t) {
    now = t;
    threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / (blockDim.x * blockDim.y)};
}
static void wait(State where) {
    const int own = now;
    state[own] = where;
    swapcontext(&thread[own], &home);
}
static void enter() {
    body(arguments);
    state[now] = DONE;
    swapcontext(&thread[now], &home);
}
static bool release(int first, int last, State where) {  // lets go those that wait there, once all that live do
    bool any = false;
    for (int t = first; t < last; ++t) {
        if (state[t] != where && state[t] != DONE) return false;
        any |= state[t] == where;
    }
    for (int t = first; t < last; ++t)
        if (state[t] == where) state[t] = RUNS;
    return any;
}
static void block_of_coroutines() {
    if (!stack) stack = (char*)malloc((size_t)THREADS * STACK);
    for (int t = 0; t < count; ++t) {
        getcontext(&thread[t]);
        thread[t].uc_stack.ss_sp = stack + (size_t)t * STACK;
        thread[t].uc_stack.ss_size = STACK;
        thread[t].uc_link = nullptr;
        makecontext(&thread[t], enter, 0);
        state[t] = RUNS;
    }
    for (;;) {
        bool ran = false;
        for (int n = 0; n < count; ++n) {
            const int t = nth(n);
            if (state[t] != RUNS) continue;
            place(t);
            swapcontext(&home, &thread[t]);
            ran = true;
        }
        bool freed = false;
        for (int w = 0; w < count; w += 32) freed |= release(w, w + 32 < count ? w + 32 : count, AT_WARP);
        if (freed) continue;
        if (release(0, count, AT_BLOCK)) continue;
        if (!ran) {
            for (int t = 0; t < count; ++t)
                if (state[t] != DONE) trouble = "threads of a block wait at different barriers";
            return;
        }
    }
}
static void run(void (*f)(void**), bool coroutines, dim3 grid, dim3 size, void** p) {
    gridDim = grid, blockDim = size, body = f, arguments = p, trouble = nullptr;
    count = (int)(size.x * size.y * size.z);
    if (count > THREADS) { trouble = "more than 1024 threads a block"; return; }
    const char* order = getenv("VISAVIS_EMULATE");
    reversed = order && strstr(order, "reversed");
    const unsigned area = grid.x * grid.y, blocks = area * grid.z;
    for (unsigned k = 0; k < blocks; ++k) {
        const unsigned b = reversed ? blocks - 1 - k : k;
        blockIdx.x = b % grid.x, blockIdx.y = b / grid.x % grid.y, blockIdx.z = b / area;
        if (__start_shared_memory) memset(__start_shared_memory, 0xFF, __stop_shared_memory - __start_shared_memory);
        if (coroutines) {
            block_of_coroutines();
            if (trouble) return;
        } else {
            for (int n = 0; n < count; ++n) place(nth(n)), f(p);
        }
    }
}
template <typename T>
static T exchange(T value, int from) {  // `from`: lane
    static_assert(sizeof(T) <= 8, "a register or two");
    const int own = now;
    given[own] = 0;
    std::memcpy(&given[own], &value, sizeof(T));
    wait(AT_WARP);
    T out;
    const int source = own / 32 * 32 + from;
    std::memcpy(&out, &given[source < count ? source : own], sizeof(T));
    wait(AT_WARP);
    return out;
}
template <auto F, typename... A, size_t... I>
static void spread(void (*)(A...), void** p, std::index_sequence<I...>) {
    F(*static_cast<std::remove_cv_t<std::remove_reference_t<A>>*>(p[I])...);
}
template <typename... A>
static auto numbers(void (*)(A...)) { return std::make_index_sequence<sizeof...(A)>(); }
template <typename... A>
static int sizes(void (*)(A...), int* out) {
    const int all[] = {(int)sizeof(std::remove_reference_t<A>)..., 0};
    for (size_t i = 0; i < sizeof...(A); ++i) out[i] = all[i];
    return (int)sizeof...(A);
}
template <auto F>
static void call(void** p) { spread<F>(F, p, numbers(F)); }

}  // namespace emulate

static inline void __syncthreads() { emulate::wait(emulate::AT_BLOCK); }
static inline void __syncwarp(unsigned = ~0u) { emulate::wait(emulate::AT_WARP); }
template <typename T>
static inline T __shfl_sync(unsigned, T v, int lane, int width = 32) {
    const int own = emulate::now % 32;
    return emulate::exchange(v, own / width * width + lane % width);
}
template <typename T>
static inline T __shfl_xor_sync(unsigned, T v, int mask, int = 32) { return emulate::exchange(v, emulate::now % 32 ^ mask); }
template <typename T>
static inline T __shfl_down_sync(unsigned, T v, int by, int width = 32) {
    const int own = emulate::now % 32;
    return emulate::exchange(v, own % width + by < width ? own + by : own);
}
template <typename T>
static inline T __shfl_up_sync(unsigned, T v, int by, int width = 32) {
    const int own = emulate::now % 32;
    return emulate::exchange(v, own % width >= by ? own - by : own);
}
static inline unsigned __ballot_sync(unsigned, int predicate) {
    unsigned all = 0;
    const int own = emulate::now, first = own / 32 * 32;
    emulate::given[own] = predicate != 0;
    emulate::wait(emulate::AT_WARP);
    for (int k = 0; k < 32 && first + k < emulate::count; ++k)
        if (emulate::state[first + k] != emulate::DONE && emulate::given[first + k]) all |= 1u << k;
    emulate::wait(emulate::AT_WARP);
    return all;
}
static inline int __any_sync(unsigned m, int predicate) { return __ballot_sync(m, predicate) != 0; }
static inline int __all_sync(unsigned m, int predicate) { return __ballot_sync(m, !predicate) == 0; }

// Half precision, bfloat16 and the tensor cores' product of small matrices (kernels/half.cuh), in plain arithmetic.
#define CUDA_EMULATED
static inline float emulate_half_to_float(unsigned short h) {
    const float size = (h & 0x7c00) == 0x7c00 ? (h & 1023 ? NAN : INFINITY)
                                              : bits_as<float>((unsigned)(h & 0x7fff) << 13) * 0x1p112f;
    return h & 0x8000 ? -size : size;
}
static inline unsigned short emulate_float_to_half(float f) {  // to nearest, ties to even
    const unsigned sign = bits_as<unsigned>(f) >> 16 & 0x8000u;
    const float size = fabsf(f);
    if (size != size) return 0x7fff;
    if (size >= 65520.f) return sign | 0x7c00;
    if (size < ldexpf(1.f, -14)) return sign | (unsigned)nearbyintf(ldexpf(size, 24));
    int exponent;
    const float fraction = frexpf(size, &exponent);  // 0.5 to 1
    return sign | (((exponent + 13) << 10) + (int)nearbyintf(ldexpf(fraction, 11)));
}
namespace emulate {
static unsigned fragments[THREADS][6];
}
// d += a b of a 16 x 16 and a 16 x 8 matrix, spread over a warp as PTX spreads mma.m16n8k16 (row.col).
static inline void emulate_mma(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, float (*wide)(unsigned short)) {
    using namespace emulate;
    const int own = now, first = own / 32 * 32, group = own % 32 / 4, two = own % 4 * 2;
    for (int i = 0; i < 4; ++i) fragments[own][i] = a[i];
    fragments[own][4] = b0, fragments[own][5] = b1;
    wait(AT_WARP);
    for (int i = 0; i < 4; ++i)
        for (int k = 0; k < 16; ++k) {
            const int lane = k % 8 / 2, row = group, column = two + i % 2, shift = k % 2 * 16;
            const unsigned p = fragments[first + row * 4 + lane][i / 2 + k / 8 * 2] >> shift;
            const unsigned q = fragments[first + column * 4 + lane][4 + k / 8] >> shift;
            d[i] += wide((unsigned short)p) * wide((unsigned short)q);
        }
    wait(AT_WARP);
}
