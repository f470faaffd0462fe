// Shading: G-buffer, blended layer and textures to an sRGB picture. The definition is reference.py; the arithmetic is
// that of light.py and cpu.py. One frame, after kernels/rasterize and kernels/blend:
//   map_project, map_clear, map_fill    the shadow map: as rasterize's, one sample a texel, distance linear in it
//   map_blur     grid (ceil(M / 16), ceil(M / 16)), 16 x 16, twice: along rows, then along columns
//   shade        grid (ceil(W / 16), ceil(H / 16)), 16 x 16: one thread a pixel, all its surfaces, then the encoding

#include "texture.cuh"

#define SNAP 256
#define EDGE_EPS 1e-9
#define FAR 1.f
#define ENTRY 16

extern "C" {

struct Matrix {  // 3 x 4, row-major
    float m[12];
};

// vertices (V, 3) -> xy (V, 2) snapped map texels, nearness (V,) = FAR - distance
__global__ void map_project(const float* __restrict__ vertices, Matrix to_map, int* __restrict__ xy,
                            float* __restrict__ nearness, int V) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= V) return;
    const float a = vertices[3 * i], b = vertices[3 * i + 1], c = vertices[3 * i + 2];
    const float* m = to_map.m;
    xy[2 * i] = __float2int_rn((m[0] * a + m[1] * b + m[2] * c + m[3]) * SNAP);
    xy[2 * i + 1] = __float2int_rn((m[4] * a + m[5] * b + m[6] * c + m[7]) * SNAP);
    nearness[i] = FAR - (m[8] * a + m[9] * b + m[10] * c + m[11]);
}

// map (M, M): bits of the greatest nearness, as unsigned (positive floats order as integers); 0 = nothing
__global__ void map_clear(unsigned* __restrict__ map, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) map[i] = 0u;
}

__device__ __forceinline__ void order(int& upper, int& lower, const int* xy) {
    if (xy[2 * lower + 1] < xy[2 * upper + 1]) {
        const int t = upper;
        upper = lower, lower = t;
    }
}

// One warp a caster (N,), as far as it looks toward the lamp.
__global__ void map_fill(const int* __restrict__ faces, const int* __restrict__ casters, const int* __restrict__ xy,
                         const float* __restrict__ nearness, unsigned* map, int N, int M) {
    const int n = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
    if (n >= N) return;
    const int f = casters[n];
    int a = faces[3 * f], b = faces[3 * f + 1], c = faces[3 * f + 2];
    const double unit = 1.0 / SNAP;
    const double x0 = xy[2 * a] * unit, y0 = xy[2 * a + 1] * unit;
    const double x1 = xy[2 * b] * unit - x0, y1 = xy[2 * b + 1] * unit - y0;
    const double x2 = xy[2 * c] * unit - x0, y2 = xy[2 * c + 1] * unit - y0;
    const double area = x1 * y2 - x2 * y1;
    if (area >= 0.0) return;
    const double qb = nearness[b] - nearness[a], qc = nearness[c] - nearness[a];
    const float q0 = nearness[a], gx = (float)((qb * y2 - qc * y1) / area), gy = (float)((qc * x1 - qb * x2) / area);
    order(a, b, xy);
    order(a, c, xy);
    order(b, c, xy);
    const long long ya = xy[2 * a + 1], yc = xy[2 * c + 1];
    const int first = (int)max((ya + 127) >> 8, 0ll), last = (int)min((yc + 127) >> 8, (long long)M);
    const double ax = xy[2 * a] * unit, ay = ya * unit, bx = xy[2 * b] * unit, by = xy[2 * b + 1] * unit;
    const double cx = xy[2 * c] * unit, cy = yc * unit;
    const double long_slope = __ddiv_rn(cx - ax, cy - ay);
    for (int k = first + lane; k < last; k += 32) {
        const double line = k + 0.5;
        const bool upper = line < by;
        const double ox = upper ? ax : bx, oy = upper ? ay : by;
        const double slope = upper ? __ddiv_rn(bx - ax, by - ay) : __ddiv_rn(cx - bx, cy - by);
        const double x_long = __dadd_rn(__dadd_rn(ax, __dmul_rn(line - ay, long_slope)), -0.5);
        const double x_short = __dadd_rn(__dadd_rn(ox, __dmul_rn(line - oy, slope)), -0.5);
        const int left = (int)fmax(ceil(fmin(x_long, x_short) - EDGE_EPS), 0.0);
        const int right = (int)fmin(ceil(fmax(x_long, x_short) - EDGE_EPS), (double)M);
        float q = q0 + gx * (float)(left + 0.5 - x0) + gy * (float)(line - y0);
        for (int x = left; x < right; ++x, q += gx)
            if (q > 0.f) atomicMax(map + k * M + x, __float_as_uint(q));
    }
}

