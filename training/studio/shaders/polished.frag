// Glasses, buttons, earrings: plastic and metal, told apart by the painted gloss.
#include "light.glsl"

void main() {
    Sample s = take();
    float ao = s.surface.r, shiny = s.surface.g, rough = clamp(0.64 - 0.56 * shiny, 0.08, 0.7);
    float metal = smoothstep(0.86, 0.96, shiny) * (1.0 - s.surface.b);
    vec3 n = s.first, sum = vec3(0.0);
    float lit = key_light(s, s.second, 0.003, 110.0).x;
    vec3 base = mix(vec3(0.045), s.albedo, metal);
    for (int i = 0; i < 3; i++) {
        float d = max(dot(n, lamp_direction[i]), 0.0), open = i == 0 ? lit : ao;
        float g = gloss(n, s.view, lamp_direction[i], widened(rough, lamp_size[i]), 1.0);
        sum += lamp_colour[i] * open * (s.albedo * d * (1.0 - metal) + g * base);
    }
    float grazing = pow(1.0 - clamp(dot(n, s.view), 0.0, 1.0), 5.0);
    vec3 mirror = mirrored(reflect(-s.view, n), rough < 0.2 ? 0.0 : 1.0 + 3.0 * rough);
    sum += s.albedo * ambient(n) * ao * (1.0 - metal) + mirror * mix(base, vec3(1.0), grazing * 0.7) * ao;
    out_light = vec4(min(sum, BRIGHTEST), 1.0);
    out_within = out_skin = vec4(0.0);
}
