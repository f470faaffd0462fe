// A posed vertex seen from a lamp: to_map takes world points to the map's texture coordinates and depth, all 0..1.
in vec3 position;
in vec2 place;
out vec2 uv;
uniform mat4 to_map;

void main() {
    vec3 at = (to_map * vec4(position, 1.0)).xyz;
    uv = place;
    gl_Position = vec4(2.0 * at - 1.0, 1.0);
}
