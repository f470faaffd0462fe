"""Frames in memory that two processes share: one paints, one looks, nobody waits. It has no name to leave behind."""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.ring import FrameRing, Picture

HEADER: Final = struct.Struct("<8s4I")  # magic, version, slots, height, width
MAGIC: Final = b"vvframes"
VERSION: Final = 1
LINE: Final = 64  # bytes of a cache line
PAGE: Final = 4096


class RingError(ValueError):
    """Shared memory that is not the ring it should be."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things lie: ``slots`` of an I420 picture of ``height`` x ``width`` and room for it with its alpha."""

    slots: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.slots < 2 or self.height % 2 or self.width % 2 or min(self.height, self.width) < 2:
            raise RingError(
                f"a frame ring needs 2 slots or more and even sides, got {self.slots} of {self.width}x{self.height}"
            )

    @property
    def marks(self) -> int:
        """Offset of the number of claims, and of a mark for each slot, (1 + slots,) u64."""
        return LINE

    @property
    def pictures(self) -> int:
        """Offset of the pictures, (slots, 3 H / 2, W) u8."""
        return _up(self.marks + 8 * (1 + self.slots))

    @property
    def stacks(self) -> int:
        """Offset of the pictures with transparency, (slots, 3 H, W) u8: no memory is taken until one is painted."""
        return _up(self.pictures + self.slots * self.height * 3 // 2 * self.width)

    @property
    def size(self) -> int:
        """Bytes in all."""
        return _up(self.stacks + self.slots * self.height * 3 * self.width)


class SharedFrameRing(FrameRing):
    """A FrameRing whose pictures another process sees while they are there.

    The painter calls ``claim``, paints, and ``publish``es under a number that it tells the other side by other means.
    The other side asks ``look`` for it, reads, and may ask ``intact`` afterwards: a slot that was claimed again is not.
    Each slot's mark is odd while it is painted, and says which frame it holds once it is even.
    """

    def __init__(self, descriptor: int, layout: Layout) -> None:
        super().__init__(layout.slots, 2, 2)  # its own pictures are replaced below
        self.layout, self.descriptor = layout, descriptor
        memory = mmap.mmap(descriptor, layout.size)  # lives as long as somebody holds one of its pictures
        if HEADER.unpack_from(memory) != (MAGIC, VERSION, layout.slots, layout.height, layout.width):
            raise RingError("this shared memory is no ring of that size, or of another version")
        slots, height, width = layout.slots, layout.height, layout.width
        marks: NDArray[np.uint64] = np.frombuffer(memory, np.uint64, 1 + slots, layout.marks)
        self._count, self._marks = marks[:1], marks[1:]
        shape = slots, height * 3 // 2, width
        self._pictures = np.frombuffer(memory, np.uint8, slots * shape[1] * width, layout.pictures).reshape(shape)
        shape = slots, height * 3, width
        self._stacks = np.frombuffer(memory, np.uint8, slots * shape[1] * width, layout.stacks).reshape(shape)
        self._start = self._pictures.__array_interface__["data"][0]
        self._claimed = int(self._count[0])  # whoever painted before may be gone

    @classmethod
    def create(cls, slots: int, height: int, width: int) -> SharedFrameRing:
        """New memory for such a ring. Its ``descriptor`` is what the other process needs to see it."""
        layout = Layout(slots, height, width)
        descriptor = _anonymous(layout.size)
        os.pwrite(descriptor, HEADER.pack(MAGIC, VERSION, slots, height, width), 0)
        return cls(descriptor, layout)

    @classmethod
    def of(cls, descriptor: int) -> SharedFrameRing:
        """The ring behind ``descriptor``, which it takes over. Raises RingError for anything else."""
        try:
            head = os.pread(descriptor, HEADER.size, 0)
            if len(head) < HEADER.size or head[:8] != MAGIC:
                raise RingError("this is no frame ring")
            layout = Layout(*HEADER.unpack(head)[2:])
            if os.fstat(descriptor).st_size < layout.size:
                raise RingError("this frame ring is cut off")
            return cls(descriptor, layout)
        except (RingError, OSError):
            os.close(descriptor)
            raise

    def close(self) -> None:
        """Lets the descriptor go. Pictures that somebody holds stay where they are until they are let go, too."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    # The painter's side.

    def claim(self) -> Picture:
        """The next picture, (H * 3 / 2, W) u8: what was in it is not there any more, for the other side either."""
        number = self._claimed
        self._marks[number % len(self._marks)] = 2 * number + 1
        self._count[0] = number + 1
        return super().claim()

    def publish(self, picture: Picture, stacked: Picture | None = None) -> int:
        """Says that ``picture`` is painted: the number to look for. One that is not of this ring is copied into it, and
        so is ``stacked``, the same with its alpha."""
        slot = self._slot(picture)
        if slot is None:
            own = self.claim()
            np.copyto(own, picture)
            slot = (self._claimed - 1) % len(self._marks)
        if stacked is not None:
            np.copyto(self._stacks[slot], stacked)
        mark = int(self._marks[slot])
        self._marks[slot] = mark + mark % 2
        return mark // 2 if mark % 2 else mark // 2 - 1

    def _slot(self, picture: Picture) -> int | None:
        """Which slot ``picture`` is; None when it is none of them."""
        offset = picture.__array_interface__["data"][0] - self._start
        slot, inside = divmod(offset, self._pictures[0].nbytes)
        found = 0 <= slot < len(self._pictures) and inside == 0 and picture.shape == self._pictures[0].shape
        return slot if found else None

    # The other side's.

    def look(self, number: int) -> Picture | None:
        """Frame ``number``, (H * 3 / 2, W) u8, to be read only; None when it is painted over, or not there yet."""
        return self._pictures[number % len(self._marks)] if self.intact(number) else None

    def stacked(self, number: int) -> Picture:
        """The same with its transparency, (3 H, W) u8, where one was published."""
        return self._stacks[number % len(self._marks)]

    def intact(self, number: int) -> bool:
        """Whether what was read of frame ``number`` up to now is that frame."""
        return int(self._marks[number % len(self._marks)]) == 2 * number + 2


def _up(offset: int) -> int:
    return -(-offset // PAGE) * PAGE


def _anonymous(size: int) -> int:
    """Memory without a name, ``size`` bytes of zeros; it is gone with the last process that holds it."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("visavis-frames", os.MFD_CLOEXEC)
    else:
        descriptor, path = tempfile.mkstemp(prefix="visavis-")
        os.unlink(path)
    os.ftruncate(descriptor, size)
    return descriptor
