// The connection test: step by step what a call needs, and in words what to do about what does not work.

import { ask, ServerRefusal } from "./connection.js";
import { Trial, gather } from "./trial.js";

const $ = (id) => document.getElementById(id);
const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? sessionStorage.getItem("token") ?? "";
const MARKS = { ok: "✓", note: "!", bad: "✕", busy: "", waiting: "", skipped: "–" };
const query = new URLSearchParams(location.search);
const WATCHED_S = Number(query.get("watch")) || 4; // ?watch=60 sees what comes and goes
const WAIT_S = Number(query.get("wait")) || 12; // for the first picture
const SLOW_MS = 3000;

const ok = (what, details) => ({ verdict: "ok", what, details });
const note = (what, advice, details) => ({ verdict: "note", what, do: advice, details });
const bad = (what, advice, details) => ({ verdict: "bad", what, do: advice, details });
const ms = (value) => (value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`);
const ALONE = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
const rest = (time) => new Promise((resolve) => setTimeout(resolve, time));

/** id: [title, what it needs to have gone well, what it tries]. A note goes well too. */
const STEPS = {
  browser: ["This browser can make calls", [], browser],
  server: ["The server answers", [], server],
  token: ["You are let in", ["server"], admitted],
  microphone: ["The microphone can be used", [], microphone],
  ways: ["Ways out of this network", ["browser", "token"], ways],
  relays: ["TURN servers relay", ["browser", "token"], relays],
  call: ["A call comes through", ["browser", "token"], call],
  pictures: ["Pictures arrive smoothly", ["call"], pictures],
  voice: ["The voice arrives and can be heard", ["call"], voice],
  messages: ["Messages go there and back", ["call"], messages],
};

const state = { running: false, results: {}, ice: [], found: [], relayed: [], trial: null, sound: null };

function browser() {
  if (!("RTCPeerConnection" in window)) {
    return bad("There is no WebRTC here.", "Use a current Chrome, Edge, Firefox or Safari, without an extension that switches WebRTC off.");
  }
  const codecs = RTCRtpReceiver.getCapabilities("video")?.codecs.map((codec) => codec.mimeType) ?? [];
  const known = ["video/VP8", "video/H264"].filter((codec) => codecs.includes(codec));
  if (!known.length) return bad("It decodes neither VP8 nor H.264.", "Use a current Chrome, Edge, Firefox or Safari.");
  return ok(`It decodes ${known.map((codec) => codec.slice(6)).join(" and ")}.`, { userAgent: navigator.userAgent, codecs: known });
}

async function server() {
  const begun = performance.now();
  const health = await (await ask("v1/health", "")).json();
  const took = performance.now() - begun;
  if (!("sessions" in health)) return bad("What answers is no Visavis server.", "Look at the address.");
  return ok(`After ${ms(took)}. ${health.sessions} sessions are running.`, { ...health, ms: took });
}

async function admitted() {
  const answer = await (await ask("v1/ice", token)).json();
  state.ice = answer.iceServers;
  const left = answer.expires ? answer.expires - Date.now() / 1000 : null;
  if (left !== null && left < 30) return note("The TURN credentials have already run out.", "This machine's clock or the server's is wrong.", { expires: answer.expires });
  return ok(token ? "The token is right." : "No token is asked for.", { servers: state.ice.map((entry) => entry.urls) });
}

async function microphone() {
  if (!isSecureContext || !navigator.mediaDevices) {
    return bad("The browser gives no microphone to this address.", "Open the page as https://, or on the server's own machine as http://localhost.");
  }
  if (!$("with-mic").checked) return note("Not tried.", "", {});
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const [track] = stream.getAudioTracks(), muted = track.muted, label = track.label;
    track.stop();
    if (muted) return note(`${label || "It"} is there, but the system keeps it silent.`, "Switch it on in the system's settings, or on the headset itself.");
    return ok(label || "It may be used.", { label });
  } catch (problem) {
    const words = {
      NotAllowedError: ["The browser was not allowed to use it.", "Allow it: the sign beside the address, then Microphone. The system's own privacy settings count too."],
      NotFoundError: ["There is none.", "Plug one in; a file or an agent can speak without one."],
      NotReadableError: ["Another program holds it.", "End the other program, or choose another microphone."],
    }[problem.name] ?? [problem.message, ""];
    return note(...words, { error: problem.name });
  }
}

async function ways() {
  const { candidates, errors } = await gather(state.ice, "all");
  state.found = candidates;
  const kinds = [...new Set(candidates.map((candidate) => candidate.type))];
  const details = { kinds, errors, candidates: candidates.map(({ type, protocol, address }) => ({ type, protocol, address })) };
  const names = { host: "directly in this network", srflx: "through a router", relay: "over a TURN server" };
  const said = kinds.map((kind) => names[kind] ?? kind).join(", ") || "none";
  const asked = state.ice.filter((entry) => String(entry.urls).startsWith("stun"));
  if (!candidates.length) return note("The browser names none.", "That is usual before it may use the microphone; calls may work all the same.", details);
  if (asked.length && !kinds.includes("srflx")) return note(`Found: ${said}. STUN got no answer.`, "UDP may be blocked in this network: then only a TURN server over TCP helps (server.turn, docs/network.md).", details);
  return ok(`Found: ${said}.`, details);
}

async function relays() {
  const servers = state.ice.filter((entry) => String(entry.urls).startsWith("turn"));
  if (!servers.length && ALONE) return ok("None, and none is needed on one machine.");
  if (!servers.length) return note("The server names no TURN server.", "Needed where UDP is blocked, as in many offices: server.turn in config.toml, docs/network.md.");
  const tried = await Promise.all(servers.map(async (entry) => ({ url: String(entry.urls), ...(await gather([entry], "relay")) })));
  const good = tried.filter(({ candidates }) => candidates.length), failed = tried.filter(({ candidates }) => !candidates.length);
  state.relayed = good.map(({ url }) => url);
  const details = tried.map(({ url, candidates, errors }) => ({ url, relays: candidates.length, errors }));
  const refused = failed.some(({ errors }) => errors.some(({ code }) => code === 401 || code === 403));
  const advice = refused
    ? "They refuse the credentials: server.turn_secret must be the TURN server's static-auth-secret, and both clocks right."
    : "They do not answer: are they running, and do firewalls let their ports through? visavis doctor on the server says more.";
  if (!good.length) return bad(`None of ${failed.length} does: ${failed.map(({ url }) => url).join(", ")}`, advice, details);
  const udp = failed.filter(({ url }) => url.startsWith("turn:") && !url.includes("transport=tcp"));
  if (failed.length) return note(`${state.relayed.join(", ")} does; ${failed.map(({ url }) => url).join(", ")} does not.`, udp.length && !refused ? "UDP is blocked in this network, so media goes by TCP: it works, and stutters when packets get lost." : advice, details);
  return ok(state.relayed.join(", "), details);
}

async function call() {
  const trial = state.trial = new Trial(token, state.ice, $("picture"));
  try {
    await trial.open("all");
    const first = await trial.firstPicture(1000 * WAIT_S);
    $("picture").hidden = false;
    if (first !== null) {
      const way = await trial.way();
      const what = `First picture after ${ms(first)}, ${way.words}.`, details = { firstMs: first, ...way };
      return first > SLOW_MS ? note(what, "That is long: a STUN or TURN server that does not answer makes everybody wait, and so does a busy machine.", details) : ok(what, details);
    }
    const connected = trial.pc.connectionState === "connected";
    if (connected) return bad("Connected, but no picture came.", "The server's log says why; visavis doctor there says whether its machine keeps up.", { connection: "connected" });
    return bad("UDP does not get through between you and the server.", advise(), { connection: trial.pc.connectionState });
  } catch (problem) {
    if (!(problem instanceof ServerRefusal)) throw problem;
    const advice = problem.code === "full" ? "Wait until somebody leaves, or raise server.max_sessions." : problem.code === "too_many" ? "Wait a minute." : "";
    return bad(problem.message, advice, { code: problem.code });
  }
}

function advise() {
  if (state.relayed.length) return "The TURN server answers you but reaches not the server: it must be allowed to send to the server's address (server.media_ports there).";
  if (state.ice.some((entry) => String(entry.urls).startsWith("turn"))) return "The TURN servers do not help either: see above.";
  return "Open the server's UDP ports (server.media_ports), tell it its public address (server.public_ip), or set a TURN server (server.turn): docs/network.md.";
}

async function pictures() {
  await state.trial.watch(WATCHED_S);
  const { fps, lost, jitterMs, bufferMs, rttMs, width, height, mbit } = state.trial.figures;
  const what = `${fps.toFixed(1)} a second of ${width} × ${height}, ${mbit.toFixed(1)} Mbit/s; round trip ${rttMs === null ? "unknown" : ms(rttMs)}, jitter ${ms(jitterMs)}, ${(100 * lost).toFixed(1)} % of packets lost, ${ms(bufferMs)} held back.`;
  const details = state.trial.figures;
  if (lost > 0.1) return bad(what, "Far too many packets get lost: use a cable or a nearer access point.", details);
  if (fps < 20) return bad(what, "The server's machine or the line does not keep up: visavis doctor --server, from another place, tells which.", details);
  if (lost > 0.02 || (rttMs ?? 0) > 250 || jitterMs > 40) return note(what, "It works; a better line would answer faster.", details);
  return ok(what, details);
}

async function voice() {
  const { packets, lost } = state.trial.sound;
  const details = { ...state.trial.sound, output: state.sound?.state ?? null, sampleRate: state.sound?.sampleRate ?? null };
  if (!packets) return bad("No sound packets came.", "The server's log says why.", details);
  if (state.sound?.state !== "running") return note(`${packets} packets came; the browser plays no sound yet.`, "Click on the page once, and see that it is not muted.", details);
  if (lost > 0.05) return note(`${packets} packets came, ${(100 * lost).toFixed(1)} % were lost.`, "Words may break: use a cable or a nearer access point.", details);
  return ok(`${packets} packets came, and sound can be played.`, details);
}

function messages() {
  const { pings } = state.trial;
  if (!pings.length) return bad("No message came back.", "The server's log says why.");
  return ok(`In ${ms(Math.min(...pings))}.`, { pings });
}

// The run.

async function begin() {
  if (state.running) return;
  Object.assign(state, { running: true, results: {}, ice: [], found: [], relayed: [], trial: null });
  state.sound ??= new AudioContext(); // inside the click, or the browser keeps it silent
  state.sound.resume().catch(() => {});
  $("begin").disabled = $("copy").disabled = true;
  $("picture").hidden = true;
  for (const id of Object.keys(STEPS)) show(id, { verdict: "waiting", what: "" });
  say("Trying", "busy");
  for (const [id, [, needs, attempt]] of Object.entries(STEPS)) {
    const missing = needs.find((need) => !["ok", "note"].includes(state.results[need].verdict));
    if (missing) { show(id, { verdict: "skipped", what: "Not tried: something above is missing." }); continue; }
    show(id, { verdict: "busy", what: "" });
    const begun = performance.now();
    let result;
    try { result = await attempt(); }
    catch (problem) { result = explain(problem); }
    show(id, { ...result, ms: Math.round(performance.now() - begun) });
  }
  state.trial?.close();
  $("picture").hidden = true;
  const verdicts = Object.values(state.results).map((result) => result.verdict);
  if (verdicts.includes("bad")) say("Something does not work", "lost");
  else say(verdicts.includes("note") ? "It works; see the notes" : "All is well", "live");
  state.running = false;
  $("begin").disabled = $("copy").disabled = false;
  $("begin").textContent = "Again";
}

function explain(problem) {
  if (!(problem instanceof ServerRefusal)) { console.error(problem); return bad(`${problem.name}: ${problem.message}`, "Copy the report, and send it to whoever runs the server."); }
  if (problem.status === 401) return bad("The server asks for its token.", "Open this page with #token=… added to its address.", { code: problem.code });
  if (problem.status === 0) return bad("It does not answer any more.", "Is it still running? Is this machine still connected?", { code: problem.code });
  return bad(problem.message, "", { code: problem.code });
}

function say(text, kind) { $("status").textContent = text; $("status").dataset.state = kind; }

function show(id, result) {
  state.results[id] = result;
  let row = $(`step-${id}`);
  if (!row) {
    row = document.createElement("li");
    row.id = `step-${id}`;
    const parts = ["span", "b", "p", "p"].map((name) => document.createElement(name));
    parts[0].className = "mark";
    parts[0].setAttribute("aria-hidden", "true");
    parts[1].textContent = STEPS[id][0];
    parts[3].className = "do";
    row.append(...parts);
    $("steps").append(row);
  }
  row.dataset.verdict = result.verdict;
  const [mark, , what, advice] = row.children;
  mark.textContent = MARKS[result.verdict];
  what.textContent = result.what;
  advice.textContent = result.do ?? "";
}

function report() {
  const steps = Object.entries(state.results).map(([id, result]) => ({ id, title: STEPS[id][0], ...result }));
  return JSON.stringify({ made: new Date().toISOString(), page: location.origin, browser: navigator.userAgent, steps }, null, 2);
}

$("copy").onclick = async () => {
  try {
    await navigator.clipboard.writeText(report());
    $("copy").textContent = "Copied";
  } catch { // no clipboard on a page that is not https
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([report()], { type: "application/json" }));
    link.download = "visavis-test.json";
    link.click();
    URL.revokeObjectURL(link.href);
    $("copy").textContent = "Saved";
  }
  await rest(2000);
  $("copy").textContent = "Copy the report";
};
$("begin").onclick = begin;
for (const id of Object.keys(STEPS)) show(id, { verdict: "waiting", what: "" });
window.selftest = { state, report };
