// A short call to find out how the line is: one session, watched and measured. And the ways that ICE finds.

import { ask } from "./connection.js";

const GATHER_MS = 5000;
const PING_MS = 200;

/** What the browser finds with these servers alone: {candidates, errors: [{url, code, text}]}. policy: "all" | "relay" */
export async function gather(iceServers, policy) {
  const pc = new RTCPeerConnection({ iceServers, iceTransportPolicy: policy });
  const candidates = [], errors = [];
  try {
    pc.createDataChannel("x");
    const done = new Promise((resolve) => {
      pc.onicecandidate = ({ candidate }) => { if (candidate?.candidate) candidates.push(candidate); else if (!candidate) resolve(); };
      setTimeout(resolve, GATHER_MS);
    });
    pc.onicecandidateerror = ({ url, errorCode, errorText }) => errors.push({ url, code: errorCode, text: errorText });
    await pc.setLocalDescription(await pc.createOffer());
    await done;
  } finally { pc.close(); }
  return { candidates, errors };
}

export class Trial {
  constructor(token, iceServers, video) {
    Object.assign(this, { token, iceServers, video });
    this.pings = [];
    this.figures = null;
    this.sound = null;
    this.shown = null;
    this.stream = new MediaStream();
  }

  /** Opens the session. Raises ServerRefusal. */
  async open(policy) {
    this.begun = performance.now();
    const pc = this.pc = new RTCPeerConnection({ iceServers: this.iceServers, iceTransportPolicy: policy, bundlePolicy: "max-bundle" });
    pc.addTransceiver("audio", { direction: "recvonly" });
    pc.addTransceiver("video", { direction: "recvonly" });
    pc.ontrack = ({ track }) => { this.stream.addTrack(track); if (track.kind === "video") this.#show(); };
    const channel = pc.createDataChannel("pose", { ordered: false, maxRetransmits: 0 });
    channel.onopen = () => { this.pinging = setInterval(() => channel.readyState === "open" && channel.send(JSON.stringify({ v: 1, type: "ping", t: performance.now() })), PING_MS); };
    channel.onmessage = ({ data }) => { const message = JSON.parse(data); if (message.type === "pong") this.pings.push(performance.now() - message.t); };
    await pc.setLocalDescription(await pc.createOffer());
    await this.#gathered(policy);
    const body = JSON.stringify({ sdp: pc.localDescription.sdp, type: "offer" });
    const answer = await (await ask("v1/sessions", this.token, { method: "POST", body })).json();
    this.id = answer.id;
    await pc.setRemoteDescription({ type: "answer", sdp: answer.sdp });
  }

  /** Relayed addresses must be in the offer; others the server learns from our checks. */
  async #gathered(policy) {
    const waits = policy === "relay" || this.iceServers.some((entry) => String(entry.urls).startsWith("turn"));
    const end = performance.now() + 2000;
    while (waits && this.pc.iceGatheringState !== "complete" && performance.now() < end) await new Promise((r) => setTimeout(r, 20));
  }

  #show() {
    this.video.srcObject = this.stream;
    this.video.play().catch(() => {});
    if ("requestVideoFrameCallback" in this.video) this.video.requestVideoFrameCallback(() => { this.shown ??= performance.now(); });
    else this.video.onplaying = () => { this.shown ??= performance.now(); };
  }

  /** Milliseconds from the click to the first picture; null when none comes in time. */
  async firstPicture(limitMs) {
    while (this.shown === null && performance.now() - this.begun < limitMs && this.pc.connectionState !== "failed") await new Promise((r) => setTimeout(r, 20));
    return this.shown === null ? null : this.shown - this.begun;
  }

  /** How media goes: {local, remote, protocol, words}. */
  async way() {
    const stats = [...(await this.pc.getStats()).values()], byId = Object.fromEntries(stats.map((stat) => [stat.id, stat]));
    const transport = stats.find((stat) => stat.type === "transport");
    const pair = byId[transport?.selectedCandidatePairId] ?? stats.find((stat) => stat.type === "candidate-pair" && stat.nominated);
    const local = byId[pair?.localCandidateId], remote = byId[pair?.remoteCandidateId];
    const relayed = local?.candidateType === "relay" || remote?.candidateType === "relay";
    const protocol = local?.relayProtocol ?? local?.protocol ?? "";
    return { local: local?.candidateType, remote: remote?.candidateType, protocol, words: relayed ? `relayed over ${protocol.toUpperCase()}` : `directly over ${protocol.toUpperCase()}` };
  }

  /** Measures for so long; the results are ``figures`` (pictures) and ``sound``. */
  async watch(seconds) {
    const before = await this.#counts();
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    const after = await this.#counts();
    const over = (kind, name) => (after[kind]?.[name] ?? 0) - (before[kind]?.[name] ?? 0);
    const share = (kind) => Math.max(over(kind, "packetsLost"), 0) / Math.max(over(kind, "packetsReceived") + Math.max(over(kind, "packetsLost"), 0), 1);
    const took = Math.max(over("video", "timestamp") / 1000, 0.001);
    this.figures = {
      fps: over("video", "framesDecoded") / took, mbit: (over("video", "bytesReceived") * 8) / took / 1e6, lost: share("video"),
      jitterMs: 1000 * (after.video?.jitter ?? 0), rttMs: after.rtt, width: after.video?.frameWidth ?? 0, height: after.video?.frameHeight ?? 0,
      bufferMs: (1000 * over("video", "jitterBufferDelay")) / Math.max(over("video", "jitterBufferEmittedCount"), 1),
      freezes: over("video", "freezeCount"), asked: over("video", "nackCount"), keyFrames: over("video", "keyFramesDecoded"),
    };
    this.sound = { packets: over("audio", "packetsReceived"), lost: share("audio"), concealed: over("audio", "concealedSamples") / Math.max(over("audio", "totalSamplesReceived"), 1) };
  }

  async #counts() {
    const stats = [...(await this.pc.getStats()).values()];
    const inbound = (kind) => stats.find((stat) => stat.type === "inbound-rtp" && stat.kind === kind);
    const pair = stats.find((stat) => stat.type === "candidate-pair" && stat.nominated && stat.currentRoundTripTime !== undefined);
    return { video: inbound("video"), audio: inbound("audio"), rtt: pair ? 1000 * pair.currentRoundTripTime : null };
  }

  close() {
    clearInterval(this.pinging);
    if (this.id) ask(`v1/sessions/${this.id}`, this.token, { method: "DELETE", keepalive: true }).catch(() => {});
    this.pc?.close();
    this.video.srcObject = null;
  }
}
