"""Inputs that nobody would send: real ones with bits flipped, pieces lost, doubled, swapped, and words of a grammar."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

NUMBERS: Final = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
WORDS: Final = (
    b"", b"\x00", b"\r\n", b"\n", b" ", b"/", b"..", b"../", b"%00", b"%2e%2e%2f", b"-1", b"0", b"1e309", b"NaN",
    b"99999999999999999999", b"null", b"true", b'"', b"'", b"{", b"}", b"[", b"]", b":", b",", b"\\u0000", b"\\ud800",
    b"\xff\xfe", b"\xf0\x9f\x98\x80", b"\xc3\x28", b"A" * 300, b"[" * 600,
)  # fmt: skip
LONGEST: Final = 200_000  # bytes


class Mutator:
    """An endless row of inputs; the same for the same ``seed``."""

    def __init__(self, seeds: Sequence[bytes], words: Sequence[bytes], seed: int) -> None:
        self._seeds, self._words = list(seeds), (*WORDS, *words)
        self._random = random.Random(seed)

    def next(self) -> bytes:
        """One more input."""
        rng = self._random
        data = bytearray(rng.choice(self._seeds))
        for _ in range(1 << rng.choice((0, 0, 0, 1, 1, 2, 3, 4))):
            data = self._change(data)
        return bytes(data[:LONGEST])

    def _change(self, data: bytearray) -> bytearray:
        rng, size = self._random, len(data)
        at = rng.randrange(size + 1)
        length = min(int(rng.expovariate(1 / 12)) + 1, size - at)
        match rng.randrange(10):
            case 0 if size:
                data[rng.randrange(size)] ^= 1 << rng.randrange(8)
            case 1 if size:
                data[rng.randrange(size)] = rng.randrange(256)
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length]
            case 4:
                data[at:at] = rng.choice(self._words)
            case 5:
                data[at : at + length] = rng.choice(self._words)
            case 6:
                other = rng.choice(self._seeds)
                start = rng.randrange(len(other) + 1)
                data[at : at + length] = other[start : start + int(rng.expovariate(1 / 40)) + 1]
            case 7:
                width = rng.choice((1, 2, 4))
                value = (rng.choice(NUMBERS) + rng.randrange(-1, 2)) & ((1 << 8 * width) - 1)
                data[at : at + width] = value.to_bytes(width, rng.choice(("big", "little")))
            case 8:
                lines = bytes(data).split(b"\n")  # texts: whole lines lost, doubled, or elsewhere
                one, two = rng.randrange(len(lines)), rng.randrange(len(lines))
                lines[one:one] = lines[two : two + rng.randrange(3)]
                if rng.random() < 0.5:
                    del lines[rng.randrange(len(lines))]
                data = bytearray(b"\n".join(lines))
            case _ if rng.random() < 0.2:
                data = data[:at]
        return data
