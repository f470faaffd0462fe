"""Sessions of the engine on threads of one process, as a server has them, each with a voice in real time.

``python -m bench.load_inprocess SIDE SECONDS MOST [RENDERER]``: 1, 2, 3 ... sessions of SIDE x SIDE for SECONDS each,
to MOST, or to two beyond what the machine keeps up with; a line of JSON for each number on the standard output. Nothing
is encoded or sent: that is what the other parts of suite ``load`` add.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from bench.load_traces import Painted, Verdict, judge
from engine.clock import FRAME, FRAME_SECONDS, VOICE_RATE
from engine.engine import Engine
from engine.viewpoint import Viewpoint
from streaming.server import SWITCH_S
from streaming.tracks import OutFrame
from streaming.worker import SessionWorker
from visavis.sound import read_voice

ROOT: Final = Path(__file__).parent.parent
SPEECH: Final = ROOT / "streaming" / "web" / "sample.wav"
PACKET: Final = VOICE_RATE // 50  # 20 ms, what Opus delivers
SETTLE_S: Final = 2.0
GOLDEN: Final = 0.6180339887  # sessions begin at any phase of a frame: multiples of it lie evenly
BEYOND: Final = 2  # numbers of sessions that are tried after the first that was too many
OPEN_S: Final = 120.0


class Place:
    """One session on its thread, and what it painted: a worker's listener."""

    def __init__(self, engine: Engine, number: int, avatar: str) -> None:
        self.painted: list[OutFrame] = []
        self.ready = threading.Event()
        self.problem: Exception | None = None
        self.worker = SessionWorker(engine, avatar, "upper", number, self)
        self.worker.start()

    def frame(self, frame: OutFrame) -> None:
        """A frame was painted; its picture is let go."""
        self.painted.append(replace(frame, i420=frame.i420[:0], voice=None, stacked=None))

    def opened(self, avatar: str, framing: str, view: Viewpoint) -> None:
        """It wears its avatar."""
        self.ready.set()

    def refused(self, about: str, problem: Exception) -> None:
        """Nothing is asked for that could be."""

    def kept(self, data: bytes) -> None:
        """Nobody keeps it here."""

    def died(self, problem: Exception) -> None:
        """It cannot go on."""
        self.problem = problem
        self.ready.set()

    def rows(self, start: float) -> list[Painted]:
        """Its frames, by a voice that began at ``start``; due by when the voice was to be there, not by when a busy
        machine pushed it."""
        ahead = 1 + self.worker.lookahead / VOICE_RATE / FRAME_SECONDS
        return [
            Painted(
                f.pts // FRAME, start + (f.pts // FRAME + ahead) * FRAME_SECONDS, f.stamps["done"] / 1e3,
                int(f.stamps.get("rung", 0)), bool(f.stamps.get("repeated", False)),
            )
            for f in tuple(self.painted)
        ]  # fmt: skip


def speech() -> NDArray[np.float32]:
    """The sample voice, (n,) at 48 kHz."""
    return np.concatenate(list(read_voice(SPEECH, max_seconds=600)))


def feed(places: Sequence[Place], starts: Sequence[float], voice: NDArray[np.float32], end: float) -> None:
    """Pushes packets to all of them when they are due, until ``end``; each hears another place of the speech."""
    begun = [k * 7 * PACKET * 25 for k in range(len(places))]
    sent = [0] * len(places)
    while True:
        dues = [start + (count + 1) * PACKET / VOICE_RATE for start, count in zip(starts, sent, strict=True)]
        k = int(np.argmin(dues))
        if dues[k] >= end:
            return
        time.sleep(max(dues[k] - time.monotonic(), 0.0))
        at = begun[k] + sent[k] * PACKET
        places[k].worker.push(voice.take(np.arange(at, at + PACKET), mode="wrap"))
        sent[k] += 1


def measure(
    engine: Engine,
    count: int,
    seconds: float,
    voice: NDArray[np.float32],
    avatars: Sequence[str],
    settle: float = SETTLE_S,
) -> Any:
    """``count`` sessions for ``seconds``, after ``settle`` seconds: their verdicts and the cores that were busy.

    Raises RuntimeError when a session does not open or dies.
    """
    places = [Place(engine, k + 1, avatars[k % len(avatars)]) for k in range(count)]
    try:
        for place in places:
            if not place.ready.wait(OPEN_S) or place.problem is not None:
                raise RuntimeError(f"a session did not open: {place.problem or 'it took too long'}")
        now = time.monotonic() + 0.1
        starts = [now + (k * GOLDEN % 1) * FRAME_SECONDS for k in range(count)]
        begin, end = now + settle, now + settle + seconds
        used = [0.0, 0.0]

        def look(at: float, which: int) -> None:
            time.sleep(max(at - time.monotonic(), 0.0))
            used[which] = time.process_time()

        lookers = [threading.Thread(target=look, args=(at, k), daemon=True) for k, at in enumerate((begin, end))]
        for looker in lookers:
            looker.start()
        feed(places, starts, voice, end + 0.3)  # what is due before the end is still painted
        for looker in lookers:
            looker.join()
        room = engine.room()
        time.sleep(0.3)
    finally:
        for place in places:
            place.worker.stop()
        for place in places:
            place.worker.join(10.0)
    for place in places:
        if place.problem is not None:
            raise RuntimeError(f"a session died: {place.problem}") from place.problem
    verdicts = [judge(place.rows(start), begin, end) for place, start in zip(places, starts, strict=True)]
    return {
        "sessions": count, "cores": (used[1] - used[0]) / seconds, "verdicts": [vars_of(v) for v in verdicts],
        "headroom": room.headroom, "refusal": room.refusal,
    }  # fmt: skip


def vars_of(verdict: Verdict) -> dict[str, Any]:
    """For JSON."""
    return {name: getattr(verdict, name) for name in Verdict.__dataclass_fields__}


def ramp(side: int, seconds: float, most: int, renderer: str = "neural") -> Iterator[dict[str, Any]]:
    """Rows for 1, 2, 3 ... sessions, measured in a process of its own. Raises OSError when that fails."""
    command = [sys.executable, "-m", "bench.load_inprocess", str(side), str(seconds), str(most), renderer]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        errors: list[str] = []
        reading = threading.Thread(target=lambda: errors.extend(process.stderr or ()), daemon=True)
        reading.start()
        try:
            for line in process.stdout:
                row = json.loads(line)
                row["verdicts"] = [Verdict(**{**v, "late": tuple(v["late"])}) for v in row["verdicts"]]
                yield row
        except BaseException:
            process.kill()
            raise
        if process.wait() != 0:
            reading.join(5)
            raise OSError(f"{side} x {side}: the sessions failed: {''.join(errors)[-1500:]}")


def main() -> None:
    """Measures and says."""
    side, seconds, most = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    from visavis.config import Config
    from visavis.gpu import open_engine

    config = Config()
    render = replace(config.render, width=side, height=side, renderer=(sys.argv + ["neural"])[4])
    engine = open_engine(replace(config, render=render).engine, Console(stderr=True), sessions=most)
    engine.warm_up()
    engine.warm_up_company()
    known = [meta.id for meta in engine.avatars()]
    for avatar in known:
        engine.avatar(avatar)  # loading is not what is measured
    voice = speech()
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()
    failed = 0
    for count in range(1, most + 1):
        row = measure(engine, count, seconds, voice, known)
        print(json.dumps(row), flush=True)
        failed += not all(Verdict(**v).keeps_up for v in row["verdicts"])
        if failed > BEYOND:
            break
    engine.close()


if __name__ == "__main__":
    main()
