// Where the voice comes from: microphone, a file, or the sample. Each gives one audio track.

/** A reason a source cannot be used, in words for the person at the page. */
export class SourceError extends Error {}

let context = null;

/** The page's one AudioContext; call from a click, or browsers keep it silent. */
export function audio() {
  context ??= new AudioContext({ latencyHint: "interactive", sampleRate: 48000 });
  if (context.state === "suspended") context.resume();
  return context;
}

const MIC_PROBLEMS = {
  NotAllowedError: "The microphone is blocked. Allow it in the address bar, or use a file or the sample.",
  NotFoundError: "No microphone was found. Plug one in, or use a file or the sample.",
  NotReadableError: "Another program is holding the microphone. Close it there, or choose another device.",
  OverconstrainedError: "That microphone is gone. Choose another device.",
};

/** {track, stop}. With `echo` (loudspeakers) the browser's echo canceller is on; without, the voice is untouched. */
export async function microphone(deviceId, echo) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new SourceError("Browsers give no microphone to a page without https. Open it as https:// or on localhost.");
  }
  const wish = { channelCount: 1, echoCancellation: echo, noiseSuppression: echo, autoGainControl: echo, latency: 0 };
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: { ...wish, ...(deviceId ? { deviceId: { exact: deviceId } } : {}) } });
  } catch (problem) {
    throw new SourceError(MIC_PROBLEMS[problem.name] ?? `The microphone cannot be used: ${problem.message}`);
  }
  const [track] = stream.getAudioTracks();
  return { track, stop: () => track.stop() };
}

/** Input devices, named once permission is given. */
export async function microphones() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return devices.filter((d) => d.kind === "audioinput" && d.deviceId);
}

const LONGEST = 3600;
const LARGEST = 300e6;

/** Decodes a file the user chose. */
export async function decodeFile(file) {
  if (file.size > LARGEST) throw new SourceError(`${file.name} is larger than 300 MB. Cut out the part you need.`);
  return decode(await file.arrayBuffer(), file.name);
}

/** The bundled sample. */
export async function decodeSample() {
  const response = await fetch("web/sample.wav").catch(() => null);
  if (!response?.ok) throw new SourceError("The sample voice could not be loaded. Is the server still running?");
  return decode(await response.arrayBuffer(), "The sample");
}

async function decode(bytes, name) {
  let buffer;
  try { buffer = await audio().decodeAudioData(bytes); }
  catch { throw new SourceError(`${name} holds no sound this browser can read. Try a WAV, MP3, OGG, FLAC or M4A file.`); }
  if (buffer.duration === 0) throw new SourceError(`${name} is empty.`);
  if (buffer.duration > LONGEST) throw new SourceError(`${name} is longer than an hour. Cut out the part you need.`);
  return buffer;
}

/** Plays a decoded buffer into a track; `ended` is called after its last sample. */
export function playback(buffer, ended) {
  const node = audio().createBufferSource();
  const sink = new MediaStreamAudioDestinationNode(audio(), { channelCount: 1 });
  node.buffer = buffer;
  node.connect(sink);
  node.onended = ended;
  const [track] = sink.stream.getAudioTracks();
  return { track, begin: () => node.start(), stop: () => { node.onended = null; try { node.stop(); } catch { /* not begun */ } track.stop(); } };
}

/** Shows the level of `track` in `element` until stopped. */
export function meter(track, element) {
  const analyser = new AnalyserNode(audio(), { fftSize: 1024 });
  const input = audio().createMediaStreamSource(new MediaStream([track]));
  const samples = new Float32Array(analyser.fftSize);
  const bar = element.firstElementChild;
  input.connect(analyser);
  let shown = 0;
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, x) => sum + x * x, 0) / samples.length;
    const level = Math.min(Math.max((10 * Math.log10(power + 1e-9) + 55) / 50, 0), 1);
    shown = Math.max(level, shown - 0.06);
    bar.style.transform = `scaleX(${shown.toFixed(3)})`;
    element.setAttribute("aria-valuenow", Math.round(100 * shown));
  }, 50);
  return () => { clearInterval(timer); input.disconnect(); bar.style.transform = "scaleX(0)"; element.setAttribute("aria-valuenow", 0); };
}
