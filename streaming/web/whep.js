// A WHEP client (draft-ietf-wish-whep): watches somebody's session. Used by watch.html and source.html.

import { ServerRefusal } from "./connection.js";

/** Watches what ``url`` shows. Events: state {state}, a connection state of WebRTC. ``stream`` plays at once. */
export class Whep extends EventTarget {
  /** ``wanted``: kinds of media, e.g. ["video"] for a picture alone. */
  constructor(url, { token = "", iceServers = [], wanted = ["video", "audio"] } = {}) {
    super();
    Object.assign(this, { url, token, wanted, stream: new MediaStream(), resource: null, closed: false });
    this.pc = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.pc.ontrack = ({ track }) => this.stream.addTrack(track);
    this.pc.onconnectionstatechange = () => {
      if (!this.closed) this.dispatchEvent(new CustomEvent("state", { detail: { state: this.pc.connectionState } }));
    };
  }

  /** Sends the offer and takes the answer. Throws ServerRefusal with the server's words. */
  async open() {
    for (const kind of this.wanted) this.pc.addTransceiver(kind, { direction: "recvonly" });
    await this.pc.setLocalDescription(await this.pc.createOffer());
    let response;
    const headers = { "content-type": "application/sdp", ...this.#authorized() };
    try { response = await fetch(this.url, { method: "POST", headers, body: this.pc.localDescription.sdp }); }
    catch { throw new ServerRefusal(0, "unreachable", "The server cannot be reached. Is it still running?"); }
    if (!response.ok) {
      const problem = (await response.json().catch(() => null))?.error;
      throw new ServerRefusal(response.status, problem?.code ?? "http", problem?.message ?? `The server answered ${response.status}.`);
    }
    const place = response.headers.get("location");
    this.resource = place && new URL(place, response.url).href;
    if (this.closed) return this.#leave();
    await this.pc.setRemoteDescription({ type: "answer", sdp: await response.text() });
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    this.#leave();
    this.pc.close();
  }

  #authorized() { return this.token ? { authorization: `Bearer ${this.token}` } : {}; }
  #leave() {
    if (this.resource) fetch(this.resource, { method: "DELETE", headers: this.#authorized(), keepalive: true }).catch(() => {});
    this.resource = null;
  }
}