// Distance and its square, averaged over 2 R + 1 texels: from the map along rows, or (map null) from line along columns.
__global__ void map_blur(const unsigned* __restrict__ map, const float2* __restrict__ line, float2* __restrict__ out,
                         int M, int R) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= M || y >= M) return;
    float2 sum = make_float2(0.f, 0.f);
    for (int k = -R; k <= R; ++k) {
        if (map) {
            const float d = FAR - __uint_as_float(map[y * M + min(max(x + k, 0), M - 1)]);
            sum.x += d, sum.y += d * d;
        } else {
            const float2 d = line[min(max(y + k, 0), M - 1) * M + x];
            sum.x += d.x, sum.y += d.y;
        }
    }
    const float over = 1.f / (2 * R + 1);
    out[y * M + x] = make_float2(sum.x * over, sum.y * over);
}

struct Scene {
    float lens[3];       // 1 / focal, centre x, centre y
    Matrix to_light;     // view space to map texels and distance
    const float2* moment;
    int map;             // side of the map
    float lamps[3][6], ambient[2][3], up[3], exposure;
};

struct Point {
    float n[3], v[3], t[3], rgb[3], ao, gloss, sss, strand, lit, open;
};

__device__ float lit_part(const Scene& s, float x, float y, float d) {
    const float limit = (float)s.map - 1.001f;
    x -= 0.5f, y -= 0.5f;
    if (!(x >= 0.f && y >= 0.f && x < limit && y < limit)) return 1.f;
    const int ix = (int)x, iy = (int)y;
    const float fx = x - ix, fy = y - iy;
    const float2 *upper = s.moment + iy * s.map + ix, *lower = upper + s.map;
    const float m0 = upper[0].x + fx * (upper[1].x - upper[0].x), m1 = lower[0].x + fx * (lower[1].x - lower[0].x);
    const float s0 = upper[0].y + fx * (upper[1].y - upper[0].y), s1 = lower[0].y + fx * (lower[1].y - lower[0].y);
    const float mean = m0 + fy * (m1 - m0), square = s0 + fy * (s1 - s0), behind = d - mean;
    if (behind <= 0.f) return 1.f;
    const float variance = fmaxf(square - mean * mean, 4e-6f);
    return fmaxf(variance / (variance + behind * behind) - 0.15f, 0.f) * (1.f / 0.85f);
}

