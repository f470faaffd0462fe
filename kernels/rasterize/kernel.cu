// Rasterizer: posed vertices to visibility buffer to G-buffer. The definition is reference.py; the arithmetic is
// that of cpu.py and resolve.py, the layouts those of gbuffer.cuh. One frame, z of the grid being the row of the table:
//   project     grid (ceil(V / 256) or more), 256    place, xy, record of the mesh's own vertices; empties the buffer
//   setup       grid (ceil(F / 128)), 128            slots 2 f and 2 f + 1: the triangles face f is drawn as
//   fill        grid (ceil(F / 128)), 128            a warp 32 faces, their pixels shared out among its lanes (cover.cuh)
//   resolve     grid (ceil(W / 32), ceil(H / 8)), 32 x 8
// V, F: of the largest row, at least 1. Scalars of a launch: S samples a pixel (1 or 4), H, W.
// Nothing depends on the order in which threads run: a slot belongs to a face, and the nearest triangle wins a
// sample with ties to the lower slot.

#include "rows.cuh"
#include "gbuffer.cuh"
#include "cover.cuh"

#define FAR_PIXELS 2.0e6f
#define STEP 1.5f    // pixel widths: a larger step in depth is an edge
#define EVEN 0.99f   // cosine: corner normals this close to their mean cannot make a crease
#define SMOOTH 0.85f // cosine between mean normals; a sharper bend is a crease

struct Raster {
    // The mesh: faces (F, 3); uv (V, 2); layer, face_region, face_group (F,): 0 opaque, region, material of the region;
    // wanted (F,): whose strand direction is wanted, or null; uv_area (F,): area in the texture.
    const int* faces;
    const float* uv;
    const unsigned char *layer, *face_region, *face_group, *wanted;
    const float* uv_area;
    // The frame: vertices, normals (V, 3); previous: `place` of the frame before, which may be this one's room, or null
    // where nothing moved.
    const float *vertices, *normals, *previous;
    const Lens* lens;
    // Scratch that later kernels read, see gbuffer.cuh; tangent (F, 3), written where wanted. plane and record lie on 16
    // bytes, xy on 8.
    float* place;
    int* xy;
    float* record;
    int *triangle, *owner;
    float *plane, *detail, *tangent, *fade;
    unsigned long long* buffer;
    // The G-buffer, planes (.., H, W) as kernels/rasterize/resolve.py says. coverage, share, or both may be null.
    float* depth;
    int* face;
    unsigned char* region;
    float *normal, *uv_plane, *flow, *coverage, *share;
    // With four samples: up to three further surfaces of a pixel, in rows 3 pixel ... of (3 H W, ..) arrays. They are as
    // many as it takes for the shares to sum up to the coverage; the other rows are left as they are.
    float* extra_share;
    int* extra_face;
    float *extra_depth, *extra_normal, *extra_uv;
    int vertex_count, face_count;
};

__device__ __forceinline__ int snap(float pixels) {
    return __float2int_rn(fminf(fmaxf(pixels, -FAR_PIXELS), FAR_PIXELS) * SNAP);
}

// Vertex ``out`` := the point of the edge from a (in front) to b (behind) at the near plane.
__device__ void cut(const Raster& r, int a, int b, int out, float near) {
    const float za = r.place[3 * a + 2], zb = r.place[3 * b + 2];
    const float t = (za - near) / (za - zb), q = 1.f / near;
    for (int k = 0; k < 2; ++k) {
        const float p = r.place[3 * a + k] + t * (r.place[3 * b + k] - r.place[3 * a + k]);
        r.place[3 * out + k] = p;
        r.xy[2 * out + k] = snap(p * q);
    }
    r.place[3 * out + 2] = near;
    const float *ra = r.record + RECORD * a, *rb = r.record + RECORD * b;
    float* o = r.record + RECORD * out;
    o[0] = q;
    for (int k = 1; k < 9; ++k) o[k] = (ra[k] / ra[0] + t * (rb[k] / rb[0] - ra[k] / ra[0])) * q;
}

