// Hair, lashes, brow and beard strands: cut out by alpha against an ordered threshold that differs between strands.
#include "common.glsl"
in vec3 point;
in vec3 facing;
in vec2 uv;
flat in float strand;
layout(location = 0) out vec4 out_colour;
layout(location = 1) out vec4 out_surface;  // occlusion, gloss, subsurface, the strand's own number
layout(location = 2) out vec4 out_direction;  // normal; tangent from root to tip
uniform sampler2D albedo;
uniform sampler2D surface;
uniform float label;
uniform float cut;  // 0: solid hair under the strands, never cut

void main() {
    vec4 colour = texture(albedo, uv);
    // Seen close a strand has an edge; seen from afar it covers a part of the samples (after Golus 2017).
    float edge = clamp(1.5 * fwidth(colour.a), 0.5, 1.0), covers = clamp((colour.a - 0.5) / edge + 0.5, 0.0, 1.0);
    if (cut > 0.5 && covers < fract(bayer(ivec2(gl_FragCoord.xy)) + strand)) discard;
    vec3 n = normalize(facing);
    n *= dot(n, point) > 0.0 ? -1.0 : 1.0;
    vec3 px = dFdx(point), py = dFdy(point);
    vec2 du = dFdx(uv), dv = dFdy(uv);
    vec3 along = (px * dv.x - py * du.x) * (du.x * dv.y - dv.x * du.y < 0.0 ? 1.0 : -1.0);
    along -= n * dot(n, along);
    along = dot(along, along) > 1e-16 ? normalize(along) : vec3(0.0, 1.0, 0.0);
    out_colour = vec4(colour.rgb, label);
    out_surface = vec4(texture(surface, uv).rgb, strand);
    out_direction = vec4(pack_direction(n), pack_direction(along));
}
