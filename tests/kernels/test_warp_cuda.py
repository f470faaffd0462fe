"""The backward warp in CUDA: the integers of its reference, on odd and on the smallest sizes."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.cuda import blocks
from kernels.nvrtc import ARCHITECTURES
from kernels.warp import FADE, reference
from tests.kernels.batch import compiles, emulated, launch

pytestmark = emulated


def past(size, seed):
    """A previous picture, a flow with what is no flow in it, and what is seen."""
    draws, half = np.random.default_rng(seed), (size[0] // 2, size[1] // 2)
    previous = draws.integers(0, 256, (*size, 4)).astype(np.uint8)
    flow = (draws.normal(size=(2, *half)) * 5 * (1 + seed)).astype(np.float32)
    flow[0, 0, 0], flow[1, -1, -1], flow[:, -1, 0], flow[0, 0, -1] = np.nan, np.inf, 1e9, -16384
    return previous, flow, np.where(draws.uniform(size=half) < 0.8, 255, 0).astype(np.uint8)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_compiles(arch):
    compiles("warp", arch)


@pytest.mark.parametrize("size", [(2, 2), (6, 10), (46, 62), (18, 70)])
def test_the_warp_equals_its_reference(size):
    pasts = [past(size, seed) for seed in range(3)]
    rows = [{"previous": previous, "flow": flow, "seen": seen, "out": np.full((4, *size), 77, np.uint8)}
            for previous, flow, seen in pasts]  # fmt: skip
    rows[1]["previous"] = None
    grid = (blocks(size[1] // 2, 32), blocks(size[0] // 2, 8))
    after = launch("warp", "warp", "Warp", grid, (32, 8), rows, *size)
    for k, one in enumerate(pasts):
        np.testing.assert_array_equal(after[k]["out"], 0 if k == 1 else reference.warp(*one))


@pytest.mark.parametrize("size", [(1, 1), (7, 13), (9, 5), (64, 50)])
def test_fading_equals_its_reference(size):
    draws, count = np.random.default_rng(0), size[0] * size[1]
    rows = [{name: draws.integers(0, 256, (planes, *size)).astype(np.uint8)
             for name, planes in (("warped", 4), ("lit", 3))} for _ in range(3)]  # fmt: skip
    expected = [reference.fade(**row, share=FADE) for row in rows]
    for one, row in zip(
        expected, launch("warp", "fade", "Fade", (blocks(count, 1024),), (256,), rows, count), strict=True
    ):
        np.testing.assert_array_equal(row["warped"], one)
