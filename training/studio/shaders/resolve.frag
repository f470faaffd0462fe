// Samples to pixels: a soft filter over 4 x 4 samples (1 3 3 1), as a lens does; the label that most samples have.
#include "common.glsl"
uniform sampler2D light;
uniform sampler2D within;
uniform sampler2D colour;
uniform sampler2D depth;
layout(location = 0) out vec4 out_light;  // radiance times coverage, coverage
layout(location = 1) out vec4 out_within;  // light in skin times its share, that share
layout(location = 2) out vec4 out_skin;  // albedo of skin times its share, distance in metres
layout(location = 3) out uint out_label;

void main() {
    ivec2 pixel = ivec2(gl_FragCoord.xy), base = pixel * 2;
    vec2 size = vec2(textureSize(light, 0)), at = (vec2(base) + 1.0) / size;
    vec4 sum = vec4(0.0), deep = vec4(0.0);
    vec3 skin = vec3(0.0);
    int labels[4];
    float near = 1.0;
    for (int i = 0; i < 4; i++) {
        ivec2 side = ivec2(i & 1, i >> 1);
        vec2 tap = at + (vec2(side) * 2.0 - 1.0) * 0.75 / size;
        sum += min(texture(light, tap), vec4(6.0));
        deep += texture(within, tap);
        vec4 c = texelFetch(colour, base + side, 0);
        labels[i] = int(c.a * 255.0 + 0.5) & 15;
        skin += to_linear(c.rgb) * texelFetch(within, base + side, 0).a;
        near = min(near, texelFetch(depth, base + side, 0).r);
    }
    int best = labels[0], most = 0;
    for (int i = 0; i < 4; i++) {
        int votes = 0;
        for (int k = 0; k < 4; k++) votes += labels[k] == labels[i] ? 1 : 0;
        bool wins = votes > most || (votes == most && labels[i] > 0 && best == 0);
        if (wins) { best = labels[i]; most = votes; }
    }
    out_light = sum * 0.25;
    out_within = deep * 0.25;
    out_skin = vec4(skin * 0.25, metres(near));
    out_label = uint(best);
}
