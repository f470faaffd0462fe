// The page: wires the controls to a Connection, a voice source, the orbit and the waterfall.

import { ask, Connection, ServerRefusal } from "./connection.js";
import { GoLive } from "./golive.js";
import { MannerPanel } from "./manner.js";
import { Orbit } from "./orbit.js";
import { Portrait, sure } from "./portrait.js";
import { press, radio } from "./radio.js";
import { Persistence, Still, Watch } from "./recovery.js";
import { audio, decodeFile, decodeSample, meter, microphone, microphones, playback, SourceError } from "./sources.js";
import { ROW_NOTES, Waterfall } from "./waterfall.js";

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const BACK_MS = 30000, STOPPED_MS = 3000; // so long a lost session is tried again; one whose server said that it stops
const STOPS = "the server stops"; // its word for that
const ONLINE_MS = 5000; // and a new line has so long to show a picture
const bench = query.has("bench") ? await import("./marker.js") : null;

const state = {
  token: new URLSearchParams(location.hash.slice(1)).get("token") ?? sessionStorage.getItem("token") ?? "",
  connection: null, source: "mic", voice: null, file: null, avatar: null, framing: "upper", background: "avatar",
  lost: null, watch: null, gaveUp: false, muted: false, listen: false, listenChosen: false, captureMs: 20, faces: new Map(),
};
const waterfall = new Waterfall($("waterfall"), $("total"), $("figures"));
$("waterfall").title = ROW_NOTES;
const orbit = new Orbit($("stage"), (view) => { const seq = state.connection?.look(view); bench?.looked(seq); });
const panel = new MannerPanel((type, fields) => state.connection?.tell(type, fields));
const portrait = new Portrait(() => state.token);
const golive = new GoLive(() => state.token, complain);
const video = $("video");
const still = new Still($("still"));

// Words.

function say(text, kind) { $("status").textContent = text; $("status").dataset.state = kind; }
function complain(problem) {
  const known = problem instanceof ServerRefusal || problem instanceof SourceError || typeof problem === "string";
  if (!known) console.error(problem);
  $("alert-text").textContent = typeof problem === "string" ? problem : known ? problem.message : `Something broke on this page: ${problem.message}`;
  $("alert").hidden = false;
}
function forgive() { $("alert").hidden = true; }
$("alert-close").onclick = forgive;

// The session.

async function start() {
  if (state.connection) return stop();
  forgive();
  state.gaveUp = false;
  audio(); // inside the click, or the browser keeps it silent
  const connection = state.connection = new Connection(state.token);
  bench?.begun(connection);
  listenTo(connection);
  say("Connecting", "busy");
  reflect();
  speak().catch(complain); // in parallel: the picture does not wait for the permission prompt
  try {
    await connection.open({ avatar: state.avatar, framing: state.framing, marker: bench !== null });
    if (state.voice) await connection.speak(state.voice.track);
  } catch (problem) {
    if (state.connection !== connection) return;
    stop();
    if (problem.status === 401) return askForToken();
    complain(problem);
  }
}

function stop(reason) {
  state.watch?.close();
  state.lost?.close();
  state.connection?.close();
  state.connection = state.watch = state.lost = null;
  still.drop();
  $("again-note").hidden = $("hint").hidden = true;
  golive.show(null);
  quiet();
  orbit.enabled = false;
  video.srcObject = null;
  $("stage").classList.remove("live");
  say(reason ?? "Not connected", reason ? "lost" : "idle");
  waterfall.reset();
  reflect();
}

/** The session is lost: goes on with it on another line, for so long; the last picture stays in sight. */
async function reconnect(forMs = BACK_MS, sorry = `The server could not be reached for ${BACK_MS / 1000} s. Is it still running?`) {
  const lost = state.lost = state.connection; // its line stays open until there is another: a session that lives is not to end in between
  const persistence = new Persistence(forMs);
  state.watch?.close();
  still.keep(video);
  $("again-note").hidden = false;
  say("Reconnecting", "busy");
  let resume = lost.id, problem = null;
  while (!problem && !persistence.over) {
    const connection = state.connection = new Connection(state.token);
    connection.again = true;
    bench?.begun(connection);
    listenTo(connection);
    try {
      await connection.open({ avatar: state.avatar, framing: state.framing, marker: bench !== null, resume, iceServers: lost.iceServers, again: persistence.again });
      if (state.connection === connection) {
        resume = connection.id;
        lost.close(true);
        if (state.voice) await connection.speak(state.voice.track);
        await shows(connection);
      }
    } catch (found) { problem = found; }
    if (state.connection !== connection || connection.seen) return; // somebody pressed Stop, or it is there again
    connection.close(true);
  }
  state.gaveUp = true;
  stop("Connection lost");
  if (problem?.status === 401) return askForToken();
  complain(problem?.status && problem.code !== "restarting" ? problem : sorry);
}

