"""The engine in a few lines: a sound file in, PPM pictures and the voice out. Run: python example.py speech.wav"""

import sys
from pathlib import Path

import av

from engine.engine import Engine
from visavis.sound import read_voice

engine = Engine()
session = engine.open("ada", seed=1)
folder = Path("frames")
folder.mkdir(exist_ok=True)

for samples in read_voice(Path(sys.argv[1]), max_seconds=600):  # mono 48 kHz float32, in pieces of any length
    for start in range(0, len(samples), 960):
        session.push_voice(samples[start : start + 960])
        while (frame := session.step()) is not None:
            if frame.pts % 16_000 == 0:  # one picture a second of media time
                picture = av.VideoFrame.from_ndarray(frame.i420, format="yuv420p").to_ndarray(format="rgb24")
                height, width, _ = picture.shape
                name = folder / f"{frame.pts // 16_000:04d}.ppm"
                name.write_bytes(b"P6 %d %d 255\n" % (width, height) + picture.tobytes())
                spoken = "speaking" if frame.speaking > 0.5 else "silent"
                print(f"{name}  {spoken}  {sum(frame.stages.values()):.1f} ms")
