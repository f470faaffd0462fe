// A client for web pages: an avatar in a video element that says what the page gives it (docs/agents.md). One file,
// no build, no other module: copy it, or import it from the server.
//
//   const avatar = new Avatar("http://localhost:8765");
//   await avatar.start({ video, microphone });           // or: await avatar.join(session)
//   const segment = avatar.speak({ rate: 24000, text: "Hello." });
//   await segment.write(pcm);                            // Int16Array or Float32Array, as they come
//   segment.end();
//   const { position, interrupted } = await segment.finished;

const AHEAD_MS = 5000; // speech on its way and waiting beyond which write() waits
const PIECE = 32 * 1024; // samples of one message

export class Refused extends Error {
  constructor(code, message) { super(message); this.code = code; }
}

/**
 * Events are named as the server's messages (docs/protocol.md), which are their `detail`: "hello", "state", "viewer",
 * "speech.started", "speech.finished", "speech.queued", "error". And "sound": {pcm}, an Int16Array of the viewer at
 * 16 kHz after listen(true); "closed": {reason}. Nothing is connected again by itself.
 */
export class Avatar extends EventTarget {
  #url; #token; #socket = null; #pc = null; #heart = 0; #segments = new Map(); #sent = 0; #received = 0; #queued = 0;
  #moved = []; #numbers = 0; #reason = ""; #closed = false;
  session = null;

  constructor(url = location.origin, { token = "" } = {}) {
    super();
    this.#url = new URL(url.endsWith("/") ? url : `${url}/`);
    this.#token = token;
  }

