// Hair: two highlights along the strand (Kajiya & Kay 1989; Marschner et al. 2003), light through it from behind.
#include "light.glsl"

float lobe(float sine_half, float shift, float power) {
    float t = sine_half + shift;
    return pow(max(1.0 - t * t, 0.0), power * 0.5);
}

void main() {
    Sample s = take();
    // Brows and lashes stand singly: nothing of their own kind shades them.
    int region = int(texelFetch(colour, s.pixel, 0).a * 255.0 + 0.5) & 15;
    bool single = region == BROWS || region == LASHES;
    float ao = single ? 1.0 : s.surface.r, shiny = s.surface.g;
    vec3 n = s.first, t = s.second;
    // Light is scattered on from hair to hair, the farther the fairer it is (Zinke et al. 2008, in short).
    float fair = sqrt(dot(s.albedo, vec3(0.3, 0.5, 0.2)));
    vec2 key = key_light(s, n, 0.003, mix(75.0, 25.0, fair));
    float lit = single ? mix(key.x, 1.0, 0.4) : mix(key.x, key.y, mix(0.80, 0.95, fair)), rim = rim_light(s, n);
    float vary = s.surface.a - 0.5;
    vec3 through = pow(s.albedo, vec3(0.62));  // a shorter way through the strand: less of it absorbed
    vec3 sum = vec3(0.0);
    for (int i = 0; i < 3; i++) {
        vec3 l = lamp_direction[i];
        float tl = dot(t, l), nl = dot(n, l);
        float open = i == 0 ? lit : (i == 1 ? ao : mix(rim, 1.0, 0.2) * ao * 0.65);
        float across = sqrt(max(1.0 - tl * tl, 0.0));
        float facing_lamp = clamp(nl * 0.65 + 0.35, 0.0, 1.0);
        vec3 h = (l + s.view) * inversesqrt(max(dot(l + s.view, l + s.view), 1e-4));
        float th = dot(t, h), wide = 1.0 / (1.0 + 2.0 * lamp_size[i]);
        float seen = clamp(nl * 1.5 + 0.35, 0.0, 1.0) * (single ? 0.3 : 1.0);
        float white = lobe(th, 0.06 + 0.05 * vary, 75.0 * wide) * seen * 0.11 * (0.35 + 0.65 * shiny);
        float tinted = lobe(th, -0.13 + 0.10 * vary, 18.0 * wide) * seen * 0.36 * (1.0 - 0.6 * fair);
        float behind = pow(max(dot(-s.view, l), 0.0), 5.0) * across * (0.5 - 0.3 * fair) * (i == 2 ? rim : 1.0);
        vec3 scattered = s.albedo * across * facing_lamp * (1.05 - 0.45 * fair);
        sum += lamp_colour[i] * open * (scattered + through * tinted + white * ao);  // deep strands do not shine
        sum += lamp_colour[i] * through * behind * ao;
    }
    sum += (s.albedo + 0.06 * through) * (ambient(n) * (1.0 - 0.25 * fair) + 0.10 * fair * lamp_colour[0]) * pow(ao, mix(1.2, 0.7, fair));
    float grazing = pow(1.0 - clamp(dot(n, s.view), 0.0, 1.0), 4.0);
    sum += mirrored(reflect(-s.view, n), 3.0) * (0.012 + 0.06 * grazing) * ao * ao * (0.3 + 0.7 * shiny) * (single ? 0.3 : 1.0);
    out_light = vec4(min(sum, BRIGHTEST), 1.0);
    out_within = out_skin = vec4(0.0);
}
