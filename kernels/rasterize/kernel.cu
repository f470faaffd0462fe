// Rasterizer: posed vertices to visibility buffer to G-buffer. The definition is reference.py; the arithmetic is
// that of cpu.py and resolve.py. Layouts are C-contiguous. One frame:
//   project     grid (ceil(V / 256))          place, xy, record of the mesh's own vertices
//   setup       grid (ceil(F / 128))          slots 2f and 2f + 1: the triangles face f is drawn as (owner -1: none)
//   clear       grid (ceil(S H W / 256))      visibility buffer to background
//   fill        grid (ceil(2 F / 4)), 128     one warp a triangle, sample rows over its lanes
//   resolve     grid (ceil(W / 16), ceil(H / 16)), 16 x 16
// Nothing depends on the order in which threads run: a slot belongs to a face, and the nearest triangle wins a
// sample with ties to the lower slot.

#define SNAP 256
#define RECORD 12
#define ROW 16
#define EDGE_EPS 1e-9
#define FAR_PIXELS 2.0e6f
#define NEAR_Z 1e-3f

extern "C" {

struct Lens {  // rotation (row-major), translation, focal, centre, near
    float r[9], t[3], focal, cx, cy, near;
};

__device__ __forceinline__ int snap(float pixels) {
    return __float2int_rn(fminf(fmaxf(pixels, -FAR_PIXELS), FAR_PIXELS) * SNAP);
}

// vertices, normals, previous (V, 3); uv (V, 2) -> place (V', 3), xy (V', 2), record (V', 12); V' = V + 2 F
__global__ void project(const float* __restrict__ vertices, const float* __restrict__ normals,
                        const float* __restrict__ uv, const float* previous, Lens lens, float* place,
                        int* __restrict__ xy, float* __restrict__ record, int V) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= V) return;
    const float a = vertices[3 * i], b = vertices[3 * i + 1], c = vertices[3 * i + 2];
    const float x = lens.r[0] * a + lens.r[1] * b + lens.r[2] * c + lens.t[0];
    const float y = lens.r[3] * a + lens.r[4] * b + lens.r[5] * c + lens.t[1];
    const float z = lens.r[6] * a + lens.r[7] * b + lens.r[8] * c + lens.t[2];
    const float px = lens.focal * x + lens.cx * z, py = lens.focal * y + lens.cy * z;
    const float q = 1.f / fmaxf(z, lens.near);
    const float n0 = normals[3 * i], n1 = normals[3 * i + 1], n2 = normals[3 * i + 2];
    float* r = record + RECORD * i;
    r[0] = q;
    r[1] = (lens.r[0] * n0 + lens.r[1] * n1 + lens.r[2] * n2) * q;
    r[2] = (lens.r[3] * n0 + lens.r[4] * n1 + lens.r[5] * n2) * q;
    r[3] = (lens.r[6] * n0 + lens.r[7] * n1 + lens.r[8] * n2) * q;
    r[4] = uv[2 * i] * q;
    r[5] = uv[2 * i + 1] * q;
    // Without a previous picture the caller passes none: nothing has moved.
    r[6] = (previous ? previous[3 * i] : px) * q;
    r[7] = (previous ? previous[3 * i + 1] : py) * q;
    r[8] = (previous ? previous[3 * i + 2] : z) * q;
    place[3 * i] = px;
    place[3 * i + 1] = py;
    place[3 * i + 2] = z;
    xy[2 * i] = snap(px * q);
    xy[2 * i + 1] = snap(py * q);
}

// Vertex ``out`` := the point of the edge from a (in front) to b (behind) at the near plane.
__device__ void cut(int a, int b, int out, float near, float* place, int* xy, float* record) {
    const float za = place[3 * a + 2], zb = place[3 * b + 2];
    const float t = (za - near) / (za - zb), q = 1.f / near;
    for (int k = 0; k < 2; ++k) {
        place[3 * out + k] = place[3 * a + k] + t * (place[3 * b + k] - place[3 * a + k]);
        xy[2 * out + k] = snap(place[3 * out + k] * q);
    }
    place[3 * out + 2] = near;
    const float *ra = record + RECORD * a, *rb = record + RECORD * b;
    float* r = record + RECORD * out;
    r[0] = q;
    for (int k = 1; k < 9; ++k) r[k] = (ra[k] / ra[0] + t * (rb[k] / rb[0] - ra[k] / ra[0])) * q;
}

