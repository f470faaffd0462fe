"""RGB to I420 and NV12 on one CPU core (numba). 16-bit fixed point; the same integers as reference.py and kernel.cu."""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

import numpy as np

from kernels.jit import U8, fast


@fast
def convert(rgb: U8, luma: U8, blue: U8, red: U8) -> None:
    """``rgb`` (H,W,3) u8 to ``luma`` (H,W), ``blue`` = U and ``red`` = V (H/2,W/2), all u8."""
    for y in range(0, rgb.shape[0], 2):
        for x in range(0, rgb.shape[1], 2):
            r = g = b = np.int32(0)
            for k in range(2):
                for j in range(2):
                    p, q, s = (
                        np.int32(rgb[y + k, x + j, 0]),
                        np.int32(rgb[y + k, x + j, 1]),
                        np.int32(rgb[y + k, x + j, 2]),
                    )
                    luma[y + k, x + j] = (16829 * p + 33039 * q + 6416 * s + 1081344) >> 16
                    r, g, b = r + p, g + q, b + s
            blue[y >> 1, x >> 1] = (-9714 * r - 19071 * g + 28785 * b + 33685504) >> 18
            red[y >> 1, x >> 1] = (28784 * r - 24103 * g - 4681 * b + 33685504) >> 18
