// Draws a stacked picture (streaming/alpha.py: the avatar over black, its alpha below) with its transparency.

const VERTEX = `
attribute vec2 corner;
varying vec2 place;
void main() { place = vec2(corner.x * .5 + .5, .5 - corner.y * .5); gl_Position = vec4(corner, 0., 1.); }`;
const FRAGMENT = `
precision mediump float;
varying vec2 place;
uniform sampler2D picture;
uniform float half_texel;
void main() {
  float y = clamp(place.y * .5, half_texel, .5 - half_texel);
  float alpha = texture2D(picture, vec2(place.x, y + .5)).g;
  alpha = clamp((alpha - .02) / .96, 0., 1.); // a coded zero is seldom a zero
  vec3 colour = min(texture2D(picture, vec2(place.x, y)).rgb, vec3(alpha)); // premultiplied, as canvases are
  gl_FragColor = vec4(colour, alpha);
}`;

/** A canvas that shows a video of stacked pictures. Throws when the browser has no WebGL. */
export class Glass {
  constructor(canvas, video) {
    this.canvas = canvas;
    this.video = video;
    this.drawn = 0;
    const gl = this.gl = canvas.getContext("webgl", { alpha: true, premultipliedAlpha: true, antialias: false });
    if (!gl) throw new Error("this browser has no WebGL, which transparency needs");
    canvas.addEventListener("webglcontextlost", (event) => { event.preventDefault(); this.lost = true; });
    canvas.addEventListener("webglcontextrestored", () => { this.lost = false; this.#prepare(); });
    this.#prepare();
    if ("requestVideoFrameCallback" in video) this.#watch();
    else this.#poll();
  }

  #prepare() {
    const gl = this.gl, program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(`WebGL: ${gl.getProgramInfoLog(program)}`);
    gl.useProgram(program);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), gl.STATIC_DRAW);
    const corner = gl.getAttribLocation(program, "corner");
    gl.enableVertexAttribArray(corner);
    gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    for (const [name, value] of [["WRAP_S", "CLAMP_TO_EDGE"], ["WRAP_T", "CLAMP_TO_EDGE"], ["MIN_FILTER", "LINEAR"], ["MAG_FILTER", "LINEAR"]]) {
      gl.texParameteri(gl.TEXTURE_2D, gl[`TEXTURE_${name}`], gl[value]);
    }
    this.halfTexel = gl.getUniformLocation(program, "half_texel");
  }

  #watch() {
    this.video.requestVideoFrameCallback(() => { this.draw(); this.#watch(); });
  }
  #poll() {
    requestAnimationFrame(() => { this.draw(); this.#poll(); });
  }

  /** The picture that the video shows now. */
  draw() {
    const { gl, canvas, video } = this, width = video.videoWidth, height = video.videoHeight / 2;
    if (this.lost || !width || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    gl.viewport(0, 0, width, height);
    gl.uniform1f(this.halfTexel, 0.5 / video.videoHeight);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, video);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    this.drawn += 1;
  }

  /** Nothing. */
  clear() {
    this.gl.clearColor(0, 0, 0, 0);
    this.gl.clear(this.gl.COLOR_BUFFER_BIT);
  }
}