/** Waits for a picture of `connection`, for a while. */
async function shows(connection) {
  const end = performance.now() + ONLINE_MS;
  while (state.connection === connection && !connection.seen && performance.now() < end) await new Promise((r) => setTimeout(r, 50));
}

/** The first picture of `connection` is there. */
function seen(connection) {
  connection.seen = true;
  orbit.enabled ||= connection.greeted === true; // before, hello would take the view back
  state.lost = null;
  still.drop();
  $("again-note").hidden = true;
  state.watch = new Watch(connection, () => reconnect());
  if (!$("stage").classList.contains("live")) firstFrame();
}

function listenTo(connection) {
  const mine = (handler) => (event) => { if (state.connection === connection) handler(event.detail); };
  connection.addEventListener("track", mine(({ stream }) => {
    if (video.srcObject !== stream) { video.srcObject = stream; bench?.playing(stream); }
    reflectListen();
    video.play().catch(() => { state.listen = false; reflectListen(); video.play().catch(complain); });
  }));
  connection.addEventListener("hello", mine((hello) => {
    if (!connection.greeted) { if (state.muted) connection.mute(true); panel.repeat(); golive.show(connection); if (state.background !== "avatar") showBackground(); }
    connection.greeted = true;
    state.avatar = hello.avatar;
    state.framing = hello.framing;
    if (connection.again && !connection.settled) connection.look(orbit.view); // as it was left
    else orbit.settle(hello.viewpoint);
    connection.settled = true;
    orbit.enabled ||= connection.seen === true;
    reflect();
  }));
  connection.addEventListener("stamps", mine((stamps) => {
    waterfall.stamps(stamps, connection, state.captureMs);
    connection.lips?.stamps(stamps);
    bench?.stamps(stamps);
    if (document.hidden && !connection.seen) seen(connection); // nobody looks: no frame is ever shown
  }));
  connection.addEventListener("refused", mine(({ message }) => { complain(message); reflect(); }));
  connection.addEventListener("state", mine(({ state: now, reason }) => {
    if (now === "connected") say("Connected", "live");
    else if (now === "disconnected") say("Connection lost, waiting", "lost");
    else if (now === "ended" && reason === STOPS && connection.seen) reconnect(STOPPED_MS, `The server ended the session: ${reason}.`);
    else if (now === "ended" && !state.lost) stop(`The server ended the session: ${reason}`);
    else if (now === "failed" && connection.seen) reconnect();
    else if (now === "failed" && !state.lost) {
      stop("Connection lost");
      complain("The media connection failed. “Test the connection”, below, says what is in the way; between different networks it is often a missing TURN server.");
    }
  }));
}

function shown(now, metadata) {
  if (state.connection && video.srcObject === state.connection.stream) {
    if (!state.connection.seen) seen(state.connection);
    waterfall.frame(metadata);
    state.connection.shown(metadata);
    bench?.frame(video, metadata);
  }
  eachFrame();
}
/** Browsers without frame callbacks still show the picture, only not where its time went. */
function eachFrame() {
  if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(shown);
  else video.onplaying = () => { if (state.connection && !state.connection.seen) seen(state.connection); };
}
function firstFrame() {
  $("stage").classList.add("live");
  $("hint").hidden = true;
  void $("hint").offsetWidth; // restarts its animation
  $("hint").hidden = false;
}
eachFrame();
setInterval(() => { const pc = state.connection?.pc; if (pc?.connectionState === "connected") waterfall.poll(pc); }, 1000);

// The voice.

