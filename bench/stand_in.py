"""A stand-in for the engine that costs next to nothing and shows a real avatar: pictures that were painted before.

Lines and faults are tried with it: what an encoder makes of real pictures, and no network that paints beside a browser
on two cores. The mouth does not follow the voice; everything else of a session is as it is.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.clock import VOICE_FRAME
from engine.ring import FrameRing
from engine.session import Frame
from tests.streaming.double import DoubleEngine, DoubleRenderer, DoubleSession

SPEECH: Final = Path(__file__).parent.parent / "streaming" / "web" / "sample.wav"
SIDE: Final = 512


def film(path: Path, seconds: float = 6.0) -> Path:
    """Paints so much of a speaking avatar, geometrically, into ``path`` (a .npy that is there stays): (n, 768, 512) u8
    I420."""
    if path.is_file():
        return path
    from engine.config import EngineConfig
    from engine.engine import Engine
    from visavis.sound import read_voice

    config = EngineConfig()
    engine = Engine(replace(config, render=replace(config.render, renderer="geometric")))
    session = engine.open("ada", seed=1)
    voice = np.concatenate(list(read_voice(SPEECH, max_seconds=600)))
    frames: list[NDArray[np.uint8]] = []
    for start in range(0, int(seconds * 48_000), VOICE_FRAME):
        session.push_voice(voice[start : start + VOICE_FRAME])
        while (frame := session.step()) is not None:
            frames.append(frame.i420.copy())
    engine.close()
    partial = path.with_name(f"{path.stem}.{os.getpid()}.npy")
    np.save(partial, np.stack(frames))
    partial.replace(path)
    return path


class FilmSession(DoubleSession):
    """The double's session, with pictures of a film: to its end and back again."""

    def __init__(self, renderer: DoubleRenderer, film: NDArray[np.uint8]) -> None:
        super().__init__(renderer, 0.0)
        self._film, self._shown = film, 0
        self._ring = FrameRing(8, film.shape[1] * 2 // 3, film.shape[2])

    def step(self, paint: bool = True) -> Frame | None:
        """The next picture."""
        frame = super().step(paint)
        if frame is None:
            return None
        count = len(self._film)
        at = self._shown % (2 * count - 2)
        self._shown += 1
        picture = self._ring.claim()
        picture[:] = self._film[at if at < count else 2 * count - 2 - at]
        return replace(frame, i420=picture)


class FilmEngine(DoubleEngine):
    """The double, with that film in place of its disc."""

    def __init__(self, folder: Path, film: NDArray[np.uint8]) -> None:
        super().__init__(folder, side=16, cost_s=0.0)
        self._film = film

    def open(self, avatar: str = "ada", *, seed: int = 0, framing: str | None = None, **more: Any) -> DoubleSession:
        """A session that shows the film."""
        self.opened = [*self.opened[-3:], FilmSession(self.renderer(avatar, framing), self._film)]
        return self.opened[-1]
