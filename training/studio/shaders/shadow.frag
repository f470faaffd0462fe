// Depth alone. Strands cast where they are dense.
in vec2 uv;
#ifdef STRAND
uniform sampler2D albedo;
#endif

void main() {
#ifdef STRAND
    if (texture(albedo, uv).a < 0.35) discard;
#endif
}
