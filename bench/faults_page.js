// A bare page around the real page's connection: shows its pictures, plays its voice, and keeps what it got.
// Evaluated by bench/faults_line.py: how many seconds of voice are kept, the framing, and, when it is given, the crop
// [x, y, width, height] (shares of the picture) of every frame that is kept as 64 x 64 grey pixels.
async ({ seconds, framing, crop }) => {
  const { Connection } = await import('/web/connection.js'), { audio } = await import('/web/sources.js');
  const marker = await import('/web/marker.js');
  const video = Object.assign(document.createElement('video'), { autoplay: true, muted: true });
  document.body.replaceChildren(video);
  const voice = document.createElement('audio');
  Object.assign(video.style, { width: '64px', height: '64px' });
  audio();
  const mic = await navigator.mediaDevices.getUserMedia(
    { audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 } });
  const connection = window.connection = new Connection(''), taken = window.taken = [];
  window.record = marker.record; window.told = []; window.states = []; window.messages = [];
  const states = window.states;
  connection.addEventListener('state', ({ detail }) => states.push([performance.now(), detail.state, detail.reason]));
  connection.addEventListener('refused', ({ detail }) => window.messages.push(detail));
  connection.addEventListener('stamps', ({ detail }) => {
    connection.lips?.stamps(detail);
    window.told.push(...detail.frames);
  });
  connection.addEventListener('track', ({ detail: { stream } }) => {
    if (video.srcObject !== stream) video.srcObject = stream;
    const [track] = stream.getAudioTracks();
    if (!track || window.listening) return;
    window.listening = true;
    voice.srcObject = new MediaStream([track]); voice.play();
    marker.playing(stream);
    const reader = new MediaStreamTrackProcessor({ track: track.clone() }).readable.getReader();
    (async () => { for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const part = new Float32Array(value.numberOfFrames);
      value.copyTo(part, { planeIndex: 0, format: 'f32-planar' });
      value.close();
      taken.push(part);
      if (taken.length > 100 * seconds) taken.shift();
    } })();
  });
  const small = new OffscreenCanvas(64, 64).getContext('2d', { willReadFrequently: true });
  window.crops = []; window.cropped = [];
  const keep = ({ rtpTimestamp, expectedDisplayTime }) => {
    const { videoWidth: w, videoHeight: h } = video, [x, y, width, height] = crop;
    small.drawImage(video, x * w, y * h, width * w, height * h, 0, 0, 64, 64);
    const { data } = small.getImageData(0, 0, 64, 64), grey = new Uint8Array(64 * 64);
    for (let k = 0; k < grey.length; k++) grey[k] = (data[4 * k] + 2 * data[4 * k + 1] + data[4 * k + 2]) / 4;
    window.crops.push(grey);
    window.cropped.push([Math.max(performance.now(), expectedDisplayTime), rtpTimestamp]);
  };
  const each = (now, metadata) => {
    connection.shown(metadata);
    marker.frame(video, metadata);
    if (crop) keep(metadata);
    video.requestVideoFrameCallback(each);
  };
  video.requestVideoFrameCallback(each);
  await connection.open({ avatar: 'ada', framing, marker: true });
  if (connection.lips) connection.lips.listening = true;
  await connection.speak(mic.getAudioTracks()[0]);
  window.base64 = (bytes) => {
    let text = '';
    for (let k = 0; k < bytes.length; k += 32768) text += String.fromCharCode(...bytes.subarray(k, k + 32768));
    return btoa(text);
  };
}