// Interpolation planes of a slot with corners a, b, c at the picture positions given.
__device__ void planes(float* plane, const float* record, int a, int b, int c, int2 pa, int2 pb, int2 pc,
                       long long area) {
    const float unit = 1.f / SNAP, over = (float)SNAP * SNAP / (float)area;
    const float x1 = (pb.x - pa.x) * unit, y1 = (pb.y - pa.y) * unit;
    const float x2 = (pc.x - pa.x) * unit, y2 = (pc.y - pa.y) * unit;
    float va[RECORD], vb[RECORD], vc[RECORD], value[ROW], across[ROW], down[ROW];
    take(va, record + RECORD * a);
    take(vb, record + RECORD * b);
    take(vc, record + RECORD * c);
    const float n0 = va[1] + vb[1] + vc[1], n1 = va[2] + vb[2] + vc[2], n2 = va[3] + vb[3] + vc[3];
    const float length = sqrtf(n0 * n0 + n1 * n1 + n2 * n2 + 1e-20f), even = EVEN * length;
    const bool bent = va[1] * n0 + va[2] * n1 + va[3] * n2 < even * va[0] ||
                      vb[1] * n0 + vb[2] * n1 + vb[3] * n2 < even * vb[0] ||
                      vc[1] * n0 + vc[2] * n1 + vc[3] * n2 < even * vc[0];
#pragma unroll
    for (int k = 0; k < 9; ++k) {
        const float db = vb[k] - va[k], dc = vc[k] - va[k];
        value[k] = va[k];
        across[k] = cross(db, y2, dc, y1) * over;
        down[k] = cross(dc, x1, db, x2) * over;
    }
    value[9] = pa.x * unit, value[10] = pa.y * unit, value[11] = bent ? 1.f : 0.f;
    across[9] = n0 / length, across[10] = n1 / length, across[11] = n2 / length;
    down[9] = down[10] = down[11] = 0.f;
    give(plane, value);
    give(plane + ROW, across);
    give(plane + 2 * ROW, down);
}

// How much of a see-through triangle is seen: 0 edge-on, or on the far side of the volume its normals describe.
__device__ float facing(const Raster& r, const Lens& lens, int a, int b, int c) {
    float p[3][3], u[3], v[3], ray = 0.f, normal = 0.f, shading = 0.f, across = 0.f, away = 0.f;
    const int corner[3] = {a, b, c};
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        const float* q = r.place + 3 * corner[k];
        p[k][0] = q[0] - lens.cx * q[2], p[k][1] = q[1] - lens.cy * q[2], p[k][2] = q[2] * lens.focal;
    }
#pragma unroll
    for (int k = 0; k < 3; ++k) u[k] = p[1][k] - p[0][k], v[k] = p[2][k] - p[0][k];
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        const float n = u[(k + 1) % 3] * v[(k + 2) % 3] - u[(k + 2) % 3] * v[(k + 1) % 3];
        const float s = r.record[RECORD * a + 1 + k] + r.record[RECORD * b + 1 + k] + r.record[RECORD * c + 1 + k];
        ray += p[0][k] * p[0][k], normal += n * n, shading += s * s;
        across += n * p[0][k], away += s * p[0][k];
    }
    const float ratio = fabsf(across) / fmaxf(sqrtf(normal) * sqrtf(ray), 1e-20f);
    const float turned = away / fmaxf(sqrtf(shading) * sqrtf(ray), 1e-20f);
    const float edge = fminf(fmaxf((ratio - 0.05f) * 4.f, 0.f), 1.f);
    return edge * edge * (3.f - 2.f * edge) * fminf(fmaxf((0.55f - turned) * 4.f, 0.f), 1.f);
}

// Unit view-space direction in which v grows, of a face that is not cut.
__device__ void strand(const Raster& r, const Lens& lens, int a, int b, int c, float* out) {
    const float *uv = r.uv, *place = r.place;
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
    out[0] = x * over, out[1] = y * over, out[2] = z * over;
}

// Makes a slot of a triangle unless it is flat, turned away or outside the picture.
__device__ void keep(const Raster& r, const Lens& lens, int slot, int a, int b, int c, int face, int H, int W) {
    const int2* xy = reinterpret_cast<const int2*>(r.xy);
    const int2 pa = xy[a], pb = xy[b], pc = xy[c];
    const bool both_sides = r.layer[face] != 0;
    const long long area = area2(pa, pb, pc);
    if (area == 0 || (area > 0 && !both_sides)) return;
    if (max(pa.x, max(pb.x, pc.x)) <= 0 || max(pa.y, max(pb.y, pc.y)) <= 0) return;
    if (min(pa.x, min(pb.x, pc.x)) >= W * SNAP || min(pa.y, min(pb.y, pc.y)) >= H * SNAP) return;
    r.triangle[3 * slot] = a, r.triangle[3 * slot + 1] = b, r.triangle[3 * slot + 2] = c;
    r.owner[slot] = face;
    planes(r.plane + 3 * ROW * slot, r.record, a, b, c, pa, pb, pc, area);
    r.detail[face] = 0.5f * log2f((r.uv_area[face] + 1e-12f) * ((float)SNAP * SNAP / fabsf((float)area)));
    if (both_sides) r.fade[slot] = facing(r, lens, a, b, c);
    if (r.wanted && r.wanted[face]) {
        float* out = r.tangent + 3 * face;
        if (max(a, max(b, c)) < r.vertex_count) {
            strand(r, lens, a, b, c, out);
        } else {
            out[0] = out[2] = 0.f, out[1] = 1.f;  // cut by the near plane: no uv of its own
        }
    }
}

