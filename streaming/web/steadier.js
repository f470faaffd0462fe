// A line that loses packets, or lets them overtake each other: what is asked for again comes a round trip late, and a
// browser shows what it has at once: one picture stands still, and of those that waited behind it only the last is seen.
// Held back by what late ones lack, all are seen. As long as a line is good, nothing waits.

const EVERY_MS = 1000; // between two looks
const KEPT = 30; // what the worst of so many looks needed is what holds
const LATE = 3; // periods: longer than that, and somebody sees a picture stand
const UNSEEN = 1; // pictures a look that nobody misses
const STEP_MS = 80; // the most one look adds
const SPARE_MS = 30; // what a look without late ones says could be spared
const LIMIT_MS = 340; // beyond that a conversation suffers more than a picture (ITU-T G.114: 400 from mouth to ear)

/** What a second says must be held back, given that `held` ms are: the line sent `repaired` packets again meanwhile, the
 * longest that a picture stood was `gap` ms, and of `decoded` ones `shown` were seen. */
export function needed(held, { ms, repaired, decoded, shown, gap }) {
  const period = ms / Math.max(decoded, 1);
  const late = repaired > 0 && decoded - shown > UNSEEN && gap > LATE * period;
  return late ? Math.min(held + Math.min(gap - period, STEP_MS), LIMIT_MS) : Math.max(held - SPARE_MS, 0);
}

/** Watches the `receiver` of pictures; `hold(ms)` is told when another time should be waited. */
export class Steadier {
  constructor(receiver, hold) {
    Object.assign(this, { receiver, hold, held: 0, needs: [], gap: 0, last: null, before: null, presented: 0 });
    this.timer = setInterval(() => this.look(), EVERY_MS);
  }

  /** From requestVideoFrameCallback. */
  frame({ expectedDisplayTime, presentedFrames }) {
    const { last } = this;
    this.last = { at: expectedDisplayTime, presentedFrames };
    this.presented = presentedFrames;
    if (last) this.gap = Math.max(this.gap, (expectedDisplayTime - last.at) / Math.max(presentedFrames - last.presentedFrames, 1));
  }

  async look() {
    const report = await this.receiver.getStats().catch(() => null); // the connection has ended
    const video = report && [...report.values()].find((one) => one.type === "inbound-rtp");
    if (!video) return;
    const now = { ms: video.timestamp, repaired: video.retransmittedPacketsReceived ?? video.nackCount ?? 0, decoded: video.framesDecoded ?? 0, shown: this.presented };
    const { before, gap } = this;
    Object.assign(this, { before: now, gap: 0 });
    if (!before || document.hidden || now.shown === before.shown) { // nobody looks
      this.last = null;
      return;
    }
    const passed = Object.fromEntries(Object.keys(now).map((name) => [name, now[name] - before[name]]));
    this.needs = [...this.needs, needed(this.held, { ...passed, gap })].slice(-KEPT);
    const held = Math.round(Math.max(...this.needs));
    if (held === this.held) return;
    this.held = held;
    this.hold(held);
  }

  close() { clearInterval(this.timer); }
}
