"""Compositing, YUV and the watermark in CUDA: the integers of their references, on odd and on the smallest sizes."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from kernels import compose, watermark, yuv
from kernels.compose import reference as compose_reference
from kernels.cuda import blocks
from kernels.emulator import build
from kernels.nvrtc import ARCHITECTURES, ROOT
from kernels.watermark import reference as watermark_reference
from kernels.yuv import reference as yuv_reference
from tests.kernels.batch import compiles, emulated, launch

pytestmark = emulated
EVEN = [(2, 2), (6, 10), (16, 64), (18, 66), (46, 62), (34, 134)]
TO_YUV = {0: yuv_reference.to_i420, 1: yuv_reference.to_nv12}


def drawn(size, seed):
    """A premultiplied picture, its first row not one, over a background, and a field."""
    draws = np.random.default_rng(seed)
    picture = draws.integers(0, 256, (*size, 4)).astype(np.uint8)
    picture[1:, :, :3] = np.minimum(picture[1:, :, :3], picture[1:, :, 3:])
    picture[:, : size[1] // 3, 3] = 255
    background = draws.integers(0, 256, (*size, 3)).astype(np.uint8)
    background[size[0] // 2 :] = 90  # a wall, which hides nothing
    picture[size[0] // 2 :, size[1] // 2 :] = 0
    return picture, background, draws.integers(-79, 80, size).astype(np.int8)


@pytest.mark.parametrize("op", ["compose", "yuv", "watermark"])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_compiles(op, arch):
    compiles(op, arch)


@pytest.mark.parametrize("op", ["cells", "compose", "guidance", "warp", "watermark", "yuv"])
def test_every_kernel_says_what_it_costs(op):
    cost = importlib.import_module(f"kernels.{op}.cost")
    for name in build.kernels(ROOT / op / "kernel.cu"):
        sizes = {"drift": (100,), "fade": (4096,), "over": (4096,)}.get(name, (64, 64))
        moved, done = getattr(cost, name)(3, *sizes)
        assert moved > 2 * getattr(cost, name)(1, *sizes)[0] > 0 and done > 0


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (7, 9), (46, 62)])
def test_over_equals_its_reference(size):
    pictures = [drawn(size, seed)[:2] for seed in range(3)]
    rows = [{"picture": picture, "background": background, "rgb": np.full((*size, 3), 77, np.uint8),
             "alpha": np.full(size, 77, np.uint8)} for picture, background in pictures]  # fmt: skip
    rows[1]["alpha"] = None
    count = size[0] * size[1]
    after = launch("compose", "over", "Over", (blocks(count, 1024),), (256,), rows, count)
    for k, (picture, background) in enumerate(pictures):
        np.testing.assert_array_equal(after[k]["rgb"], compose_reference.over(picture, background))
        if k != 1:
            np.testing.assert_array_equal(after[k]["alpha"], picture[..., 3])


@pytest.mark.parametrize("nv12", TO_YUV)
@pytest.mark.parametrize("size", EVEN)
def test_yuv_equals_its_reference(size, nv12):
    draws = np.random.default_rng(0)
    rows = [{"rgb": draws.integers(0, 256, (*size, 3)).astype(np.uint8),
             "out": np.full((size[0] * 3 // 2, size[1]), 77, np.uint8)} for _ in range(3)]  # fmt: skip
    grid = (blocks(size[1] // 2, 32), blocks(size[0] // 2, 8))
    after = launch("yuv", "convert", "Convert", grid, (32, 8), rows, nv12, *size)
    for before, row in zip(rows, after, strict=True):
        np.testing.assert_array_equal(row["out"], TO_YUV[nv12](before["rgb"]))


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (6, 10), (8, 64), (17, 201), (30, 130)])
def test_marking_equals_its_reference(size):
    draws = np.random.default_rng(0)
    y, x = np.mgrid[: size[0], : size[1]]
    rows = []
    for seed in range(3):
        noise = draws.normal(size=size) * np.where(x > size[1] // 3, 12 * seed, 0)
        luma = np.clip(40 + 1.1 * x + np.where(y > 4, 30, 0) + noise, 0, 255).astype(np.uint8)
        rows.append({"luma": luma, "field": draws.integers(-79, 80, size).astype(np.int8)})
    rows[2]["field"] = None
    expected = [row["luma"].copy() for row in rows]
    for k in range(2):
        watermark_reference.mark(expected[k], rows[k]["field"])
    after = launch("watermark", "mark", "Mark", (blocks(size[1], 64), blocks(size[0], 8)), (64, 4), rows, *size)
    for k in range(3):
        np.testing.assert_array_equal(after[k]["luma"], expected[k])


@pytest.mark.parametrize("nv12", TO_YUV)
@pytest.mark.parametrize("size", EVEN)
def test_finishing_equals_compositing_then_converting_then_marking(size, nv12):
    made = [drawn(size, seed) for seed in range(3)]
    rows = [
        {"picture": picture, "background": background, "field": field, "alpha": np.full(size, 77, np.uint8),
         "out": np.full((size[0] * 3 // 2, size[1]), 77, np.uint8)}
        for picture, background, field in made
    ]  # fmt: skip
    rows[1]["field"], rows[2]["alpha"] = None, None
    grid = (blocks(size[1], 64), blocks(size[0], 16))
    after = launch("compose", "finish", "Finish", grid, (32, 8), rows, nv12, *size)
    for k, (picture, background, field) in enumerate(made):
        expected = TO_YUV[nv12](compose_reference.over(picture, background))
        if k != 1:
            watermark_reference.mark(expected[: size[0]], field)
        np.testing.assert_array_equal(after[k]["out"], expected)
        if k != 2:
            np.testing.assert_array_equal(after[k]["alpha"], picture[..., 3])


def test_finishing_equals_the_processors_own_path():
    size = (46, 62)
    picture, background, field = drawn(size, 5)
    rgb, alpha = np.empty((*size, 3), np.uint8), np.empty(size, np.uint8)
    compose.over(picture, background, rgb, alpha)
    expected = yuv.to_i420(rgb)
    watermark.mark(expected[: size[0]], field)
    row = {"picture": picture, "background": background, "field": field, "alpha": np.zeros_like(alpha),
           "out": np.zeros_like(expected)}  # fmt: skip
    (after,) = launch("compose", "finish", "Finish", (1, 3), (32, 8), [row], 0, *size)
    np.testing.assert_array_equal(after["out"], expected)
    np.testing.assert_array_equal(after["alpha"], alpha)