struct Point {
    float z, n0, n1, n2, u, v, f0, f1;
};

// All attributes of a slot at a point of the picture.
__device__ __forceinline__ Point surface(const float* plane, int slot, float x, float y) {
    const float4* p = reinterpret_cast<const float4*>(plane + 3 * ROW * slot);
    const float4 a0 = p[0], a1 = p[1], a2 = p[2], b0 = p[3], b1 = p[4], b2 = p[5], c0 = p[6], c1 = p[7], c2 = p[8];
    const float dx = x - a2.y, dy = y - a2.z;
    const float q = a0.x + dx * b0.x + dy * c0.x;
    const float n0 = a0.y + dx * b0.y + dy * c0.y, n1 = a0.z + dx * b0.z + dy * c0.z;
    const float n2 = a0.w + dx * b0.w + dy * c0.w;
    const float then = a2.x + dx * b2.x + dy * c2.x;
    const float over = rsqrtf(n0 * n0 + n1 * n1 + n2 * n2 + 1e-20f), back = 1.f / then;
    const bool seen = then > NEAR_Z * q;  // a point behind the previous eye has no flow
    Point s;
    s.z = 1.f / q;
    s.n0 = n0 * over, s.n1 = n1 * over, s.n2 = n2 * over;
    s.u = (a1.x + dx * b1.x + dy * c1.x) * s.z, s.v = (a1.y + dx * b1.y + dy * c1.y) * s.z;
    s.f0 = seen ? (a1.z + dx * b1.z + dy * c1.z) * back - x : 0.f;
    s.f1 = seen ? (a1.w + dx * b1.w + dy * c1.w) * back - y : 0.f;
    return s;
}

__device__ __forceinline__ void put(const Raster& r, int i, int HW, int face, const Point& p, float share,
                                    float coverage) {
    r.depth[i] = p.z;
    r.face[i] = face;
    r.region[i] = r.face_region[face];
    r.normal[i] = p.n0, r.normal[HW + i] = p.n1, r.normal[2 * HW + i] = p.n2;
    r.uv_plane[i] = p.u, r.uv_plane[HW + i] = p.v;
    r.flow[i] = p.f0, r.flow[HW + i] = p.f1;
    if (r.share) r.share[i] = share;
    if (r.coverage) r.coverage[i] = coverage;
}

__device__ __forceinline__ void put_nothing(const Raster& r, int i, int HW) {
    r.depth[i] = __int_as_float(0x7f800000);
    r.face[i] = -1;
    r.region[i] = 0;
    r.normal[i] = r.normal[HW + i] = r.normal[2 * HW + i] = 0.f;
    r.uv_plane[i] = r.uv_plane[HW + i] = r.flow[i] = r.flow[HW + i] = 0.f;
    if (r.share) r.share[i] = 0.f;
    if (r.coverage) r.coverage[i] = 0.f;
}

// Whether sample s goes on where the plane of ``slot`` does, in depth and in direction.
__device__ __forceinline__ bool continues(const Raster& r, int slot, int other, int x, int y, int s, float q,
                                          float tolerance) {
    const float *p = r.plane + 3 * ROW * slot, *o = r.plane + 3 * ROW * other;
    const float dx = x + across(4, s) * (1.f / SNAP) - p[9], dy = y + down(4, s) * (1.f / SNAP) - p[10];
    if (!(fabsf(along(p, 0, dx, dy) - q) <= tolerance * q)) return false;
    const bool bent = p[11] != 0.f || o[11] != 0.f;
    const float *m = p + ROW + 9, *n = o + ROW + 9;
    return !bent || m[0] * n[0] + m[1] * n[1] + m[2] * n[2] >= SMOOTH;
}

