// Posts the audio time of each sample that is the first above `level` after `hold` seconds below it.
class Onset extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    Object.assign(this, processorOptions);
    this.last = -this.hold;
  }
  process([[samples]]) {
    for (let k = 0; samples && k < samples.length; k++) {
      if (Math.abs(samples[k]) <= this.level) continue;
      const time = currentTime + k / sampleRate;
      if (time - this.last > this.hold) this.port.postMessage(time);
      this.last = time;
    }
    return true;
  }
}
registerProcessor("onset", Onset);
