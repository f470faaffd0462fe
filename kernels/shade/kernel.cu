// Shading: G-buffer, blended layer and textures to an sRGB picture. The definition is reference.py; the arithmetic is
// that of light.py and cpu.py. After kernels/rasterize and kernels/blend, z of the grid being the row of the table:
//   map_project  grid (ceil(V / 256)), 256          the shadow map: vertices to its texels; empties it
//   map_fill     grid (ceil(N / 128)), 128          a warp 32 casters, one sample a texel, distance linear in it
//   map_blur     grid (ceil(M / 16), ceil(M / 16)), 16 x 16
//   shade        grid (ceil(W / 16), ceil(H / 16)), 16 x 16: one thread a pixel, all its surfaces, then the encoding
// V, N: of the largest row, at least 1. Scalars of a launch: M side of the shadow map, R radius of its blur, H, W.

#include "rows.cuh"
#include "gbuffer.cuh"
#include "cover.cuh"
#include "texture.cuh"

#define FAR 1.f
#define HIDDEN (1.f / 512.f)  // of the light behind: less changes no byte of the picture

struct Scene {  // of a frame
    float lens[3];           // 1 / focal, centre x, centre y
    float to_map[12];        // world to texels of the shadow map, and metres behind the plane it aims at (3, 4)
    float to_light[12];      // view space to the same
    float lamps[3][6], ambient[2][3], up[3], exposure;
    float reach[8], open[8]; // by class of cavity: see kernels/texture.py Paint; open: its floor
};

struct Shade {
    // The shadow map: vertices (V, 3) in the world, faces (F, 3), casters (N,), scratch map_xy (V, 2) and nearness (V,),
    // map (M, M): bits of the greatest nearness, FAR - distance, as positive floats order as integers; moment (M, M, 2).
    const float* vertices;
    const int *faces, *casters;
    int* map_xy;
    float* nearness;
    unsigned* map;
    float2* moment;
    // As kernels/rasterize left them.
    const float* depth;
    const int* face;
    const unsigned char* region;
    const float *normal, *uv_plane, *coverage, *share, *extra_share;
    const int* extra_face;
    const float *extra_depth, *extra_normal, *extra_uv;
    // What faces wear, and the blended layer.
    Texture texture;
    const float *tangent, *detail;
    float bias;
    const unsigned char *face_region, *cavity;
    const float* layer;
    const Scene* scene;
    // background (H, W, 3); decode (256,) sRGB byte to linear; encode (steps,) linear to sRGB byte -> rgb (H, W, 3), alpha
    const unsigned char* background;
    const float* decode;
    const unsigned char* encode;
    unsigned char *rgb, *alpha;
    int vertex_count, caster_count, steps;
};

struct Point {
    float n[3], v[3], t[3], rgb[3], ao, gloss, sss, strand, lit, open;
};

__device__ float lit_part(const float2* moment, int M, float x, float y, float d) {
    const float limit = (float)M - 1.001f;
    x -= 0.5f, y -= 0.5f;
    if (!(x >= 0.f && y >= 0.f && x < limit && y < limit)) return 1.f;
    const int ix = (int)x, iy = (int)y;
    const float fx = x - ix, fy = y - iy;
    const float2 *upper = moment + iy * M + ix, *lower = upper + M;
    const float m0 = upper[0].x + fx * (upper[1].x - upper[0].x), m1 = lower[0].x + fx * (lower[1].x - lower[0].x);
    const float s0 = upper[0].y + fx * (upper[1].y - upper[0].y), s1 = lower[0].y + fx * (lower[1].y - lower[0].y);
    const float mean = m0 + fy * (m1 - m0), square = s0 + fy * (s1 - s0), behind = d - mean;
    if (behind <= 0.f) return 1.f;
    const float variance = fmaxf(square - mean * mean, 4e-6f);
    return fmaxf(variance / (variance + behind * behind) - 0.15f, 0.f) * (1.f / 0.85f);
}

