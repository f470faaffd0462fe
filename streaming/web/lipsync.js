// Lips and voice together, by when each is played out, not by the browser's own lip-sync: Chromium's begins tens of
// milliseconds off, takes many seconds to settle, and holds every picture meanwhile. On a quiet line sound and picture
// arrive together by themselves and nothing needs to wait.

const EVERY_MS = 250; // between two looks
const LOOKS = 9; // the median of this many decides
const SLACK_MS = 15; // nobody sees less (ITU-R BT.1359: 45 early to 125 late is not noticed)
const SETTLE_MS = 1500; // jitter buffers find their size first
const SPARE_MS = 8; // further inside the slack than this, a wait is shortened
const STEP_MS = 40; // the most one step adds
const LIMIT_MS = 400;
const OPUS_MS = 6.5; // a decoder's output is late by this (RFC 7845, section 4.2: 312 samples)
const WRAP = 2 ** 32;

/** Difference of two RTP times, either sign. */
const apart = (a, b) => ((a - b + 1.5 * WRAP) % WRAP) - WRAP / 2;
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

/** Delays whichever comes first: `pictures` and `voice` are receivers, or anything with a jitterBufferTarget. */
export class LipSync {
  constructor(pictures, voice, outputMs) {
    Object.assign(this, { pictures, voice, outputMs, on: false, seen: null, line: null, skews: [], base: 0, floors: {} });
    this.timer = setInterval(() => this.look(), EVERY_MS);
  }

  /** Whether the voice is heard. When it is not, the picture waits for nothing. */
  set listening(on) {
    if (this.on === on) return;
    this.on = on;
    this.#wait(0, 0);
    this.begun = performance.now();
  }

  /** Both are held back by at least `ms` besides, so that a shaky line does not show; the most that anybody (`who`) asks for. */
  hold(ms, who) {
    const [p, v] = this.#waits();
    this.floors[who] = ms;
    this.base = Math.max(...Object.values(this.floors));
    this.#wait(p, v);
  }

  /** From requestVideoFrameCallback. */
  frame({ rtpTimestamp, expectedDisplayTime }) { if (rtpTimestamp !== undefined) this.seen = { rtp: rtpTimestamp, at: expectedDisplayTime }; }

  /** From the server: the RTP times that one moment has on the picture's line and on the voice's. */
  stamps({ frames }) {
    const last = frames.at(-1);
    if (last?.rtp != null && last.voice_rtp != null) this.line = { rtp: last.rtp, voice: last.voice_rtp };
  }

  /** Heard minus seen in ms, now; null while either is unknown. */
  skew() {
    const played = this.voice.getSynchronizationSources()[0];
    if (!this.line || !this.seen || !played) return null;
    const seen = this.seen.at - apart(this.seen.rtp, this.line.rtp) / 90;
    const at = played.timestamp > 1e12 ? played.timestamp - performance.timeOrigin : played.timestamp; // Chromium: Unix time
    const heard = at - apart(played.rtpTimestamp, this.line.voice) / 48 + OPUS_MS;
    return heard + this.outputMs() - seen;
  }

  look() {
    const skew = this.on && performance.now() - this.begun > SETTLE_MS ? this.skew() : null;
    if (skew === null || Math.abs(skew) > 2000) return;
    this.skews.push(skew);
    if (this.skews.length < LOOKS) return;
    const late = median(this.skews); // of the voice
    this.skews.shift();
    const [p, v] = this.#waits();
    const over = late - SLACK_MS, under = -late - SLACK_MS;
    // What was added to the one is taken back before the other is asked to wait, and as soon as it can be spared.
    if (over > 0) v > 0 ? this.#wait(p, v - Math.min(over, STEP_MS)) : this.#wait(p + Math.min(over, STEP_MS), 0);
    else if (under > 0) p > 0 ? this.#wait(p - Math.min(under, STEP_MS), v) : this.#wait(0, v + Math.min(under, STEP_MS));
    else if (p > 0 && over < -SPARE_MS) this.#wait(p + over, v);
    else if (v > 0 && under < -SPARE_MS) this.#wait(p, v + under);
  }

  close() { clearInterval(this.timer); }

  #waits() { return [this.pictures, this.voice].map((one) => Math.max((one.jitterBufferTarget ?? 0) - this.base, 0)); }
  #wait(pictures, voice) {
    const within = (ms) => Math.round(this.base + Math.min(Math.max(ms, 0), LIMIT_MS));
    this.pictures.jitterBufferTarget = within(pictures);
    this.voice.jitterBufferTarget = within(voice);
    this.skews = [];
  }
}
