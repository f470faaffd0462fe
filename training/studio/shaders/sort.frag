// Which material a sample is made of, as depth: the lighting passes then test for equality.
#include "common.glsl"
uniform sampler2D colour;
uniform float material_of[LABELS];  // label to material number

void main() {
    float label = texelFetch(colour, ivec2(gl_FragCoord.xy), 0).a;
    gl_FragDepth = material_of[int(label * 255.0 + 0.5)] / 16.0;
}
