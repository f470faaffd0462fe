// One session with the server: WebRTC, the control protocol (docs/protocol.md), and the two clocks.

export class ServerRefusal extends Error {
  constructor(status, code, message) { super(message); this.status = status; this.code = code; }
}

/** fetch with the token; turns the server's JSON errors, and an unreachable server, into ServerRefusal. */
export async function ask(path, token, options = {}) {
  const headers = { ...(options.body ? { "content-type": "application/json" } : {}), ...(token ? { authorization: `Bearer ${token}` } : {}) };
  let response;
  try { response = await fetch(path, { ...options, headers }); }
  catch { throw new ServerRefusal(0, "unreachable", "The server cannot be reached. Is it still running?"); }
  if (response.ok) return response;
  const problem = (await response.json().catch(() => null))?.error;
  throw new ServerRefusal(response.status, problem?.code ?? "http", problem?.message ?? `The server answered ${response.status}.`);
}

/** Events: state {state}, hello {…}, stamps {frames, …}, refused {code, message, about}, track {stream}. */
export class Connection extends EventTarget {
  constructor(token) {
    super();
    this.token = token;
    this.id = null;
    this.clock = { offset: null, rtt: Infinity, samples: [] }; // server ms minus performance.now()
    this.sequence = 0;
    this.stream = new MediaStream();
    this.closed = false;
    this.tied = false;
    this.tying = Promise.resolve();
  }

  /** Opens a session. The offer leaves before ICE gathering ends: the server learns our address from our checks. */
  async open({ avatar, framing, marker = false }) {
    const { iceServers } = await (await ask("v1/ice", this.token)).json();
    if (this.closed) return;
    const pc = this.pc = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.audio = pc.addTransceiver("audio", { direction: "sendrecv" });
    pc.addTransceiver("video", { direction: "recvonly" });
    this.control = this.#channel("control", { ordered: true });
    this.pose = this.#channel("pose", { ordered: false, maxRetransmits: 0 });
    pc.ontrack = ({ track, receiver }) => {
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
      this.stream.addTrack(track); // one stream: the browser keeps lips and voice together
      this.#emit("track", { stream: this.stream });
    };
    pc.onconnectionstatechange = () => { if (!this.closed) this.#emit("state", { state: pc.connectionState }); };
    await pc.setLocalDescription(await pc.createOffer());
    const body = { sdp: pc.localDescription.sdp, type: "offer", framing, ...(avatar ? { avatar } : {}), ...(marker ? { marker } : {}) };
    const answer = await (await ask("v1/sessions", this.token, { method: "POST", body: JSON.stringify(body) })).json();
    this.id = answer.id;
    if (this.closed) return this.#leave();
    this.answer = answer.sdp;
    await pc.setRemoteDescription(this.#tiedAnswer());
    this.heart = setInterval(() => this.#ping(), 1000);
  }

  /** What is heard from now on; null is silence. */
  async speak(track) { if (!this.closed) await this.audio?.sender.replaceTrack(track); }

  /**
   * Whether the browser keeps the picture for the voice (lip-sync) or shows it at once, for when nobody listens:
   * 20 to 60 ms less, more on a busy machine. Both come in one media stream of the answer, or in two; the answer is
   * applied again, and the server need not know.
   */
  tie(on) {
    if (this.tied === on) return;
    this.tied = on;
    if (!this.answer) return;
    this.tying = this.tying.then(async () => {
      if (this.closed) return;
      await this.pc.setLocalDescription(await this.pc.createOffer());
      await this.pc.setRemoteDescription(this.#tiedAnswer());
    }).catch((problem) => { if (!this.closed) console.error(problem); });
  }
  #tiedAnswer() {
    const sections = this.answer.split(/^(?=m=)/m);
    const apart = sections.map((s) => (s.startsWith("m=audio") ? s.replace(/^a=msid:\S+/m, "a=msid:voice") : s));
    return { type: "answer", sdp: (this.tied ? sections : apart).join("") };
  }

  /** Where to look from. Sent on the channel that never waits for a lost message. */
  look(view) {
    this.sequence = (this.sequence + 1) & 0x7fffffff;
    this.#send(this.pose, { type: "viewpoint", ...view, seq: this.sequence, t: performance.now() });
    return this.sequence;
  }
  wear(id) { this.#send(this.control, { type: "avatar", id }); }
  frame(name) { this.#send(this.control, { type: "framing", name }); }
  mute(on) { this.#send(this.control, { type: "mute", on }); }

  /** A moment of the server's clock, in performance.now() milliseconds; null while the clocks are not paired. */
  local(serverMs) { return this.clock.offset === null ? null : serverMs - this.clock.offset; }

  close() {
    if (this.closed) return;
    this.closed = true;
    clearInterval(this.heart);
    this.#send(this.control, { type: "bye" });
    this.#leave();
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
    channel.onopen = () => {
      if (label === "control") this.#send(channel, { type: "hello", client: "web page" });
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
