// A posed vertex, from world to view space (x right, y down, z away from the eye) and to the picture.
// Row 0 of the picture is the top: y down in view space is up in GL's window, so reading back needs no flip.
in vec3 position;
in vec3 normal;
in vec2 place;
in float own;  // of a strand
out vec3 point;
out vec3 facing;
out vec2 uv;
flat out float strand;
uniform mat3 turn;
uniform vec3 shift;
uniform vec4 lens;  // focal, centre x, centre y in samples; unused
uniform vec2 extent;  // width, height in samples
const float NEAR = 0.05, FAR = 12.0;

void main() {
    point = turn * position + shift;
    facing = turn * normal;
    uv = place;
    strand = own;
    vec2 xy = 2.0 * (lens.x * point.xy + lens.yz * point.z) / extent - point.z;
    float depth = ((FAR + NEAR) * point.z - 2.0 * FAR * NEAR) / (FAR - NEAR);
    gl_Position = vec4(xy, depth, point.z);
}
