"""ARPAbet phones and their 15 visemes, on the 10 ms grid of the aligner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.motion.lips import VISEMES

HOPS_PER_SECOND: Final = 100

PHONES: Final[tuple[str, ...]] = (
    "SIL", "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH",
    "IY", "JH", "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W",
    "Y", "Z", "ZH",
)  # fmt: skip
PHONE_INDEX: Final = {name: index for index, name in enumerate(PHONES)}
CLOSED_PHONES: Final = frozenset({"P", "B", "M"})

# Oculus (OVR) viseme reference, extended to the whole of ARPAbet; HH has no shape of its own.
PHONE_VISEME: Final = {
    "SIL": "sil", "P": "PP", "B": "PP", "M": "PP", "F": "FF", "V": "FF", "TH": "TH", "DH": "TH", "T": "DD",
    "D": "DD", "K": "kk", "G": "kk", "NG": "kk", "CH": "CH", "JH": "CH", "SH": "CH", "ZH": "CH", "S": "SS",
    "Z": "SS", "N": "nn", "L": "nn", "R": "RR", "ER": "RR", "AA": "aa", "AE": "aa", "AH": "aa", "EH": "E",
    "IH": "I", "IY": "I", "Y": "I", "AO": "O", "UH": "U", "UW": "U", "W": "U",
}  # fmt: skip
DIPHTHONGS: Final = {
    "AY": ("aa", "I"), "AW": ("aa", "U"), "EY": ("E", "I"), "OW": ("O", "U"), "OY": ("O", "I"),
}  # fmt: skip
DIPHTHONG_TURN: Final = 0.6  # share of a diphthong spent in its first shape


class Span(NamedTuple):
    """One phone: hops [start, stop) of 10 ms, and its index in PHONES."""

    start: int
    stop: int
    phone: int


class Word(NamedTuple):
    """One word: hops [start, stop) of 10 ms, and how it is written (lower case)."""

    start: int
    stop: int
    text: str


class Shape(NamedTuple):
    """One viseme: hops [start, stop) of 10 ms (fractions allowed), and its index in VISEMES."""

    start: float
    stop: float
    viseme: int


def shapes(spans: Sequence[Span]) -> list[Shape]:
    """The viseme track of a phone track: diphthongs are split, HH takes the shape of what follows it."""
    out: list[Shape] = []
    for index, (start, stop, phone) in enumerate(spans):
        name = PHONES[phone]
        if name == "HH":
            name = PHONES[spans[index + 1].phone] if index + 1 < len(spans) else "SIL"
            name = "SIL" if name == "HH" else name
            first = DIPHTHONGS[name][0] if name in DIPHTHONGS else PHONE_VISEME[name]
            out.append(Shape(start, stop, VISEMES.index(first)))
        elif name in DIPHTHONGS:
            turn = start + DIPHTHONG_TURN * (stop - start)
            first, second = DIPHTHONGS[name]
            out += [Shape(start, turn, VISEMES.index(first)), Shape(turn, stop, VISEMES.index(second))]
        else:
            out.append(Shape(start, stop, VISEMES.index(PHONE_VISEME[name])))
    return out


def paint(spans: Sequence[Span] | Sequence[Shape], hops: int) -> NDArray[np.int64]:
    """Class of each hop, taken at the hop's centre: (hops,) int64; 0 (silence) outside every span."""
    track = np.zeros(hops, np.int64)
    for start, stop, label in spans:
        first, last = (int(np.ceil(edge - 0.5 - 1e-9)) for edge in (start, stop))
        track[max(first, 0) : max(last, 0)] = label
    return track