// Interpolation planes of slot t, plane (T, 3, 16): value at corner 0, d/dx, d/dy; 9, 10 are the corner's position,
// 11..13 the mean normal.
__device__ void planes(int slot, int a, int b, int c, const int* xy, const float* record, float* plane) {
    const double unit = 1.0 / SNAP;
    const double x1 = (xy[2 * b] - xy[2 * a]) * unit, y1 = (xy[2 * b + 1] - xy[2 * a + 1]) * unit;
    const double x2 = (xy[2 * c] - xy[2 * a]) * unit, y2 = (xy[2 * c + 1] - xy[2 * a + 1]) * unit;
    const double over = 1.0 / (x1 * y2 - x2 * y1);
    float* p = plane + 3 * ROW * slot;
    for (int k = 0; k < 9; ++k) {
        const float va = record[RECORD * a + k];
        const double vb = record[RECORD * b + k] - va, vc = record[RECORD * c + k] - va;
        p[k] = va;
        p[ROW + k] = (float)((vb * y2 - vc * y1) * over);
        p[2 * ROW + k] = (float)((vc * x1 - vb * x2) * over);
    }
    float n[3];
    for (int k = 0; k < 3; ++k)
        n[k] = record[RECORD * a + 1 + k] + record[RECORD * b + 1 + k] + record[RECORD * c + 1 + k];
    const float length = sqrtf(n[0] * n[0] + n[1] * n[1] + n[2] * n[2] + 1e-20f);
    for (int k = 0; k < 3; ++k) p[11 + k] = n[k] / length;
    p[14] = 0.f;  // whether the corners' normals differ from their mean: only then can a crease run along it
    const int corner[3] = {a, b, c};
    for (int i = 0; i < 3; ++i) {
        const float* q = record + RECORD * corner[i];
        if (q[1] * n[0] + q[2] * n[1] + q[3] * n[2] < 0.99f * length * q[0]) p[14] = 1.f;
    }
    p[9] = (float)(xy[2 * a] * unit);
    p[10] = (float)(xy[2 * a + 1] * unit);
}

__device__ void keep(int slot, int a, int b, int c, int face, bool both_sides, int W, int H, float uv_area,
                     const int* xy, const float* record, int* triangle, int* owner, float* plane, float* detail) {
    owner[slot] = -1;
    const long long x0 = xy[2 * a], y0 = xy[2 * a + 1], x1 = xy[2 * b], y1 = xy[2 * b + 1];
    const long long x2 = xy[2 * c], y2 = xy[2 * c + 1];
    const long long area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0);
    if (area == 0 || (area > 0 && !both_sides)) return;
    if (max(x0, max(x1, x2)) <= 0 || max(y0, max(y1, y2)) <= 0) return;
    if (min(x0, min(x1, x2)) >= (long long)W * SNAP || min(y0, min(y1, y2)) >= (long long)H * SNAP) return;
    triangle[3 * slot] = a;
    triangle[3 * slot + 1] = b;
    triangle[3 * slot + 2] = c;
    owner[slot] = face;
    planes(slot, a, b, c, xy, record, plane);
    const double pixels = fabs((double)area) / ((double)SNAP * SNAP);
    detail[face] = (float)(0.5 * log2(((double)uv_area + 1e-12) / pixels));
}

// Unit view-space direction in which v grows, of a face whose corners have uv of their own.
__device__ void strand_tangent(int a, int b, int c, const float* place, const float* uv, const Lens& lens, float* out) {
    const float u1 = uv[2 * b] - uv[2 * a], u2 = uv[2 * c] - uv[2 * a];
    const float v1 = uv[2 * b + 1] - uv[2 * a + 1], v2 = uv[2 * c + 1] - uv[2 * a + 1];
    const float z1 = place[3 * b + 2] - place[3 * a + 2], z2 = place[3 * c + 2] - place[3 * a + 2];
    const float x1 = (place[3 * b] - place[3 * a] - lens.cx * z1) / lens.focal;
    const float x2 = (place[3 * c] - place[3 * a] - lens.cx * z2) / lens.focal;
    const float y1 = (place[3 * b + 1] - place[3 * a + 1] - lens.cy * z1) / lens.focal;
    const float y2 = (place[3 * c + 1] - place[3 * a + 1] - lens.cy * z2) / lens.focal;
    const float sign = u1 * v2 - u2 * v1 > 0.f ? 1.f : -1.f;
    const float x = sign * (u1 * x2 - u2 * x1), y = sign * (u1 * y2 - u2 * y1), z = sign * (u1 * z2 - u2 * z1);
    const float over = 1.f / fmaxf(sqrtf(x * x + y * y + z * z), 1e-20f);
    out[0] = x * over;
    out[1] = y * over;
    out[2] = z * over;
}

