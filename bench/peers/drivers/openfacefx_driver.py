"""openfacefx, its ``naive`` solver: the transcript spread over the length of the sound, which it does not listen to.
In an environment of its own: ``python openfacefx_driver.py JOBS.json``."""

import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from openfacefx.cli import main

FPS = 60

seconds = 0.0
for job in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
    curves = job["out"] + ".json"
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        if main(["naive", "--text", job["text"], "--wav", job["wav"], "-o", curves]):
            sys.exit(f"openfacefx refused {job['wav']}")
    seconds += time.perf_counter() - began
    with open(curves, encoding="utf-8") as lines:
        track = json.load(lines)
    os.remove(curves)
    at, names = np.arange(0, track["duration"], 1 / FPS), track["viseme_set"]
    weight = np.zeros((len(at), len(names)))
    for channel in track["channels"]:
        if channel["name"] in names:
            keys = np.array(channel["keys"])
            weight[:, names.index(channel["name"])] = np.interp(at, keys[:, 0], keys[:, 1])
    with open(job["out"], "w", encoding="utf-8") as out:
        out.write("time,viseme\n")
        out.writelines(f"{t:.4f},{names[i]}\n" for t, i in zip(at, weight.argmax(1), strict=True))
print(json.dumps({"seconds": seconds}))