// Part of the key light that reaches a point in view space, looked up 1.5 mm off the surface.
__device__ float shadow(const Scene& s, const float2* moment, int M, float q0, float q1, float q2, const float* n) {
    q0 += 0.0015f * n[0], q1 += 0.0015f * n[1], q2 += 0.0015f * n[2];
    const float* m = s.to_light;
    return lit_part(moment, M, m[0] * q0 + m[1] * q1 + m[2] * q2 + m[3], m[4] * q0 + m[5] * q1 + m[6] * q2 + m[7],
                    m[8] * q0 + m[9] * q1 + m[10] * q2 + m[11]);
}

__device__ __forceinline__ float dot3(const float* a, const float* b) {
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

__device__ __forceinline__ float clamp01(float x) { return fminf(fmaxf(x, 0.f), 1.f); }

struct Lamp {
    float skin[3], specular, hair, first, second;
};

__device__ Lamp lamp(const Point& p, const float* l, float nv, float rough) {
    Lamp out;
    const float nl = dot3(p.n, l);
    const float wrap[3] = {0.10f + 0.26f * p.sss, 0.10f + 0.10f * p.sss, 0.10f + 0.04f * p.sss};
    for (int c = 0; c < 3; ++c) {
        const float d = fmaxf((nl + wrap[c]) / (1.f + wrap[c]), 0.f);
        out.skin[c] = d * (d * 0.35f + 0.65f);
    }
    float h[3] = {l[0] + p.v[0], l[1] + p.v[1], l[2] + p.v[2]};
    const float over = rsqrtf(dot3(h, h) + 1e-8f);
    for (int c = 0; c < 3; ++c) h[c] *= over;
    const float nh = fmaxf(dot3(p.n, h), 0.f), vh = fmaxf(dot3(p.v, h), 0.f), front = fmaxf(nl, 0.f);
    float fresnel = (1.f - vh) * (1.f - vh);
    fresnel = 0.028f + 0.972f * fresnel * fresnel * (1.f - vh);
    const float k = (rough + 1.f) * (rough + 1.f) * 0.125f;
    const float shape = front / ((front * (1.f - k) + k) * (nv * (1.f - k) + k));
    const float a = rough * rough * rough * rough, b = a * 0.1296f;
    const float d = nh * nh * (a - 1.f) + 1.f, e = nh * nh * (b - 1.f) + 1.f;
    out.specular = 0.0796f * shape * fresnel * (0.75f * a / (d * d) + 0.35f * b / (e * e));
    const float tl = dot3(p.t, l), th = dot3(p.t, h);
    out.hair = sqrtf(fmaxf(1.f - tl * tl, 0.f)) * clamp01(nl * 0.75f + 0.35f);
    float first = fmaxf(1.f - (th + 0.07f) * (th + 0.07f), 0.f), second = fmaxf(1.f - (th - 0.12f) * (th - 0.12f), 0.f);
    first *= first, first *= first, first *= first;
    second *= second, second *= second;
    const float seen = clamp01(nl * 1.4f + 0.25f);
    out.first = first * first * first * seen;  // sine to the power 48
    out.second = second * seen;                // and 8
    return out;
}

__device__ __forceinline__ float film(float c) {
    return clamp01(c * (2.51f * c + 0.03f) / (c * (2.43f * c + 0.59f) + 0.14f));
}

__device__ void light(Point& p, const Scene& s, float* out) {
    const float tn = dot3(p.t, p.n);
    for (int c = 0; c < 3; ++c) p.t[c] -= tn * p.n[c];
    const float size = rsqrtf(dot3(p.t, p.t) + 1e-8f);
    for (int c = 0; c < 3; ++c) p.t[c] *= size;
    const float ao = p.ao * p.open, rough = 0.64f - 0.44f * p.gloss, half = 0.5f + 0.5f * ao, keep = 1.f - p.strand;
    const float nv = fmaxf(dot3(p.n, p.v), 0.06f);
    const float polish = clamp01((p.gloss - 0.06f) * 5.f);
    const float sky = dot3(p.n, s.up) * 0.5f + 0.5f;
    float grazing = (1.f - nv) * (1.f - nv);
    grazing *= grazing;
    const float room = (0.03f + 0.25f * grazing) * ao * keep * (0.4f + 0.6f * p.gloss);
    const float through[3] = {p.sss * 0.14f, p.sss * 0.04f, 0.f};
    const float tint[3] = {1.f + 0.28f * p.sss * (1.f - ao), 1.f, 1.f - 0.10f * p.sss * (1.f - ao)};
    float diffuse[3], shine = 0.f, white = 0.f, glow = 0.f;
    for (int c = 0; c < 3; ++c)
        diffuse[c] = (s.ambient[1][c] + (s.ambient[0][c] - s.ambient[1][c]) * sky) * ao * tint[c];
    for (int i = 0; i < 3; ++i) {
        const Lamp l = lamp(p, s.lamps[i], nv, rough);
        const float* colour = s.lamps[i] + 3;
        const float power = (colour[0] + colour[1] + colour[2]) * (1.f / 3.f);
        for (int c = 0; c < 3; ++c) {
            const float arriving = i == 0 ? (p.lit * (1.f - through[c]) + through[c]) * half : ao * tint[c];
            diffuse[c] += colour[c] * arriving * (keep * l.skin[c] + p.strand * l.hair);
        }
        shine += power * l.specular * (i == 0 ? half * p.lit : i == 1 ? half : ao);
        const float glint = power * (i == 0 ? p.lit : i == 1 ? 1.f : 0.35f);
        white += glint * l.first;
        glow += glint * l.second;
    }
    // Wet eyes: the window of the key lamp in the cornea, drawn toward the viewer so that the lid does not hide it.
    float m[3];
    for (int c = 0; c < 3; ++c) m[c] = s.lamps[0][c] + 2.5f * p.v[c];
    float window = clamp01((dot3(p.n, m) * rsqrtf(dot3(m, m)) - 0.989f) * 160.f);
    const float key = (s.lamps[0][3] + s.lamps[0][4] + s.lamps[0][5]) * (1.f / 3.f);
    window = 0.8f * clamp01((p.gloss - 0.8f) * 8.f) * key * window * window * (3.f - 2.f * window);
    const float wet = keep * window * p.open * (0.4f + 0.6f * p.lit);
    const float add = wet + keep * polish * shine + p.strand * ao * 0.15f * p.gloss * white;
    for (int c = 0; c < 3; ++c) {
        const float x = p.rgb[c];
        const float albedo = x * (x * (x * 0.305306011f + 0.682171111f) + 0.012522878f);
        const float sky_colour = s.ambient[1][c] + (s.ambient[0][c] - s.ambient[1][c]) * sky;
        out[c] = film(s.exposure * (albedo * (diffuse[c] + 0.55f * p.strand * ao * glow) + add + room * sky_colour));
    }
}

// How open to light an eye or mouth pixel is: ``floor`` right under the lid or lip, 1 from ``reach`` pixels below it.
__device__ float opening(const unsigned char* region, const unsigned char* cavity, int x, int y, int W, float reach,
                         float floor) {
    const int own = cavity[region[y * W + x]] >> 1, far = (int)reach + 1;
    int steps = 0;
    while (steps < far && y - steps - 1 >= 0 && cavity[region[(y - steps - 1) * W + x]] >> 1 == own) ++steps;
    const float part = fminf(steps / reach, 1.f);
    return floor + (1.f - floor) * part * (2.f - part);
}

__device__ void lit_surface(const Shade& r, const Scene& s, int M, int x, int y, int face, float z, const float* n,
                            float u, float v, float open, float* out) {
    const float p0 = (x + 0.5f - s.lens[1]) * s.lens[0], p1 = (y + 0.5f - s.lens[2]) * s.lens[0];
    const float over = rsqrtf(p0 * p0 + p1 * p1 + 1.f);
    const Texel t = fetch(r.texture, u, v, (int)fmaxf(r.detail[face] + r.bias, 0.f));
    const float opaque = 1.f / fmaxf(t.a, 1e-3f);
    const float* tangent = r.tangent + 3 * face;
    Point p = {{n[0], n[1], n[2]}, {-p0 * over, -p1 * over, -over}, {tangent[0], tangent[1], tangent[2]},
               {t.r * opaque, t.g * opaque, t.b * opaque}, t.ao, t.gloss, t.sss, t.strand,
               shadow(s, r.moment, M, p0 * z, p1 * z, z, n), open};
    light(p, s, out);
}

__device__ void lit_entry(const Shade& r, const Scene& s, int M, const float* e, int x, int y, float* out) {
    const float over = 1.f / e[13], z = e[14] * over;
    const float size = rsqrtf(e[7] * e[7] + e[8] * e[8] + e[9] * e[9] + 1e-20f);
    const float n[3] = {e[7] * size, e[8] * size, e[9] * size};
    const float p0 = (x + 0.5f - s.lens[1]) * s.lens[0], p1 = (y + 0.5f - s.lens[2]) * s.lens[0];
    const float ray = rsqrtf(p0 * p0 + p1 * p1 + 1.f);
    Point p = {{n[0], n[1], n[2]}, {-p0 * ray, -p1 * ray, -ray}, {e[10], e[11], e[12]},
               {e[0] * over, e[1] * over, e[2] * over}, e[3] * over, e[4] * over, e[5] * over, e[6] * over,
               shadow(s, r.moment, M, p0 * z, p1 * z, z, n), 1.f};
    light(p, s, out);
}

// Display-linear light of a pixel's opaque surfaces, each times its share of the pixel.
__device__ void solid(const Shade& r, const Scene& s, int M, int x, int y, float share, float covered, int H, int W,
                      float* sum) {
    const int i = y * W + x, HW = H * W, hollow = r.cavity[r.region[i]];
    const float z = r.depth[i];
    const float open = hollow ? opening(r.region, r.cavity, x, y, W, s.reach[hollow] / z, s.open[hollow]) : 1.f;
    float n[3] = {r.normal[i], r.normal[HW + i], r.normal[2 * HW + i]}, colour[3];
    lit_surface(r, s, M, x, y, r.face[i], z, n, r.uv_plane[i], r.uv_plane[HW + i], open, colour);
    for (int c = 0; c < 3; ++c) sum[c] = share * colour[c];
    float part = 0.f;
    for (int row = 3 * i; share < covered; share += part, ++row) {  // shares are quarters: the sum is exact
        part = r.extra_share[row];
        const int face = r.extra_face[row];
        for (int c = 0; c < 3; ++c) n[c] = r.extra_normal[3 * row + c];
        lit_surface(r, s, M, x, y, face, r.extra_depth[row], n, r.extra_uv[2 * row], r.extra_uv[2 * row + 1],
                    0.5f + 0.5f * s.open[r.cavity[r.face_region[face]]], colour);
        for (int c = 0; c < 3; ++c) sum[c] += part * colour[c];
    }
}

extern "C" {

__global__ void map_project(Rows<Shade> rows, int M) {
    if (rows.off()) return;
    const Shade& r = rows.own();
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    unsigned* map = r.map;
    for (int k = i; k < M * M; k += gridDim.x * blockDim.x) map[k] = 0u;
    if (i >= r.vertex_count) return;
    const float a = r.vertices[3 * i], b = r.vertices[3 * i + 1], c = r.vertices[3 * i + 2];
    const float* m = r.scene->to_map;
    const float x = m[0] * a + m[1] * b + m[2] * c + m[3], y = m[4] * a + m[5] * b + m[6] * c + m[7];
    const float near = FAR - (m[8] * a + m[9] * b + m[10] * c + m[11]);
    reinterpret_cast<int2*>(r.map_xy)[i] = make_int2(__float2int_rn(x * SNAP), __float2int_rn(y * SNAP));
    r.nearness[i] = near;
}

__global__ void map_fill(Rows<Shade> rows, int M) {
    __shared__ Walk walks[4];
    if (rows.off()) return;
    const Shade& r = rows.own();
    const int n = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32;
    Walk& w = walks[threadIdx.x / 32];
    Shape& s = w.shape[lane];
    s.rows = 0;
    if (n < r.caster_count) {
        const int2* xy = reinterpret_cast<const int2*>(r.map_xy);
        const int* corner = r.faces + 3 * r.casters[n];
        const int2 a = xy[corner[0]], b = xy[corner[1]], c = xy[corner[2]];
        const long long area = area2(a, b, c);
        if (area < 0) {  // it looks toward the lamp
            const float unit = 1.f / SNAP, over = (float)SNAP * SNAP / (float)area;
            const float x1 = (b.x - a.x) * unit, y1 = (b.y - a.y) * unit;
            const float x2 = (c.x - a.x) * unit, y2 = (c.y - a.y) * unit;
            const float q = r.nearness[corner[0]], db = r.nearness[corner[1]] - q, dc = r.nearness[corner[2]] - q;
            outline(s, a, b, c, 1, M);
            s.q = q, s.gx = cross(db, y2, dc, y1) * over, s.gy = cross(dc, x1, db, x2) * over;
            s.x0 = a.x * unit, s.y0 = a.y * unit;
        }
    }
    __syncwarp();
    unsigned* map = r.map;
    walk(w, lane, 1, M, [&](bool active, int t, int x, int y) {
        if (!active) return;
        const Shape& shape = w.shape[t];
        const int X = SNAP * x + SNAP / 2, Y = SNAP * y + SNAP / 2;
        const float q = nearness(shape, X, Y);
        if (q > 0.f && covers(shape, X, Y)) atomicMax(map + y * M + x, __float_as_uint(q));
    });
}

// Distance and its square, averaged over (2 R + 1)^2 texels, those beyond the border being the border's.
__global__ void map_blur(Rows<Shade> rows, int M, int R) {
    if (rows.off()) return;
    const Shade& r = rows.own();
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= M || y >= M) return;
    const unsigned* __restrict__ map = r.map;
    const float over = 1.f / (2 * R + 1);
    float mean = 0.f, square = 0.f;
    for (int j = -R; j <= R; ++j) {
        float first = 0.f, second = 0.f;
        for (int k = -R; k <= R; ++k) {
            const float d = FAR - __uint_as_float(map[min(max(y + j, 0), M - 1) * M + min(max(x + k, 0), M - 1)]);
            first += d, second += d * d;
        }
        mean += first * over, square += second * over;
    }
    r.moment[y * M + x] = make_float2(mean * over, square * over);
}

__global__ void __launch_bounds__(256, 2) shade(Rows<Shade> rows, int M, int H, int W) {
    __shared__ Scene scene;
    if (rows.off()) return;
    const Shade& r = rows.own();
    const int place = threadIdx.y * blockDim.x + threadIdx.x;
    for (int k = place; k < (int)(sizeof(Scene) / 4); k += blockDim.x * blockDim.y)
        reinterpret_cast<float*>(&scene)[k] = reinterpret_cast<const float*>(r.scene)[k];
    __syncthreads();
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= W || y >= H) return;
    const int i = y * W + x;
    const float* entry = r.layer + (long long)ENTRY * i;
    const float share = r.share[i], covered = r.coverage[i];
    const bool veiled = entry[13] > 0.f;
    if (share == 0.f && !veiled) {
        for (int c = 0; c < 3; ++c) r.rgb[3 * i + c] = r.background[3 * i + c];
        r.alpha[i] = 0;
        return;
    }
    const float clear = veiled ? exp2f(entry[15]) : 1.f;
    float sum[3] = {0.f, 0.f, 0.f}, colour[3], through = 1.f - covered;
    if (share > 0.f && clear >= HIDDEN) solid(r, scene, M, x, y, share, covered, H, W, sum);
    for (int c = 0; c < 3; ++c) sum[c] += through * r.decode[r.background[3 * i + c]];
    if (veiled) {
        lit_entry(r, scene, M, entry, x, y, colour);
        for (int c = 0; c < 3; ++c) sum[c] = sum[c] * clear + (1.f - clear) * colour[c];
        through *= clear;
    }
    for (int c = 0; c < 3; ++c) r.rgb[3 * i + c] = r.encode[(int)(fminf(sum[c], 1.f) * (r.steps - 1) + 0.5f)];
    r.alpha[i] = (unsigned char)((1.f - through) * 255.f + 0.5f);
}

}  // extern "C"
