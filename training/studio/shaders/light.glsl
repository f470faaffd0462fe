// Light that reaches a sample: three lamps, shadows, the room as harmonics and as a mirrored picture.
#include "common.glsl"
uniform sampler2D colour;
uniform sampler2D surface;
uniform sampler2D direction;
uniform sampler2D depth;
uniform sampler2D key_map;
uniform sampler2D rim_map;
uniform sampler2D room;
uniform vec4 lens;
uniform mat3 to_world;  // view directions to the world's
uniform vec3 lamp_direction[3];  // key, fill, rim; view space
uniform vec3 lamp_colour[3];
uniform float lamp_size[3];
uniform vec3 harmonic[9];
uniform mat4 to_key;  // view space to the key's map: texture place, depth 0..1
uniform mat4 to_rim;
uniform float key_reach;  // metres that the depth of a map spans
uniform float key_width;  // metres across a map
layout(location = 0) out vec4 out_light;  // radiance, coverage
layout(location = 1) out vec4 out_within;  // light that enters skin, to be spread; share of skin
layout(location = 2) out vec4 out_skin;  // colour of that skin; its share

const vec3 BRIGHTEST = vec3(6.0);  // one sample must not outshine its pixel

struct Sample {
    ivec2 pixel;
    vec3 albedo;  // linear
    vec4 surface;
    vec3 first, second;  // the two directions of the G-buffer
    vec3 point, view;  // view space; direction to the eye
};

Sample take() {
    Sample s;
    s.pixel = ivec2(gl_FragCoord.xy);
    s.albedo = to_linear(texelFetch(colour, s.pixel, 0).rgb);
    s.surface = texelFetch(surface, s.pixel, 0);
    vec4 packed_directions = texelFetch(direction, s.pixel, 0);
    s.first = unpack_direction(packed_directions.xy);
    s.second = unpack_direction(packed_directions.zw);
    float z = metres(texelFetch(depth, s.pixel, 0).r);
    s.point = vec3((gl_FragCoord.xy - lens.yz) / lens.x * z, z);
    s.view = -normalize(s.point);
    return s;
}

vec3 ambient(vec3 n) {  // what the room sends to a matte surface, over pi
    n = to_world * n;
    vec3 sum = harmonic[0] + harmonic[1] * n.y + harmonic[2] * n.z + harmonic[3] * n.x + harmonic[4] * n.x * n.y;
    sum += harmonic[5] * n.y * n.z + harmonic[6] * (3.0 * n.z * n.z - 1.0) + harmonic[7] * n.x * n.z;
    return max(sum + harmonic[8] * (n.x * n.x - n.y * n.y), vec3(0.0));
}

vec3 mirrored(vec3 toward, float level) {  // level 0 is sharp and shows the lamps; 1.. are blurrier
    vec3 d = to_world * toward;
    vec2 at = vec2(atan(d.x, d.z) / (2.0 * PI) + 0.5, acos(clamp(d.y, -1.0, 1.0)) / PI);
    return textureLod(room, at, level).rgb;
}

const vec2 DISC[8] = vec2[8](  // Vogel's spiral
    vec2(0.2500, 0.0000), vec2(-0.3193, 0.2925), vec2(0.0489, -0.5569), vec2(0.4026, 0.5252),
    vec2(-0.7385, -0.1306), vec2(0.6997, -0.4445), vec2(-0.2341, 0.8706), vec2(-0.4463, -0.8593));

