"""Detector: is there a watermark in these pictures, what does it say, and how sure is that?

Pictures are gathered (kernels/watermark) into one, which is folded onto the tile for every size of cell it may have
been scaled to, and whitened; each pattern of the key is then looked for at every shift. The statistic is the
correlation of what was folded with a whole valid mark, both of unit power. Patterns are fair coins, so for a key that
has nothing to do with the pictures, whatever these are, one correlation passes t with a chance of at most exp(-t^2 /
2) (Hoeffding 1963), and the best of N with at most N times that. N counts every valid message at every place and size
that was tried.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.watermark.code import FINEST, MESSAGES, PATTERNS, PUBLIC_KEY, SIDE, TILE, Payload, patterns, weights
from kernels.watermark import gather

NORMAL: Final = 512  # pixels of the shorter side that pictures are looked at in
RADIUS: Final = 5  # pixels; windows of about two cells and a half
SMALLEST: Final = 2.6  # pixels of a cell in such a picture: of one with room added around it
LARGEST: Final = 10.0  # of the half of a picture
STEP: Final = 0.006  # between sizes of cells that are tried: half a cell's slip across the picture
FINE: Final = (-0.003, -0.0015, 0.0, 0.0015, 0.003)  # tried around the best
SURE: Final = 1e-6  # of a false alarm
LISTED: Final = 5  # shifts of each pattern that a message is sought among
ASPECTS: Final = (16 / 9, 4 / 3, 1.0, 3 / 4, 9 / 16)  # pictures that may have been stretched out of shape
FINALISTS: Final = 6

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Cell = tuple[float, float]  # pixels down and across


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found. ``statistic`` is in standard deviations of a picture without a mark: that of the message, or
    where nothing is found, the best that any 50 bits would have. ``log10_chance`` bounds the chance that a picture
    without a mark looks like this."""

    payload: Payload | None
    statistic: float
    needed: float
    log10_chance: float
    cell: Cell

    @property
    def found(self) -> bool:
        """Whether a mark is there, at odds of SURE."""
        return self.payload is not None


class Detector:
    """``step`` takes pictures of one size; ``decide`` says what is in them so far. Knows nothing of files."""

    def __init__(self, height: int, width: int) -> None:
        self.size = (height, width)
        self.frames = 0
        self._total: F32 = np.zeros((height, width), np.float32)

    @staticmethod
    def size_for(height: int, width: int) -> tuple[int, int]:
        """The even (H, W) that pictures of this size should be scaled to before they are looked at."""
        scale = NORMAL / min(height, width)
        return 2 * round(height * scale / 2), 2 * round(width * scale / 2)

    def step(self, luma: U8) -> None:
        """Takes in one picture's luma (H,W)."""
        gather(luma, RADIUS, self._total)
        self.frames += 1

    def evidence(self) -> Evidence:
        """What has been gathered, ready for any number of keys."""
        return Evidence(self._total.astype(np.float64))

    def decide(self, key: str = PUBLIC_KEY, looks: int = 1) -> Verdict:
        """Whether the mark of ``key`` is there. ``looks``: how often this is asked of one film altogether."""
        return self.evidence().decide(key, looks)


