// Blendshapes + linear blend skinning + vertex normals for a batch of B poses of one body.
// The definition is reference.py. Layouts are C-contiguous; blockIdx.y is the pose. Three launches a tick:
//   skin          grid (ceil(V / 256), B)   writes vertices and clears total
//   face_normals  grid (ceil(F / 256), B)   adds area-weighted face normals at welded vertices
//   finish        grid (ceil(V / 256), B)   unit normals; rows with a fixed rest normal are turned instead

extern "C" {

__device__ __forceinline__ float3 apply(const float* m, float3 p, float one) {
    return make_float3(m[0] * p.x + m[1] * p.y + m[2] * p.z + one * m[3],
                       m[4] * p.x + m[5] * p.y + m[6] * p.z + one * m[7],
                       m[8] * p.x + m[9] * p.y + m[10] * p.z + one * m[11]);
}

__device__ __forceinline__ float3 blended(const unsigned char* index, const float* weight, const float* bones,
                                          float3 p, float one) {
    float3 sum = make_float3(0.f, 0.f, 0.f);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const float w = weight[k];
        if (w > 0.f) {
            const float3 q = apply(bones + 12 * index[k], p, one);
            sum.x += w * q.x;
            sum.y += w * q.y;
            sum.z += w * q.z;
        }
    }
    return sum;
}

// rest (V, 3); row (V,) row of the vertex in deltas or -1; deltas (A, M, 3); weights (B, A);
// index, weight (V, 4); bones (B, N, 3, 4) -> vertices, total (B, V, 3)
__global__ void skin(const float* __restrict__ rest, const int* __restrict__ row, const float* __restrict__ deltas,
                     const float* __restrict__ weights, const unsigned char* __restrict__ index,
                     const float* __restrict__ weight, const float* __restrict__ bones,
                     float* __restrict__ vertices, float* __restrict__ total, int V, int M, int A, int N) {
    const int v = blockIdx.x * blockDim.x + threadIdx.x;
    const int b = blockIdx.y;
    if (v >= V) return;
    float3 p = make_float3(rest[3 * v], rest[3 * v + 1], rest[3 * v + 2]);
    const int m = row[v];
    if (m >= 0) {
        for (int a = 0; a < A; ++a) {
            const float w = weights[b * A + a];
            if (w == 0.f) continue;  // the same for the whole block: no divergence
            const float* d = deltas + 3 * ((long long)a * M + m);
            p.x += w * d[0];
            p.y += w * d[1];
            p.z += w * d[2];
        }
    }
    const float3 q = blended(index + 4 * v, weight + 4 * v, bones + 12 * (long long)b * N, p, 1.f);
    const long long o = 3 * ((long long)b * V + v);
    vertices[o] = q.x;
    vertices[o + 1] = q.y;
    vertices[o + 2] = q.z;
    total[o] = total[o + 1] = total[o + 2] = 0.f;
}

__global__ void face_normals(const float* __restrict__ vertices, const int* __restrict__ faces,
                             const int* __restrict__ weld, float* __restrict__ total, int V, int F) {
    const int f = blockIdx.x * blockDim.x + threadIdx.x;
    if (f >= F) return;
    const long long base = 3LL * blockIdx.y * V;
    const int id[3] = {faces[3 * f], faces[3 * f + 1], faces[3 * f + 2]};
    const float* p0 = vertices + base + 3 * id[0];
    const float* p1 = vertices + base + 3 * id[1];
    const float* p2 = vertices + base + 3 * id[2];
    const float ax = p1[0] - p0[0], ay = p1[1] - p0[1], az = p1[2] - p0[2];
    const float bx = p2[0] - p0[0], by = p2[1] - p0[1], bz = p2[2] - p0[2];
    const float n[3] = {ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx};
    for (int corner = 0; corner < 3; ++corner) {
        float* t = total + base + 3 * weld[id[corner]];
        for (int c = 0; c < 3; ++c) atomicAdd(t + c, n[c]);
    }
}

// fixed (V,) u8; rest_normal (V, 3) used where fixed is set
__global__ void finish(const float* __restrict__ total, const int* __restrict__ weld,
                       const unsigned char* __restrict__ fixed, const float* __restrict__ rest_normal,
                       const unsigned char* __restrict__ index, const float* __restrict__ weight,
                       const float* __restrict__ bones, float* __restrict__ normals, int V, int N) {
    const int v = blockIdx.x * blockDim.x + threadIdx.x;
    const int b = blockIdx.y;
    if (v >= V) return;
    float3 n;
    if (fixed[v]) {
        const float3 r = make_float3(rest_normal[3 * v], rest_normal[3 * v + 1], rest_normal[3 * v + 2]);
        n = blended(index + 4 * v, weight + 4 * v, bones + 12 * (long long)b * N, r, 0.f);
    } else {
        const float* t = total + 3 * ((long long)b * V + weld[v]);
        n = make_float3(t[0], t[1], t[2]);
    }
    const float scale = 1.f / fmaxf(sqrtf(n.x * n.x + n.y * n.y + n.z * n.z), 1e-20f);
    float* o = normals + 3 * ((long long)b * V + v);
    o[0] = n.x * scale;
    o[1] = n.y * scale;
    o[2] = n.z * scale;
}

}  // extern "C"
