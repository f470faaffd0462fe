"""What a watermark says, as a tile of cells: PATTERNS random patterns of a key, each turned by a part of the message.

A tile is TILE x TILE cells and repeats over the whole picture, so a crop holds it too. The first pattern says where the
tile begins; the others are moved against it, cyclically, and ten bits of the message say how far (Kalker, Depovere,
Haitsma and Maes, A video watermarking system for broadcast monitoring, SPIE 3657, 1999).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

TILE: Final = 32  # cells a side; a power of two
PATTERNS: Final = 6
BITS: Final = 10  # of one shift: five down, five to the right
MESSAGES: Final = 1 << 32  # that are valid: the rest of the 50 bits is the version and a checksum
VERSION: Final = 0  # two bits
PUBLIC_KEY: Final = "visavis"  # of pictures that anybody may recognise
SIDE: Final = 32.0 * 4  # cells along the shorter side of a picture
FINEST: Final = 3.0  # pixels of a cell: smaller ones do not survive video coding

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Payload:
    """What is told: sixteen bits of the avatar's name and sixteen of the session's seed."""

    avatar: int
    session: int

    def __post_init__(self) -> None:
        for name in ("avatar", "session"):
            if not 0 <= getattr(self, name) < 1 << 16:
                raise ValueError(f"{name} must be 16 bits, got {getattr(self, name)}")

    @classmethod
    def of(cls, avatar: str, seed: int) -> Payload:
        """That of a session of the avatar with this id, with this seed (its low 16 bits)."""
        return cls(avatar_tag(avatar), seed & 0xFFFF)

    def shifts(self) -> NDArray[np.int64]:
        """How far each pattern is moved, (PATTERNS, 2) cells down and right; the first is not."""
        content = VERSION << 32 | self.avatar << 16 | self.session
        word = content << 16 | checksum(content)
        symbols = [word >> BITS * k & (1 << BITS) - 1 for k in range(PATTERNS - 1)]
        return np.array([(0, 0), *(divmod(symbol, TILE) for symbol in symbols)], np.int64)

    @classmethod
    def read(cls, shifts: NDArray[np.int64]) -> Payload | None:
        """The message of ``shifts`` (PATTERNS, 2), wherever the tile begins; None when no message is written so."""
        moved = (shifts[1:] - shifts[0]) % TILE
        word = sum((int(y) * TILE + int(x)) << BITS * k for k, (y, x) in enumerate(moved))
        content, check = word >> 16, word & 0xFFFF
        if content >> 32 != VERSION or checksum(content) != check:
            return None
        return cls(content >> 16 & 0xFFFF, content & 0xFFFF)


def avatar_tag(avatar: str) -> int:
    """Sixteen bits that stand for an avatar's id."""
    return int.from_bytes(hashlib.blake2b(avatar.encode(), digest_size=2).digest(), "big")


def checksum(content: int) -> int:
    """CRC-16/CCITT-FALSE (polynomial 0x1021, start 0xFFFF) of five bytes."""
    crc = 0xFFFF
    for byte in content.to_bytes(5, "big"):
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def patterns(key: str) -> F64:
    """(PATTERNS, TILE, TILE) of 1 and -1, which follow from ``key`` alone. Raises ValueError for an empty key."""
    if not key:
        raise ValueError("a watermark's key must not be empty")
    count = PATTERNS * TILE * TILE
    drawn = np.frombuffer(hashlib.shake_256(key.encode()).digest(count // 8), np.uint8)
    return np.unpackbits(drawn).reshape(PATTERNS, TILE, TILE).astype(np.float64) * 2.0 - 1.0


def tile(key: str, payload: Payload) -> F64:
    """(TILE, TILE) cells that tell ``payload``, of mean square 1."""
    turned = [np.roll(one, tuple(shift), (0, 1)) for one, shift in zip(patterns(key), payload.shifts(), strict=True)]
    return np.asarray(np.sum(turned, axis=0) / np.sqrt(PATTERNS), np.float64)


def cell_size(height: int, width: int) -> float:
    """Pixels along a cell of a picture of this size."""
    return max(min(height, width) / SIDE, FINEST)


def weights(pixels: int, cell: float, places: int) -> F64:
    """(places, pixels): how much each pixel of a row belongs to each place in the repeating tile; ``places`` are TILE,
    or twice that for half cells. A cell reaches linearly to the middles of its neighbours."""
    at = (np.arange(pixels) + 0.5) / cell
    middle = (np.arange(places) * (TILE / places) + 0.5)[:, None]
    far = (at - middle + TILE / 2) % TILE - TILE / 2
    return np.maximum(1.0 - np.abs(far), 0.0)
