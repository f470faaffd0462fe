// One photograph, from a file, dropped, or taken with the camera.

import { SourceError } from "./sources.js";

const $ = (id) => document.getElementById(id);
const CAMERA_PROBLEMS = {
  NotAllowedError: "The camera is blocked. Allow it in the address bar, or choose a file.",
  NotFoundError: "No camera was found. Choose a file instead.",
  NotReadableError: "Another program is holding the camera. Close it there, or choose a file.",
};

/** `changed()` is called when there is another picture, or none; `failed(problem)` when one cannot be had. */
export class PhotoBox {
  constructor(changed, failed) {
    this.file = null;
    this.visible = true; // false: this browser cannot show the file; the server may still read it
    this.most = Infinity; // bytes
    this.changed = changed;
    this.failed = failed;
    this.stream = null;
    $("face-file").onchange = (e) => { this.take(e.target.files[0]); e.target.value = ""; };
    $("face-shoot").onclick = () => (this.stream ? this.#shoot() : this.#film());
    $("face-other").onclick = () => this.clear();
    $("face-image").onerror = () => { this.visible = false; this.#lay(); };
  }

  /** Takes a file as the picture. */
  take(file) {
    if (!file) return;
    this.#dark();
    if (file.type && !file.type.startsWith("image/")) return this.#refuse(`${file.name} is no picture. Choose a JPEG, PNG or WebP file.`);
    if (file.size > this.most) return this.#refuse(`${file.name} has ${(file.size / 1e6).toFixed(1)} MB, at most ${this.most / 1e6} are taken. Save it smaller.`);
    this.file = file;
    this.visible = true;
    URL.revokeObjectURL($("face-image").src);
    $("face-image").src = URL.createObjectURL(file);
    $("face-unseen").textContent = file.name;
    this.#show();
  }

  clear() { this.file = null; this.#dark(); this.#show(); $("face-shoot").focus(); }
  /** Lets go of the camera. */
  close() { this.#dark(); this.#show(); }

  #refuse(why) { this.#show(); this.failed(new SourceError(why)); }
  #show() { this.#lay(); this.changed(); }
  #lay() {
    const filming = this.stream !== null, chosen = this.file !== null && !filming;
    $("face-drop").hidden = filming || chosen;
    $("face-image").hidden = !chosen || !this.visible;
    $("face-unseen").hidden = !chosen || this.visible;
    $("face-camera").hidden = !filming;
    $("face-shoot").hidden = chosen;
    $("face-outline").toggleAttribute("hidden", chosen);
    $("face-shoot").textContent = filming ? "Take the picture" : "Use the camera";
    $("face-shoot").classList.toggle("primary", filming);
    $("face-other").hidden = !filming && !chosen;
    $("face-other").textContent = filming ? "Back" : "Another photograph";
  }

  async #film() {
    if (!navigator.mediaDevices?.getUserMedia) return this.failed(new SourceError("Browsers give no camera to a page without https. Choose a file instead."));
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1920 }, height: { ideal: 1080 } } });
    } catch (problem) {
      return this.failed(new SourceError(CAMERA_PROBLEMS[problem.name] ?? `The camera cannot be used: ${problem.message}`));
    }
    if (!$("face").open) return this.#dark(); // closed while the browser asked
    $("face-camera").srcObject = this.stream;
    this.#show();
  }
  async #shoot() {
    const camera = $("face-camera"), canvas = document.createElement("canvas");
    if (!camera.videoWidth) return;
    [canvas.width, canvas.height] = [camera.videoWidth, camera.videoHeight];
    canvas.getContext("2d").drawImage(camera, 0, 0);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
    this.take(new File([blob], "camera.jpg", { type: "image/jpeg" }));
  }
  #dark() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = $("face-camera").srcObject = null;
  }
}
