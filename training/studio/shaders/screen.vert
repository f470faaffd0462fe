// One triangle over the whole picture, at a depth that lets a depth test pick one material.
in vec2 corner;
uniform float level;  // window depth

void main() { gl_Position = vec4(corner, 2.0 * level - 1.0, 1.0); }
