// HeadAudio's own processor, fed 128 samples at a time as an AudioWorklet would be. Node, jobs as a JSON file.
// A decision counts from the moment its window has been heard; null keeps what was there.
import fs from 'node:fs';
const { Processor } = await import('@met4citizen/headaudio/modules/processor.mjs');
const { Training } = await import('@met4citizen/headaudio/modules/training.mjs');

const NAMES = ['aa', 'E', 'I', 'O', 'U', 'PP', 'SS', 'TH', 'DD', 'FF', 'kk', 'nn', 'RR', 'CH', 'sil'];
const file = fs.readFileSync('node_modules/@met4citizen/headaudio/dist/model-en-mixed.bin');
const bytes = file.buffer.slice(file.byteOffset, file.byteOffset + file.length);
globalThis.fetch = async () => ({ ok: true, arrayBuffer: async () => bytes });
const { model } = await new Training().loadModel('model-en-mixed.bin');

const jobs = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
let spent = 0;
for (const { wav, out } of jobs) {
  const raw = fs.readFileSync(wav).subarray(44);
  const pcm = Float32Array.from(new Int16Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.length)), (v) => v / 32768);
  const said = [[0, 'sil']];
  const say = (time, name) => { if (name !== said.at(-1)[1]) said.push([time, name]); };
  const postMessage = (m) => {
    if (m.event === 'viseme' && m.viseme !== null) say(m.t + m.d / 2, NAMES[m.viseme]); // m.t is the window's middle
    else if (m.event === 'ended') say(m.t, 'sil');
  };
  const options = { sampleRate: 16000, processorOptions: { visemeEventsEnabled: true } };
  const processor = new Processor(options, { port: { onmessage: null, postMessage } });
  processor._onmessage({ data: { event: 'model', model } });
  const began = performance.now();
  for (let i = 0; i < pcm.length; i += 128) processor.process(pcm.subarray(i, i + 128));
  spent += performance.now() - began;
  fs.writeFileSync(out, 'time,viseme\n' + said.map(([time, name]) => `${time.toFixed(4)},${name}\n`).join(''));
}
process.stdout.write(JSON.stringify({ seconds: spent / 1000 }) + '\n');
