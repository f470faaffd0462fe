// The picture: skin's colour on the light that left it, the place behind, exposure, film.
#include "common.glsl"
uniform sampler2D light;
uniform sampler2D within;
uniform sampler2D skin;
uniform sampler2D backdrop;
uniform bool backdrop_turns;
uniform float backdrop_reach;
uniform mat3 to_world;
uniform vec4 lens;  // in pixels
uniform float exposure;
uniform float seed;
layout(location = 0) out vec4 out_picture;  // sRGB, alpha

vec3 behind() {
    vec2 at = gl_FragCoord.xy / vec2(textureSize(light, 0));
    if (backdrop_turns) {
        vec3 d = to_world * normalize(vec3((gl_FragCoord.xy - lens.yz) / lens.x, 1.0));
        at = vec2(atan(d.x, -d.z) / (2.0 * PI) + 0.5, 0.5 - 0.5 * asin(clamp(d.y, -1.0, 1.0)) / backdrop_reach);
    }
    return texture(backdrop, at).rgb;
}

// A photographic curve: log-logistic a channel, mid grey kept, after a slight bleed between channels so that
// bright colours lose their saturation as on film.
vec3 film(vec3 c) {
    const float contrast = 1.5, grey = 0.1845;
    float mean = dot(c, vec3(0.2126, 0.7152, 0.0722));
    c = mix(c, vec3(mean), 0.07);
    vec3 p = pow(max(c, vec3(0.0)), vec3(contrast));
    float knee = pow(grey, contrast) * (1.0 - grey) / grey;
    c = p / (p + knee);
    mean = dot(c, vec3(0.2126, 0.7152, 0.0722));
    return clamp(mix(vec3(mean), c, 1.06), 0.0, 1.0);
}

vec3 encoded(vec3 c) { return mix(12.92 * c, 1.055 * pow(c, vec3(1.0 / 2.4)) - 0.055, step(0.0031308, c)); }

void main() {
    ivec2 pixel = ivec2(gl_FragCoord.xy);
    vec4 front = texelFetch(light, pixel, 0), deep = texelFetch(within, pixel, 0), own = texelFetch(skin, pixel, 0);
    vec3 sum = front.rgb;
    if (deep.a > 0.002) sum += own.rgb * deep.rgb / deep.a;
    sum += behind() * (1.0 - front.a);
    vec2 off = (gl_FragCoord.xy - lens.yz) / lens.x;
    sum *= exposure * (1.0 - 0.9 * dot(off, off));
    vec3 picture = encoded(film(sum));
    float grain = scatter(pixel + ivec2(int(seed) % 911, int(seed) % 577)) - 0.5;
    out_picture = vec4(picture + grain * (1.2 / 255.0), front.a);
}
