// The eyeball: the iris lies behind the cornea and is seen through it, bent.
#include "common.glsl"
in vec3 point;
in vec3 facing;
in vec2 uv;
layout(location = 0) out vec4 out_colour;
layout(location = 1) out vec4 out_surface;
layout(location = 2) out vec4 out_direction;  // normal of the cornea; of the iris or sclera
uniform sampler2D albedo;
uniform sampler2D surface;
uniform float label;
uniform mat3 eye[2];  // view space to the eye's own axes: outer, up, along the gaze
uniform vec3 pivot[2];  // centre of each eyeball, view space
uniform vec4 sheet;  // the eye's rectangle in the atlas: centre, half size
const float DEEP = 0.0024;  // metres from the cornea's top to the iris
const float BEND = 1.0 / 1.336;

float painted(float angle) { return pow(angle / OPEN_ANGLE, POWER); }

void main() {
    int side = distance(point, pivot[0]) < distance(point, pivot[1]) ? 0 : 1;
    mat3 axes = eye[side];
    vec3 n = normalize(facing), at = axes * (point - pivot[side]), ray = axes * normalize(point);
    float radius = length(at), away = acos(clamp(at.z / radius, -1.0, 1.0));
    vec3 bent = refract(ray, axes * n, BEND);
    float flat_z = radius * cos(LIMBUS) - 0.0002;  // the plane of the iris
    vec2 seen = at.xy + bent.xy * max(at.z - flat_z, 0.0) / max(-bent.z, 0.2);
    float within = smoothstep(LIMBUS * 1.06, LIMBUS * 0.92, away);
    vec2 flat_xy = mix(at.xy, seen, within);
    float far = mix(away, asin(clamp(length(flat_xy) / radius, 0.0, 1.0)), within);
    vec2 toward = length(flat_xy) > 1e-6 ? normalize(flat_xy) : vec2(0.0);
    vec2 place = sheet.xy + sheet.zw * painted(far) * vec2(toward.x, -toward.y);
    // The seam of the painting's derivative lies at the pupil, which is black.
    out_colour = vec4(texture(albedo, place).rgb, label);
    out_surface = vec4(texture(surface, uv).rgb, within);
    vec3 dish = normalize(vec3(-at.xy * 0.9, radius * 0.8));  // the iris leans inward: lit on the side away from the lamp
    vec3 inner = mix(n, transpose(axes) * dish, within);
    out_direction = vec4(pack_direction(n), pack_direction(normalize(inner)));
}
