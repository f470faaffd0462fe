"""Suite `agents`: an agent at `visavis serve`, and a viewer: how soon it is heard, and how soon it stops."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from bench.report import Measured, spread, value
from bench.stream import SPEECH, serving
from bench.viewer import Viewer
from engine.clock import VOICE_RATE
from visavis import client
from visavis.sound import read_voice

LOUD: Final = 600  # of an int16: sound is heard
PIECE_S: Final = 0.04
SHUT_FRAMES: Final = 2  # after the first that knows of the interruption: tests/streaming/test_barge_in.py
PATIENCE_S: Final = 15.0


class Witness:
    """What a viewer hears and is told, with when (monotonic seconds)."""

    def __init__(self) -> None:
        self.loud: list[tuple[float, float]] = []  # (arrival, level) of each packet of voice
        self.frames: list[dict[str, Any]] = []  # stamps

    def heard(self, samples: NDArray[np.int16], rtp: int, now: float) -> None:
        """A packet of voice."""
        self.loud.append((now, float(np.abs(samples.astype(np.int32)).max())))

    def told(self, message: dict[str, Any]) -> None:
        """A message."""
        if message["type"] == "stamps":
            self.frames.extend(message["frames"])


async def _until(done: Callable[[], Any], what: str) -> Any:
    begun = time.monotonic()
    while not (found := done()):
        if time.monotonic() - begun > PATIENCE_S:
            raise ValueError(f"{what} did not come")
        await asyncio.sleep(0.002)
    return found


class Round:
    """One reply, an interruption in its middle, and a short reply right after it. Times in ms."""

    def __init__(self, agent: client.Agent, witness: Witness, speech: bytes) -> None:
        self._agent, self._witness, self._speech = agent, witness, speech
        self._events: list[tuple[float, dict[str, Any]]] = []
        self.times: dict[str, float] = {}

    async def listen(self) -> None:
        """Keeps the events with their times."""
        async for event in self._agent:
            if isinstance(event, dict):
                self._events.append((time.monotonic(), event))

    def _event(self, kind: str, id: str) -> float | None:
        return next((at for at, event in self._events if event["type"] == kind and event.get("id") == id), None)

    def _first_loud(self, after: float) -> float | None:
        return next((at for at, level in self._witness.loud if at > after and level > LOUD), None)

    async def run(self) -> None:
        """Speaks, is interrupted after a second, and speaks again. Raises ValueError when something is not heard."""
        begun = time.monotonic()
        async with self._agent.speak(rate=VOICE_RATE) as segment:
            talking = asyncio.ensure_future(self._in_time(segment))
            started = await _until(lambda: self._event("speech.started", segment.id), "the start")
            self.times["first_sound_to_started"] = 1e3 * (started - begun)
            heard = await _until(lambda: self._first_loud(begun), "the voice")
            self.times["first_sound_to_heard"] = 1e3 * (heard - begun)
            await asyncio.sleep(1.0 + 0.3 * np.random.default_rng(int(begun * 1e3) % 2**31).random())
            cut = time.monotonic()
            await self._agent.interrupt()
            end = await segment.finished()
            self.times["interrupt_to_finished"] = 1e3 * (time.monotonic() - cut)
            await talking
        if not end["interrupted"]:
            raise ValueError("an interruption was not told")
        await asyncio.sleep(1.0)
        last = max((at for at, level in self._witness.loud if level > LOUD), default=cut)
        self.times["interrupt_to_silence_heard"] = 1e3 * max(last - cut, 0.0)
        knows = [f for f in self._witness.frames if f["interrupted"] and f["start"] > 1e3 * cut - 40]
        if len(knows) <= SHUT_FRAMES:
            raise ValueError("no frame knows of the interruption")
        self.times["interrupt_to_mouth_shut_sent"] = knows[SHUT_FRAMES]["sent"] - 1e3 * cut
        await self._again()

    async def _again(self) -> None:
        await self._agent.interrupt()
        begun = time.monotonic()
        async with self._agent.speak(rate=VOICE_RATE) as segment:
            await segment.write(self._speech[: 2 * VOICE_RATE])
        end = await segment.finished()
        if end["interrupted"] or abs(end["position"] - 1.0) > 1e-3:
            raise ValueError(f"of what was said after the interruption {end['position']} s were heard")
        heard = await _until(lambda: self._first_loud(begun), "the voice after the interruption")
        self.times["reply_after_interrupt_to_heard"] = 1e3 * (heard - begun)
        await asyncio.sleep(0.3)

    async def _in_time(self, segment: client.Segment) -> None:
        """As a synthesizer that is a little faster than speech."""
        size = int(PIECE_S * VOICE_RATE) * 2
        for start in range(0, len(self._speech), size):
            await segment.write(self._speech[start : start + size])
            await asyncio.sleep(0.7 * PIECE_S)


async def _measure(address: str, rounds: int, log: Console) -> dict[str, list[float]]:
    speech = np.concatenate(list(read_voice(SPEECH, max_seconds=600)))
    begin = int(np.argmax(np.abs(speech) > 0.05))
    pcm = np.rint(speech[begin : begin + 8 * VOICE_RATE] * 32767).astype("<i2").tobytes()
    witness, found = Witness(), dict[str, list[float]]()
    viewer = Viewer(address, heard=witness.heard)
    viewer.on_message = witness.told
    await viewer.open()
    pinging = asyncio.ensure_future(_ping(viewer))
    try:
        await _until(lambda: witness.frames, "the first picture")
        async with await client.connect(address, viewer.id) as agent:
            for number in range(rounds):
                one = Round(agent, witness, pcm)
                listening = asyncio.ensure_future(one.listen())
                await one.run()
                listening.cancel()
                for name, ms in one.times.items():
                    found.setdefault(f"{name}_ms", []).append(ms)
                log.print(f"{number + 1}/{rounds}: {json.dumps({k: round(v) for k, v in one.times.items()})}")
    finally:
        pinging.cancel()
        await viewer.close()
    return found


async def _ping(viewer: Viewer) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            viewer.say("ping", t=0)
            await asyncio.sleep(1)


def run(*, quick: bool, log: Console) -> Measured:
    """Twenty rounds (quick: five), each: an agent speaks as a synthesizer makes it, is interrupted, and speaks again.

    From the message that leaves the agent to ``speech.started``, and to sound at a viewer (aiortc: its jitter buffer is
    in it); from ``interrupt`` to ``speech.finished``, to the last sound at the viewer, and to the frame with the shut
    mouth on the wire. The last is the second reply, with the pause before it.
    """
    with tempfile.TemporaryDirectory() as folder:
        log.print("starting the server (the first start compiles)")
        with serving(Path(folder)) as (address, _):
            series = asyncio.run(_measure(address, 5 if quick else 20, log))
    metrics = {name: spread(samples, "ms") for name, samples in series.items()}
    metrics["rounds"] = value(len(next(iter(series.values()))), "")
    return Measured(metrics, series)
