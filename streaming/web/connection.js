// One session with the server: WebRTC, the control protocol (docs/protocol.md), and the two clocks.

import { LipSync } from "./lipsync.js";
import { audio } from "./sources.js";
import { Steadier } from "./steadier.js";

const OFFER_MS = 5000; // a server that has not answered an offer by then is asked again, where that does no harm

export class ServerRefusal extends Error {
  constructor(status, code, message) { super(message); this.status = status; this.code = code; }
}

/** fetch with the token; turns the server's JSON errors, and an unreachable server, into ServerRefusal. */
export async function ask(path, token, options = {}) {
  const headers = { ...(typeof options.body === "string" ? { "content-type": "application/json" } : {}), ...(token ? { authorization: `Bearer ${token}` } : {}) };
  let response;
  try { response = await fetch(path, { ...options, headers }); }
  catch { throw new ServerRefusal(0, "unreachable", "The server cannot be reached. Is it still running?"); }
  if (response.ok) return response;
  const problem = (await response.json().catch(() => null))?.error;
  throw new ServerRefusal(response.status, problem?.code ?? "http", problem?.message ?? `The server answered ${response.status}.`);
}

/** Events: state {state}, hello {…}, stamps {frames, …}, refused {code, message, about}, track {stream}, hushed {}: the
 * line closed without a word. */
export class Connection extends EventTarget {
  constructor(token) {
    super();
    this.token = token;
    this.id = null;
    this.clock = { offset: null, rtt: Infinity, samples: [] }; // server ms minus performance.now()
    this.sequence = 0;
    this.early = []; // what was said before the control channel opened
    this.stream = new MediaStream();
    this.closed = false;
    this.lips = this.steadier = null; // keep them together, and even, where the browser lets a page delay either
  }

