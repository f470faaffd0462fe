"""What the experts' kernels move and compute at least, and why they are cut as they are.

A Block in half precision, C channels on P pixels, inner R. After the 3 x 3 convolution, what a compiler fuses on its
own is: scale and SiLU (read y, write), 1 x 1 (read, write), inward (read, write R), gate (read R, write R), outward
(read R, write), the sums (read three, write): (10 + 4 R / C) C P numbers and six launches; eager torch, which fuses
nothing, some 20 C P. `finish` moves 3 C P in one launch: 3.7 to 4.2 times less at base's sizes (C 192, 320, 448;
R 128). The weights, C (C + 2 R) numbers, are read again for every 64 pixels (32 at C 448), from the second-level cache.

The convolution stays the library's: it has 9 C C products a pixel against C (C + 2 R) here, and no kernel of ours beats
it. To write SiLU of the sum beside the sum, for the next Block's convolution, would save one read in four where another
Block follows directly; it is left out.
"""

from __future__ import annotations

from kernels.experts.reference import CLASSES

Cost = tuple[int, int]  # bytes read and written at least once; operations of floating point


def mix(rows: int, experts: int, values: int, size: int) -> Cost:
    """``values`` numbers of ``size`` bytes a row, out of ``experts`` of each."""
    return (experts + rows) * values * size + 4 * rows * experts, 2 * rows * experts * values


def masked(rows: int, pixels: int, channels: int, inner: int) -> Cost:
    """In half precision or bfloat16."""
    numbers = 2 * rows * pixels * channels + rows * pixels * CLASSES + 2 * channels * inner
    return 2 * numbers, rows * pixels * (4 * channels * inner + inner + channels)


def finish(rows: int, pixels: int, channels: int, inner: int) -> Cost:
    """In half precision or bfloat16; SiLU counts five operations."""
    moved, operations = masked(rows, pixels, channels, inner)
    more = rows * pixels * channels + rows * channels + rows * channels**2
    return moved + 2 * more, operations + rows * pixels * channels * (2 * channels + 9)
