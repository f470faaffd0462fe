// Cloth: matte, with fibres that catch light at grazing angles.
#include "light.glsl"

void main() {
    Sample s = take();
    float ao = s.surface.r, rough = 0.78 - 0.3 * s.surface.g;
    vec3 n = s.first, sum = vec3(0.0);
    float lit = key_light(s, s.second, 0.004, 110.0).x, rim = rim_light(s, s.second);
    float grazing = pow(1.0 - clamp(dot(n, s.view), 0.0, 1.0), 3.0);
    for (int i = 0; i < 3; i++) {
        float d = max((dot(n, lamp_direction[i]) + 0.08) / 1.08, 0.0);
        float open = i == 0 ? lit * mix(1.0, ao, 0.5) : (i == 1 ? ao : rim * ao);
        sum += lamp_colour[i] * open * (s.albedo * d + 0.6 * gloss(n, s.view, lamp_direction[i], rough, 0.03));
        sum += lamp_colour[i] * open * (0.04 + s.albedo) * grazing * max(dot(n, lamp_direction[i]) + 0.3, 0.0) * 0.22;
    }
    vec3 room_light = ambient(n) * ao;
    sum += room_light * (s.albedo + (0.03 + 0.5 * s.albedo) * grazing * 0.5);
    out_light = vec4(min(sum, BRIGHTEST), 1.0);
    out_within = out_skin = vec4(0.0);
}
