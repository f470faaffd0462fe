"""Transparency through a codec that has none: exact to blend, and everybody else sees what they saw before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kernels.yuv import to_i420
from streaming.alpha import over, stack
from streaming.config import StreamConfig
from streaming.live import Live, Options
from streaming.tracks import OutFrame

from .double import DoubleEngine
from .harness import run, until

SIZE = (46, 34)  # odd halves


def coded(rgb: np.ndarray) -> np.ndarray:
    return to_i420(np.ascontiguousarray(rgb), np.full((rgb.shape[0] * 3 // 2, rgb.shape[1]), 77, np.uint8))


def test_a_stacked_picture_holds_picture_and_alpha_where_a_page_looks_for_them() -> None:
    rng = np.random.default_rng(1)
    alpha = rng.integers(0, 256, SIZE, np.uint8)
    i420 = coded(rng.integers(0, 256, (*SIZE, 3), np.uint8))
    (height, width), both = SIZE, stack(i420, alpha)
    assert both.shape == (3 * height, width)
    np.testing.assert_array_equal(both[:height], i420[:height])
    back = (both[height : 2 * height].astype(float) - 16) * 255 / 219
    assert np.abs(back - alpha).max() <= 0.6
    for whole, own in zip(both[2 * height :].reshape(2, -1), i420[height:].reshape(2, -1), strict=True):
        np.testing.assert_array_equal(whole[: len(own)], own)
        assert (whole[len(own) :] == 128).all()


def test_laying_over_a_background_equals_painting_before_it() -> None:
    rng = np.random.default_rng(2)
    alpha = np.repeat(np.repeat(rng.integers(0, 256, (SIZE[0] // 2, SIZE[1] // 2), np.uint8), 2, 0), 2, 1)
    own = (rng.integers(0, 256, (*SIZE, 3)) * (alpha[..., None] / 255)).astype(np.uint8)  # premultiplied
    behind = rng.integers(0, 256, (*SIZE, 3), np.uint8)
    wanted = np.clip(own + behind * (1 - alpha[..., None] / 255), 0, 255).round().astype(np.uint8)
    off = over(coded(own), alpha, coded(behind)).astype(int) - coded(wanted)
    assert np.abs(off).max() <= 2


@pytest.mark.parametrize("share", [0, 255])
def test_nothing_and_everything_shine_through_exactly(share: int) -> None:
    rng = np.random.default_rng(3)
    own = coded(np.zeros((*SIZE, 3), np.uint8)) if share == 0 else coded(rng.integers(0, 256, (*SIZE, 3), np.uint8))
    behind = coded(rng.integers(0, 256, (*SIZE, 3), np.uint8))
    result = over(own, np.full(SIZE, share, np.uint8), behind)
    np.testing.assert_array_equal(result, behind if share == 0 else own)


class Kept:
    def __init__(self, alpha: bool) -> None:
        self.alpha, self.frames = alpha, list[OutFrame]()

    def frame(self, frame: OutFrame) -> None:
        self.frames.append(frame)

    def voice(self, voice: np.ndarray) -> None:
        pass

    def ended(self, why: str) -> None:
        pass


def test_transparency_is_painted_while_somebody_wants_it_and_others_keep_their_background(tmp_path: Path) -> None:
    async def work() -> None:
        engine = DoubleEngine(tmp_path, side=64, cost_s=0.0)
        live = Live(engine, Options("ada", "upper", 0), StreamConfig())  # type: ignore[arg-type]
        plain, clear = Kept(False), Kept(True)
        live.add(plain)
        live.start()
        await until(lambda: plain.frames)
        assert plain.frames[-1].stacked is None
        live.add(clear)
        await until(lambda: clear.frames and clear.frames[-1].stacked is not None)
        frame = clear.frames[-1]
        assert frame.stacked is not None and frame.stacked.shape == (192, 64)
        assert frame.stacked[64, 0] == 16 and frame.stacked[64 + 34, 32] == 235  # a clear corner, a head
        luma = frame.i420[0, 0]
        assert luma > 40  # the background of the double's avatars, laid behind
        live.remove(clear)
        await until(lambda: plain.frames[-1].stacked is None)
        assert engine.opened[-1].parts.renderer.backdrop.kind == "image"
        await live.close("enough")

    run(work())
