// Hair: two highlights along the strand (Kajiya & Kay 1989; Marschner et al. 2003), light through it from behind.
#include "light.glsl"

float lobe(float sine_half, float shift, float power) {
    float t = sine_half + shift;
    return pow(max(1.0 - t * t, 0.0), power * 0.5);
}

void main() {
    Sample s = take();
    float ao = s.surface.r, shiny = s.surface.g;
    vec3 n = s.first, t = s.second;
    // Light is scattered on from hair to hair, the farther the fairer it is (Zinke et al. 2008, in short).
    float fair = sqrt(dot(s.albedo, vec3(0.3, 0.5, 0.2)));
    vec2 key = key_light(s, n, 0.003, mix(130.0, 38.0, fair));
    float lit = mix(key.x, key.y, mix(0.70, 0.92, fair)), rim = rim_light(s, n);
    float open_room = pow(ao, mix(1.8, 0.8, fair));
    float vary = s.surface.a - 0.5;
    vec3 sum = vec3(0.0);
    for (int i = 0; i < 3; i++) {
        vec3 l = lamp_direction[i];
        float tl = dot(t, l), nl = dot(n, l);
        float open = i == 0 ? lit : (i == 1 ? ao : mix(rim, 1.0, 0.2) * ao * 0.65);
        float across = sqrt(max(1.0 - tl * tl, 0.0));
        float facing_lamp = clamp(nl * 0.65 + 0.35, 0.0, 1.0);
        vec3 h = normalize(l + s.view);
        float th = dot(t, h), wide = 1.0 / (1.0 + 2.0 * lamp_size[i]);
        float seen = clamp(nl * 1.5 + 0.35, 0.0, 1.0);
        float white = lobe(th, 0.06 + 0.05 * vary, 90.0 * wide) * seen * 0.10 * (0.35 + 0.65 * shiny);
        float tinted = lobe(th, -0.12 + 0.08 * vary, 22.0 * wide) * seen * 0.55;
        float behind = pow(max(dot(-s.view, l), 0.0), 5.0) * across * 0.9 * (i == 2 ? rim : 1.0);
        sum += lamp_colour[i] * open * (s.albedo * (across * facing_lamp * 0.85 + tinted) + white);
        sum += lamp_colour[i] * pow(s.albedo, vec3(0.7)) * behind * ao * 0.6;
    }
    sum += s.albedo * (ambient(n) + 0.10 * fair * lamp_colour[0]) * open_room;
    vec3 bent = normalize(n - t * dot(n, t) * 0.5);
    sum += mirrored(reflect(-s.view, bent), 3.0) * (0.012 + 0.10 * pow(1.0 - max(dot(bent, s.view), 0.0), 4.0)) * ao * (0.3 + 0.7 * shiny);
    out_light = vec4(sum, 1.0);
    out_within = vec4(0.0);
}
