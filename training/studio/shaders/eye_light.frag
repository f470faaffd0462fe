// Eyes: a matte sclera that never glows, an iris lit through the cornea, and the room mirrored sharp on top.
#include "light.glsl"
uniform vec2 lid_up;  // the head's up in the picture, unit

// Lids and lashes stand over the eye: depth toward them says how near they are, above and below. x: light, y: wet line.
vec2 lids(Sample s) {
    float unit = lens.x / s.point.z;  // samples a metre
    float shade = 1.0, near_low = 1.0;
    for (int i = 1; i <= 6; i++) {
        float far = 0.0011 * float(i);
        vec2 to = lid_up * far * unit;
        float above = s.point.z - metres(texelFetch(depth, clamp(s.pixel + ivec2(round(to)), ivec2(0), textureSize(depth, 0) - 1), 0).r);
        float covered = smoothstep(0.0004, 0.0016, above);
        shade = min(shade, mix(1.0, 0.42 + 0.58 * smoothstep(0.0, 0.0062, far), covered));
    }
    for (int i = 1; i <= 3; i++) {
        vec2 to = -lid_up * 0.0005 * float(i) * unit;
        float below = s.point.z - metres(texelFetch(depth, clamp(s.pixel + ivec2(round(to)), ivec2(0), textureSize(depth, 0) - 1), 0).r);
        near_low = min(near_low, mix(1.0, float(i) / 4.0, smoothstep(0.0002, 0.0008, below)));
    }
    return vec2(shade, near_low);
}

void main() {
    Sample s = take();
    vec3 n = s.first, inner = s.second;
    float within = s.surface.a;
    vec2 lid = lids(s);
    float ao = s.surface.r * lid.x;
    float lit = mix(0.35, 1.0, key_light(s, n, 0.003, 110.0).x);
    vec3 sum = vec3(0.0);
    vec3 tint = mix(vec3(1.0), vec3(0.95, 0.80, 0.76), (1.0 - ao) * (1.0 - within));
    for (int i = 0; i < 2; i++) {
        float wrap = mix(0.30, 0.15, within);
        float d = max((dot(inner, lamp_direction[i]) + wrap) / (1.0 + wrap), 0.0);
        sum += lamp_colour[i] * d * (i == 0 ? lit : 1.0) * ao;
    }
    sum = s.albedo * (sum * 0.80 + 0.9 * ambient(normalize(inner + 0.5 * s.view)) * ao) * tint;
    vec3 toward = reflect(-s.view, n);
    float nv = clamp(dot(n, s.view), 0.0, 1.0), fresnel = 0.025 + 0.975 * pow(1.0 - nv, 5.0) * 0.6;
    float upward = dot(toward.xy, lid_up);  // what the upper lid and the lashes hide of the room
    float seen = mix(1.0, lid.x, 0.75) * mix(0.35, 1.0, s.surface.r) * mix(0.55, 1.0, lit);
    sum += mirrored(toward, 0.0) * fresnel * seen * mix(0.8, 1.8, within) * (1.0 - 0.5 * smoothstep(0.5, 0.9, upward));
    // The tear film climbs the lower lid and catches the key.
    float tear = (1.0 - lid.y) * clamp(dot(normalize(n - vec3(0.0, 0.9, 0.0) * 0.6 + s.view * 0.4), lamp_direction[0]) + 0.2, 0.0, 1.0);
    sum += (lamp_colour[0] * 0.16 * lit + ambient(s.view) * 0.10) * tear;
    out_light = vec4(min(sum, BRIGHTEST), 1.0);
    out_within = out_skin = vec4(0.0);
}
