// Where the time goes between a sound and its lips on screen, from the server's stamps, the browser's own
// statistics, and the moment each frame was shown (matched by RTP time).

const KEPT = 50; // frames in the average: two seconds
const ROWS = [
  ["capture", "#8fa3ff", "Sound card and one 20 ms packet (estimated)"],
  ["network", "#6fb7e9", "There and back again"],
  ["wait", "#5cc2b8", "Until a frame's sound is whole, and for its turn"],
  ["motion", "#79d79b", "Voice to motion"],
  ["render", "#d9d27a", "Pose, rasterise, paint"],
  ["encode", "#f3b56b", "Compress and send"],
  ["jitter buffer", "#f58f6c", "Receive, order, keep lips with the voice"],
  ["decode + show", "#e8708a", "Decompress, compose, screen"],
];
const HEIGHT = 204; // also in index.html and style.css
const MOTION = ["mel", "vad", "motion"];

const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;

/** Collects figures of one connection and draws them. */
export class Waterfall {
  constructor(canvas, total, figures) {
    this.canvas = canvas; this.total = total; this.figures = figures;
    this.reset();
  }

  reset() {
    this.shown = new Map(); // RTP time -> performance.now() of display
    this.samples = [];
    this.stats = { jitter: 0, fps: 0, loss: 0 };
    this.previous = null;
    this.server = { rate: 0, skipped: 0, dropped_ms: 0 };
    this.draw();
  }

  /** From requestVideoFrameCallback. */
  frame(metadata) {
    if (metadata.rtpTimestamp === undefined) return;
    this.shown.set(metadata.rtpTimestamp, metadata.expectedDisplayTime);
    if (this.shown.size > 100) this.shown.delete(this.shown.keys().next().value);
  }

  /** Stamps of frames the server has sent. They come after the frames: most are on screen already. */
  stamps({ frames, ...server }, connection, captureMs) {
    this.server = server;
    for (const stamp of frames) {
      const shown = this.shown.get(stamp.rtp);
      const sent = connection.local(stamp.sent);
      if (shown === undefined || sent === null) continue;
      const motion = MOTION.reduce((sum, name) => sum + (stamp.stages[name] ?? 0), 0);
      const half = connection.clock.rtt / 2;
      const after = Math.max(shown - sent - half, 0);
      const jitter = Math.min(this.stats.jitter, after);
      this.samples.push([captureMs, 2 * half, Math.max(stamp.start - stamp.arrived, 0), motion,
        Math.max(stamp.done - stamp.start - motion, 0), Math.max(stamp.sent - stamp.done, 0), jitter, after - jitter]);
    }
    if (this.samples.length > KEPT) this.samples.splice(0, this.samples.length - KEPT);
  }

  /** Once a second, from getStats. */
  async poll(pc) {
    const now = performance.now();
    for (const report of (await pc.getStats()).values()) {
      if (report.type !== "inbound-rtp" || report.kind !== "video") continue;
      const was = this.previous;
      this.previous = { now, ...report };
      if (!was) continue;
      const out = report.jitterBufferEmittedCount - was.jitterBufferEmittedCount;
      if (out > 0) this.stats.jitter = (1000 * (report.jitterBufferDelay - was.jitterBufferDelay)) / out;
      this.stats.fps = (1000 * (report.framesDecoded - was.framesDecoded)) / (now - was.now);
      this.stats.loss = report.packetsLost - was.packetsLost;
    }
    this.draw();
  }

  /** Mean milliseconds by row name, or null before the first frame. */
  means() {
    if (!this.samples.length) return null;
    return Object.fromEntries(ROWS.map(([name], k) => [name, mean(this.samples.map((s) => s[k]))]));
  }

  draw() {
    const { canvas } = this, scale = devicePixelRatio || 1, width = canvas.clientWidth || 316, height = HEIGHT;
    if (canvas.width !== Math.round(width * scale)) { canvas.width = Math.round(width * scale); canvas.height = height * scale; }
    const ctx = canvas.getContext("2d"), font = getComputedStyle(document.body).fontFamily;
    ctx.setTransform(scale, 0, 0, scale, 0, 0);
    ctx.clearRect(0, 0, width, height);
    const means = this.means();
    const sum = means ? Object.values(means).reduce((a, b) => a + b, 0) : 0;
    const span = Math.max(120, Math.ceil((sum * 1.02) / 60) * 60), left = 100, right = 40, per = (width - left - right) / span;
    ctx.font = `12px ${font}`; ctx.textBaseline = "middle";
    for (let ms = 0; ms <= span; ms += span / 4) {
      const x = Math.round(left + ms * per) + 0.5;
      ctx.strokeStyle = "#ffffff12"; ctx.beginPath(); ctx.moveTo(x, 2); ctx.lineTo(x, height - 20); ctx.stroke();
      ctx.fillStyle = "#828a98"; ctx.textAlign = "center"; ctx.fillText(Math.round(ms), x, height - 9);
    }
    let at = 0;
    ROWS.forEach(([name, colour], k) => {
      const y = 12 + k * 23;
      ctx.fillStyle = "#a2a9b6"; ctx.textAlign = "left"; ctx.fillText(name, 0, y);
      if (!means) return;
      const ms = means[name], x = left + at * per;
      ctx.fillStyle = colour; ctx.beginPath(); ctx.roundRect(x, y - 7, Math.max(ms * per, 2), 14, 3); ctx.fill();
      ctx.fillStyle = "#d5d9e0"; ctx.fillText(ms < 9.95 ? ms.toFixed(1) : ms.toFixed(0), x + Math.max(ms * per, 2) + 5, y);
      at += ms;
    });
    this.total.value = means ? `${Math.round(sum)} ms` : "";
    canvas.setAttribute("aria-label", means ? ROWS.map(([n]) => `${n} ${Math.round(means[n])} ms`).join(", ") : "No frames yet");
    const { fps } = this.stats, { rate, skipped } = this.server;
    this.figures.textContent = means ? `${fps.toFixed(1)} frames/s · ${(rate / 1e6).toFixed(2)} Mbit/s · ${skipped} skipped` : "";
  }
}

export const ROW_NOTES = ROWS.map(([name, , note]) => `${name}: ${note}`).join("\n");