// A pixel whose four samples differ: its surfaces, the largest to the G-buffer and the others beside it.
__device__ void divide(const Raster& r, const int winner[4], const float near[4], int x, int y, int H, int W) {
    const int i = y * W + x;
    const float tolerance = STEP / r.lens->focal;
    int kin[4], slot[4], size[4] = {0, 0, 0, 0}, surfaces = 0, covered = 0, taken = 0, largest = 0;
    float px[4], py[4];
    for (int s = 0; s < 4; ++s) kin[s] = winner[s] < 0 ? -1 : r.face_group[r.owner[winner[s]]];
    for (int s = 0; s < 4; ++s) {
        if (winner[s] < 0 || (taken >> s & 1)) continue;
        int count = 0, own = 0, sx = 0, sy = 0;
        for (int k = s; k < 4; ++k) {
            if (winner[k] < 0 || (taken >> k & 1) || kin[k] != kin[s]) continue;
            const bool mine = winner[k] == winner[s];
            if (!mine && !continues(r, winner[s], winner[k], x, y, k, near[k], tolerance)) continue;
            ++count;
            taken |= 1 << k;
            if (mine) ++own, sx += across(4, k), sy += down(4, k);
        }
        slot[surfaces] = winner[s];
        size[surfaces] = count;
        px[surfaces] = x + (float)sx / (own * SNAP), py[surfaces] = y + (float)sy / (own * SNAP);
        if (count > size[largest]) largest = surfaces;
        covered += count;
        ++surfaces;
    }
    for (int k = 0, row = 3 * i; k < surfaces; ++k) {
        const Point p = surface(r.plane, slot[k], px[k], py[k]);
        const int face = r.owner[slot[k]];
        if (k == largest) {
            put(r, i, H * W, face, p, size[k] * 0.25f, covered * 0.25f);
        } else {
            r.extra_share[row] = size[k] * 0.25f;
            r.extra_face[row] = face;
            r.extra_depth[row] = p.z;
            r.extra_normal[3 * row] = p.n0, r.extra_normal[3 * row + 1] = p.n1, r.extra_normal[3 * row + 2] = p.n2;
            r.extra_uv[2 * row] = p.u, r.extra_uv[2 * row + 1] = p.v;
            ++row;
        }
    }
}

