// Numbers of half the size as raw bits, and the tensor cores' product of small matrices, without the headers that NVRTC
// does not carry. Each type has
//   LANES         numbers in 16 bytes
//   wide, narrow  to float, and back to the nearest (ties to even)
//   multiply      d (16 x 8) += a (16 x 16) b (16 x 8), spread over a warp as PTX spreads mma.m16n8k16.row.col: with
//                 g = lane / 4 and t = lane % 4, a holds rows g, g + 8, g, g + 8 at columns 2t (twice) and 2t + 8 (twice), two
//                 neighbours a word; b0, b1 column g at rows 2t and 2t + 8; d rows g, g, g + 8, g + 8 at columns 2t, 2t + 1.

#pragma once

struct Half {
    static const int LANES = 8;
    static __device__ __forceinline__ float wide(unsigned short bits) {
#ifdef CUDA_EMULATED
        return emulate_half_to_float(bits);
#else
        float out;
        asm("cvt.f32.f16 %0, %1;" : "=f"(out) : "h"(bits));
        return out;
#endif
    }
    static __device__ __forceinline__ unsigned short narrow(float value) {
#ifdef CUDA_EMULATED
        return emulate_float_to_half(value);
#else
        unsigned short out;
        asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out) : "f"(value));
        return out;
#endif
    }
    static __device__ __forceinline__ void multiply(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
#ifdef CUDA_EMULATED
        emulate_mma(d, a, b0, b1, wide);
#elif __CUDA_ARCH__ >= 800
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else  // Turing: half as deep
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(b0));
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[2]), "r"(a[3]), "r"(b1));
#endif
    }
};

struct Bfloat {
    static const int LANES = 8;
    static __device__ __forceinline__ float wide(unsigned short bits) { return __uint_as_float((unsigned)bits << 16); }
    static __device__ __forceinline__ unsigned short narrow(float value) {
        const unsigned bits = __float_as_uint(value);
        if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;  // not a number
        return (unsigned short)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
    }
    static __device__ __forceinline__ void multiply(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
#ifdef CUDA_EMULATED
        emulate_mma(d, a, b0, b1, wide);
#elif __CUDA_ARCH__ >= 800
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
        __trap();  // Turing's tensor cores do not know it: kernels/experts says so before anything is launched
#endif
    }
};

// Two numbers to a word, the first in the lower half.
template <typename T>
__device__ __forceinline__ unsigned pack(float first, float second) {
    return (unsigned)T::narrow(first) | (unsigned)T::narrow(second) << 16;
}
template <typename T>
__device__ __forceinline__ float lower(unsigned word) { return T::wide((unsigned short)(word & 0xffffu)); }
template <typename T>
__device__ __forceinline__ float upper(unsigned word) { return T::wide((unsigned short)(word >> 16)); }
