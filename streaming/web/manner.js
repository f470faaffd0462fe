// How the avatar behaves: emotion, gaze, strength, what it talks about, single actions. Each change is one message
// of docs/protocol.md; what was set is set again in the next session.

import { press, radio } from "./radio.js";

const $ = (id) => document.getElementById(id);
const FACES = { neutral: "😐", happy: "😊", sad: "😢", angry: "😠", surprised: "😮", fearful: "😨", disgusted: "😖", contempt: "😏" };
const AWAY = [0.55, -0.12]; // past the viewer's shoulder
const SEND_MS = 50;
const GROUPS = [["Eyes", /^eye/], ["Brows, cheeks, nose", /^(brow|cheek|nose)/], ["Jaw and tongue", /^(jaw|tongue)/], ["Mouth", /^mouth/]];

const words = (name) => name.replace(/([A-Z])/g, " $1").toLowerCase().replace(/ (left|right)$/, (side) => ` ${side[1].toUpperCase()}`);

/** `send(type, fields)` gives a message to the running session, if there is one. */
export class MannerPanel {
  constructor(send) {
    this.send = send;
    this.set = new Map(); // message type -> its fields, of everything that is not as a session begins
    this.late = new Map(); // message type -> timer of its throttle
    this.emotion = "neutral";
    this.weights = {};
    radio("emotions", "emotion", (name) => { this.emotion = name; this.#feel(); });
    radio("gaze", "gaze", (name) => { press("gaze", "gaze", name); this.#say("gaze", { at: name === "away" ? AWAY : name }, name === "free"); });
    $("intensity").oninput = () => this.#feel();
    for (const name of ["head", "gesture"]) {
      $(`${name}-strength`).oninput = (e) => { this.#label(e.target, `${name}-value`); this.#strength(); };
    }
    $("about").onchange = (e) => this.#say("text", { text: e.target.value.trim() }, !e.target.value.trim());
    radio("state", "at", (name) => { press("state", "at", name); this.#say("state", { name }, name === "idle"); });
    $("release").onclick = () => this.#release();
  }

  /** The names the server knows. */
  offer({ emotions, actions }) {
    $("emotions").replaceChildren(...(emotions ?? []).map((name) => this.#mood(name)));
    const groups = GROUPS.map(([title, fits]) => this.#group(title, (actions ?? []).filter((name) => fits.test(name))));
    $("actions").replaceChildren(...groups);
    press("emotions", "emotion", this.emotion);
    press("gaze", "gaze", "free");
  }

  /** A session has begun: it is told what was set before. */
  repeat() { for (const [type, fields] of this.set) this.send(type, fields); }

  #feel() {
    press("emotions", "emotion", this.emotion);
    $("mood").textContent = this.emotion;
    $("intensity-row").hidden = this.emotion === "neutral";
    this.#label($("intensity"), "intensity-value");
    this.#say("emotion", { name: this.emotion, intensity: Number($("intensity").value) }, this.emotion === "neutral");
  }
  #strength() {
    const [head, gesture] = [Number($("head-strength").value), Number($("gesture-strength").value)];
    this.#say("strength", { head, gesture }, head === 1 && gesture === 1);
  }
  #label(range, output) { $(output).textContent = `${Math.round(100 * range.value)} %`; }

  #mood(name) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.emotion = name;
    button.title = name;
    button.setAttribute("role", "radio");
    button.setAttribute("aria-label", name);
    button.textContent = FACES[name] ?? "🙂";
    return button;
  }

  #group(title, names) {
    const box = document.createElement("fieldset"), legend = document.createElement("legend");
    legend.textContent = title;
    box.append(legend, ...names.map((name) => this.#action(name)));
    return box;
  }
  #action(name) {
    const row = document.createElement("label"), text = document.createElement("span"), range = document.createElement("input");
    text.textContent = words(name);
    Object.assign(range, { type: "range", min: 0, max: 1, step: 0.01, value: 0 });
    range.dataset.action = name;
    range.oninput = () => { this.weights[name] = Number(range.value); row.classList.add("set"); this.#act(); };
    range.ondblclick = () => { range.value = 0; delete this.weights[name]; row.classList.remove("set"); this.#act(); };
    range.title = "Double-click to let go";
    row.append(text, range);
    return row;
  }
  #release() {
    this.weights = {};
    for (const range of $("actions").querySelectorAll("input")) { range.value = 0; range.parentElement.classList.remove("set"); }
    this.#act();
  }
  #act() {
    const none = Object.keys(this.weights).length === 0;
    $("release").disabled = none;
    this.#say("actions", { weights: { ...this.weights } }, none);
  }

  /** Sent at most twenty times a second; the last one always is. */
  #say(type, fields, asAtTheStart) {
    if (asAtTheStart) this.set.delete(type); else this.set.set(type, fields);
    if (this.late.has(type)) { this.late.get(type).fields = fields; return; }
    this.send(type, fields);
    const wait = { fields: null };
    this.late.set(type, wait);
    setTimeout(() => { this.late.delete(type); if (wait.fields) this.#say(type, wait.fields, asAtTheStart && !this.set.has(type)); }, SEND_MS);
  }
}