// How much of a see-through triangle is seen: 0 edge-on, or on the far side of the volume its normals describe.
__device__ float facing(int a, int b, int c, const float* place, const float* record, const Lens& lens) {
    float p[3][3], ray = 0.f, normal = 0.f, shading = 0.f, across = 0.f, away = 0.f;
    const int corner[3] = {a, b, c};
    for (int k = 0; k < 3; ++k) {
        const float* q = place + 3 * corner[k];
        p[k][0] = q[0] - lens.cx * q[2], p[k][1] = q[1] - lens.cy * q[2], p[k][2] = q[2] * lens.focal;
    }
    float u[3], v[3];
    for (int k = 0; k < 3; ++k) u[k] = p[1][k] - p[0][k], v[k] = p[2][k] - p[0][k];
    for (int k = 0; k < 3; ++k) {
        const float n = u[(k + 1) % 3] * v[(k + 2) % 3] - u[(k + 2) % 3] * v[(k + 1) % 3];
        const float s = record[RECORD * a + 1 + k] + record[RECORD * b + 1 + k] + record[RECORD * c + 1 + k];
        ray += p[0][k] * p[0][k], normal += n * n, shading += s * s;
        across += n * p[0][k], away += s * p[0][k];
    }
    const float ratio = fabsf(across) / fmaxf(sqrtf(normal) * sqrtf(ray), 1e-20f);
    const float turned = away / fmaxf(sqrtf(shading) * sqrtf(ray), 1e-20f);
    const float edge = fminf(fmaxf((ratio - 0.05f) * 4.f, 0.f), 1.f);
    return edge * edge * (3.f - 2.f * edge) * fminf(fmaxf((0.55f - turned) * 4.f, 0.f), 1.f);
}

// faces (F, 3), layer, wanted (F,), uv_area (F,) -> triangle (2 F, 3), owner (2 F,), plane (2 F, 3, 16), detail (F,),
// tangent (F, 3) where wanted, fade (2 F,) of see-through slots. Vertex rows V + 2 f and V + 2 f + 1 take the cuts of face f.
__global__ void setup(const int* __restrict__ faces, const unsigned char* __restrict__ layer,
                      const unsigned char* __restrict__ wanted, const float* __restrict__ uv_area,
                      const float* __restrict__ uv, Lens lens, float* place, int* xy, float* record, int* triangle,
                      int* owner, float* plane, float* detail, float* tangent, float* fade, int F, int V, int W,
                      int H) {
    const int f = blockIdx.x * blockDim.x + threadIdx.x;
    if (f >= F) return;
    owner[2 * f] = owner[2 * f + 1] = -1;
    int a = faces[3 * f], b = faces[3 * f + 1], c = faces[3 * f + 2];
    const float near = lens.near;
    const bool ia = place[3 * a + 2] > near, ib = place[3 * b + 2] > near, ic = place[3 * c + 2] > near;
    const int inside = (int)ia + (int)ib + (int)ic;
    if (inside == 0) return;
    const bool both = layer[f] != 0;
    if (wanted[f]) {
        if (inside == 3) {
            strand_tangent(a, b, c, place, uv, lens, tangent + 3 * f);
        } else {
            tangent[3 * f] = tangent[3 * f + 2] = 0.f;
            tangent[3 * f + 1] = 1.f;
        }
    }
    const float area = uv_area[f];
    if (inside == 3) {
        keep(2 * f, a, b, c, f, both, W, H, area, xy, record, triangle, owner, plane, detail);
        if (both) fade[2 * f] = facing(a, b, c, place, record, lens);
        return;
    }
    const bool lone = inside == 1;  // turn the corners so that the one alone on its side comes first
    if (ib == lone) {
        const int t = a;
        a = b, b = c, c = t;
    } else if (ic == lone) {
        const int t = c;
        c = b, b = a, a = t;
    }
    const int p = V + 2 * f, q = p + 1;
    if (inside == 1) {
        cut(a, b, p, near, place, xy, record);
        cut(a, c, q, near, place, xy, record);
        keep(2 * f, a, p, q, f, both, W, H, area, xy, record, triangle, owner, plane, detail);
        if (both) fade[2 * f] = facing(a, p, q, place, record, lens);
    } else {
        cut(b, a, p, near, place, xy, record);
        cut(c, a, q, near, place, xy, record);
        keep(2 * f, p, b, c, f, both, W, H, area, xy, record, triangle, owner, plane, detail);
        keep(2 * f + 1, p, c, q, f, both, W, H, area, xy, record, triangle, owner, plane, detail);
        if (both) fade[2 * f] = facing(p, b, c, place, record, lens), fade[2 * f + 1] = facing(p, c, q, place, record, lens);
    }
}

