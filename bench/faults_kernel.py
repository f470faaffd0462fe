"""A narrow line made by the kernel, in a network namespace of its own: 2 Mbit/s, then 400 kbit/s, then 2 Mbit/s again.

As ``narrow`` of faults_line.py without a relay of ours in between: ``tc`` shapes the loopback of a namespace, which
both ways share; server and browser live inside. Linux, root, ``unshare``, ``ip`` and ``tc``; nothing outside changes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.faults_line import AGAIN_S, FILM, NARROW_S, browsing, connected, phases
from bench.report import Metrics
from bench.stand_in import film
from bench.stream import ROOT, serving, write_voice

WHOLE_S: Final = 45.0
WIDE, NARROW = "2mbit", "400kbit"


def run() -> Metrics:
    """Raises OSError where no such namespace can be made."""
    film(FILM)
    if sys.platform != "linux" or os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "ip", "tc"))):
        raise OSError("a kernel's narrow line needs Linux, root, and the commands unshare, ip and tc")
    inside = f"ip link set lo mtu 1500 up && exec {sys.executable} -m bench.faults_kernel"
    done = subprocess.run(["unshare", "-n", "sh", "-c", inside], cwd=ROOT, capture_output=True, text=True, timeout=200)
    if done.returncode != 0:
        raise OSError(f"the namespace failed:\n{done.stderr[-2000:]}")
    found: Metrics = json.loads(done.stdout.splitlines()[-1])
    return found


def shape(rate: str) -> None:
    """Loopback passes ``rate`` from now on; what would wait longer than 200 ms is dropped."""
    command = ["tc", "qdisc", "replace", "dev", "lo", "root", "tbf", "rate", rate, "burst", "16kb", "latency", "200ms"]
    subprocess.run(command, check=True)


def watch(browser: Any, address: str) -> Metrics:
    """A page's pictures while the line gets narrow and wide again."""
    shape(WIDE)
    with connected(browser, address, 1.0) as page:
        begun = time.time()
        for at, rate in ((NARROW_S, NARROW), (AGAIN_S, WIDE), (WHOLE_S, WIDE)):
            page.wait_for_timeout(1e3 * (begun + at - time.time()))
            shape(rate)
        frames = np.array(page.evaluate("record.frames"), np.float64)
        origin = page.evaluate("performance.timeOrigin") / 1e3
    return phases(frames[:, 0] / 1e3 + origin - begun, frames[:, 1])


def main() -> None:
    """Inside: prints its metrics as JSON."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        voice = write_voice(folder / "voice.wav", 20)
        module = ("bench.soak_server", str(folder / "counts"), "--film", str(FILM), "--")
        with serving(folder, module) as (address, _), browsing(voice, "--allow-loopback-in-peer-connection") as browser:
            print(json.dumps(watch(browser, address)))


if __name__ == "__main__":
    main()
