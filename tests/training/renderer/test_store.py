"""Cooked clips on disk: every crop of every frame comes back as it was, and a file that is not whole is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("zstandard")

from training.renderer.store import HI, LO, STEP, Clip, ClipError, Planes, Writer, empty

SIZE, FRAMES = 192, 3


def frame(seed: int) -> Planes:
    """Noise, and a flow of whole steps that reaches as far as the format does."""
    rng = np.random.default_rng(seed)
    half = SIZE // 2

    def noise(*shape: int) -> np.ndarray:
        return rng.integers(0, 256, shape, np.uint8)

    flow = (rng.integers(-32000, 32001, (2, half, half)) / STEP).astype(np.float32)
    return Planes(
        noise(HI, SIZE, SIZE), noise(LO, half, half), flow, noise(half, half), noise(4, SIZE, SIZE), noise(SIZE, SIZE)
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    writer = Writer(SIZE)
    for seed in range(FRAMES):
        writer.add(frame(seed))
    path = tmp_path_factory.mktemp("clips") / "00000007.clip"
    motion, view = np.arange(FRAMES * 5, dtype=np.float32).reshape(FRAMES, 5), np.ones((FRAMES, 4), np.float32)
    written = writer.save(path, motion, view, np.full((2, 7, 128, 128), 9, np.uint8), {"clip": 7, "kind": "clip"})
    assert written == path.stat().st_size
    return path


@pytest.mark.parametrize(
    ("top", "left", "side"), [(0, 0, SIZE), (0, 128, 64), (8, 56, 128), (62, 2, 66), (190, 190, 2)]
)
def test_any_crop_comes_back_as_it_was(path: Path, top: int, left: int, side: int) -> None:
    clip = Clip(path)
    for seed in (2, 0, 1):
        out = empty(side, side)
        for plane in out:
            plane.fill(77)
        whole = frame(seed)
        clip.read(seed, top, left, side, out)
        for name in Planes._fields:
            scale = 2 if name in ("lo", "flow", "seen") else 1
            rows, columns = (slice(low // scale, (low + side) // scale) for low in (top, left))
            np.testing.assert_array_equal(getattr(out, name), getattr(whole, name)[..., rows, columns], name)


def test_the_rest_of_a_clip_comes_back_too(path: Path) -> None:
    clip = Clip(path)
    assert len(clip) == FRAMES and clip.size == SIZE and clip.about["clip"] == 7
    assert clip.motion[1, 0] == 5 and clip.view.shape == (FRAMES, 4) and (clip.reference == 9).all()
    np.testing.assert_array_equal(clip.classes(1, 32), frame(1).region[16::32, 16::32])


def test_a_flow_between_steps_is_rounded_and_what_is_not_finite_stays_in_place(tmp_path: Path) -> None:
    planes = frame(0)
    planes.flow[:] = np.linspace(-3, 3, planes.flow.size, dtype=np.float32).reshape(planes.flow.shape)
    planes.flow[0, 0, 0], planes.flow[1, 3, 3] = np.nan, 1e9
    writer = Writer(SIZE)
    writer.add(planes)
    writer.save(tmp_path / "x.clip", *(np.zeros((1, 4), np.float32),) * 2, np.zeros((1, 7, 128, 128), np.uint8), {})
    back = Clip(tmp_path / "x.clip").read(0, 0, 0, SIZE, empty(SIZE, SIZE)).flow
    assert back[0, 0, 0] == 0 and back[1, 3, 3] == 32767 / STEP
    planes.flow[0, 0, 0] = planes.flow[1, 3, 3] = back[1, 3, 3] = 0
    assert np.abs(back - planes.flow).max() <= 0.5 / STEP + 1e-6


@pytest.mark.parametrize("cut", [0, 5, 300, -1, -20_000])
def test_a_file_that_ends_early_is_refused_with_its_name(path: Path, tmp_path: Path, cut: int) -> None:
    broken = tmp_path / "broken.clip"
    broken.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ClipError, match=r"broken\.clip"):
        Clip(broken)


def test_a_newer_file_is_refused(path: Path, tmp_path: Path) -> None:
    newer = tmp_path / "newer.clip"
    newer.write_bytes(path.read_bytes().replace(b'\\"format\\": 1', b'\\"format\\": 9', 1))
    with pytest.raises(ClipError, match="format 9"):
        Clip(newer)


def test_a_crop_outside_the_picture_or_on_odd_pixels_is_refused(path: Path) -> None:
    clip = Clip(path)
    for top, left, side in ((-2, 0, 64), (0, 130, 64), (0, 0, 194)):
        with pytest.raises(ValueError, match="no square"):
            clip.read(0, top, left, side, empty(side, side))
    with pytest.raises(ValueError, match="no square"):
        clip.read(FRAMES, 0, 0, 64, empty(64, 64))
    with pytest.raises(ValueError, match="even pixels"):
        clip.read(0, 1, 0, 64, empty(64, 64))


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    writer = Writer(SIZE)
    writer.add(frame(0))
    with pytest.raises(ValueError, match="1 frames, 2 motions"):
        writer.save(tmp_path / "x.clip", *(np.zeros((2, 4), np.float32),) * 2, np.zeros((1, 7, 128, 128), np.uint8), {})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="multiple of 64"):
        Writer(100)
