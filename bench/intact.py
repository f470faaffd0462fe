"""How much of what was said is heard: a received voice against the one that was sent, 20 ms by 20 ms.

Codecs, sample clocks and a receiver's stretching move the voice about; so it is aligned anew twice a second, and each
frame may be off by a few ms more. A frame is intact when it has the shape of what was sent, however loud.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.clock import VOICE_RATE

Voice = NDArray[np.float32]
RATE: Final = 16_000  # at which voices are compared: all of speech, a ninth of the work
STEP: Final = RATE // 2  # between two alignments
WINDOW: Final = RATE  # looked at for one
FRAME: Final = RATE // 50
LOCAL: Final = RATE // 125  # 8 ms either way, for each frame
NEAR: Final = RATE // 4  # how far alignments are from each other, usually
DRIFT: Final = RATE  # and at most: a line that gets full, and then is not
EMPHASIS: Final = 0.95
HOP: Final = FRAME // 2
SHAPE: Final = 0.7  # correlation of an intact frame, of which half may be missing; twice through Opus: .92, of 5 % .75
ACTIVE_DB: Final = -30.0  # of the loudest: softer frames are not counted
CLOSE: Final = 0.8  # a fit so good beside the best one is as good: a voice says some things twice
SURE: Final = 0.4  # correlation of a window below which its alignment is not believed


class Heard(NamedTuple):
    """Share of the frames with voice in them that are intact, how many there were, and the alignments' spread (s)."""

    intact: float
    frames: int
    delay_spread: float


def compare(sent: Voice, received: Voice) -> Heard:
    """``sent`` (n,) was said round and round, ``received`` (m,) is some stretch of it; both 48 kHz.

    Raises ValueError when nothing of the one is found in the other.
    """
    said, heard = _down(sent), _down(received)
    lags = _lags(said, heard)
    active = intact = 0
    floor = 10 ** (ACTIVE_DB / 20) * float(np.sqrt(np.mean(said**2, dtype=np.float64)) + 1e-9) * 3
    for start in range(LOCAL, len(heard) - FRAME - LOCAL, HOP):
        lag = lags[min(start // STEP, len(lags) - 1)]
        at = (start + lag + np.arange(-LOCAL, FRAME + LOCAL)) % len(said)
        near = said[at]
        if float(np.sqrt(np.mean(near[LOCAL:-LOCAL] ** 2))) < floor:
            continue
        active += 1
        intact += _fit(near, heard[start : start + FRAME]) > SHAPE
    if not active:
        raise ValueError("there was no voice in what was compared")
    return Heard(intact / active, active, float(np.ptp(lags)) / RATE)


def _down(voice: Voice) -> NDArray[np.float64]:
    """48 kHz -> 16 kHz, means of three: what that folds back is far below speech. Low tones are turned down: codecs for
    speech shift their phase, which nobody hears."""
    assert VOICE_RATE == 3 * RATE
    low = voice[: len(voice) // 3 * 3].reshape(-1, 3).mean(axis=1, dtype=np.float64)
    return low - EMPHASIS * np.concatenate([[0.0], low[:-1]])


def _lags(said: NDArray[np.float64], heard: NDArray[np.float64]) -> list[int]:
    """Where in ``said`` each step of ``heard`` is; a step that cannot be told is where its neighbour says.

    A voice says some things twice; so every step is looked for about where all together fit best, one line's delay
    being much the same all the time.
    """
    size = 1 << int(np.ceil(np.log2(len(said) + WINDOW)))
    whole = np.fft.rfft(np.concatenate([said, said[:WINDOW]]), size)
    energy = np.cumsum(np.concatenate([[0.0], np.concatenate([said, said[:WINDOW]]) ** 2]))
    power = np.sqrt(np.maximum(energy[WINDOW : WINDOW + len(said)] - energy[: len(said)], 1e-6))
    starts = range(0, max(len(heard) - WINDOW, 1), STEP)
    scores = np.empty((len(starts), len(said)))  # by step and lag, in [-1, 1]
    for row, start in enumerate(starts):
        piece = heard[start : start + WINDOW]
        score = np.fft.irfft(whole * np.conj(np.fft.rfft(piece, size)), size)[: len(said)] / power
        scores[row] = np.roll(score / (float(np.sqrt(np.sum(piece**2))) + 1e-6), -start)
    blocks = scores[:, : len(said) // NEAR * NEAR].reshape(len(scores), -1, NEAR).max(axis=2)
    fits = np.maximum(blocks, np.roll(blocks, -1, axis=1)).mean(axis=0)  # two blocks: what lies across their border
    about = (int(np.argmax(fits)) + 1) * NEAR
    found = [_lag(row, about) for row in scores]
    known = [lag for lag in found if lag is not None]
    if not known:
        raise ValueError("nothing of what was sent is found in what was received")
    lags, last = [], known[0]
    for lag in found:
        last = last if lag is None else lag
        lags.append(last)
    return lags


def _lag(scores: NDArray[np.float64], about: int) -> int | None:
    """The best lag near ``about``, or far from it where that fits much better; None when nothing does."""
    near, far = (scores[(about + np.arange(-reach, reach + 1)) % len(scores)] for reach in (NEAR, DRIFT))
    best = near if near.max() > CLOSE * far.max() else far
    return about + int(np.argmax(best)) - len(best) // 2 if best.max() > SURE else None


def _fit(near: NDArray[np.float64], frame: NDArray[np.float64]) -> float:
    """The best correlation of ``frame`` (F,) with any stretch of ``near`` (F + 2 LOCAL,)."""
    windows = np.lib.stride_tricks.sliding_window_view(near, len(frame))
    norms = np.sqrt(np.sum(windows**2, axis=1)) * (np.sqrt(np.sum(frame**2)) + 1e-9) + 1e-9
    return float(np.max(windows @ frame / norms))