  /** Opens a session. The offer leaves before ICE gathering ends: the server learns our address from our checks.
   * `resume`: the id of a session that was lost, to go on with; `again`: waits, or throws, after a problem. */
  async open({ avatar, framing, marker = false, resume = null, iceServers = null, again = null }) {
    this.iceServers = iceServers ??= (await (await ask("v1/ice", this.token)).json()).iceServers;
    if (this.closed) return;
    const pc = this.pc = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.audio = pc.addTransceiver("audio", { direction: "sendrecv" });
    const picture = pc.addTransceiver("video", { direction: "recvonly" });
    this.control = this.#channel("control", { ordered: true });
    this.pose = this.#channel("pose", { ordered: false, maxRetransmits: 0 });
    pc.ontrack = ({ track, receiver }) => {
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
      this.stream.addTrack(track);
      this.#emit("track", { stream: this.stream });
    };
    pc.onconnectionstatechange = () => { if (!this.closed) this.#emit("state", { state: pc.connectionState }); };
    await pc.setLocalDescription(await pc.createOffer());
    const body = { sdp: pc.localDescription.sdp, type: "offer", framing, ...(avatar ? { avatar } : {}), ...(marker ? { marker } : {}), ...(resume ? { resume } : {}) };
    const answer = await this.#offer(JSON.stringify(body), again);
    if (!answer) return;
    this.id = answer.id;
    this.resumed = answer.resumed === true;
    if (this.closed) return this.#leave();
    const steerable = "jitterBufferTarget" in picture.receiver && "getSynchronizationSources" in picture.receiver;
    if (steerable) {
      this.lips = new LipSync(picture.receiver, this.audio.receiver, () => 1000 * (audio().outputLatency ?? 0));
      this.steadier = new Steadier(picture.receiver, (ms) => this.lips.hold(ms, "line"));
    }
    await pc.setRemoteDescription({ type: "answer", sdp: steerable ? this.#apart(answer.sdp) : answer.sdp });
    this.heart = setInterval(() => this.#ping(), 1000);
  }

  async #offer(body, again) {
    while (!this.closed) {
      const signal = again && AbortSignal.timeout(OFFER_MS);
      try { return await (await ask("v1/sessions", this.token, { method: "POST", body, ...(signal ? { signal } : {}) })).json(); }
      catch (problem) { if (!again) throw problem; await again(problem); }
    }
    return null;
  }

  /** What is heard from now on; null is silence. */
  async speak(track) { if (!this.closed) await this.audio?.sender.replaceTrack(track); }

  /** The picture and the voice in two media streams: the browser shows and plays each as soon as it can. */
  #apart(sdp) {
    return sdp.split(/^(?=m=)/m).map((s) => (s.startsWith("m=audio") ? s.replace(/^a=msid:\S+/m, "a=msid:voice") : s)).join("");
  }

  /** A picture is seen: what requestVideoFrameCallback says of it. */
  shown(metadata) {
    this.lips?.frame(metadata);
    this.steadier?.frame(metadata);
  }

  /** Where to look from. Sent on the channel that never waits for a lost message. */
  look(view) {
    this.sequence = (this.sequence + 1) & 0x7fffffff;
    this.#send(this.pose, { type: "viewpoint", ...view, seq: this.sequence, t: performance.now() });
    return this.sequence;
  }
  wear(id) { this.tell("avatar", { id }); }
  frame(name) { this.tell("framing", { name }); }
  mute(on) { this.tell("mute", { on }); }
  /** Any other message of the protocol, e.g. tell("emotion", {name, intensity}). Before its channel is open it waits. */
  tell(type, fields = {}) {
    const message = { type, ...fields };
    if ((this.control?.readyState ?? "connecting") === "connecting") this.early.push(message);
    else this.#send(this.control, message);
  }

  /** A moment of the server's clock, in performance.now() milliseconds; null while the clocks are not paired. */
  local(serverMs) { return this.clock.offset === null ? null : serverMs - this.clock.offset; }

  /** Ends the session, or with `keep` only this line to it: another goes on with it. */
  close(keep = false) {
    if (this.closed) return;
    this.closed = true;
    clearInterval(this.heart);
    this.lips?.close();
    this.steadier?.close();
    if (!keep) {
      this.#send(this.control, { type: "bye" });
      this.#leave();
    }
    this.pc?.close();
    for (const track of this.stream.getTracks()) { track.stop(); this.stream.removeTrack(track); }
  }

  #leave() {
    if (this.id) ask(`v1/sessions/${this.id}`, this.token, { method: "DELETE", keepalive: true }).catch(() => {});
    this.id = null;
  }

  #channel(label, options) {
    const channel = this.pc.createDataChannel(label, options);
    channel.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    channel.onclose = () => { if (!this.closed && label === "control") this.#emit("hushed", {}); };
    channel.onopen = () => {
      if (label === "control") for (const message of [{ type: "hello", client: "web page" }, ...this.early.splice(0)]) this.#send(channel, message);
      else for (let k = 0; k < 4; k++) setTimeout(() => this.#ping(), 60 * k);
    };
    return channel;
  }
  #send(channel, message) {
    if (channel?.readyState === "open") channel.send(JSON.stringify({ v: 1, ...message }));
  }
  #ping() { this.#send(this.pose, { type: "ping", t: performance.now() }); }

  #receive(message) {
    switch (message.type) {
      case "pong": return this.#pair(message);
      case "hello": return this.#emit("hello", message);
      case "stamps": return this.#emit("stamps", message);
      case "error": return this.#emit("refused", message);
      case "bye": return this.#emit("state", { state: "ended", reason: message.reason });
    }
  }
  /** Cristian's algorithm on the quickest of the last ten pings. */
  #pair({ t, server }) {
    const now = performance.now();
    const samples = this.clock.samples;
    samples.push({ rtt: now - t, offset: server - (t + now) / 2 });
    if (samples.length > 10) samples.shift();
    const best = samples.reduce((a, b) => (b.rtt < a.rtt ? b : a));
    this.clock.offset = best.offset;
    this.clock.rtt = best.rtt;
  }
  #emit(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }
}