// buffer (S H, W): nearness bits in the high word (positive floats order as integers), ~slot in the low word.
__global__ void clear(unsigned long long* __restrict__ buffer, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) buffer[i] = 0ull;
}

__device__ __forceinline__ void order(int& upper, int& lower, const int* xy) {
    if (xy[2 * lower + 1] < xy[2 * upper + 1]) {
        const int t = upper;
        upper = lower, lower = t;
    }
}

// Opaque slots only. offsets (S,): x of the sample in each of a pixel's S rows. Explicitly rounded double arithmetic:
// both triangles of an edge must compute the same crossing, so nothing may be fused differently for one of them.
__global__ void fill(const int* __restrict__ xy, const int* __restrict__ triangle, const int* __restrict__ owner,
                     const unsigned char* __restrict__ layer, const float* __restrict__ plane,
                     const double* __restrict__ offsets, unsigned long long* buffer, int slots, int S, int H, int W) {
    const int slot = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
    if (slot >= slots || owner[slot] < 0 || layer[owner[slot]] != 0) return;
    int a = triangle[3 * slot], b = triangle[3 * slot + 1], c = triangle[3 * slot + 2];
    order(a, b, xy);
    order(a, c, xy);
    order(b, c, xy);
    const long long ya = xy[2 * a + 1], yb = xy[2 * b + 1], yc = xy[2 * c + 1];
    const int first = (int)max((2 * S * ya + SNAP - 1) >> 9, 0ll);
    const int last = (int)min((2 * S * yc + SNAP - 1) >> 9, (long long)S * H);
    const long long bend = (2 * S * yb + SNAP - 1) >> 9;
    const double unit = 1.0 / SNAP;
    const double ax = xy[2 * a] * unit, ay = ya * unit, bx = xy[2 * b] * unit, by = yb * unit;
    const double cx = xy[2 * c] * unit, cy = yc * unit;
    const float* p = plane + 3 * ROW * slot;
    const double long_slope = __ddiv_rn(cx - ax, cy - ay);
    for (int k = first + lane; k < last; k += 32) {
        const bool upper = k < bend;
        const double ox = upper ? ax : bx, oy = upper ? ay : by;
        const double slope = upper ? __ddiv_rn(bx - ax, by - ay) : __ddiv_rn(cx - bx, cy - by);
        const double y = __ddiv_rn(k + 0.5, (double)S), shift = offsets[k % S];
        const double x_long = __dadd_rn(__dadd_rn(ax, __dmul_rn(y - ay, long_slope)), -shift);
        const double x_short = __dadd_rn(__dadd_rn(ox, __dmul_rn(y - oy, slope)), -shift);
        const int left = (int)fmax(ceil(fmin(x_long, x_short) - EDGE_EPS), 0.0);
        const int right = (int)fmin(ceil(fmax(x_long, x_short) - EDGE_EPS), (double)W);
        float q = p[0] + p[ROW] * (float)(left + shift - p[9]) + p[2 * ROW] * (float)(y - p[10]);
        for (int x = left; x < right; ++x, q += p[ROW]) {
            if (q <= 0.f) continue;
            const unsigned long long mine = ((unsigned long long)__float_as_uint(q) << 32) | (unsigned)(~slot);
            atomicMax(buffer + (long long)k * W + x, mine);
        }
    }
}

struct Point {
    float z, n0, n1, n2, u, v, f0, f1;
};

__device__ Point surface(int slot, float x, float y, const float* plane) {
    const float* p = plane + 3 * ROW * slot;
    const float dx = x - p[9], dy = y - p[10];
    float value[9];
#pragma unroll
    for (int k = 0; k < 9; ++k) value[k] = p[k] + dx * p[ROW + k] + dy * p[2 * ROW + k];
    Point s;
    s.z = 1.f / value[0];
    const float over = rsqrtf(value[1] * value[1] + value[2] * value[2] + value[3] * value[3] + 1e-20f);
    s.n0 = value[1] * over;
    s.n1 = value[2] * over;
    s.n2 = value[3] * over;
    s.u = value[4] * s.z;
    s.v = value[5] * s.z;
    const bool seen = value[8] * s.z > NEAR_Z;  // a point behind the previous eye has no flow
    s.f0 = seen ? value[6] / value[8] - x : 0.f;
    s.f1 = seen ? value[7] / value[8] - y : 0.f;
    return s;
}