// Part of the key's light that arrives. x: at a solid surface; y: through hair, of which a metre
// lets exp(-density) pass.
// Percentage-closer soft shadows (Fernando 2005): blockers first, then as wide as they say.
vec2 key_light(Sample s, vec3 n, float offset, float density) {
    vec3 at = (to_key * vec4(s.point + n * offset, 1.0)).xyz;
    if (at != clamp(at, 0.02, 0.98)) return vec2(1.0);  // outside the map nothing is known
    float angle = scatter(s.pixel) * 2.0 * PI;
    mat2 spin = mat2(cos(angle), sin(angle), -sin(angle), cos(angle));
    float tangent = tan(lamp_size[0]);
    float search = (0.012 + 0.035 * tangent) / key_width;
    float blocked = 0.0, sum = 0.0;
    for (int i = 0; i < 8; i += 2) {
        float gap = (at.z - textureLod(key_map, at.xy + spin * DISC[i] * search, 0.0).r) * key_reach;
        if (gap > 0.0008) { sum += gap; blocked += 1.0; }
    }
    float width = clamp(0.8 * tangent * sum / max(blocked, 1.0), 0.0012, 0.035) / key_width;
    float open = 0.0, through = 0.0;
    for (int i = 0; i < 8; i++) {
        float gap = (at.z - textureLod(key_map, at.xy + spin * DISC[i] * width, 0.0).r) * key_reach;
        open += gap > 0.0008 + 0.35 * width * key_width ? 0.0 : 1.0;
        through += exp(-max(gap - 0.001, 0.0) * density);
    }
    return vec2(open, through) / 8.0;
}

float rim_light(Sample s, vec3 n) {
    vec3 at = (to_rim * vec4(s.point + n * 0.004, 1.0)).xyz;
    if (at != clamp(at, 0.02, 0.98)) return 1.0;
    float angle = scatter(s.pixel) * 2.0 * PI;
    mat2 spin = mat2(cos(angle), sin(angle), -sin(angle), cos(angle));
    float open = 0.0;
    for (int i = 0; i < 8; i += 2) {
        float gap = at.z - textureLod(rim_map, at.xy + spin * DISC[i] * 0.006 / key_width, 0.0).r;
        open += gap * key_reach > 0.003 ? 0.0 : 1.0;
    }
    return open / 4.0;
}

float rim_thickness(Sample s, vec3 n) {  // metres of flesh between this point and the rim lamp
    vec3 at = (to_rim * vec4(s.point - n * 0.001, 1.0)).xyz;
    return max((at.z - textureLod(rim_map, at.xy, 0.0).r) * key_reach, 0.0);
}

// GGX (Walter et al. 2007) with Smith's shadowing (Hammon's fit) and Schlick's Fresnel, times the cosine.
float gloss(vec3 n, vec3 v, vec3 l, float rough, float f0) {
    vec3 h = l + v;
    float turned = dot(h, h);  // 0 where the lamp is right behind: the half vector then means nothing
    h *= inversesqrt(max(turned, 1e-6));
    float nl = clamp(dot(n, l), 0.0, 1.0), nv = max(dot(n, v), 0.05), nh = clamp(dot(n, h), 0.0, 1.0);
    float a = rough * rough, a2 = a * a;
    float d = nh * nh * (a2 - 1.0) + 1.0;
    float visible = 0.5 / mix(2.0 * nl * nv, nl + nv, a);
    float f = f0 + (1.0 - f0) * pow(1.0 - clamp(dot(v, h), 0.0, 1.0), 5.0);
    return a2 / (d * d) * visible * f * nl * smoothstep(0.0, 0.02, turned);  // lamp colours are over pi already
}

// Mirrored part of the room for a rough surface (Karis 2014): a colour of the level, a fitted scale.
vec3 sheen(vec3 n, vec3 v, float rough, float f0) {
    float nv = clamp(dot(n, v), 0.0, 1.0);
    vec4 r = rough * vec4(-1.0, -0.0275, -0.572, 0.022) + vec4(1.0, 0.0425, 1.04, -0.04);
    float a = min(r.x * r.x, exp2(-9.28 * nv)) * r.x + r.y;
    vec2 ab = vec2(-1.04, 1.04) * a + r.zw;
    return mirrored(reflect(-v, n), 1.0 + 3.0 * rough) * (f0 * ab.x + ab.y);
}

float widened(float rough, float size) {  // a lamp of some size blurs its own highlight
    return clamp(rough + 0.22 * size, 0.0, 1.0);
}
