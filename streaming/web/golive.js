// "Go live": where else this session can be seen, for streaming software and for people, and how it is sent here.

import { ask } from "./connection.js";
import { press, radio } from "./radio.js";

const WATCH_HOURS = 12;
const AGAIN = ["restarting", "unreachable"]; // the page looks for the server anyway, and comes back here
const QUALITIES = { auto: {}, light: { height: 256 }, slow: { height: 256, fps: 12.5 } };
const $ = (id) => document.getElementById(id);

export class GoLive {
  /** ``token()``: the server's, "" without. ``complain(problem)``: shows what went wrong. */
  constructor(token, complain) {
    this.token = token;
    this.complain = complain;
    this.connection = null;
    this.quality = "auto";
    for (const kind of ["source", "watch"]) {
      const field = $(`${kind}-link`), button = $(`${kind}-copy`);
      button.onclick = () => this.#copy(field, button);
      field.onfocus = () => field.select();
    }
    radio("quality", "quality", (name) => { this.quality = name; press("quality", "quality", name); this.#send(); });
    $("steady").oninput = () => this.#steady();
  }

  #send() { this.connection?.tell("quality", QUALITIES[this.quality]); }
  #steady() {
    const ms = Number($("steady").value);
    $("steady-value").textContent = `${ms} ms`;
    this.connection?.lips?.hold(ms, "viewer");
  }

  /** A session began (null: it ended). */
  async show(connection) {
    this.connection = connection;
    $("live-links").hidden = true;
    if (!connection) return;
    if (this.quality !== "auto") this.#send();
    this.#steady();
    try {
      const own = await this.#isOurs(), watch = this.token() ? await this.#watcher(connection.id) : "";
      if (this.connection !== connection) return;
      const at = (page, query) => new URL(`web/${page}${query}${watch && `#token=${encodeURIComponent(watch)}`}`, location.href.split(/[?#]/)[0]).href;
      const session = `?session=${encodeURIComponent(connection.id)}`;
      $("source-link").value = at("source.html", own ? "" : session); // on one's own machine it stays the same for ever
      $("watch-link").value = at("watch.html", session);
      $("live-links").hidden = false;
    } catch (problem) {
      if (this.connection === connection && !AGAIN.includes(problem.code)) this.complain(problem);
    }
  }

  /** Whether this machine alone reaches the server: then the newest session is found without its name. */
  async #isOurs() {
    try { await ask("v1/sessions", this.token()); return true; }
    catch (problem) { if (problem.status === 403) return false; throw problem; }
  }

  /** A token that may watch this session and nothing else. */
  async #watcher(session) {
    const body = JSON.stringify({ scopes: ["watch"], session, ttl_s: 3600 * WATCH_HOURS });
    return (await (await ask("v1/tokens", this.token(), { method: "POST", body })).json()).token;
  }

  async #copy(field, button) {
    try { await navigator.clipboard.writeText(field.value); }
    catch { field.select(); document.execCommand("copy"); }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }
}
