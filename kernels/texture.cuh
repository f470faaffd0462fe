// Textures on a GPU: the pyramid of kernels/texture.py, the same integers. Included by blend, guidance and shade.

#pragma once

struct Texture {
    const unsigned long long* texels;
    const long long* start;
    int levels, side;
};

struct Texel {  // colours are sRGB times alpha
    float r, g, b, a, ao, gloss, sss, strand;
};

__device__ __forceinline__ float field(unsigned long long fields, int place) {
    return (float)(unsigned)((fields >> (16 * place)) & 0xFFFFull) * (1.f / 65280.f);
}

// Bilinear, in sixteenths of a texel, clamped at the border: even and odd channels as four 16-bit fields each.
__device__ __forceinline__ Texel fetch(const Texture& t, float u, float v, int level) {
    level = min(max(level, 0), t.levels - 1);
    const int size = t.side >> level;
    const float limit = (float)(size - 1);
    // Rounded as on the CPU, step by step: a texel's edge lies where it lies there.
    const float x = fminf(fmaxf(__fadd_rn(__fmul_rn(u, (float)size), -0.5f), 0.f), limit);
    const float y = fminf(fmaxf(__fadd_rn(__fmul_rn(v, (float)size), -0.5f), 0.f), limit);
    const int ix = (int)x, iy = (int)y;
    const unsigned fx = (unsigned)((x - ix) * 16.f), fy = (unsigned)((y - iy) * 16.f);
    const int right = ix < size - 1, down = iy < size - 1 ? size : 0;
    const unsigned long long* p = t.texels + t.start[level] + (long long)iy * size + ix;
    const unsigned long long even = 0x00FF00FF00FF00FFull;
    const unsigned long long t00 = p[0], t10 = p[right], t01 = p[down], t11 = p[down + right];
    const unsigned w00 = (16 - fx) * (16 - fy), w10 = fx * (16 - fy), w01 = (16 - fx) * fy, w11 = fx * fy;
    const unsigned long long e = (t00 & even) * w00 + (t10 & even) * w10 + (t01 & even) * w01 + (t11 & even) * w11;
    const unsigned long long o = (t00 >> 8 & even) * w00 + (t10 >> 8 & even) * w10 + (t01 >> 8 & even) * w01 +
                                 (t11 >> 8 & even) * w11;
    return {field(e, 0), field(o, 0), field(e, 1), field(o, 1), field(e, 2), field(o, 2), field(e, 3), field(o, 3)};
}
