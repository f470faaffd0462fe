"""pylipsync (uLipSync's method, five vowels) in an environment of its own: ``python pylipsync_driver.py JOBS.json``.

Its 64 ms window is centred on the segment, so a causal use of it answers half a window later.
"""

import json
import sys
import time
import wave
from pathlib import Path

import numpy as np
from pylipsync import PhonemeAnalyzer

FPS, HALF_WINDOW = 60, 0.032
VISEME = {"aa": "aa", "ee": "E", "ih": "I", "oh": "O", "ou": "U", "silence": "sil"}
QUIET = 0.05  # summed weights below this are a shut mouth

analyzer = PhonemeAnalyzer()
seconds = 0.0
for job in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
    with wave.open(job["wav"]) as sound:
        pcm = np.frombuffer(sound.readframes(sound.getnframes()), np.int16).astype(np.float32) / 32768
    began = time.perf_counter()
    segments = analyzer.extract_phoneme_segments(pcm, 16000, fps=FPS, return_seconds=True)
    seconds += time.perf_counter() - began
    with open(job["out"], "w", encoding="utf-8") as out:
        out.write("time,viseme,open\n")
        for segment in segments:
            weight = {p.name: p.target for p in segment.phonemes}
            loud = sum(value for name, value in weight.items() if name != "silence")
            name = max(weight, key=lambda name: weight[name])
            if loud <= QUIET:
                name = "silence"
            out.write(f"{segment.start + 0.5 / FPS + HALF_WINDOW:.4f},{VISEME[name]},{min(1.0, loud):.3f}\n")
print(json.dumps({"seconds": seconds}))
