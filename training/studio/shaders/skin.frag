// Skin: light enters and spreads (the scatter pass), and two layers of gloss lie on top.
#include "light.glsl"

void main() {
    Sample s = take();
    float ao = s.surface.r, rough = 0.58 - 0.42 * s.surface.g, blood = s.surface.b;
    vec3 n = s.first, smooth_n = s.second;
    float lit = key_light(s, smooth_n, 0.0025, 110.0).x, rim = rim_light(s, smooth_n);
    // Red light wanders farther, so it sees a smoother surface and reaches round the terminator.
    vec3 soft = normalize(mix(n, smooth_n, 0.8)), crisp = normalize(mix(n, smooth_n, 0.25));
    vec3 wrap = vec3(0.16, 0.06, 0.035);
    vec3 within = vec3(0.0);
    // Nothing glitters: on dark skin little light from within covers the relief of the gloss, so it is softened.
    float fair = smoothstep(0.03, 0.35, dot(s.albedo, vec3(0.3, 0.5, 0.2)));
    n = normalize(mix(n, smooth_n, mix(0.5, 0.15, fair)));
    float shine = 0.0;
    vec3 highlight = vec3(0.0);
    for (int i = 0; i < 3; i++) {
        vec3 l = lamp_direction[i];
        vec3 cosine = vec3(dot(soft, l), dot(crisp, l), dot(crisp, l));
        vec3 d = max((cosine + wrap) / (1.0 + wrap), vec3(0.0)) * mix(vec3(1.0), smoothstep(vec3(-0.3), vec3(0.4), cosine), 0.4);
        float open = i == 0 ? lit * mix(1.0, ao, 0.25) : (i == 1 ? ao : rim * mix(1.0, ao, 0.7));
        within += lamp_colour[i] * d * open;
        float wide = widened(rough, lamp_size[i]);
        shine = 0.60 * gloss(n, s.view, l, wide, 0.028) + 0.32 * gloss(n, s.view, l, wide * 0.66, 0.028);
        highlight += lamp_colour[i] * shine * open * (i == 2 ? 0.6 : 1.0);
    }
    // Creases are red inside: light bounces between flesh and flesh (Jimenez 2016's multi-bounce idea, tinted).
    vec3 hollow = pow(vec3(ao), vec3(0.94, 1.0, 1.03));
    within += ambient(soft) * hollow;
    // Ears and nostrils let the light from behind through, red.
    float thick = rim_thickness(s, smooth_n), behind = max(dot(-smooth_n, lamp_direction[2]) + 0.3, 0.0) / 1.3;
    within += lamp_colour[2] * behind * vec3(1.0, 0.22, 0.10) * exp(-thick * vec3(260.0, 620.0, 900.0)) * 0.6;
    highlight += sheen(n, s.view, rough, 0.028) * ao * mix(0.55, 1.0, lit);
    highlight *= mix(0.68, 1.0, fair) * (1.0 - 0.9 * s.surface.a);  // stubble, brows and the scalp under hair scatter it
    out_light = vec4(min(highlight, BRIGHTEST), 1.0);
    out_within = vec4(within, 1.0);
    out_skin = vec4(s.albedo, 1.0);
}