// Planes of a picture (depth, face, region, normal (3), uv (2), flow (2), coverage, share), and per pixel up to
// three further surfaces at rows 3 * pixel ...: share (0: none), face, depth, normal (3), uv (2).
struct GBuffer {
    float* depth;
    int* face;
    unsigned char* region;
    float *normal, *uv, *flow, *coverage, *share;
    float* extra_share;
    int* extra_face;
    float *extra_depth, *extra_normal, *extra_uv;
};

__global__ void resolve(const unsigned long long* __restrict__ buffer, const float* __restrict__ plane,
                        const int* __restrict__ owner, const unsigned char* __restrict__ region,
                        const unsigned char* __restrict__ group, const double* __restrict__ offsets, float tolerance,
                        GBuffer g, int S, int H, int W) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= W || y >= H) return;
    const int i = y * W + x, HW = H * W;
    int winner[4], kin[4];
    float near[4];
    for (int s = 0; s < S; ++s) {
        const unsigned long long best = buffer[(long long)(y * S + s) * W + x];
        winner[s] = best ? (int)~(unsigned)best : -1;
        near[s] = __uint_as_float((unsigned)(best >> 32));
        kin[s] = best ? group[owner[winner[s]]] : -1;
    }
    int slot[4], size[4], surfaces = 0, covered = 0, taken = 0, largest = 0;
    float px[4], py[4];
    for (int s = 0; s < S; ++s) {
        if (winner[s] < 0 || (taken >> s & 1)) continue;
        int count = 0, own = 0;
        double sx = 0.0, sy = 0.0;
        for (int r = s; r < S; ++r) {
            if (winner[r] < 0 || (taken >> r & 1) || kin[r] != kin[s]) continue;
            if (winner[r] != winner[s]) {  // does it go on where the first one's triangle does?
                const float* p = plane + 3 * ROW * winner[s];
                const float dx = x + (float)offsets[r] - p[9], dy = y + (r + 0.5f) / S - p[10];
                if (fabsf(p[0] + dx * p[ROW] + dy * p[2 * ROW] - near[r]) > tolerance * near[r]) continue;
                const float* o = plane + 3 * ROW * winner[r];
                const bool bent = p[14] != 0.f || o[14] != 0.f;
                if (bent && p[11] * o[11] + p[12] * o[12] + p[13] * o[13] < 0.85f) continue;  // a crease
            }
            ++count;
            taken |= 1 << r;
            if (winner[r] == winner[s]) {
                ++own;
                sx += x + offsets[r];
                sy += y + (r + 0.5) / S;
            }
        }
        slot[surfaces] = winner[s];
        size[surfaces] = count;
        px[surfaces] = own == S ? x + 0.5f : (float)(sx / own);
        py[surfaces] = own == S ? y + 0.5f : (float)(sy / own);
        if (count > size[largest]) largest = surfaces;
        covered += count;
        ++surfaces;
    }
    const float each = 1.f / S;
    for (int k = 0; k < 3; ++k) g.extra_share[3 * i + k] = 0.f;
    if (!surfaces) {
        g.depth[i] = __int_as_float(0x7f800000);
        g.face[i] = -1;
        g.region[i] = 0;
        for (int k = 0; k < 3; ++k) g.normal[k * HW + i] = 0.f;
        for (int k = 0; k < 2; ++k) g.uv[k * HW + i] = g.flow[k * HW + i] = 0.f;
        g.coverage[i] = g.share[i] = 0.f;
        return;
    }
    for (int k = 0, row = 3 * i; k < surfaces; ++k) {
        const Point p = surface(slot[k], px[k], py[k], plane);
        if (k == largest) {
            g.depth[i] = p.z;
            g.face[i] = owner[slot[k]];
            g.region[i] = region[owner[slot[k]]];
            g.normal[i] = p.n0, g.normal[HW + i] = p.n1, g.normal[2 * HW + i] = p.n2;
            g.uv[i] = p.u, g.uv[HW + i] = p.v;
            g.flow[i] = p.f0, g.flow[HW + i] = p.f1;
            g.share[i] = size[k] * each;
        } else {
            g.extra_share[row] = size[k] * each;
            g.extra_face[row] = owner[slot[k]];
            g.extra_depth[row] = p.z;
            g.extra_normal[3 * row] = p.n0, g.extra_normal[3 * row + 1] = p.n1, g.extra_normal[3 * row + 2] = p.n2;
            g.extra_uv[2 * row] = p.u, g.extra_uv[2 * row + 1] = p.v;
            ++row;
        }
    }
    g.coverage[i] = covered * each;
}

}  // extern "C"