extern "C" {

__global__ void project(Rows<Raster> rows, int S, int H, int W) {
    if (rows.off()) return;
    const Raster r = rows.own();  // in registers: a pointer behind a reference would be read again after each store
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    unsigned long long* buffer = r.buffer;
    for (int k = i; k < S * H * W; k += gridDim.x * blockDim.x) buffer[k] = 0ull;
    if (i >= r.vertex_count) return;
    const Lens& lens = *r.lens;
    const float a = r.vertices[3 * i], b = r.vertices[3 * i + 1], c = r.vertices[3 * i + 2];
    const float x = lens.r[0] * a + lens.r[1] * b + lens.r[2] * c + lens.t[0];
    const float y = lens.r[3] * a + lens.r[4] * b + lens.r[5] * c + lens.t[1];
    const float z = lens.r[6] * a + lens.r[7] * b + lens.r[8] * c + lens.t[2];
    const float px = lens.focal * x + lens.cx * z, py = lens.focal * y + lens.cy * z;
    const float q = 1.f / fmaxf(z, lens.near);
    const float n0 = r.normals[3 * i], n1 = r.normals[3 * i + 1], n2 = r.normals[3 * i + 2];
    const float *before = r.previous, u = r.uv[2 * i], v = r.uv[2 * i + 1];
    float4* out = reinterpret_cast<float4*>(r.record + RECORD * i);
    out[0] = make_float4(q, (lens.r[0] * n0 + lens.r[1] * n1 + lens.r[2] * n2) * q,
                         (lens.r[3] * n0 + lens.r[4] * n1 + lens.r[5] * n2) * q,
                         (lens.r[6] * n0 + lens.r[7] * n1 + lens.r[8] * n2) * q);
    out[1] = make_float4(u * q, v * q, (before ? before[3 * i] : px) * q, (before ? before[3 * i + 1] : py) * q);
    out[2] = make_float4((before ? before[3 * i + 2] : z) * q, 0.f, 0.f, 0.f);
    r.place[3 * i] = px, r.place[3 * i + 1] = py, r.place[3 * i + 2] = z;
    reinterpret_cast<int2*>(r.xy)[i] = make_int2(snap(px * q), snap(py * q));
}

__global__ void setup(Rows<Raster> rows, int H, int W) {
    if (rows.off()) return;
    const Raster& r = rows.own();
    const int f = blockIdx.x * blockDim.x + threadIdx.x;
    if (f >= r.face_count) return;
    const Lens& lens = *r.lens;
    r.owner[2 * f] = r.owner[2 * f + 1] = -1;
    int a = r.faces[3 * f], b = r.faces[3 * f + 1], c = r.faces[3 * f + 2];
    const float near = lens.near;
    const bool ia = r.place[3 * a + 2] > near, ib = r.place[3 * b + 2] > near, ic = r.place[3 * c + 2] > near;
    const int inside = (int)ia + (int)ib + (int)ic;
    if (inside == 0) return;
    int q = 0;
    if (inside < 3) {
        const bool lone = inside == 1;  // turn the corners so that the one alone on its side comes first
        if (ib == lone) {
            const int t = a;
            a = b, b = c, c = t;
        } else if (ic == lone) {
            const int t = c;
            c = b, b = a, a = t;
        }
        const int p = r.vertex_count + 2 * f;
        q = p + 1;
        cut(r, lone ? a : b, lone ? b : a, p, near);
        cut(r, lone ? a : c, lone ? c : a, q, near);
        if (lone) {
            b = p, c = q;
        } else {
            a = p;
        }
    }
#pragma unroll 1
    for (int k = 0; k < (inside == 2 ? 2 : 1); ++k, b = c, c = q) keep(r, lens, 2 * f + k, a, b, c, f, H, W);
}

__global__ void fill(Rows<Raster> rows, int S, int H, int W) {
    __shared__ Walk walks[4];
    if (rows.off()) return;
    const Raster& r = rows.own();
    const int f = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32;
    Walk& w = walks[threadIdx.x / 32];
    const bool drawn = f < r.face_count && r.layer[f] == 0;
    for (int half = 0; half < 2; ++half) {  // the second slot is that of a face cut in two
        const int slot = 2 * f + half;
        const bool live = drawn && r.owner[slot] >= 0;
        if (!__any_sync(~0u, live)) continue;
        Shape& s = w.shape[lane];
        s.rows = 0;
        if (live) {
            const int2* xy = reinterpret_cast<const int2*>(r.xy);
            const int* corner = r.triangle + 3 * slot;
            const float* p = r.plane + 3 * ROW * slot;
            outline(s, xy[corner[0]], xy[corner[1]], xy[corner[2]], S, H);
            s.q = p[0], s.gx = p[ROW], s.gy = p[2 * ROW], s.x0 = p[9], s.y0 = p[10], s.slot = slot;
        }
        __syncwarp();
        unsigned long long* buffer = r.buffer;
        walk(w, lane, S, W, [&](bool active, int t, int x, int y) {
            if (!active) return;
            const Shape& shape = w.shape[t];
            for (int k = 0; k < S; ++k) {
                const int X = SNAP * x + across(S, k), Y = SNAP * y + down(S, k);
                const float q = nearness(shape, X, Y);
                if (!(q > 0.f) || !covers(shape, X, Y)) continue;
                const unsigned long long mine = (unsigned long long)__float_as_uint(q) << 32 | ~(unsigned)shape.slot;
                unsigned long long* best = buffer + (y * S + k) * W + x;
                if (*best < mine) atomicMax(best, mine);  // what is read may be old, and then is less: a test too many
            }
        });
    }
}

__global__ void resolve(Rows<Raster> rows, int S, int H, int W) {
    if (rows.off()) return;
    const Raster r = rows.own();
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= W || y >= H) return;
    const int i = y * W + x;
    int winner[4];
    float near[4];
    bool same = true;
#pragma unroll
    for (int s = 0; s < 4; ++s) {
        if (s >= S) break;
        const unsigned long long best = r.buffer[(y * S + s) * W + x];
        winner[s] = best ? (int)~(unsigned)best : -1;
        near[s] = __uint_as_float((unsigned)(best >> 32));
        same &= winner[s] == winner[0];
    }
    if (!same) {
        divide(rows.own(), winner, near, x, y, H, W);
    } else if (winner[0] < 0) {
        put_nothing(r, i, H * W);
    } else {
        put(r, i, H * W, r.owner[winner[0]], surface(r.plane, winner[0], x + 0.5f, y + 0.5f), 1.f, 1.f);
    }
}

}  // extern "C"
