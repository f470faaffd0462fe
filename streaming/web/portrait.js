// "Your own face": the dialog that makes an avatar of a photograph, and the avatars made so.

import { ask } from "./connection.js";
import { PhotoBox } from "./photo.js";
import { forget, remember, remembered } from "./remembered.js";

const $ = (id) => document.getElementById(id);
const POLL_MS = 400, PATIENCE = 25; // polls that may fail in a row
const SURE_MS = 4000; // a second click on Delete must come within
const VIEWS = ["choose", "work", "done"];
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** Has a button that deletes ask first: the second click does it. */
export function sure(button, act) {
  const words = button.textContent;
  const calm = () => { clearTimeout(button.timer); button.timer = null; button.textContent = words; };
  button.onclick = () => {
    if (button.timer) { calm(); return act(); }
    button.textContent = "Delete for good?";
    button.timer = setTimeout(calm, SURE_MS);
  };
  button.onblur = calm;
}

/** Events: made {id, name}, start {id}, gone {id}. */
export class Portrait extends EventTarget {
  constructor(token) {
    super();
    this.token = token;
    this.job = null; // id of the enrolment that runs
    this.sending = null; // the form that is on its way
    this.shown = null; // the face whose report is shown
    if (matchMedia("(hover: none)").matches) $("face-drop").firstElementChild.textContent = "Choose a photograph"; // nothing is dropped with a finger
    this.photo = new PhotoBox(() => this.#problem(null), (problem) => this.#problem(problem.message));
    $("face-open").onclick = () => this.open();
    $("face-close").onclick = () => $("face").close();
    $("face").onclose = () => this.photo.close();
    $("face-form").onsubmit = (e) => { e.preventDefault(); this.#make(); };
    $("face-cancel").onclick = () => this.#cancel();
    $("face-start").onclick = () => { $("face").close(); this.#emit("start", { id: this.shown.id }); };
    $("face-again").onclick = () => { this.photo.clear(); this.#view("choose"); };
    sure($("face-remove"), () => this.delete(this.shown.id));
    addEventListener("pagehide", () => this.photo.close());
  }

  /** What the server allows; returns the faces that are still there. */
  async offer({ enabled = false, max_mb = 0, keep_hours = 0 } = {}) {
    $("face-open").hidden = !enabled;
    this.photo.most = max_mb * 1e6;
    const days = Math.round(keep_hours / 24), span = days > 1 ? `${days} days` : `${keep_hours} hours`;
    $("face-keep").textContent = keep_hours ? `, or until nobody has used it for ${span}` : "";
    const faces = await Promise.all(enabled ? remembered().map((face) => this.#revive(face)) : []);
    return faces.filter(Boolean);
  }

  /** Shows the dialog, with a photograph if one is given. */
  open(file) {
    const busy = this.job || this.sending;
    this.#view(busy ? "work" : "choose");
    if (!$("face").open) $("face").showModal();
    if (busy) return;
    if (file) this.photo.take(file);
    (file ? $("face-name") : $("face-file")).focus();
  }
  get enabled() { return !$("face-open").hidden; }

  /** Shows how a face was made. */
  async report(face) {
    this.shown = face;
    $("face-warnings").replaceChildren(...(face.warnings ?? []).map((text) => Object.assign(document.createElement("li"), { textContent: capital(text) })));
    $("face-report").removeAttribute("src");
    this.#view("done");
    if (!$("face").open) $("face").showModal();
    $("face-start").focus();
    const response = await ask(`v1/avatars/${face.id}/report.png`, this.token()).catch(() => null);
    if (response && this.shown === face) $("face-report").src = URL.createObjectURL(await response.blob());
  }

  async delete(id) {
    try { await ask(`v1/avatars/${id}`, this.token(), { method: "DELETE" }); }
    catch (problem) { if (problem.status !== 404) { this.#view("choose"); return this.#problem(problem.message); } }
    forget(id);
    if ($("face").open) $("face").close();
    this.#emit("gone", { id });
  }

  async #make() {
    const consent = $("face-consent"), name = $("face-name").value.trim();
    if (!this.photo.file) return this.#problem("Choose a photograph first.", $("face-file"));
    if (!name) return this.#problem("Give the avatar a name.", $("face-name"));
    if (!consent.checked) return this.#problem("Tick the box: without consent no avatar is made.", consent);
    this.photo.close();
    this.#progress({ step: "Sending the photograph" });
    this.#view("work");
    const form = new FormData();
    form.append("name", name);
    form.append("consent", $("face-consent-text").textContent.replace(/\s+/g, " ").trim());
    form.append("photo", this.photo.file);
    this.sending = form;
    try {
      const job = await (await ask("v1/portraits", this.token(), { method: "POST", body: form })).json();
      if (this.sending !== form) return this.#callOff(job.id);
      this.sending = null;
      remember({ id: job.id, name, pending: true });
      await this.#follow(job.id, name);
    } catch (problem) { if (this.sending === form) this.#failed(problem.message); } // a cancelled one fails unheard
  }

  /** Asks how far an enrolment is until it has ended. */
  async #follow(id, name) {
    this.job = id;
    for (let misses = 0; this.job === id; ) {
      try {
        const told = await (await ask(`v1/portraits/${id}`, this.token())).json();
        misses = 0;
        if (this.job !== id) return;
        if (told.state === "done") return this.#made({ id, name, warnings: told.warnings });
        if (told.state === "failed") { forget(id); return this.#failed(told.error); }
        this.#progress(told);
      } catch (problem) {
        if (problem.status === 404) { forget(id); return this.#failed("The server has lost this enrolment. Please send the photograph again."); }
        if (++misses > PATIENCE) return this.#failed(problem.message);
      }
      await new Promise((done) => setTimeout(done, POLL_MS));
    }
  }

  #made(face) {
    this.#idle();
    remember(face);
    this.#emit("made", face);
    if ($("face").open) this.report(face);
    $("face-consent").checked = false;
    this.photo.file = null;
  }
  #failed(why) {
    this.#idle();
    this.#view("choose");
    this.photo.close();
    this.#problem(capital(why));
  }
  async #cancel() {
    const id = this.job;
    this.#idle();
    this.#view("choose");
    this.photo.close();
    if (id) await this.#callOff(id);
  }
  async #callOff(id) {
    forget(id);
    await ask(`v1/portraits/${id}`, this.token(), { method: "DELETE" }).catch(() => {});
  }

  /** A remembered face, if the server still has it; one that is being made is followed. */
  async #revive({ pending, ...face }) {
    const found = await ask(`v1/avatars/${face.id}`, this.token()).catch((problem) => problem);
    if (found instanceof Response) { if (pending) remember(face); return face; }
    if (found.status === 404 && pending && this.job === null) this.#follow(face.id, face.name);
    else if (found.status === 404 && !pending) forget(face.id);
    return null;
  }

  #progress({ state, step, share, ahead }) {
    const bar = $("face-share"), percent = Math.round(100 * (share ?? 0));
    if (share) bar.value = share; else bar.removeAttribute("value");
    const waiting = state === "waiting" && ahead ? `Waiting for ${ahead === 1 ? "one other" : `${ahead} others`}` : "";
    $("face-step").textContent = capital(waiting || step || "Beginning");
    $("face-percent").textContent = share ? `${percent} %` : "";
    $("face-open-label").textContent = share ? `Making ${percent}\u00a0%` : "Making…";
  }
  #idle() { this.job = this.sending = null; $("face-open-label").textContent = "Your own face"; }
  #view(name) {
    for (const view of VIEWS) $(`face-${view}`).hidden = view !== name;
    $("face-title").textContent = name === "done" ? this.shown.name : "Your own face";
    if (name === "work") $("face-cancel").focus();
    this.#problem(null);
  }
  #problem(text, where) {
    $("face-problem").textContent = text ?? "";
    $("face-problem").hidden = !text;
    $("face-problem").scrollIntoView?.({ block: "nearest" });
    where?.focus();
  }

  #emit(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }
}