__device__ float shadow(const Scene& s, float q0, float q1, float q2, const float* n) {
    q0 += 0.0015f * n[0], q1 += 0.0015f * n[1], q2 += 0.0015f * n[2];
    const float* m = s.to_light.m;
    return lit_part(s, m[0] * q0 + m[1] * q1 + m[2] * q2 + m[3], m[4] * q0 + m[5] * q1 + m[6] * q2 + m[7],
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

struct GBuffer {  // as kernels/rasterize/kernel.cu
    const float* depth;
    const int* face;
    const unsigned char* region;
    const float *normal, *uv, *flow, *coverage, *share;
    const float* extra_share;
    const int* extra_face;
    const float *extra_depth, *extra_normal, *extra_uv;
};

struct Paint {
    Texture texture;
    const float *tangent, *detail;
    float bias;
    const unsigned char *region, *cavity;
    float reach[8], floor[8];
};

// ``floor`` right under the lid or lip, 1 from ``reach`` pixels below it.
__device__ float opening(const unsigned char* region, const unsigned char* cavity, int x, int y, int W, float reach,
                         float floor) {
    const int own = cavity[region[y * W + x]] >> 1, far = (int)reach + 1;
    int steps = 0;
    while (steps < far && y - steps - 1 >= 0 && cavity[region[(y - steps - 1) * W + x]] >> 1 == own) ++steps;
    const float part = fminf(steps / reach, 1.f);
    return floor + (1.f - floor) * part * (2.f - part);
}

__device__ void lit_surface(const Scene& s, const Paint& paint, int x, int y, int face, float z, const float* n, float u,
                            float v, float open, float* out) {
    const float p0 = (x + 0.5f - s.lens[1]) * s.lens[0], p1 = (y + 0.5f - s.lens[2]) * s.lens[0];
    const float over = rsqrtf(p0 * p0 + p1 * p1 + 1.f);
    const Texel t = fetch(paint.texture, u, v, (int)fmaxf(paint.detail[face] + paint.bias, 0.f));
    const float opaque = 1.f / fmaxf(t.a, 1e-3f);
    const float* tangent = paint.tangent + 3 * face;
    Point p = {{n[0], n[1], n[2]}, {-p0 * over, -p1 * over, -over}, {tangent[0], tangent[1], tangent[2]},
               {t.r * opaque, t.g * opaque, t.b * opaque}, t.ao, t.gloss, t.sss, t.strand,
               shadow(s, p0 * z, p1 * z, z, n), open};
    light(p, s, out);
}

__device__ void lit_entry(const Scene& s, const float* e, int x, int y, float* out) {
    const float over = 1.f / e[13], z = e[14] * over;
    const float size = rsqrtf(e[7] * e[7] + e[8] * e[8] + e[9] * e[9] + 1e-20f);
    const float n[3] = {e[7] * size, e[8] * size, e[9] * size};
    const float p0 = (x + 0.5f - s.lens[1]) * s.lens[0], p1 = (y + 0.5f - s.lens[2]) * s.lens[0];
    const float ray = rsqrtf(p0 * p0 + p1 * p1 + 1.f);
    Point p = {{n[0], n[1], n[2]}, {-p0 * ray, -p1 * ray, -ray}, {e[10], e[11], e[12]},
               {e[0] * over, e[1] * over, e[2] * over}, e[3] * over, e[4] * over, e[5] * over, e[6] * over,
               shadow(s, p0 * z, p1 * z, z, n), 1.f};
    light(p, s, out);
}

// background (H, W, 3); decode (256,) sRGB byte to linear; encode (N,) linear to sRGB byte -> rgb (H, W, 3), alpha
__global__ void shade(GBuffer g, Paint paint, Scene s, const float* __restrict__ layer,
                      const unsigned char* __restrict__ background, const float* __restrict__ decode,
                      const unsigned char* __restrict__ encode, int steps, unsigned char* __restrict__ rgb,
                      unsigned char* __restrict__ alpha, int H, int W) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= W || y >= H) return;
    const int i = y * W + x, HW = H * W;
    const float* entry = layer + (long long)ENTRY * i;
    const float share = g.share[i], covered = g.coverage[i];
    const bool veiled = entry[13] > 0.f;
    if (share == 0.f && !veiled) {
        for (int c = 0; c < 3; ++c) rgb[3 * i + c] = background[3 * i + c];
        alpha[i] = 0;
        return;
    }
    float sum[3] = {0.f, 0.f, 0.f}, colour[3];
    if (share > 0.f) {
        const int hollow = paint.cavity[g.region[i]];
        const float z = g.depth[i];
        const float open =
            hollow ? opening(g.region, paint.cavity, x, y, W, paint.reach[hollow] / z, paint.floor[hollow]) : 1.f;
        const float n[3] = {g.normal[i], g.normal[HW + i], g.normal[2 * HW + i]};
        lit_surface(s, paint, x, y, g.face[i], z, n, g.uv[i], g.uv[HW + i], open, colour);
        for (int c = 0; c < 3; ++c) sum[c] = share * colour[c];
        for (int row = 3 * i; row < 3 * i + 3; ++row) {
            const float part = g.extra_share[row];
            if (part == 0.f) continue;
            const int face = g.extra_face[row];
            const float half = 0.5f + 0.5f * paint.floor[paint.cavity[paint.region[face]]];
            lit_surface(s, paint, x, y, face, g.extra_depth[row], g.extra_normal + 3 * row, g.extra_uv[2 * row],
                        g.extra_uv[2 * row + 1], half, colour);
            for (int c = 0; c < 3; ++c) sum[c] += part * colour[c];
        }
    }
    float through = 1.f - covered;
    for (int c = 0; c < 3; ++c) sum[c] += through * decode[background[3 * i + c]];
    if (veiled) {
        const float clear = exp2f(entry[15]);
        lit_entry(s, entry, x, y, colour);
        for (int c = 0; c < 3; ++c) sum[c] = sum[c] * clear + (1.f - clear) * colour[c];
        through *= clear;
    }
    for (int c = 0; c < 3; ++c) rgb[3 * i + c] = encode[(int)(fminf(sum[c], 1.f) * (steps - 1) + 0.5f)];
    alpha[i] = (unsigned char)((1.f - through) * 255.f + 0.5f);
}

}  // extern "C"
