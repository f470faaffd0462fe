"""Cells in CUDA: equal to their references, and the kernels that do several things at once to those that do one."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import cells
from kernels.cells import reference
from kernels.compose import reference as compose_reference
from kernels.cuda import blocks
from kernels.guidance import Guidance
from kernels.nvrtc import ARCHITECTURES
from kernels.warp import FADE
from kernels.warp import reference as warp_reference
from kernels.watermark import reference as watermark_reference
from kernels.yuv import reference as yuv_reference
from tests.kernels.batch import compiles, emulated, launch

pytestmark = emulated
SIZES = [(8, 8), (24, 40), (16, 136), (40, 72)]
TO_YUV = {0: yuv_reference.to_i420, 1: yuv_reference.to_nv12}


def known(size, seed):
    """Guidance of random bytes; its flow leads here and there."""
    draws, half = np.random.default_rng(seed), (size[0] // 2, size[1] // 2)
    hi, lo = (draws.integers(0, 256, shape).astype(np.uint8) for shape in ((6, *size), (7, *half)))
    lo[6] %= 8
    lo[6, 0, 0] = 200  # of no class
    flow = (6 * draws.normal(size=(2, *half))).astype(np.float32)
    return Guidance(hi, lo, flow, np.where(draws.uniform(size=half) < 0.8, 255, 0).astype(np.uint8))


def answer(size, seed):
    """What a network may say: also more than all of a pixel, less than nothing, and no number."""
    draws, grid = np.random.default_rng(seed), (size[0] // 8, size[1] // 8)
    residual = draws.normal(size=(2 * grid[0], 2 * grid[1], cells.RESIDUAL)).astype(np.float32) * np.float32(0.2)
    shares = draws.uniform(size=(2 * grid[0], 2 * grid[1], cells.SHARES)).astype(np.float32)
    shares[0, 0, :4], shares[-1, -1, :8] = (-3, 0, 1, 7), 0.001
    gain = draws.uniform(0.2, 2, (*grid, 3)).astype(np.float32)
    packed = draws.integers(0, 256, (*grid, 4, cells.PACKED)).astype(np.uint8)
    packed[..., 48:64] = draws.choice(np.array([0, 90, 255], np.uint8), packed[..., 48:64].shape)
    return {"residual": residual, "shares": shares, "gain": gain, "cells": packed}


def lit_planes(packed):
    """The lit surface (4,H,W) out of cells."""
    height, width = packed.shape[:2]
    apart = packed[..., :64].reshape(height, width, 2, 2, 64).transpose(0, 2, 1, 3, 4)
    return reference.from_cells(apart.reshape(2 * height, 2 * width, 64), 4)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_compiles(arch):
    compiles("cells", arch)


@pytest.mark.parametrize("size", SIZES)
def test_packing_equals_its_reference(size):
    planes = [known(size, seed) for seed in range(3)]
    warped = np.random.default_rng(9).integers(0, 256, (3, 4, *size)).astype(np.uint8)
    rows = [{"hi": one.hi, "warped": warped[k], "lo": one.lo, "seen": one.seen, "out": room(size)}
            for k, one in enumerate(planes)]  # fmt: skip
    after = launch("cells", "pack", "Pack", (blocks(size[1], 128), size[0] // 8), (64, 4), rows, *size)
    for k, one in enumerate(planes):
        np.testing.assert_array_equal(after[k]["out"], reference.pack(one, warped[k]))


@pytest.mark.parametrize("size", SIZES)
def test_following_equals_warping_then_fading_then_packing(size):
    planes = [known(size, seed) for seed in range(3)]
    previous = np.random.default_rng(9).integers(0, 256, (3, *size, 4)).astype(np.uint8)
    rows = [{"previous": previous[k], "flow": one.flow, "hi": one.hi, "lo": one.lo, "seen": one.seen, "out": room(size)}
            for k, one in enumerate(planes)]  # fmt: skip
    rows[1]["previous"] = None
    after = launch("cells", "follow", "Follow", (blocks(size[1], 128), size[0] // 8), (64, 4), rows, *size)
    for k, one in enumerate(planes):
        warped = warp_reference.warp(previous[k], one.flow, one.seen if k != 1 else np.zeros_like(one.seen))
        expected = reference.pack(one, warp_reference.fade(warped, one.hi[:3], FADE))
        np.testing.assert_array_equal(after[k]["out"], expected)


def room(size):
    return np.full((size[0] // 8, size[1] // 8, 4, cells.PACKED), 77, np.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_a_painted_picture_equals_the_reference(size):
    answers = [answer(size, seed) for seed in range(3)]
    rows = [{**one, "confine": k % 2, "picture": np.full((*size, 4), 77, np.uint8)} for k, one in enumerate(answers)]
    after = launch("cells", "paint", "Paint", (blocks(size[1], 64), size[0] // 8), (512,), rows, *size)
    for k, one in enumerate(answers):
        expected = reference.paint(**one)
        if k % 2:
            assert (lit_planes(one["cells"])[3] < expected[..., 3]).any()
            expected = reference.confine(expected, lit_planes(one["cells"]))
        apart = np.abs(after[k]["picture"].astype(int) - expected)
        assert apart.max() <= 1 and (apart > 0).mean() < 0.002


def test_what_the_network_leaves_undefined_is_still_a_picture():
    row = {**answer((16, 24), 0), "confine": 0, "picture": np.full((16, 24, 4), 77, np.uint8)}
    for name in ("residual", "shares", "gain"):
        row[name][:1] = np.nan
    (after,) = launch("cells", "paint", "Paint", (1, 2), (512,), [row], 16, 24)
    assert (after["picture"][..., :3] <= after["picture"][..., 3:]).all()


@pytest.mark.parametrize("nv12, threads", [(0, 256), (1, 256), (0, 512), (1, 512)])
@pytest.mark.parametrize("size", SIZES)
def test_showing_equals_painting_then_finishing(size, nv12, threads):
    draws, answers = np.random.default_rng(3), [answer(size, seed) for seed in range(3)]
    rows = []
    for k, one in enumerate(answers):
        rows.append({
            **one, "confine": k % 2, "background": draws.integers(0, 256, (*size, 3)).astype(np.uint8),
            "field": draws.integers(-79, 80, size).astype(np.int8), "picture": np.full((*size, 4), 77, np.uint8),
            "alpha": np.full(size, 77, np.uint8), "out": np.full((size[0] * 3 // 2, size[1]), 77, np.uint8),
        })  # fmt: skip
    rows[1]["field"], rows[2]["alpha"] = None, None
    grid = (blocks(size[1], threads // 8), size[0] // 8)
    after = launch("cells", "show", "Show", grid, (threads,), rows, nv12, *size)
    painted = [{**one, "confine": k % 2, "picture": np.full((*size, 4), 77, np.uint8)} for k, one in enumerate(answers)]
    painted = launch("cells", "paint", "Paint", (blocks(size[1], 64), size[0] // 8), (512,), painted, *size)
    for k, row in enumerate(after):
        np.testing.assert_array_equal(row["picture"], painted[k]["picture"])
        expected = TO_YUV[nv12](compose_reference.over(row["picture"], row["background"]))
        if k != 1:
            watermark_reference.mark(expected[: size[0]], row["field"])
        np.testing.assert_array_equal(row["out"], expected)
        if k != 2:
            np.testing.assert_array_equal(row["alpha"], row["picture"][..., 3])
