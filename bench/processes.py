"""Suite ``processes``: what it costs to paint in a process of its own, one process against two, and how soon sessions
are back when it is killed, with another warm in reserve and without.

Speech in real time, every frame encoded as for one viewer. That both ways paint the same pictures is seen first.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from bench.report import Measured, Metrics, spread, value
from engine.clock import VOICE_FRAME, VOICE_RATE
from engine.config import EngineConfig, RenderConfig, ScheduleConfig
from engine.engine import Engine
from engine.viewpoint import Viewpoint
from streaming.config import StreamConfig
from streaming.encoders import FRAME_TICKS, Vp8Encoder
from streaming.inference.crew import Crew
from streaming.inference.engine import RemoteEngine
from streaming.listen import loop_factory
from streaming.live import Live, Options
from streaming.server import SWITCH_S
from streaming.tracks import OutFrame
from streaming.working import work_on
from visavis.sound import read_voice

SPEECH: Final = Path(__file__).parent.parent / "streaming" / "web" / "sample.wav"
SIDE: Final = 256
SAME: Final = 8  # pictures that both ways are compared by
PICTURE_S: Final = 30.0  # in which one of them comes
WARM_S: Final = 3.0  # of each run that are not counted
KILLED_S: Final = 20.0  # of a run in whose middle a process is killed
BITRATE: Final = 1_000_000
Voice = NDArray[np.float32]
Pictures = list[NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Rig:
    """An engine, the processes that it runs in, and how to ``kill`` the one that paints."""

    engine: Engine
    pids: Callable[[], list[int]]
    kill: Callable[[], None] | None = None


@contextlib.contextmanager
def here(config: EngineConfig) -> Iterator[Rig]:
    """All in this process."""
    engine = Engine(config)
    engine.warm_up()
    gc.collect()
    gc.freeze()
    yield Rig(engine, lambda: [os.getpid()])


@contextlib.contextmanager
def there(config: EngineConfig, spare: int = 0) -> Iterator[Rig]:
    """Painting in a process of its own, with ``spare`` others that wait to take its place."""
    crew = Crew(partial(Engine, config), spare=spare)
    try:
        crew.wait_ready()
        engine = RemoteEngine(config, crew.address)
        engine.warm_up()
        while not crew.settled:
            time.sleep(0.05)
        yield Rig(engine, lambda: [os.getpid(), *crew.pids], lambda: os.kill(engine.painter, signal.SIGKILL))
        engine.close()
    finally:
        crew.close()


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


async def speak(rig: Rig, sessions: int, seconds: float, voice: Voice, *, dies: bool = False) -> dict[str, Any]:
    """Runs ``sessions`` for ``seconds``; the process that paints ``dies`` in the middle."""
    lives = [Live(rig.engine, Options("ada", "upper", seed), StreamConfig()) for seed in range(sessions)]
    viewers = [Viewer() for _ in lives]
    for number, (live, viewer) in enumerate(zip(lives, viewers, strict=True)):
        live.speak(Speech(voice, number * 7 * VOICE_RATE))
        live.add(viewer)
        live.start()
    while not all(viewer.at for viewer in viewers):
        await asyncio.sleep(0.05)
    await asyncio.sleep(WARM_S)
    begun, before, known = time.monotonic(), spent_s(rig.pids()), [len(viewer.at) for viewer in viewers]
    await asyncio.sleep(seconds / 2)
    killed = time.monotonic()
    if dies and rig.kill is not None:
        rig.kill()
    await asyncio.sleep(seconds / 2)
    spent, lasted = spent_s(rig.pids()) - before, time.monotonic() - begun
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


def looped(work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """What ``work`` returns, on an event loop as a server has it."""
    sys.setswitchinterval(SWITCH_S)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(work)


class Album:
    """A Listener that keeps pictures."""

    def __init__(self) -> None:
        self.pictures: Pictures = []
        self.problem: Exception | None = None
        self._change, self._open = threading.Condition(), False

    def frame(self, frame: OutFrame) -> None:
        """As Listener.frame."""
        with self._change:
            self.pictures.append(frame.i420.copy())
            self._change.notify()

    def opened(self, avatar: str, framing: str, view: Viewpoint) -> None:
        """As Listener.opened."""
        with self._change:
            self._open = True
            self._change.notify()

    def refused(self, about: str, problem: Exception) -> None:
        """As Listener.refused."""
        self.died(problem)

    def died(self, problem: Exception) -> None:
        """As Listener.died."""
        with self._change:
            self.problem = problem
            self._change.notify()

    def kept(self, data: bytes) -> None:
        """As Listener.kept."""

    def wait(self, count: int) -> None:
        """Until the session is open and has ``count`` pictures. Raises OSError when it does not come to that."""
        with self._change:
            there = self._change.wait_for(
                lambda: self.problem or (self._open and len(self.pictures) >= count), timeout=PICTURE_S
            )
        if self.problem or not there:
            raise OSError(f"picture {count} of {SAME} did not come: {self.problem or f'{PICTURE_S:g} s passed'}")


def painted(engine: Engine, voice: Voice) -> Pictures:
    """The first pictures of a session, each before the next is asked for, so that none is left out."""
    album = Album()
    worker = work_on(engine, "ada", "upper", 1, album, marker=False, max_backlog_ms=60_000)
    worker.start()
    try:
        album.wait(0)
        ahead = worker.lookahead // VOICE_FRAME  # frames of voice that one waits for
        for k in range(SAME + ahead):
            worker.push(voice[k * VOICE_FRAME : (k + 1) * VOICE_FRAME])
            album.wait(max(k + 1 - ahead, 0))
    finally:
        worker.stop()
        worker.join(PICTURE_S)
    return album.pictures


def same(ours: Pictures, theirs: Pictures) -> None:
    """Raises ValueError when one process and two do not paint the same."""
    if len(ours) != len(theirs) or not all(map(np.array_equal, ours, theirs)):
        raise ValueError("a process of its own paints other pictures than this one: no time of it means anything")


def run(*, quick: bool, log: Console) -> Measured:
    """One, two and three sessions at 256 x 256, 20 s each way (quick: one, 8 s); then the killed ones."""
    counts, seconds = ((1,), 8.0) if quick else ((1, 2, 3), 20.0)
    config = EngineConfig(render=RenderConfig(width=SIDE, height=SIDE))
    voice = np.concatenate(list(read_voice(SPEECH, max_seconds=60)))
    pictures = []
    for way in (here, there):
        with way(replace(config, schedule=ScheduleConfig(enabled=False))) as rig:  # it would leave late ones out
            pictures.append(painted(rig.engine, voice))
    same(*pictures)
    metrics: Metrics = {}
    series: dict[str, list[float]] = {}
    for count in counts:
        for name, way in (("one", here), ("split", there)):
            log.print(f"{count} sessions, {'a process' if name == 'one' else 'two processes'}", highlight=False)
            with way(config) as rig:
                found = looped(speak(rig, count, seconds, voice))
            prefix = f"{name}_{count}_sessions"
            series[f"{prefix}_voice_to_outlet"] = found["waits"]
            metrics[f"{prefix}_voice_to_outlet"] = spread(found["waits"], "ms")
            metrics[f"{prefix}_picture_to_outlet"] = spread(found["hops"], "ms")
            metrics[f"{prefix}_cpu_each"] = value(found["cpu"], "% of a core")
            metrics[f"{prefix}_cpu_frame"] = value(found["cpu_frame"], "ms of a core")
            metrics[f"{prefix}_fps"] = value(found["fps"], "fps")
            metrics[f"{prefix}_dropped"] = value(found["dropped"], "ms")
    for name, spare in (("with", 1), ("without", 0)):
        log.print(f"killed {name} another in reserve", highlight=False)
        with there(config, spare) as rig:
            back = looped(speak(rig, 1, KILLED_S, voice, dies=True))["back"]
        if not np.isfinite(back):
            raise OSError(f"the session of a killed process was not back in {KILLED_S / 2:g} s")
        metrics[f"killed_{name}_standby_back"] = value(back, "s")
    return Measured(metrics, series)
