// Samples to pixels: a soft filter over 4 x 4 samples (1 3 3 1), as a lens does, and over 6 x 6 where strands are,
// which are finer than samples; the label that most samples have.
#include "common.glsl"
uniform sampler2D light;
uniform sampler2D within;
uniform sampler2D skin;
uniform sampler2D colour;
uniform sampler2D depth;
layout(location = 0) out vec4 out_light;  // radiance times coverage, coverage
layout(location = 1) out vec4 out_within;  // light in skin times its share, that share
layout(location = 2) out vec4 out_skin;  // colour of skin times its share, distance in metres
layout(location = 3) out uint out_label;

vec4 narrow(sampler2D from, vec2 at, vec2 unit) {
    vec2 far = 0.75 * unit, near = vec2(far.x, -far.y);
    return 0.25 * (texture(from, at - far) + texture(from, at + far) + texture(from, at - near) + texture(from, at + near));
}

vec4 wide(sampler2D from, vec2 at, vec2 unit) {
    vec2 far = 1.5 * unit, across = vec2(far.x, 0.0), down = vec2(0.0, far.y), near = vec2(far.x, -far.y);
    vec4 corners = texture(from, at - far) + texture(from, at + far) + texture(from, at - near) + texture(from, at + near);
    vec4 sides = texture(from, at - across) + texture(from, at + across) + texture(from, at - down) + texture(from, at + down);
    return (corners + 2.0 * sides + 4.0 * texture(from, at)) / 16.0;
}

void main() {
    ivec2 base = ivec2(gl_FragCoord.xy) * 2;
    vec2 unit = 1.0 / vec2(textureSize(light, 0)), at = (vec2(base) + 1.0) * unit;
    int labels[4];
    float near = 1.0, strands = 0.0;
    for (int i = 0; i < 4; i++) {
        ivec2 place = base + ivec2(i & 1, i >> 1);
        int label = int(texelFetch(colour, place, 0).a * 255.0 + 0.5);
        strands += (label & 48) == STRAND ? 0.25 : 0.0;
        labels[i] = label & 15;
        near = min(near, texelFetch(depth, place, 0).r);
    }
    int best = labels[0], most = 0;
    for (int i = 0; i < 4; i++) {
        int votes = 0;
        for (int k = 0; k < 4; k++) votes += labels[k] == labels[i] ? 1 : 0;
        bool wins = votes > most || (votes == most && labels[i] > 0 && best == 0);
        if (wins) { best = labels[i]; most = votes; }
    }
    float soft = SOFT * min(2.0 * strands, 1.0);
    out_light = mix(narrow(light, at, unit), wide(light, at, unit), soft);
    out_within = mix(narrow(within, at, unit), wide(within, at, unit), soft);
    out_skin = vec4(mix(narrow(skin, at, unit), wide(skin, at, unit), soft).rgb, metres(near));
    out_label = uint(best);
}