async function speak() {
  quiet();
  const kind = state.source, connection = state.connection;
  if (!connection) return;
  if (kind === "file" && !state.file) { $("file").click(); return; }
  let voice;
  if (kind === "mic") {
    voice = await microphone($("device").value, !state.listen);
    fillDevices();
  } else {
    const buffer = kind === "file" ? state.file : await decodeSample();
    voice = playback(buffer, () => { if (state.voice === voice) { quiet(); reflect(); } });
  }
  if (state.connection !== connection || state.source !== kind) return voice.stop();
  const latency = voice.track.getSettings().latency ?? 0;
  state.captureMs = 20 + (kind === "mic" ? 1000 * Math.min(latency, 0.1) : 0);
  const stopMeter = meter(voice.track, $("meter")), stopVoice = voice.stop;
  voice.stop = () => { stopMeter(); stopVoice(); };
  state.voice = voice;
  voice.track.enabled = !state.muted;
  bench?.heard(voice.track);
  await connection.speak(voice.track);
  if (voice.begin) await whenConnected(connection, voice.begin);
  reflect();
}

/** A file begins when somebody can hear it. */
async function whenConnected(connection, begin) {
  while (state.connection === connection && connection.pc?.connectionState !== "connected") await new Promise((r) => setTimeout(r, 30));
  if (state.connection === connection) begin();
}

function quiet() {
  state.voice?.stop();
  state.voice = null;
  state.connection?.speak(null).catch(() => {});
}

async function fillDevices() {
  const select = $("device"), chosen = select.value;
  const options = (await microphones()).map((d, k) => new Option(d.label || `Microphone ${k + 1}`, d.deviceId));
  select.replaceChildren(new Option("Default microphone", ""), ...options);
  select.value = chosen;
}

async function choose(file) {
  if (!file) return;
  forgive();
  $("file-name").textContent = "Reading…";
  try {
    state.file = await decodeFile(file);
    $("file-name").textContent = `${file.name} (${state.file.duration.toFixed(1)} s)`;
    if (state.connection) await speak();
  } catch (problem) {
    state.file = null;
    $("file-name").textContent = "Choose a sound file, or drop one here";
    complain(problem);
  }
}

// Controls.

function reflect() {
  const running = state.connection !== null;
  $("start").textContent = running ? "Stop" : "Start";
  $("start").dataset.running = running;
  $("begin").disabled = running;
  $("begin-label").textContent = state.gaveUp ? "Try again" : { mic: "Start talking", file: "Play the file", sample: "Play the sample" }[state.source];
  $("mute").disabled = $("interrupt").disabled = !running;
  $("mute").setAttribute("aria-pressed", state.muted);
  $("mute").textContent = state.muted ? "Muted" : "Mute";
  press("source", "source", state.source);
  press("framing", "framing", state.framing);
  press("avatars", "avatar", state.avatar);
  press("background", "background", state.background);
  for (const kind of ["mic", "file", "sample"]) $(`${kind}-panel`).hidden = kind !== state.source;
  $("again").hidden = !running || state.source === "mic" || state.voice !== null || (state.source === "file" && !state.file);
  const preview = document.querySelector(`#avatars button[data-avatar="${CSS.escape(state.avatar ?? "")}"] img`);
  $("face-row").hidden = !state.faces.has(state.avatar);
  $("poster").hidden = !preview?.src;
  if (preview?.src && $("poster").src !== preview.src) $("poster").src = preview.src;
  reflectListen();
}
function reflectListen() {
  const on = state.listenChosen ? state.listen : state.source !== "mic";
  state.listen = on;
  video.muted = !on;
  if (state.connection?.lips) state.connection.lips.listening = on;
  $("listen").setAttribute("aria-pressed", on);
  $("listen").textContent = on ? "Voice on" : "Voice off";
}

/** Sends the chosen background. */
function showBackground() {
  state.connection?.tell("background", { show: state.background === "colour" ? $("background-colour").value : state.background });
}

