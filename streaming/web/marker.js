// Measures a session from inside the page; loaded only by ?bench. Reads the strip of streaming/marker.py from the
// shown frames, finds the test signal's clicks in the microphone and in the voice that comes back.

const LEVEL = 0.5; // amplitude of a click; also in streaming/marker.py
const HOLD_MS = 500;

const canvas = new OffscreenCanvas(64, 64);
const ctx = canvas.getContext("2d", { willReadFrequently: true });

/** All times in performance.now() milliseconds. `frames`: [shown, stamp age in ms, seq, onset, number, presented, rtp]. */
export const record = { begun: null, first: null, frames: [], unread: 0, looks: [], spoken: [], heard: [], made: [], server: {} };

export function begun() { record.begun = performance.now(); }
export function looked(seq) { if (seq !== undefined) record.looks.push([performance.now(), seq]); }
export function stamps(message) { record.made.push(...message.frames.map((f) => [f.rtp, f.done - f.start])); record.server = { rate: message.rate, skipped: message.skipped, dropped_ms: message.dropped_ms }; }

export function frame(video, metadata) {
  const now = Math.max(performance.now(), metadata.expectedDisplayTime);
  record.first ??= now;
  const read = decode(video);
  if (!read) { record.unread++; return; }
  const wall = (performance.timeOrigin + now) * 10;
  const age = ((wall - read.stamp) % 4294967296) / 10;
  record.frames.push([now, age, read.seq, read.onset, read.number, metadata.presentedFrames, metadata.rtpTimestamp]);
}

function decode(video) {
  ctx.drawImage(video, 0, 0, 64, 64);
  const { data } = ctx.getImageData(0, 0, 64, 16);
  const word = (row) => {
    let value = 0;
    for (let column = 0; column < 16; column++) value = value * 2 + (data[((row * 4 + 2) * 64 + column * 4 + 2) * 4 + 1] > 120 ? 1 : 0);
    return value;
  };
  const stamp = word(0) * 65536 + word(1), seq = word(2), last = word(3), onset = last >> 10, number = (last >> 7) & 7;
  const check = stamp ^ (stamp >>> 8) ^ (stamp >>> 16) ^ (stamp >>> 24) ^ seq ^ (seq >> 8) ^ (onset * 5) ^ (number * 11);
  return (check & 0x7f) === (last & 0x7f) ? { stamp, seq, onset, number } : null;
}

/** Clicks as the microphone delivers them: 10 ms of samples at a time, straight from the track. */
export async function heard(track) {
  const reader = new MediaStreamTrackProcessor({ track: track.clone() }).readable.getReader();
  for (let last = -HOLD_MS; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    const arrived = performance.now(), samples = new Float32Array(value.numberOfFrames);
    value.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    const at = samples.findIndex((x) => Math.abs(x) > LEVEL), rate = value.sampleRate;
    value.close();
    if (at < 0) continue;
    const time = arrived - (1000 * (samples.length - at)) / rate;
    if (time - last > HOLD_MS) record.spoken.push(time);
    last = time;
  }
}

/** Clicks in the voice that came back, as WebAudio hears them, at the moment the loudspeaker plays them. */
export async function playing(stream) {
  const [track] = stream.getAudioTracks();
  if (!track) { stream.addEventListener("addtrack", () => playing(stream), { once: true }); setTimeout(() => retry(stream), 50); return; }
  if (stream.listened) return;
  stream.listened = true;
  const context = new AudioContext({ latencyHint: "interactive" });
  await context.audioWorklet.addModule("web/onset-worklet.js");
  const node = new AudioWorkletNode(context, "onset", { processorOptions: { level: LEVEL, hold: HOLD_MS / 1000 } });
  context.createMediaStreamSource(new MediaStream([track])).connect(node);
  node.connect(new GainNode(context, { gain: 0 })).connect(context.destination);
  node.port.onmessage = ({ data }) => record.heard.push(performance.now() - 1000 * (context.currentTime - data - context.outputLatency));
}
function retry(stream) { if (!stream.listened) playing(stream); }
