"""A film whose lips and voice can be told apart to the millisecond: every second a white picture and a beep begin."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import av
import numpy as np

from engine.clock import FPS, FRAME, VOICE_FRAME, VOICE_RATE
from streaming.outputs.feed import Item

ROWS, COLUMNS = 96, 128
BEEP = 0.8 * np.cos(2 * np.pi * 1000 * np.arange(480) / VOICE_RATE).astype(np.float32)


def picture(white: bool) -> np.ndarray:
    """(H * 3 / 2, W) I420, white or dark."""
    i420 = np.full((ROWS * 3 // 2, COLUMNS), 128, np.uint8)
    i420[:ROWS] = 235 if white else 20
    return i420


def voice(beeps: bool) -> np.ndarray:
    """(1920,) that begins with a beep, or is silent."""
    samples = np.zeros(VOICE_FRAME, np.float32)
    if beeps:
        samples[: len(BEEP)] = BEEP
    return samples


def items(count: int, begin: int = 7, blind: Collection[int] = (), missing: Collection[int] = ()) -> Iterator[Item]:
    """``count`` frames from frame ``begin`` on; in ``blind`` ones the picture was left out, ``missing`` ones never
    came."""
    for n in range(count):
        clap = n % FPS == FPS // 2
        if n not in missing:
            shown = None if n in blind else picture(clap)
            yield Item((begin + n) * FRAME, shown, (begin + n) * VOICE_FRAME, voice(clap))


def claps(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Seconds at which a film turns white, and at which a beep begins."""
    flashes, before = [], True  # one that the film begins in has begun before
    with av.open(str(path)) as film:
        for frame in film.decode(video=0):
            white = float(frame.to_ndarray(format="gray").mean()) > 130
            if white and not before:
                flashes.append(frame.time)
            before = white
    beeps, last = [], -1.0
    with av.open(str(path)) as film:
        for frame in film.decode(audio=0):
            samples = np.abs(frame.to_ndarray().reshape(len(frame.layout.channels), -1)[0].astype(np.float64))
            for k in np.flatnonzero(samples > 0.3):
                moment = frame.time + k / frame.sample_rate
                if moment - last > 0.5:
                    beeps.append(moment)
                    last = moment
    return np.array(flashes), np.array(beeps)


def skews(path: Path) -> np.ndarray:
    """Milliseconds by which each beep is later than its flash. Fails when one has no other."""
    flashes, beeps = claps(path)
    assert len(flashes) == len(beeps) > 0, (flashes, beeps)
    return (beeps - flashes) * 1e3
