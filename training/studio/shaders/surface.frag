// Skin, mouth, cloth, accessories: what the surface is like at this sample. Nothing is lit yet.
#include "common.glsl"
in vec3 point;
in vec3 facing;
in vec2 uv;
layout(location = 0) out vec4 out_colour;  // sRGB albedo, label
layout(location = 1) out vec4 out_surface;  // occlusion, gloss, subsurface, strand
layout(location = 2) out vec4 out_direction;  // normal with relief; normal without
uniform sampler2D albedo;
uniform sampler2D surface;
uniform sampler2D relief;  // metres
uniform float label;
uniform float relief_gain;  // of what is small

// Relief without tangents (Mikkelsen 2010): slopes of the height over the surface, from differences in the picture.
vec3 embossed(vec3 n, float height) {
    vec3 px = dFdx(point), py = dFdy(point);
    vec3 r1 = cross(py, n), r2 = cross(n, px);
    float area = dot(px, r1);
    vec3 slope = sign(area) * (dFdx(height) * r1 + dFdy(height) * r2);
    float size = abs(area);
    float steep = length(slope) / max(size, 1e-12);
    slope *= 1.0 / max(1.0, steep / 0.9);  // at a silhouette differences mean nothing
    return normalize(size * n - slope);
}

void main() {
    vec3 n = normalize(facing);
    // What is small at this distance counts for more: a pore is too steep for the atlas to hold.
    float height = texture(relief, uv).r, fine = height - texture(relief, uv, 2.5).r;
    vec4 made_of = texture(surface, uv);
    vec2 step_x = dFdx(uv), step_y = dFdy(uv);
    float texels = sqrt(max(dot(step_x, step_x), dot(step_y, step_y))) * float(textureSize(relief, 0).x);
    made_of.g *= 1.0 - 0.16 * clamp(log2(max(texels, 1.0)), 0.0, 3.0);  // pores too small to see make skin rougher
    made_of.g *= clamp(1.0 + fine * 1.5e4, 0.6, 1.2);  // hollows are matte, ridges shine
    out_colour = vec4(texture(albedo, uv).rgb, label);
    out_surface = made_of;
    out_direction = vec4(pack_direction(embossed(n, height + relief_gain * fine)), pack_direction(n));
}