class Evidence:
    """One gathered picture, folded onto the tile in every way that is tried. The slow part needs no key."""

    def __init__(self, total: F64) -> None:
        self._total = total
        self.cells = list(_cells(*total.shape))

    @cached_property
    def _spectra(self) -> list[NDArray[np.complex128]]:
        return [self._folded(cell) for cell in self.cells]

    @property
    def tried(self) -> float:
        """How many correlations a search can look at: sizes, half cells, shifts and messages."""
        return len(self.cells) * len(FINE) * 4.0 * TILE * TILE * MESSAGES

    def decide(self, key: str = PUBLIC_KEY, looks: int = 1) -> Verdict:
        """See Detector.decide."""
        turned = np.conj(np.fft.rfft2(patterns(key)))
        needed = math.sqrt(2 * math.log(self.tried * looks / SURE))
        bounds = [_bound(_correlations(spectrum, turned)) for spectrum in self._spectra]
        best = Verdict(None, max(bounds), needed, 0.0, self.cells[int(np.argmax(bounds))])
        for index in np.argsort(bounds)[::-1][:FINALISTS]:
            for fine in FINE:
                cell = (self.cells[index][0] * (1 + fine), self.cells[index][1] * (1 + fine))
                correlations = _correlations(self._folded(cell), turned)
                if not best.found and _bound(correlations) > best.statistic:
                    best = replace(best, statistic=_bound(correlations), cell=cell)
                for one in correlations:
                    statistic, payload = _read(one, max(needed, best.statistic if best.found else 0.0))
                    if payload is not None:
                        chance = (math.log(self.tried * looks) - statistic**2 / 2) / math.log(10)
                        best = Verdict(payload, statistic, needed, chance, cell)
        return best

    def correlations(self, key: str) -> Iterator[F64]:
        """For tests of the theory: every correlation of one pattern, standard deviation 1 where there is no mark."""
        turned = np.conj(np.fft.rfft2(patterns(key)))
        for spectrum in self._spectra:
            yield _correlations(spectrum, turned)

    def _folded(self, cell: Cell) -> NDArray[np.complex128]:
        """(4, TILE, TILE / 2 + 1): spectra of the four interleaved half-cell grids, whitened, of unit power."""
        (height, width), half = self._total.shape, 2 * TILE
        fold = weights(height, cell[0], half) @ self._total @ weights(width, cell[1], half).T
        grids = np.stack([fold[y::2, x::2] for y, x in product((0, 1), repeat=2)])
        spectrum = np.fft.rfft2(grids)
        size = np.abs(spectrum)
        white = spectrum / np.maximum(size, 1e-9 * size.max(initial=1e-30))
        white[:, 0, 0] = 0.0
        plane = np.fft.irfft2(white)
        return white / np.maximum(np.linalg.norm(plane, axis=(1, 2), keepdims=True), 1e-30)


def _cells(height: int, width: int) -> Iterator[Cell]:
    """Sizes of cells to try: those of a picture that was only scaled, then crops, then pictures out of shape."""
    short = min(height, width)
    nominal = short / SIDE
    yield (nominal, nominal)
    for made in (256, 288, 320, 360):  # sides whose cells are as fine as they get
        yield (FINEST * short / made, FINEST * short / made)
    for k in range(math.ceil(math.log(LARGEST / SMALLEST) / STEP)):
        size = SMALLEST * math.exp(STEP * k) * short / NORMAL
        yield (size, size)
    for aspect in ASPECTS:
        if abs(aspect * height / width - 1) > 0.02:
            unit = min(aspect, 1.0)
            yield (height * unit / SIDE, width * unit / aspect / SIDE)


def _correlations(spectrum: NDArray[np.complex128], turned: NDArray[np.complex128]) -> F64:
    """(4, PATTERNS, TILE, TILE): each pattern at each shift."""
    return np.fft.irfft2(spectrum[:, None] * turned[None])


def _bound(correlations: F64) -> float:
    """The best statistic that any message could have, valid or not."""
    return float(correlations.max(axis=(2, 3)).sum(axis=1).max() / math.sqrt(PATTERNS))


def _read(correlations: F64, least: float) -> tuple[float, Payload | None]:
    """The best valid message of (PATTERNS, TILE, TILE) whose statistic is ``least`` or more."""
    flat = correlations.reshape(PATTERNS, -1)
    places = np.argsort(flat, axis=1)[:, : -LISTED - 1 : -1]
    heights = np.take_along_axis(flat, places, axis=1)
    if heights[:, 0].sum() / math.sqrt(PATTERNS) < least:
        return 0.0, None
    choices = np.array(list(product(range(LISTED), repeat=PATTERNS)))
    totals = heights[np.arange(PATTERNS), choices].sum(axis=1) / math.sqrt(PATTERNS)
    for at in np.argsort(-totals):
        if totals[at] < least:
            break
        shifts = np.stack(np.divmod(places[np.arange(PATTERNS), choices[at]], TILE), axis=1)
        payload = Payload.read(shifts)
        if payload is not None:
            return float(totals[at]), payload
    return 0.0, None
