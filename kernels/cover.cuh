// Which sample points triangles cover, decided in whole numbers: of two triangles that share an edge exactly one takes
// a sample on it (the top-left rule of kernels/rasterize/reference.py), however the arithmetic is compiled. Samples lie
// on whole sub-pixels, so a product of 32-bit differences in 64 bits is exact.

#pragma once
#include "gbuffer.cuh"

// A triangle, corners in sub-pixels. It covers (X, Y) where dx Y - dy X + c < 0 for all three edges.
struct Shape {
    long long c[3];
    int dx[3], dy[3];
    int first, rows;          // rows of the picture it may touch; none: covers nothing
    float q, gx, gy, x0, y0;  // nearness at (x0, y0) pixels, and along x and y
    int slot;                 // the caller's
};

// Where sample s of S lies in its pixel, in sub-pixels: the centre, or a rotated grid.
__device__ __forceinline__ int across(int S, int s) { return S == 1 ? 128 : (int)(0xA020E060u >> (8 * s) & 255u); }
__device__ __forceinline__ int down(int S, int s) { return S == 1 ? 128 : 64 * s + 32; }

// Twice the area in square sub-pixels; negative when the corners run counter-clockwise to the eye.
__device__ __forceinline__ long long area2(int2 a, int2 b, int2 c) {
    return (long long)(b.x - a.x) * (c.y - a.y) - (long long)(c.x - a.x) * (b.y - a.y);
}

// Edges and rows of a triangle in a picture of H rows; its nearness and slot are left to the caller.
__device__ __forceinline__ void outline(Shape& s, int2 a, int2 b, int2 c, int S, int H) {
    const long long area = area2(a, b, c);
    if (area > 0) {
        const int2 t = b;
        b = c, c = t;
    }
    const int x[3] = {a.x, b.x, c.x}, y[3] = {a.y, b.y, c.y};
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        const int n = (k + 1) % 3, dx = x[n] - x[k], dy = y[n] - y[k];
        const bool top_left = dy > 0 || (dy == 0 && dx < 0);
        s.dx[k] = dx, s.dy[k] = dy;
        s.c[k] = (long long)dy * x[k] - (long long)dx * y[k] - top_left;
    }
    const int top = min(y[0], min(y[1], y[2])), bottom = max(y[0], max(y[1], y[2]));
    s.first = max((top - down(S, S - 1) + SNAP - 1) >> 8, 0);
    s.rows = area ? max(min((bottom - down(S, 0) + SNAP - 1) >> 8, H) - s.first, 0) : 0;
}

__device__ __forceinline__ bool covers(const Shape& s, int X, int Y) {
    const long long e0 = (long long)s.dx[0] * Y - (long long)s.dy[0] * X + s.c[0];
    const long long e1 = (long long)s.dx[1] * Y - (long long)s.dy[1] * X + s.c[1];
    const long long e2 = (long long)s.dx[2] * Y - (long long)s.dy[2] * X + s.c[2];
    return (e0 & e1 & e2) < 0;
}

__device__ __forceinline__ float nearness(const Shape& s, int X, int Y) {
    return s.q + s.gx * (X * (1.f / SNAP) - s.x0) + s.gy * (Y * (1.f / SNAP) - s.y0);
}

// Columns [left, right) of pixel row y outside of which nothing is covered. Estimated: the numerators are exact, so a
// crossing within a picture of 8192 pixels is less than half a sub-pixel off, and one is allowed for.
__device__ __forceinline__ void span(const Shape& s, int y, int S, int W, int& left, int& right) {
    float low = 0.f, high = (float)W * SNAP;
    const int top = SNAP * y + down(S, 0), bottom = SNAP * y + down(S, S - 1);
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        const int dy = s.dy[k];
        const float over = 1.f / (float)(dy ? dy : 1);
        const float a = (float)((long long)s.dx[k] * top + s.c[k]) * over;
        const float b = (float)((long long)s.dx[k] * bottom + s.c[k]) * over;
        if (dy > 0) low = fmaxf(low, fminf(a, b));
        if (dy < 0) high = fminf(high, fmaxf(a, b));
    }
    const int near = S == 1 ? 128 : 32, far = S == 1 ? 128 : 224;
    left = max((int)ceilf(fminf((low - 1.f - far) * (1.f / SNAP), (float)W)), 0);
    right = min((int)floorf(fmaxf((high + 1.f - near) * (1.f / SNAP), -1.f)) + 1, W);
}

// What a warp shares while it walks its triangles.
struct Walk {
    Shape shape[32];
    int rows[32], width[32], y[32], left[32], of[32];
};

// Sum of the lanes up to this one.
__device__ __forceinline__ int running(int value, int lane) {
#pragma unroll
    for (int by = 1; by < 32; by *= 2) {
        const int other = __shfl_up_sync(~0u, value, by);
        if (lane >= by) value += other;
    }
    return value;
}

// The first place whose running sum is more than n.
__device__ __forceinline__ int find(const int* sums, int n) {
    int at = 0;
#pragma unroll
    for (int step = 16; step; step /= 2)
        if (sums[at + step - 1] <= n) at += step;
    return at;
}

// Visits the pixels that the 32 triangles of a warp may touch, its lanes side by side: first rows are shared out, then
// the pixels of 32 rows at a time, so slivers, specks and large triangles keep all lanes busy alike. All lanes call
// this with their own shape in place, and visit(active, t, x, y) is called by all lanes together; t: which shape.
// (A kernel that calls it must itself mention __syncwarp: the emulator looks there for who waits.)
template <typename Visit>
__device__ __forceinline__ void walk(Walk& w, int lane, int S, int W, Visit visit) {
    const int until = running(w.shape[lane].rows, lane), all = __shfl_sync(~0u, until, 31);
    w.rows[lane] = until;
    __syncwarp();
    for (int base = 0; base < all; base += 32) {
        const int item = base + lane;
        int width = 0;
        if (item < all) {
            const int t = find(w.rows, item), y = w.shape[t].first + item - (t ? w.rows[t - 1] : 0);
            int left, right;
            span(w.shape[t], y, S, W, left, right);
            width = max(right - left, 0);
            w.of[lane] = t, w.y[lane] = y, w.left[lane] = left;
        }
        const int pixels = running(width, lane), count = __shfl_sync(~0u, pixels, 31);
        w.width[lane] = pixels;
        __syncwarp();
        for (int from = 0; from < count; from += 32) {
            const int n = from + lane;
            const bool active = n < count;
            const int row = active ? find(w.width, n) : 0;
            visit(active, w.of[row], w.left[row] + n - (row ? w.width[row - 1] : 0), w.y[row]);
        }
        __syncwarp();
    }
}
