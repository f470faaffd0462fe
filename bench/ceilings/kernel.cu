// What the roof over the other kernels is made of: how fast this GPU copies, multiplies and starts a kernel.
// Grids: copy (blocks of 16-byte words, 4 a thread), multiply (any), nothing (1).

extern "C" {

// target = source, ``words`` of 16 bytes. Grid x * block x * 4 >= words.
__global__ void copy(const uint4* __restrict__ source, uint4* __restrict__ target, long long words) {
    long long i = (long long)blockIdx.x * blockDim.x * 4 + threadIdx.x;
    uint4 kept[4];
#pragma unroll
    for (int k = 0; k < 4; ++k)
        if (i + k * blockDim.x < words) kept[k] = source[i + k * blockDim.x];
#pragma unroll
    for (int k = 0; k < 4; ++k)
        if (i + k * blockDim.x < words) target[i + k * blockDim.x] = kept[k];
}

// ``rounds`` times 8 products and sums a thread that do not wait for each other; the sum keeps them from being left out.
__global__ void multiply(float* out, int rounds, float by) {
    float x[8];
#pragma unroll
    for (int k = 0; k < 8; ++k) x[k] = threadIdx.x + k;
    for (int i = 0; i < rounds; ++i) {
#pragma unroll
        for (int k = 0; k < 8; ++k) x[k] = x[k] * by + 1.0f;
    }
    float sum = 0;
#pragma unroll
    for (int k = 0; k < 8; ++k) sum += x[k];
    out[(long long)blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

__global__ void nothing() {}

}
