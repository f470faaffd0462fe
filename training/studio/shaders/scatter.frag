// Light spreads in skin: a separable blur of what entered, red farthest (d'Eon & Luebke 2007's profile in short).
#include "common.glsl"
uniform sampler2D within;
uniform sampler2D skin;  // distance in a
uniform vec2 along;  // one pixel along this pass, in texture coordinates
uniform float focal;  // pixels
layout(location = 0) out vec4 out_within;
const vec3 WIDTH = vec3(0.0021, 0.0013, 0.0009);  // metres, standard deviation

void main() {
    vec2 size = vec2(textureSize(within, 0)), at = gl_FragCoord.xy / size;
    vec4 middle = texture(within, at);
    if (middle.a < 0.002) { out_within = middle; return; }
    float z = texture(skin, at).a;
    float reach = 0.0065, steps = reach * focal / z / 4.0;  // pixels a tap
    vec3 sum = middle.rgb, total = vec3(middle.a);
    for (int i = -4; i <= 4; i++) {
        if (i == 0) continue;
        vec2 place = at + along * steps * float(i);
        vec4 there = texture(within, place);
        float gap = abs(texture(skin, place).a - z), far = reach * abs(float(i)) / 4.0;
        vec3 weight = exp(-(far * far + gap * gap) / (2.0 * WIDTH * WIDTH));
        sum += there.rgb * weight;
        total += there.a * weight;
    }
    out_within = vec4(mix(middle.rgb, sum / total * middle.a, 0.88), middle.a);
}
