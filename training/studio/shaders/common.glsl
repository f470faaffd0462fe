// What several shaders share: packing of directions, geometry of the view, dither.
const float PI = 3.14159265;
const float NEAR = 0.05, FAR = 12.0;

vec2 pack_direction(vec3 n) {  // octahedral (Cigolle et al. 2014), -1..1
    n /= abs(n.x) + abs(n.y) + abs(n.z);
    vec2 folded = (1.0 - abs(n.yx)) * vec2(n.x >= 0.0 ? 1.0 : -1.0, n.y >= 0.0 ? 1.0 : -1.0);
    return n.z >= 0.0 ? n.xy : folded;
}

vec3 unpack_direction(vec2 e) {
    vec3 n = vec3(e, 1.0 - abs(e.x) - abs(e.y));
    float t = max(-n.z, 0.0);
    n.xy += vec2(n.x >= 0.0 ? -t : t, n.y >= 0.0 ? -t : t);
    return normalize(n);
}

float metres(float depth) {  // window depth to distance along the view axis
    return 2.0 * FAR * NEAR / ((FAR + NEAR) - (2.0 * depth - 1.0) * (FAR - NEAR));
}

vec3 to_linear(vec3 c) {  // sRGB decoded, a cubic fit within 0.001
    return c * (c * (c * 0.305306011 + 0.682171111) + 0.012522878);
}

float bayer(ivec2 p) {  // ordered 4 x 4 thresholds, each inside (0, 1)
    int x = p.x & 3, y = p.y & 3, a = x ^ y;
    int rank = ((a & 1) << 3) | ((y & 1) << 2) | (a & 2) | ((y & 2) >> 1);
    return (float(rank) + 0.5) / 16.0;
}

float scatter(ivec2 p) {  // interleaved gradient noise (Jimenez 2014)
    return fract(52.9829189 * fract(dot(vec2(p), vec2(0.06711056, 0.00583715))));
}
