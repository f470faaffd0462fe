// The browser source of streaming software: the avatar with nothing behind it, and its voice, for as long as it lives.
// source.html?session=ID, or without: the newest session of this machine's server. &checker shows what is clear.

import { ask, ServerRefusal } from "./connection.js";
import { Glass } from "./glass.js";
import { Whep } from "./whep.js";

const RETRY_MS = 1500;
const query = new URLSearchParams(location.search);
const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
const video = document.getElementById("video"), words = document.getElementById("words");
const inStudio = "obsstudio" in window; // on air, nobody wants to read

document.body.classList.toggle("checker", query.has("checker"));

function say(text) {
  words.textContent = text;
  words.hidden = inStudio || !text;
}

/** The session to show: the one that was asked for, or the newest there is. */
async function session() {
  const asked = query.get("session");
  if (asked) return asked;
  const { sessions } = await (await ask("../v1/sessions", token)).json();
  if (!sessions.length) throw new ServerRefusal(404, "no_session", "Nobody is there yet. Open the page and press Start; this picture follows.");
  return sessions.at(-1).id;
}

/** Shows one session until it ends. */
async function show(glass) {
  const [id, { iceServers }] = await Promise.all([session(), ask("../v1/ice", token).then((r) => r.json())]);
  const whep = new Whep(new URL(`../v1/sessions/${encodeURIComponent(id)}/whep?alpha=1`, location), { token, iceServers });
  try {
    const ended = new Promise((resolve) => whep.addEventListener("state", ({ detail }) => {
      if (["failed", "closed", "disconnected"].includes(detail.state)) resolve();
    }));
    await whep.open();
    video.srcObject = whep.stream;
    video.muted = false;
    await video.play().catch(() => { video.muted = true; return video.play(); }); // a studio lets it sound, a browser may not
    say("");
    await ended;
  } finally {
    whep.close();
    video.srcObject = null;
    glass.clear();
  }
}

try {
  const glass = window.visavisGlass = new Glass(document.getElementById("picture"), video);
  for (;;) {
    await show(glass).catch((problem) => {
      if (!(problem instanceof ServerRefusal)) console.error(problem);
      say(problem.message);
    });
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
} catch (problem) {
  console.error(problem);
  say(problem.message);
}
