// Moving rows of numbers: what the networks remember and are told, between sessions' own memory and the contiguous
// buffers of a batch. The definition is reference.py.
//   move   grid (x, parts, rows), 256: any x is right, ceil(largest count / 1024) gives a thread one float4

#include "rows.cuh"

#define PARTS 8

extern "C" {

// count floats. `when` null: always. `otherwise` null: the target stays. Source and target do not overlap.
struct Move {
    const float* source;
    const float* otherwise;  // copied where *when is 0
    float* target;
    const int* when;
    int count;
};

// Moves that do not touch each other's memory, done at the same time; what is not used has a count of 0.
struct Moves {
    Move part[PARTS];
};

__global__ void move(Rows<Moves> rows) {
    if (rows.off()) return;
    const Move& r = rows.own().part[blockIdx.y];
    const float* __restrict__ s = !r.when || *r.when ? r.source : r.otherwise;
    float* __restrict__ t = r.target;
    if (!s) return;
    const int n = r.count, first = blockIdx.x * blockDim.x + threadIdx.x, step = gridDim.x * blockDim.x;
    const bool aligned = ((reinterpret_cast<unsigned long long>(s) | reinterpret_cast<unsigned long long>(t)) & 15) == 0;
    const int quads = aligned ? n / 4 : 0;
    for (int i = first; i < quads; i += step)
        reinterpret_cast<float4*>(t)[i] = reinterpret_cast<const float4*>(s)[i];
    for (int i = 4 * quads + first; i < n; i += step) t[i] = s[i];
}

}  // extern "C"
