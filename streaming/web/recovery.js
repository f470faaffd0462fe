// What a page does when its session falls silent: it asks whether the session lives, and goes on with it on a new line.

import { ask } from "./connection.js";

const SILENT_MS = 600; // nothing said of any picture for so long: something is wrong (usually it comes five times a second)
const GAPS = 3; // and no less than so many times what is usual on this line
const ASK_MS = 500; // a session that lives is asked for so often
const PATIENCE_MS = 3000; // and waited for so long, before a new line is tried
const ANSWER_MS = 2000; // a server that has not answered by then is as good as away
const PAUSES = [50, 100, 200, 400, 600, 1000];
const FINAL = new Set([400, 401, 403, 404, 413]); // answers that waiting does not change

/** Looks after one connection. `lost()` is called once, when a new one is wanted. */
export class Watch {
  #connection; #lost; #heard = performance.now(); #usual = 200; #asked = 0; #timer;

  constructor(connection, lost) {
    this.#connection = connection;
    this.#lost = lost;
    connection.addEventListener("stamps", this.#note);
    connection.addEventListener("hushed", this.#gone);
    this.#timer = setInterval(() => this.#look(), 100);
  }

  close() {
    clearInterval(this.#timer);
    this.#timer = null;
    this.#connection.removeEventListener("stamps", this.#note);
    this.#connection.removeEventListener("hushed", this.#gone);
  }

  #note = () => {
    const now = performance.now();
    this.#usual += 0.2 * (Math.min(now - this.#heard, 2000) - this.#usual);
    this.#heard = now;
  };
  #gone = () => { if (this.#timer !== null) { this.close(); this.#lost(); } };

  async #look() {
    const now = performance.now(), silent = now - this.#heard;
    if (silent < Math.max(SILENT_MS, GAPS * this.#usual) || now - this.#asked < ASK_MS) return;
    if (silent > PATIENCE_MS + GAPS * this.#usual) return this.#gone();
    this.#asked = now;
    if (!(await alive(this.#connection)) && performance.now() - this.#heard >= silent) this.#gone();
  }
}

/** Whether the server says that the session of `connection` lives. */
async function alive(connection) {
  const signal = AbortSignal.timeout(ANSWER_MS);
  try { return (await (await ask(`v1/sessions/${connection.id}`, connection.token, { signal })).json()).state === "alive"; }
  catch { return false; }
}

/** How often is tried again, and when it is no use: for Connection.open. */
export class Persistence {
  #until; #tries = 0;
  constructor(forMs) { this.#until = performance.now() + forMs; }

  get over() { return performance.now() > this.#until; }

  /** Waits a little after `problem`; throws it when waiting would not help, or has not. */
  again = async (problem) => {
    if (this.over || (FINAL.has(problem.status) && problem.code !== "no_session")) throw problem;
    const pause = PAUSES[Math.min(this.#tries++, PAUSES.length - 1)];
    await new Promise((resolve) => setTimeout(resolve, pause));
  };
}

/** The last picture of a video, kept in sight while the video has none. */
export class Still {
  constructor(canvas) { this.canvas = canvas; }

  get shown() { return !this.canvas.hidden; }

  keep(video) {
    if (this.shown || !video.videoWidth) return;
    this.canvas.width = video.videoWidth;
    this.canvas.height = video.videoHeight;
    this.canvas.getContext("2d").drawImage(video, 0, 0);
    this.canvas.hidden = false;
  }
  drop() { this.canvas.hidden = true; }
}