  /** Opens a session that is seen and heard in `video`, and joins it. `microphone`: a MediaStreamTrack that the agent
   * may listen to. `resume`: the id of a session that was lost, to go on with (docs/protocol.md). */
  async start({ video, microphone = null, avatar, framing, seed, resume } = {}) {
    const { iceServers } = await this.#ask("v1/ice");
    const pc = this.#pc = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    const stream = new MediaStream();
    pc.ontrack = ({ track }) => { stream.addTrack(track); };
    pc.onconnectionstatechange = () => { if (pc.connectionState === "failed") this.#end("the connection failed"); };
    pc.addTransceiver(microphone ?? "audio", { direction: "sendrecv" });
    pc.addTransceiver("video", { direction: "recvonly" });
    const control = pc.createDataChannel("control", { ordered: true });
    this.#heart = setInterval(() => {
      if (control.readyState === "open") control.send(JSON.stringify({ v: 1, type: "ping", t: performance.now() }));
    }, 1000);
    if (video) { video.srcObject = stream; video.play?.().catch(() => {}); } // a page that nobody clicked stays mute
    await pc.setLocalDescription(await pc.createOffer());
    const wish = Object.fromEntries(Object.entries({ avatar, framing, seed, resume }).filter(([, value]) => value !== undefined));
    try {
      const answer = await this.#ask("v1/sessions", { sdp: pc.localDescription.sdp, type: "offer", ...wish });
      await pc.setRemoteDescription({ type: "answer", sdp: answer.sdp });
      return await this.join(answer.id);
    } catch (problem) { this.close(); throw problem; }
  }

  /** Speaks through a session that is there. `takeover`: in the place of an agent that speaks through it already. */
  join(session, { takeover = false } = {}) {
    const where = new URL(`v1/sessions/${encodeURIComponent(session)}/agent${takeover ? "?takeover=1" : ""}`, this.#url);
    where.protocol = where.protocol.replace("http", "ws");
    const offered = ["visavis.v1", ...(this.#token ? [`token.${encodeURIComponent(this.#token)}`] : [])];
    const socket = this.#socket = new WebSocket(where, offered);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => (typeof data === "string" ? this.#receive(JSON.parse(data)) : this.#emit("sound", { pcm: new Int16Array(data) }));
    return new Promise((resolve, reject) => {
      let open = false;
      socket.onopen = () => { open = true; this.session = session; resolve(this); };
      socket.onclose = ({ code, reason }) => {
        const why = this.#reason || reason || (open ? `the line was closed (${code})` : "the server cannot be reached, or does not let this page in");
        if (!open) reject(new Refused("unreachable", why));
        this.#end(why);
      };
    });
  }

  /** The next segment of speech; its PCM follows by write(). `rate` 8000 to 48000 Hz, 1 or 2 interleaved channels. */
  speak({ rate = 24000, channels = 1, text, emotion, intensity, id = String(++this.#numbers) } = {}) {
    const segment = new Segment(this, id, 2 * channels * rate / 1000, (piece, perMs, over) => this.#sound(piece, perMs, over));
    this.#segments.set(id, segment);
    const given = Object.entries({ text, emotion, intensity }).filter(([, value]) => value !== undefined);
    this.send("speech.begin", { id, rate, channels, ...Object.fromEntries(given) });
    return segment;
  }

  /** Says a whole sound file: a Response, a Blob or an ArrayBuffer of anything the browser decodes. */
  async say(file, options = {}) {
    const bytes = file instanceof ArrayBuffer ? file : await file.arrayBuffer();
    const sound = await new OfflineAudioContext(1, 1, 48000).decodeAudioData(bytes);
    const mixer = new OfflineAudioContext(1, Math.max(sound.length, 1), 48000);
    const source = new AudioBufferSourceNode(mixer, { buffer: sound });
    source.connect(mixer.destination);
    source.start();
    const segment = this.speak({ ...options, rate: 48000, channels: 1 });
    await segment.write((await mixer.startRendering()).getChannelData(0));
    segment.end();
    return segment.finished;
  }

  /** The mouth shuts at once, and nothing of what waits is said. */
  interrupt() { this.send("interrupt"); }
  /** idle, listening, thinking or speaking. */
  state(name) { this.send("state", { name }); }
  /** Whether "sound" and "viewer" events tell what the viewer says. */
  listen(on = true) { this.send("listen", { on }); }
  /** Any other message of the protocol. */
  send(type, fields = {}) {
    if (this.#socket?.readyState !== WebSocket.OPEN) throw new Refused("closed", this.#reason || "the line is closed");
    this.#socket.send(JSON.stringify({ v: 1, type, ...fields }));
  }

  /** Leaves; ends the session if start() opened it. */
  close() {
    if (this.#pc && this.session) this.#ask(`v1/sessions/${this.session}`, null, "DELETE").catch(() => {});
    this.#socket?.close();
    this.#end("closed");
  }

  async #sound(piece, bytesPerMs, over) {
    while (!over() && (this.#sent - this.#received) / bytesPerMs + this.#queued > AHEAD_MS)
      await new Promise((resolve) => this.#moved.push(resolve));
    if (over()) return;
    if (this.#socket?.readyState !== WebSocket.OPEN) throw new Refused("closed", this.#reason || "the line is closed");
    this.#sent += piece.byteLength;
    this.#socket.send(piece);
  }

  #receive(message) {
    if (message.type === "speech.queued") { this.#queued = message.queued_ms; this.#received = message.received; }
    else if (message.type === "speech.finished") this.#settle(message.id, message);
    else if (message.type === "error" && message.about === "speech.begin") {
      this.#settle(message.id ?? [...this.#segments.keys()].at(-1), new Refused(message.code, message.message));
    } else if (message.type === "bye") this.#reason = message.reason;
    else if (message.type === "error" && !this.#reason) this.#reason = message.about === "agent" ? message.message : "";
    this.#move();
    this.#emit(message.type, message);
  }
  #settle(id, end) { this.#segments.get(id)?.settle(end); this.#segments.delete(id); }
  #move() { for (const go of this.#moved.splice(0)) go(); }
  #emit(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  #end(reason) {
    if (this.#closed) return;
    this.#closed = true;
    this.#reason ||= reason;
    clearInterval(this.#heart);
    this.#pc?.close();
    this.#socket?.close();
    for (const id of [...this.#segments.keys()]) this.#settle(id, new Refused("closed", this.#reason));
    this.#move();
    this.#emit("closed", { reason: this.#reason });
  }

  async #ask(path, body = null, method = body ? "POST" : "GET") {
    const headers = { ...(body ? { "content-type": "application/json" } : {}), ...(this.#token ? { authorization: `Bearer ${this.#token}` } : {}) };
    let answer;
    try { answer = await fetch(new URL(path, this.#url), { method, headers, body: body && JSON.stringify(body), keepalive: method === "DELETE" }); }
    catch { throw new Refused("unreachable", "the server cannot be reached, or does not let this page in (server.allowed_origins)"); }
    if (answer.ok) return answer.status === 204 ? null : answer.json();
    const problem = (await answer.json().catch(() => null))?.error;
    throw new Refused(problem?.code ?? "http", problem?.message ?? `the server answered ${answer.status}`);
  }
}

/** One stretch of speech. `finished`: a promise of {position (seconds), interrupted}. */
class Segment {
  #avatar; #bytesPerMs; #sound; #settle; #over = false;

  constructor(avatar, id, bytesPerMs, sound) {
    this.#avatar = avatar;
    this.id = id;
    this.#bytesPerMs = bytesPerMs;
    this.#sound = sound;
    this.finished = new Promise((resolve, reject) => { this.#settle = (end) => (end instanceof Error ? reject(end) : resolve(end)); });
    this.finished.catch(() => {}); // nobody may be waiting for it
  }

  /** Int16Array, or Float32Array in [-1, 1]; waits while enough is on its way. After an interruption nothing happens. */
  async write(pcm) {
    for (let at = 0; at < pcm.length && !this.#over; at += PIECE)
      await this.#sound(int16(pcm.subarray(at, at + PIECE)), this.#bytesPerMs, () => this.#over);
  }
  /** All of it was written. */
  end() { this.#avatar.send("speech.end"); }
  settle(end) { this.#over = true; this.#settle(end); }
}

function int16(pcm) {
  if (pcm instanceof Int16Array) return pcm;
  return Int16Array.from(pcm, (x) => Math.round(32767 * Math.min(Math.max(x, -1), 1)));
}
