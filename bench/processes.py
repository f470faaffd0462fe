"""What it costs to paint in a process of its own: latency to the outlet and processor time, one process against two.

`python -m bench.processes [--sessions 3] [--seconds 20] [--size 256] [--renderer neural] [--json FILE]`: speech in real
time, every frame encoded as for one viewer; then the inference process is killed, with one warm in reserve and without.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from bench import report
from engine.config import EngineConfig, RenderConfig
from engine.engine import Engine
from streaming.config import StreamConfig
from streaming.encoders import FRAME_TICKS, Vp8Encoder
from streaming.inference.crew import Crew
from streaming.inference.engine import RemoteEngine
from streaming.listen import loop_factory
from streaming.live import Live, Options
from streaming.server import SWITCH_S
from streaming.tracks import OutFrame
from visavis.sound import read_voice

SPEECH: Final = Path(__file__).parent.parent / "streaming" / "web" / "sample.wav"
WARM_S: Final = 3.0  # of each run that are not counted
BITRATE: Final = 1_000_000
Voice = NDArray[np.float32]


class Speech:
    """A Source: the sample, again and again, each session from another place."""

    def __init__(self, voice: Voice, start: int) -> None:
        self._voice, self._start = voice, start

    def take(self, count: int, position: int) -> Voice:
        """As Source.take."""
        at = (np.arange(count) + position + self._start) % len(self._voice)
        return self._voice[at]

    def shown(self, frame: OutFrame) -> None:
        """As Source.shown."""

    def interrupted(self) -> None:
        """As Source.interrupted."""


class Viewer:
    """An Outlet that encodes every frame on a thread, as a connection does, and notes when it got it."""

    holds, alpha = True, False

    def __init__(self) -> None:
        self.waits: list[float] = []  # ms from the last sample that a frame needs
        self.hops: list[float] = []  # ms from its picture
        self.at: list[float] = []  # s, monotonic
        self._encoder, self.thread, self._count = Vp8Encoder(BITRATE), ThreadPoolExecutor(1), 0

    def frame(self, frame: OutFrame) -> None:
        """As Outlet.frame."""
        now = time.monotonic()
        self.at.append(now)
        self.waits.append(now * 1e3 - frame.stamps["whole"])
        self.hops.append(now * 1e3 - frame.stamps["done"])
        self._count += 1
        self.thread.submit(self._encoder.encode, frame.i420, self._count * FRAME_TICKS, False)

    def voice(self, voice: Voice) -> None:
        """As Outlet.voice."""

    def ended(self, why: str) -> None:
        """As Outlet.ended."""


async def speak(
    engine: Engine, sessions: int, seconds: float, voice: Voice, pids: Callable[[], list[int]],
    kill: Callable[[], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Runs ``sessions`` for ``seconds``; ``kill`` is called in the middle."""
    lives = [Live(engine, Options("ada", "upper", seed), StreamConfig()) for seed in range(sessions)]
    viewers = [Viewer() for _ in lives]
    for number, (live, viewer) in enumerate(zip(lives, viewers, strict=True)):
        live.speak(Speech(voice, number * 7 * 48_000))
        live.add(viewer)
        live.start()
    while not all(viewer.at for viewer in viewers):
        await asyncio.sleep(0.05)
    await asyncio.sleep(WARM_S)
    begun, before, known = time.monotonic(), spent_s(pids()), [len(viewer.at) for viewer in viewers]
    await asyncio.sleep(seconds / 2)
    killed = time.monotonic()
    if kill is not None:
        kill()
    await asyncio.sleep(seconds / 2)
    spent, lasted = spent_s(pids()) - before, time.monotonic() - begun
    for live in lives:
        await live.close("done")
    for viewer in viewers:
        viewer.thread.shutdown()
    waits = [wait for viewer, count in zip(viewers, known, strict=True) for wait in viewer.waits[count:]]
    hops = [hop for viewer, count in zip(viewers, known, strict=True) for hop in viewer.hops[count:]]
    after = [min((at for at in viewer.at if at > killed + 0.05), default=float("inf")) for viewer in viewers]
    return {
        "waits": waits, "hops": hops, "cpu_frame": 1e3 * spent / max(len(waits), 1),
        "cpu": 100 * spent / lasted / sessions,
        "fps": min(len(viewer.at) - count for viewer, count in zip(viewers, known, strict=True)) / lasted,
        "back": max(after) - killed, "dropped": sum(live.worker.dropped_ms for live in lives),
    }  # fmt: skip


def spent_s(pids: list[int]) -> float:
    """Seconds of a core that processes took so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def one(config: EngineConfig, run: Callable[..., Any]) -> dict[str, Any]:
    """All in this process."""
    engine = Engine(config)
    engine.warm_up()
    gc.collect()
    gc.freeze()
    return looped(run(engine=engine, pids=lambda: [os.getpid()]))


def split(config: EngineConfig, run: Callable[..., Any], spare: int = 0, dies: bool = False) -> dict[str, Any]:
    """Painting in a process of its own, which ``dies`` in the middle."""
    crew = Crew(partial(Engine, config), spare=spare)
    try:
        crew.wait_ready()
        engine = RemoteEngine(config, crew.address)
        engine.warm_up()
        while not crew.settled:
            time.sleep(0.05)
        kill = partial(os.kill, engine.painter, signal.SIGKILL) if dies else None
        done = looped(run(engine=engine, pids=lambda: [os.getpid(), *crew.pids], kill=kill))
        engine.close()
        return done
    finally:
        crew.close()


def looped(work: Any) -> Any:
    """What ``work`` returns, on an event loop as a server has it."""
    sys.setswitchinterval(SWITCH_S)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(work)


def main() -> None:
    """Prints, and with ``--json`` keeps, the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--renderer", default="neural")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    config = EngineConfig(render=RenderConfig(width=asked.size, height=asked.size, renderer=asked.renderer))
    voice = np.concatenate(list(read_voice(SPEECH, max_seconds=60)))
    metrics: dict[str, Any] = {}
    for count in asked.sessions:
        run = partial(speak, sessions=count, seconds=asked.seconds, voice=voice)
        for name, found in (("one", one(config, run)), ("split", split(config, run))):
            prefix = f"{name}_{count}_sessions"
            metrics[f"{prefix}_voice_to_outlet"] = report.spread(found["waits"], "ms")
            metrics[f"{prefix}_picture_to_outlet"] = report.spread(found["hops"], "ms")
            metrics[f"{prefix}_cpu_each"] = report.value(found["cpu"], "% of a core")
            metrics[f"{prefix}_cpu_frame"] = report.value(found["cpu_frame"], "ms of a core")
            metrics[f"{prefix}_fps"] = report.value(found["fps"], "fps")
            metrics[f"{prefix}_dropped"] = report.value(found["dropped"], "ms")
    run = partial(speak, sessions=1, seconds=20.0, voice=voice)
    for name, spare in (("with", 1), ("without", 0)):
        back = split(config, run, spare=spare, dies=True)["back"]
        if np.isfinite(back):  # else it was not back in ten seconds
            metrics[f"killed_{name}_standby_back"] = report.value(back, "s")
    result = report.document("processes", metrics)
    report.show(result, Console())
    if asked.json is not None:
        report.save(asked.json, result)


if __name__ == "__main__":
    main()