$("begin").onclick = $("start").onclick = start;
$("mute").onclick = () => {
  state.muted = !state.muted;
  if (state.voice) state.voice.track.enabled = !state.muted;
  state.connection?.mute(state.muted);
  reflect();
};
$("interrupt").onclick = () => {
  state.connection?.tell("interrupt");
  if (state.source !== "mic") { quiet(); reflect(); } // what was still to be said is not said
};
$("listen").onclick = () => {
  state.listenChosen = true;
  state.listen = !state.listen;
  reflectListen();
  if (state.source === "mic" && state.connection) speak().catch(complain); // the echo canceller follows the loudspeaker
};
radio("source", "source", (kind) => {
  state.source = kind;
  state.listenChosen = false;
  forgive();
  reflect();
  if (state.connection) speak().catch(complain);
  else if (kind === "file" && !state.file) $("file").click();
});
radio("framing", "framing", (name) => { state.framing = name; state.connection?.frame(name); reflect(); });
radio("background", "background", (kind) => { state.background = kind; showBackground(); reflect(); });
$("background-colour").oninput = () => { state.background = "colour"; showBackground(); reflect(); };
radio("avatars", "avatar", wear);
function wear(id) { state.avatar = id; state.connection?.wear(id); reflect(); }
portrait.addEventListener("made", ({ detail: face }) => { addFace(face); if ($("face").open) wear(face.id); });
portrait.addEventListener("start", ({ detail: { id } }) => { wear(id); if (!state.connection) start(); });
portrait.addEventListener("gone", ({ detail: { id } }) => {
  state.faces.delete(id);
  document.querySelector(`#avatars [data-avatar="${id}"]`)?.remove();
  if (state.avatar === id) wear(state.default);
});
$("face-show").onclick = () => portrait.report(state.faces.get(state.avatar));
sure($("face-erase"), () => portrait.delete(state.avatar));
$("again").onclick = () => speak().catch(complain);
$("device").onchange = () => { if (state.connection) speak().catch(complain); };
$("file").onchange = (e) => { choose(e.target.files[0]); e.target.value = ""; };
for (const type of ["dragover", "drop", "dragleave"]) {
  addEventListener(type, (e) => {
    e.preventDefault();
    for (const zone of ["drop", "face-drop"]) $(zone).classList.toggle("over", type === "dragover");
    const file = type === "drop" ? e.dataTransfer.files[0] : null;
    if (!file) return;
    if ($("face").open || (portrait.enabled && file.type.startsWith("image/"))) return portrait.open(file);
    state.source = "file";
    reflect();
    choose(file);
  });
}
addEventListener("keydown", (e) => {
  if (e.key === "m" && !e.ctrlKey && !e.metaKey && !e.target.closest("input, select, textarea") && state.connection) $("mute").click();
});
addEventListener("pagehide", () => state.connection?.close());
addEventListener("resize", () => waterfall.draw());

// Avatars, and the token they may need.

async function loadAvatars() {
  try {
    const found = await (await ask("v1/avatars", state.token)).json();
    state.default = found.avatars.some((a) => a.id === found.default) ? found.default : found.avatars[0]?.id ?? null;
    state.avatar ??= state.default;
    $("avatars").replaceChildren(...found.avatars.map(card));
    panel.offer(found);
    reflect();
    for (const avatar of found.avatars) showPreview(avatar).then(reflect); // nobody waits for a picture that is slow to come
    for (const face of await portrait.offer(found.portraits)) addFace(face);
  } catch (problem) {
    if (problem.status === 401) askForToken(); else complain(problem);
  }
}
function card({ id, name, description }) {
  const button = document.createElement("button"), picture = document.createElement("img"), label = document.createElement("span");
  button.type = "button";
  button.dataset.avatar = id;
  button.title = description;
  button.setAttribute("role", "radio");
  button.setAttribute("aria-label", name);
  picture.alt = "";
  label.textContent = name;
  button.append(picture, label);
  return button;
}
async function showPreview({ id }) {
  const response = await ask(`v1/avatars/${encodeURIComponent(id)}/preview.png`, state.token).catch(() => null);
  const picture = document.querySelector(`#avatars button[data-avatar="${CSS.escape(id)}"] img`);
  if (response && picture) picture.src = URL.createObjectURL(await response.blob());
}
/** An avatar that was made in this browser. */
function addFace(face) {
  if (!state.faces.has(face.id)) $("avatars").append(card({ ...face, description: "Made of a photograph" }));
  state.faces.set(face.id, face);
  reflect();
  showPreview(face).then(reflect);
}
function askForToken() {
  $("token-dialog").showModal();
  $("token-dialog").onclose = () => {
    state.token = $("token").value.trim();
    if (!state.token) return;
    sessionStorage.setItem("token", state.token);
    loadAvatars();
  };
}

if (bench) window.visavis = { state, waterfall, orbit, panel, bench };
reflect();
fillDevices();
await loadAvatars();
