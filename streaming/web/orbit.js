// The viewer's hand: drag, wheel, pinch and keys become a viewpoint (engine/viewpoint.py gives the limits).

const YAW = (75 * Math.PI) / 180, PITCH = (25 * Math.PI) / 180;
const NEAREST = 0.45, FARTHEST = 3;
const STEP = (4 * Math.PI) / 180;
const SEND_MS = 33; // sent at 30 Hz at most; the engine's spring makes it smooth

const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

/** Calls `changed(viewpoint)` while the viewer moves. `rest` is what double-click and Home return to. */
export class Orbit {
  constructor(element, changed) {
    this.element = element;
    this.changed = changed;
    this.rest = { yaw: 0, pitch: 0, distance: 1, pan: [0, 0] };
    this.view = { ...this.rest };
    this.pointers = new Map();
    this.timer = null;
    this.enabled = false;
    element.addEventListener("pointerdown", (e) => this.#down(e));
    element.addEventListener("pointermove", (e) => this.#move(e));
    for (const type of ["pointerup", "pointercancel"]) element.addEventListener(type, (e) => this.pointers.delete(e.pointerId));
    element.addEventListener("wheel", (e) => this.#wheel(e), { passive: false });
    element.addEventListener("dblclick", () => this.reset());
    element.addEventListener("keydown", (e) => this.#key(e));
  }

  /** A new resting viewpoint from the server; the view goes there. */
  settle(view) { this.rest = { ...view }; this.view = { ...view }; }

  reset() { this.view = { ...this.rest }; this.#send(); }

  turn(yaw, pitch) {
    this.view.yaw = clamp(this.view.yaw + yaw, -YAW, YAW);
    this.view.pitch = clamp(this.view.pitch + pitch, -PITCH, PITCH);
    this.#send();
  }
  dolly(factor) {
    this.view.distance = clamp(this.view.distance * factor, Math.max(NEAREST, this.rest.distance * 0.5), Math.min(FARTHEST, this.rest.distance * 1.8));
    this.#send();
  }

  #down(event) {
    if (!this.enabled || event.target.closest("button")) return;
    try { this.element.setPointerCapture(event.pointerId); } catch { /* the pointer is gone already */ }
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
  }
  #move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const spread = this.#spread();
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.pointers.size > 1) {
      if (spread > 0) this.dolly(spread / Math.max(this.#spread(), 1));
      return;
    }
    const perPixel = 2.6 / this.element.clientWidth; // the picture follows the finger: drag right, it turns right
    this.turn(-(event.clientX - before[0]) * perPixel, (event.clientY - before[1]) * perPixel);
  }
  #spread() {
    const [a, b] = [...this.pointers.values()];
    return b ? Math.hypot(a[0] - b[0], a[1] - b[1]) : 0;
  }
  #wheel(event) {
    if (!this.enabled) return;
    event.preventDefault();
    const pixels = event.deltaY * [1, 16, 400][event.deltaMode];
    this.dolly(Math.exp(clamp(pixels, -240, 240) * 0.0012));
  }
  #key(event) {
    if (!this.enabled || event.target !== this.element || event.ctrlKey || event.metaKey || event.altKey) return;
    const acts = {
      ArrowLeft: () => this.turn(-STEP, 0), ArrowRight: () => this.turn(STEP, 0),
      ArrowUp: () => this.turn(0, STEP), ArrowDown: () => this.turn(0, -STEP),
      "+": () => this.dolly(0.93), "=": () => this.dolly(0.93), "-": () => this.dolly(1.075),
      Home: () => this.reset(),
    };
    if (acts[event.key]) { event.preventDefault(); acts[event.key](); }
  }
  /** The first movement goes out at once, the last always does. */
  #send() {
    if (this.timer !== null) { this.late = true; return; }
    this.changed({ ...this.view });
    this.timer = setTimeout(() => { this.timer = null; if (this.late) { this.late = false; this.#send(); } }, SEND_MS);
  }
}
