// Watches a session by WHEP: watch.html?session=ID#token=... Comes back by itself when the line was cut.

import { ask, ServerRefusal } from "./connection.js";
import { Steadier } from "./steadier.js";
import { Whep } from "./whep.js";

const RETRY_MS = 2000, STILL_MS = 3000;
const GONE_FOR_GOOD = [401, 403]; // another try changes nothing
const session = new URLSearchParams(location.search).get("session");
const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
const $ = (id) => document.getElementById(id);
const video = $("video");

function say(state, label, text = "") {
  $("status").dataset.state = state;
  $("status").textContent = label;
  $("words").textContent = text;
  $("words").hidden = !text;
}

/** With sound where the browser lets a page begin with it; otherwise a button asks for it. */
async function play() {
  video.muted = false;
  await video.play().catch(() => { video.muted = true; return video.play(); });
  $("sound").hidden = !video.muted;
}

/** Resolves when the picture has stood still for too long: a session that ends closes no connection at once. */
function still() {
  return new Promise((resolve) => {
    let [seen, since] = [video.currentTime, performance.now()];
    const timer = setInterval(() => {
      if (video.currentTime !== seen || document.hidden) [seen, since] = [video.currentTime, performance.now()];
      if (performance.now() - since < STILL_MS) return;
      clearInterval(timer);
      resolve();
    }, 250);
  });
}

/** On a shaky line pictures, and the voice with them, wait until nearly all are seen. Returns what ends that. */
function steady(pc) {
  const receivers = pc.getReceivers(), pictures = receivers.find(({ track }) => track.kind === "video");
  if (!("jitterBufferTarget" in pictures && "requestVideoFrameCallback" in video)) return () => {};
  const steadier = new Steadier(pictures, (ms) => receivers.forEach((one) => { one.jitterBufferTarget = ms; }));
  const each = (now, metadata) => { steadier.frame(metadata); next = video.requestVideoFrameCallback(each); };
  let next = video.requestVideoFrameCallback(each);
  return () => { steadier.close(); video.cancelVideoFrameCallback(next); };
}

/** Shows the session until it, or the line, ends. */
async function watch() {
  const { iceServers } = await (await ask("../v1/ice", token)).json();
  const whep = new Whep(new URL(`../v1/sessions/${encodeURIComponent(session)}/whep`, location), { token, iceServers });
  const leave = () => whep.close();
  addEventListener("pagehide", leave);
  let rest = () => {};
  try {
    const ended = new Promise((resolve) => whep.addEventListener("state", ({ detail }) => {
      if (detail.state === "connected") say("live", "Live");
      if (["failed", "closed", "disconnected"].includes(detail.state)) resolve();
    }));
    await whep.open();
    video.srcObject = whep.stream;
    rest = steady(whep.pc);
    await play().catch(() => {}); // the first picture may not be there yet; autoplay then goes on
    await Promise.race([ended, still()]);
  } finally {
    removeEventListener("pagehide", leave);
    rest();
    whep.close();
    video.srcObject = null;
  }
}

$("sound").onclick = () => { video.muted = false; $("sound").hidden = true; };
$("full").onclick = () => (document.fullscreenElement ? document.exitFullscreen() : video.parentElement.requestFullscreen());

for (let more = Boolean(session); more;) {
  try {
    await watch();
    say("busy", "Connecting", "The line was cut, or the session is over. This page comes back by itself.");
  } catch (problem) {
    more = !GONE_FOR_GOOD.includes(problem.status);
    if (!(problem instanceof ServerRefusal)) console.error(problem);
    say("lost", "Not connected", problem.message);
  }
  if (more) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
}
if (!session) say("lost", "Not connected", "This address says no session: it has to end in watch.html?session=...");
