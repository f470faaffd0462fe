"""Reference photographs in a pack: they round-trip, they may be absent, and broken ones are refused with the reason."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from engine import avatar as packs
from engine.avatar_reference import FILE, FORMAT, SIDE, Reference, decode, encode, over_grey
from engine.motion.frame import Motion
from engine.viewpoint import Viewpoint
from tests.synthetic import make_avatar

FRAMINGS = ("upper", "head")


def made(count: int = 2) -> Reference:
    rng = np.random.default_rng(3)
    smooth = np.linspace(20, 230, SIDE).astype(np.uint8)
    photos = np.broadcast_to(smooth[None, :, None, None], (count, SIDE, SIDE, 3)).copy()
    alphas = rng.integers(0, 256, (count, SIDE, SIDE), np.uint8)
    regions = rng.integers(0, 15, (count, SIDE, SIDE), np.uint8)
    views = tuple(Viewpoint(yaw=0.1 * k, distance=1.6) for k in range(count))
    motion = Motion.rest()
    motion.face[3] = 0.5
    return Reference(photos, alphas, regions, views, "upper", motion)


@pytest.mark.parametrize("count", [1, 3])
def test_photographs_come_back_nearly_and_the_rest_exactly(count: int) -> None:
    first = made(count)
    second = decode(encode(first), FRAMINGS, 15)
    assert np.abs(second.photos.astype(int) - first.photos).max() <= 4
    np.testing.assert_array_equal(second.alphas, first.alphas)
    np.testing.assert_array_equal(second.regions, first.regions)
    assert second.viewpoints == first.viewpoints and second.framing == first.framing
    np.testing.assert_array_equal(second.motion.pack(), first.motion.pack())


def test_a_pack_carries_its_photographs_and_loses_them_when_saved_without(tmp_path: Path) -> None:
    avatar = make_avatar()
    packs.save(dataclasses.replace(avatar, reference=made()), tmp_path / "pack")
    assert packs.check(tmp_path / "pack") == []
    loaded = packs.load(tmp_path / "pack")
    assert loaded.reference is not None and len(loaded.reference.viewpoints) == 2
    packs.save(avatar, tmp_path / "pack")
    assert not (tmp_path / "pack" / FILE).exists() and packs.load(tmp_path / "pack").reference is None


def test_a_broken_file_is_refused_and_the_message_says_that_the_pack_is_sound_without(tmp_path: Path) -> None:
    packs.save(dataclasses.replace(make_avatar(), reference=made()), tmp_path / "pack")
    path = tmp_path / "pack" / FILE
    path.write_bytes(path.read_bytes()[:-900])
    (problem,) = packs.check(tmp_path / "pack")
    assert FILE in problem and "remove it" in problem
    path.unlink()
    assert packs.check(tmp_path / "pack") == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": np.array([FORMAT + 1], np.int32)}, "upgrade"),
        ({"framing": np.frombuffer(b"moon", np.uint8)}, "framing must be one of"),
        ({"viewpoints": np.full((2, 5), np.nan)}, "finite"),
        ({"viewpoints": np.zeros((9, 5))}, "1 to 3"),
        ({"motion": np.zeros(3, np.float32)}, "motion must be"),
        ({"alpha_png_1": np.zeros(40, np.uint8)}, "alpha_png_1"),
        ({"surprise": np.zeros(1, np.uint8)}, "unknown array"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decode(save(load(encode(made())) | change), FRAMINGS, 15)


def test_a_missing_picture_and_an_unknown_region_are_named() -> None:
    tensors = load(encode(made()))
    del tensors["photo_jpg_1"]
    with pytest.raises(ValueError, match="photo_jpg_1"):
        decode(save(tensors), FRAMINGS, 15)
    with pytest.raises(ValueError, match="region 14, there are 9"):
        decode(encode(made()), FRAMINGS, 9)


def test_a_reference_has_one_to_three_photographs_of_one_size() -> None:
    one = made(1)
    with pytest.raises(ValueError, match="1 to 3"):
        Reference(one.photos[:0], one.alphas[:0], one.regions[:0], (), "upper", one.motion)
    with pytest.raises(ValueError, match="reference alphas must be"):
        dataclasses.replace(one, alphas=one.alphas[:, :100])


def test_over_grey_takes_the_place_out_of_soft_edges() -> None:
    person, plate = np.array([200.0, 100, 50]), np.array([10.0, 240, 90])
    alpha = np.array([[0, 64, 128, 255]], np.uint8)
    part = alpha[..., None] / 255.0
    photo = np.rint(part * person + (1 - part) * plate).astype(np.uint8)
    out = over_grey(photo, alpha, np.broadcast_to(plate.astype(np.uint8), photo.shape))
    np.testing.assert_allclose(out, part * person + (1 - part) * 128, atol=1.01)
