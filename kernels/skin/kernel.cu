// Blendshapes, linear blend skinning and vertex normals. The definition is reference.py. Each row is a session with a
// body of its own (kernels/skin/__init__.py makes a body's arrays). Two launches a tick, both without atomics:
//   skin      grid (ceil(largest V / 128), 1, rows), 128: one thread a vertex
//   normals   grid (ceil(largest V / 128), 1, rows), 128

#include "half.cuh"
#include "rows.cuh"

#define THREADS 128
#define MOST 64  // shapes

extern "C" {

// Sizes: V vertices, M that shapes move, A shapes, N bones. -> vertices (V, 3) in metres
struct Skin {
    const float* rest;                  // (V, 3)
    const int* moving;                  // (V,) place among the M, or -1
    const unsigned long long* touched;  // (ceil(V / 32),) bit a: shape a moves one of these 32 vertices
    const unsigned short* delta_xy;     // (A, M, 2) half precision, metres
    const unsigned short* delta_z;      // (A, M)
    const float* weights;               // (A,)
    const unsigned char* index;         // (V, 4) bones, and
    const float* weight;                // (V, 4) how much of each
    const float* bones;                 // (N, 3, 4); begins at a multiple of 16 bytes
    float* vertices;
    int V, M, A;
};

// -> normals (V, 3), unit length; a vertex of no face gets zero
struct Normals {
    const float* vertices;  // (V, 3)
    const int* weld;        // (V,) the vertex that stands for this one
    const int* begin;       // (V + 1,) faces around vertex w: around[begin[w]] to around[begin[w + 1]]
    const int* around;      // (3 F, 3)
    const unsigned char* fixed;  // (V,) 1: rest_normal turned with the bones
    const float* rest_normal;    // (V, 3)
    const unsigned char* index;
    const float* weight;
    const float* bones;
    float* normals;
    int V;
};

// p turned (and with `one` 1 moved) by the bones of vertex v.
__device__ __forceinline__ float3 blended(const unsigned char* index, const float* weight, const float* bones, int v,
                                          float3 p, float one) {
    const uchar4 i = reinterpret_cast<const uchar4*>(index)[v];
    const float4 w = reinterpret_cast<const float4*>(weight)[v];
    const int bone[4] = {i.x, i.y, i.z, i.w};
    const float share[4] = {w.x, w.y, w.z, w.w};
    float3 sum = make_float3(0.f, 0.f, 0.f);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        if (!(share[k] > 0.f)) continue;
        const float4* m = reinterpret_cast<const float4*>(bones) + 3 * bone[k];
        const float4 x = m[0], y = m[1], z = m[2];
        sum.x += share[k] * (x.x * p.x + x.y * p.y + x.z * p.z + one * x.w);
        sum.y += share[k] * (y.x * p.x + y.y * p.y + y.z * p.z + one * y.w);
        sum.z += share[k] * (z.x * p.x + z.y * p.y + z.z * p.z + one * z.w);
    }
    return sum;
}

__global__ void __launch_bounds__(THREADS) skin(Rows<Skin> rows) {
    if (rows.off()) return;
    const Skin& r = rows.own();
    const int v = blockIdx.x * THREADS + threadIdx.x, lane = threadIdx.x % 32;
    if (v - lane >= r.V) return;
    const float* __restrict__ weights = r.weights;
    // Shapes that are seen in this frame and move something of this warp.
    const unsigned low = __ballot_sync(~0u, lane < r.A && weights[lane] != 0.f);
    const unsigned high = __ballot_sync(~0u, lane + 32 < r.A && weights[lane + 32] != 0.f);
    unsigned long long seen = ((unsigned long long)high << 32 | low) & r.touched[v / 32];
    if (v >= r.V) return;
    const float* __restrict__ rest = r.rest;
    float3 p = make_float3(rest[3 * v], rest[3 * v + 1], rest[3 * v + 2]);
    const int m = seen ? r.moving[v] : -1;
    if (m >= 0) {
        const ushort2* __restrict__ xy = reinterpret_cast<const ushort2*>(r.delta_xy) + m;
        const unsigned short* __restrict__ zs = r.delta_z + m;
        while (seen) {  // the same for the whole warp; four reads on their way at a time
            float w[4];
            ushort2 d[4];
            unsigned short z[4];
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                const int a = seen ? __ffsll(seen) - 1 : 0;
                w[k] = seen ? weights[a] : 0.f;
                d[k] = xy[(long long)a * r.M];
                z[k] = zs[(long long)a * r.M];
                seen &= seen - 1;
            }
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                p.x += w[k] * Half::wide(d[k].x);
                p.y += w[k] * Half::wide(d[k].y);
                p.z += w[k] * Half::wide(z[k]);
            }
        }
    }
    const float3 q = blended(r.index, r.weight, r.bones, v, p, 1.f);
    float* o = r.vertices + 3 * v;
    o[0] = q.x;
    o[1] = q.y;
    o[2] = q.z;
}

__global__ void __launch_bounds__(THREADS) normals(Rows<Normals> rows) {
    if (rows.off()) return;
    const Normals& r = rows.own();
    const int v = blockIdx.x * THREADS + threadIdx.x;
    if (v >= r.V) return;
    float3 n = make_float3(0.f, 0.f, 0.f);
    float shortest = 1e-20f;
    if (r.fixed[v]) {
        const float* u = r.rest_normal + 3 * v;
        n = blended(r.index, r.weight, r.bones, v, make_float3(u[0], u[1], u[2]), 0.f);
        shortest = 1e-12f;
    } else {
        const float* __restrict__ vertices = r.vertices;
        const int* __restrict__ around = r.around;
        const int w = r.weld[v], stop = r.begin[w + 1];
        for (int e = r.begin[w]; e < stop; ++e) {
            const float* a = vertices + 3 * around[3 * e];
            const float* b = vertices + 3 * around[3 * e + 1];
            const float* c = vertices + 3 * around[3 * e + 2];
            const float ax = b[0] - a[0], ay = b[1] - a[1], az = b[2] - a[2];
            const float bx = c[0] - a[0], by = c[1] - a[1], bz = c[2] - a[2];
            n.x += ay * bz - az * by;
            n.y += az * bx - ax * bz;
            n.z += ax * by - ay * bx;
        }
    }
    const float scale = 1.f / fmaxf(sqrtf(n.x * n.x + n.y * n.y + n.z * n.z), shortest);
    float* o = r.normals + 3 * v;
    o[0] = n.x * scale;
    o[1] = n.y * scale;
    o[2] = n.z * scale;
}

}  // extern "C"
