// Spectacle lenses, laid over what is already lit: the room mirrored at both faces of the glass, a little absorbed.
#include "light.glsl"
in vec3 point;
in vec3 facing;
in vec2 uv;

void main() {
    vec3 view_ray = -normalize(point), n = normalize(facing);
    n *= dot(n, view_ray) < 0.0 ? -1.0 : 1.0;
    float fresnel = 0.04 + 0.96 * pow(1.0 - clamp(dot(n, view_ray), 0.0, 1.0), 5.0);
    vec3 mirror = 0.6 * 2.0 * fresnel * mirrored(reflect(-view_ray, n), 0.0);  // 0.6: coated
    float covers = clamp(0.03 + fresnel, 0.0, 1.0);
    out_light = vec4(min(mirror, BRIGHTEST), covers);
    out_within = out_skin = vec4(0.0, 0.0, 0.0, covers);
}
