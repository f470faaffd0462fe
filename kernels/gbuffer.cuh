// What the drawing kernels share: constants, layouts, and how an interpolation plane is read.
//
//   place  (V', 3) f32   homogeneous picture position (x z, y z, z); V' = V + 2 F: rows V + 2 f, V + 2 f + 1 are the
//                        cuts of face f at the near plane. The first V rows are the next frame's `previous`.
//   xy     (V', 2) i32   picture position, in 1 / SNAP pixels
//   record (V', RECORD)  1 / z, then over z: normal (3), uv (2), previous homogeneous position (3); padded
//   triangle (2 F, 3) i32, owner (2 F,) i32: slots 2 f and 2 f + 1 are what face f is drawn as; owner -1: nothing
//   plane  (2 F, 3, ROW) value at corner 0, d/dx, d/dy of those nine. Further, in the row of values: 9, 10 the corner's
//                        position in pixels, 11 whether the corners' normals differ (0 or 1); in the row d/dx: 9..11 the
//                        mean normal. Of slots that are drawn only.
//   detail (F,)          log2 of the uv length a pixel spans; fade (2 F,) how much of a see-through slot is seen
//   buffer (S H, W) u64  visibility, S samples a pixel below each other: nearness bits in the high word, ~slot in the
//                        low one; 0: background
//   layer  (H, W, ENTRY) blended layer, dense: kernels/blend/cpu.py's slots 0..14; 15 is the sum of log2 of what each
//                        fragment lets through. Weight (13) 0: no fragment.

#pragma once

#define SNAP 256
#define RECORD 12
#define ROW 12
#define ENTRY 16
#define NEAR_Z 1e-3f  // metres; closer than this to the previous eye, a point has no usable flow

// Of a frame: rotation (row-major) and translation from world to view; focal and centre in pixels; near plane, and the
// viewer's distance, at which nearness weighs 1 in the blended layer, in metres.
struct Lens {
    float r[9], t[3], focal, cx, cy, near, distance;
};

// A plane's row k at (dx, dy) pixels from the corner it is given at.
__device__ __forceinline__ float along(const float* __restrict__ p, int k, float dx, float dy) {
    return p[k] + dx * p[ROW + k] + dy * p[2 * ROW + k];
}

// a b - c d without the error of the products (Kahan's difference), so that slivers need no double precision.
__device__ __forceinline__ float cross(float a, float b, float c, float d) {
    const float w = __fmul_rn(c, d);
    return fmaf(a, b, -w) + fmaf(-c, d, w);
}

// Twelve numbers to and from memory, four at a time.
__device__ __forceinline__ void take(float* to, const float* from) {
#pragma unroll
    for (int k = 0; k < 12; k += 4) {
        const float4 v = *reinterpret_cast<const float4*>(from + k);
        to[k] = v.x, to[k + 1] = v.y, to[k + 2] = v.z, to[k + 3] = v.w;
    }
}

__device__ __forceinline__ void give(float* to, const float* from) {
#pragma unroll
    for (int k = 0; k < 12; k += 4)
        *reinterpret_cast<float4*>(to + k) = make_float4(from[k], from[k + 1], from[k + 2], from[k + 3]);
}
