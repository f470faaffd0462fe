"""Barge-in with the real engine: the voice ends, the mouth shuts, and of what is said next nothing is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.clock import FRAME, VOICE_FRAME, VOICE_RATIO
from engine.config import EngineConfig, RenderConfig
from engine.engine import Engine
from engine.motion.lips import lip_gap
from engine.session import Frame
from streaming.config import StreamConfig
from streaming.live import Live, Options
from streaming.speech import Event, Finished, Speech
from streaming.tracks import OutFrame
from visavis.sound import read_voice

from .harness import run, until

SAMPLE = Path(__file__).parents[2] / "streaming" / "web" / "sample.wav"
SHUT_MM = 0.5
LATEST = 100 * 48  # samples: 100 ms


class Witness:
    """An outlet that keeps voice and frames."""

    def __init__(self) -> None:
        self.voices: list[np.ndarray] = []
        self.frames: list[OutFrame] = []

    def frame(self, frame: OutFrame) -> None:
        self.frames.append(frame)

    def voice(self, voice: np.ndarray) -> None:
        self.voices.append(voice)

    def ended(self, why: str) -> None: ...

    @property
    def sound(self) -> np.ndarray:
        return np.concatenate(self.voices)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(EngineConfig(render=RenderConfig(width=64, height=64, renderer="geometric")))


def gaps_of(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """Lip gap, mm, by the pts of the engine's frames as they are painted."""
    gaps: dict[int, float] = {}
    real = engine.open

    def spied(*arguments: Any, **options: Any) -> Any:
        session = real(*arguments, **options)
        step = session.step

        def noting(*given: Any) -> Frame | None:
            frame = step(*given)
            if frame is not None:
                gaps[frame.pts] = float(lip_gap(frame.motion.face))
            return frame

        session.step = noting  # type: ignore[method-assign]
        return session

    monkeypatch.setattr(engine, "open", spied)
    return gaps


def test_the_mouth_shuts_and_the_next_words_are_whole(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    speech = np.concatenate(list(read_voice(SAMPLE, max_seconds=60)))
    loud = int(np.argmax(np.abs(speech) > 0.05))
    pcm = np.rint(speech[loud : loud + 60_000] * 32_767).astype("<i2")  # its first sample is a word's
    gaps = gaps_of(engine, monkeypatch)

    async def work() -> None:
        live = Live(engine, Options("ada", "upper", 0), StreamConfig())
        witness, events = Witness(), list[Event]()
        live.add(witness)
        live.worker.start()  # but not its clock: time goes on as fast as this machine paints, so nothing is left out
        says = Speech(live, events.append)
        live.speak(says)

        async def turn() -> None:
            await until(lambda: live.edge < (live.shown_pts + 4 * FRAME) * VOICE_RATIO, timeout=60)
            live._push(says.take(960, live.edge))

        async def turns(done: Callable[[], object]) -> None:
            while not done():
                await turn()

        says.begin("first", 48_000)
        says.push(pcm.tobytes())
        says.end()
        await turns(lambda: len(witness.voices) > 50 and max(list(gaps.values())[-2:]) > 2.0)
        live.interrupt()
        cut = live.edge
        says.begin("second", 48_000)  # at once: no pause of its own
        says.push(pcm.tobytes())
        says.end()
        assert isinstance(events[1], Finished) and events[1].interrupted and events[1].position > 0
        await turns(lambda: len(events) == 4)
        await live.close("enough")

        heard = witness.sound
        assert np.abs(heard[cut + LATEST // 5 : cut + LATEST]).max() == 0.0  # 20 ms, and it is silent
        begin = cut + LATEST // 5 + int(np.argmax(np.abs(heard[cut + LATEST // 5 :]) > 0))
        assert begin - cut < 0.25 * 48_000
        said = pcm / np.float32(32_768)
        start = begin - int(np.argmax(said != 0))
        np.testing.assert_allclose(heard[start : start + len(said)], said, atol=1e-6)  # from its first sample on

        frames = [f for f in witness.frames if f.voice is not None and f.pts * VOICE_RATIO >= start - VOICE_FRAME]
        seen = np.concatenate([f.voice for f in frames if f.voice is not None])
        offset = start - frames[0].pts * VOICE_RATIO
        np.testing.assert_allclose(seen[offset : offset + 4800], said[:4800], atol=1e-6)  # and in the frames too

        told = next(f for f in witness.frames if f.stamps["interrupted"])  # the first that knows of it
        shut = [gap for pts, gap in gaps.items() if 80 * 16 <= pts - told.pts < 80 * 16 + 640]
        assert max(shut) < SHUT_MM
        assert max(gap for pts, gap in gaps.items() if pts * VOICE_RATIO > start) > 2.0  # and speaks again

    run(work(), timeout=90)
