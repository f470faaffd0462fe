// Inside of the mouth: teeth, gums, tongue. Lit through the lips' opening, and wet.
#include "light.glsl"
uniform float is_tooth[LABELS];

// How much of the surroundings is open: lips in front of a sample take its light away.
float opening(Sample s) {
    float reach = 0.007 * lens.x / s.point.z, open = 0.0;
    float angle = scatter(s.pixel) * 2.0 * PI;
    mat2 spin = mat2(cos(angle), sin(angle), -sin(angle), cos(angle));
    for (int i = 0; i < 8; i++) {
        vec2 to = spin * DISC[i] * reach;
        float gap = s.point.z - metres(texelFetch(depth, clamp(s.pixel + ivec2(to), ivec2(0), textureSize(depth, 0) - 1), 0).r);
        open += 1.0 - smoothstep(0.001, 0.006, gap);
    }
    return open / 8.0;
}

void main() {
    Sample s = take();
    int label = int(texelFetch(colour, s.pixel, 0).a * 255.0 + 0.5);
    bool tooth = is_tooth[label] > 0.5;
    float ao = s.surface.r * mix(tooth ? 0.45 : 0.25, 1.0, opening(s)), rough = 0.60 - 0.44 * s.surface.g;
    vec3 n = s.first, sum = vec3(0.0);
    float lit = mix(key_light(s, n, 0.002, 110.0).x, 1.0, tooth ? 0.5 : 0.12) * ao;
    float wrap = tooth ? 0.35 : 0.3;
    for (int i = 0; i < 2; i++) {
        float d = max((dot(n, lamp_direction[i]) + wrap) / (1.0 + wrap), 0.0);
        float open = i == 0 ? lit : ao;
        sum += lamp_colour[i] * (s.albedo * d * open + gloss(n, s.view, lamp_direction[i], rough, 0.04) * open * ao * 0.7);
    }
    sum += s.albedo * ambient(normalize(n + s.view)) * ao + sheen(n, s.view, rough, 0.04) * ao * ao * 0.6;
    out_light = vec4(min(sum, BRIGHTEST), 1.0);
    out_within = out_skin = vec4(0.0);
}
