// Rhubarb Lip Sync as WebAssembly: reads the whole recording before its first answer. Node, jobs as a JSON file.
import fs from 'node:fs';
import { Rhubarb } from 'rhubarb-lip-sync-wasm';

const jobs = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
console.log = console.error = () => {}; // the module talks a lot
let spent = 0;
for (const { wav, text, out } of jobs) {
  const pcm = fs.readFileSync(wav).subarray(44); // 16-bit mono at 16 kHz, the canonical header
  const began = performance.now();
  const { mouthCues } = await Rhubarb.getLipSync(pcm, text ? { dialogText: text } : {});
  spent += performance.now() - began;
  fs.writeFileSync(out, 'time,viseme\n' + mouthCues.map((c) => `${c.start.toFixed(3)},${c.value}\n`).join(''));
}
process.stdout.write(JSON.stringify({ seconds: spent / 1000 }) + '\n');
