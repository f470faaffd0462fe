"""Training samples: the same for the same number, cut where a clip begins, warped as the engine warps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("zstandard")
torch = pytest.importorskip("torch")

from engine.motion.frame import SIZE as MOTION  # noqa: E402
from engine.render.guidance import warp  # noqa: E402
from training.renderer import data  # noqa: E402
from training.renderer.data import NoClips, Samples, draw, held, read, warp_torch  # noqa: E402
from training.renderer.data_sheet import photographs, sheet  # noqa: E402
from training.renderer.store import Clip, Planes, Writer  # noqa: E402

SIZE = 192
LENGTH = {"clip": 5, "views": 2}


def planes(seed: int, cut: bool) -> Planes:
    rng = np.random.default_rng(seed)
    half = SIZE // 2
    smooth = rng.random((2, 3, 3)).repeat(half // 3, 1).repeat(half // 3, 2)
    target = rng.integers(0, 256, (4, SIZE, SIZE), np.uint8)
    return Planes(
        rng.integers(0, 256, (6, SIZE, SIZE), np.uint8), rng.integers(0, 8, (7, half, half), np.uint8),
        (12 * smooth - 6).astype(np.float32), np.full((half, half), 0 if cut else 255, np.uint8), target,
        rng.integers(0, 8, (SIZE, SIZE), np.uint8),
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cooked")
    for number, (kind, length) in enumerate(LENGTH.items()):
        writer = Writer(SIZE)
        for k in range(length):
            writer.add(planes(10 * number + k, cut=k == 0 or kind == "views"))
        motion = np.full((length, MOTION), number, np.float32) + np.arange(length, dtype=np.float32)[:, None]
        view = np.zeros((length, 4), np.float32)
        normal = np.full((1 + 2 * number, 7, 128, 128), 128, np.uint8)
        writer.save(folder / f"{number:08d}.clip", motion, view, normal, {"clip": number, "kind": kind})
    return folder


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_sample_has_the_shapes_the_network_is_trained_on(folder: Path) -> None:
    sample = Samples(folder, frames=3, seed=0, crop=128).sample(4)
    shapes = {name: (tuple(value.shape), value.dtype) for name, value in sample.items()}
    u8, f32 = torch.uint8, torch.float32
    assert shapes == {
        "hi": ((3, 6, 128, 128), u8), "lo": ((3, 8, 64, 64), u8), "flow": ((3, 2, 64, 64), f32),
        "previous": ((4, 128, 128), u8), "target": ((3, 4, 128, 128), u8), "region": ((3, 128, 128), u8),
        "motion": ((3, MOTION), f32), "view": ((3, 4), f32), "reference": ((3, 8, 128, 128), f32),
    }  # fmt: skip


def test_a_sample_is_the_same_whoever_asks_and_a_resumed_run_goes_on_with_the_next_one(folder: Path) -> None:
    whole = iter(Samples(folder, frames=2, seed=5, crop=64))
    first = [next(whole) for _ in range(6)]
    later = iter(Samples(folder, frames=2, seed=5, first=4, crop=64))
    assert same(first[4], next(later)) and same(first[5], next(later))
    assert not same(first[4], Samples(folder, frames=2, seed=6, crop=64).sample(4))
    loader = torch.utils.data.DataLoader(Samples(folder, frames=2, seed=5, crop=64), batch_size=2, num_workers=1)
    batch = next(iter(loader))
    assert torch.equal(batch["hi"][1], first[1]["hi"])


def test_a_crop_is_that_part_of_the_whole_picture(folder: Path) -> None:
    clip = Clip(folder / "00000000.clip")
    whole, part = read(clip, 2, 2, 0, 0, SIZE), read(clip, 2, 2, 40, 64, 64)
    for name, scale in (("hi", 1), ("target", 1), ("region", 1), ("flow", 2)):
        rows, columns = slice(40 // scale, 104 // scale), slice(64 // scale, 128 // scale)
        inner = slice(5, -5) if name == "region" else slice(None)  # hair is outlined by what is around
        assert torch.equal(part[name][..., inner, inner], whole[name][..., rows, columns][..., inner, inner]), name
    assert torch.equal(part["lo"][:, :7], whole["lo"][:, :7, 20:52, 32:64])


def test_the_previous_picture_is_the_true_one_warped_and_empty_after_a_cut(folder: Path) -> None:
    clip = Clip(folder / "00000000.clip")
    sample, before = read(clip, 2, 1, 0, 0, SIZE), planes(1, False).target
    expected = np.zeros((4, SIZE, SIZE), np.uint8)
    picture = np.ascontiguousarray(np.moveaxis(before, 0, 2))
    warp(picture, sample["flow"][0].numpy(), sample["lo"][0, 7].numpy(), expected)
    np.testing.assert_array_equal(sample["previous"].numpy(), expected)
    assert (expected > 0).mean() > 0.5
    first = read(clip, 0, 1, 0, 0, SIZE)
    assert not first["previous"].any() and not first["lo"][0, 7].any()
    view = read(Clip(folder / "00000001.clip"), 1, 1, 0, 0, SIZE)
    assert not view["previous"].any() and not view["lo"][0, 7].any()


def test_what_was_outside_the_crop_counts_as_not_seen(folder: Path) -> None:
    clip = Clip(folder / "00000000.clip")
    part = read(clip, 2, 1, 64, 64, 64)
    seen, flow = part["lo"][0, 7].numpy() > 0, part["flow"][0].numpy()
    y, x = np.mgrid[:32, :32] * 2.0
    inside = (x + flow[0] >= 0) & (x + flow[0] <= 62) & (y + flow[1] >= 0) & (y + flow[1] <= 62)
    np.testing.assert_array_equal(seen, inside)
    gone = ~seen.repeat(2, 0).repeat(2, 1)
    assert 0 < gone.mean() < 1 and not part["previous"].numpy()[:, gone].any()


def test_the_warp_for_tensors_is_the_engine_s_within_a_level() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (96, 128, 4), np.uint8)
    flow = rng.uniform(-9, 9, (2, 48, 64)).astype(np.float32)
    seen = (rng.random((48, 64)) < 0.8).astype(np.uint8) * 255
    y, x = 2.0 * np.mgrid[:48, :64]
    inside = (x + flow[0] >= 0) & (x + flow[0] <= 126) & (y + flow[1] >= 0) & (y + flow[1] <= 94)
    expected = np.full((4, 96, 128), 99, np.uint8)
    warp(picture, flow, np.where(inside, seen, 0).astype(np.uint8), expected)
    previous = torch.from_numpy(picture).permute(2, 0, 1)[None] / 255
    ours = warp_torch(previous, torch.from_numpy(flow)[None], torch.from_numpy(seen)[None, None] / 255)
    assert np.abs(255 * ours[0].numpy() - expected).max() <= 1.6  # the engine's flow has steps of 1/256 pixel
    assert np.abs(255 * ours[0].numpy() - expected).mean() < 0.4


def test_gradients_flow_through_the_warp() -> None:
    previous = torch.rand(1, 4, 8, 8, requires_grad=True)
    warp_torch(previous, torch.full((1, 2, 4, 4), 0.5), torch.ones(1, 1, 4, 4)).sum().backward()
    assert previous.grad is not None and previous.grad.abs().sum() > 0


def test_a_clip_too_short_repeats_its_last_frame(folder: Path) -> None:
    sample = draw(Clip(folder / "00000001.clip"), 4, 64, np.random.default_rng(0))
    assert torch.equal(sample["hi"][1], sample["hi"][2]) and torch.equal(sample["motion"][1], sample["motion"][3])


def test_cuts_crops_and_classes_are_all_drawn(folder: Path) -> None:
    samples = [Samples(folder, frames=1, seed=1, crop=64).sample(n) for n in range(60)]
    cuts = np.mean([not bool(s["lo"][:, 7].any()) for s in samples])
    assert 0.3 < cuts < 0.9  # half of the clips here have no previous frames, and one sample in five is cut
    present = {float(s["reference"][:, 7].sum()) for s in samples}
    assert present == {128.0**2, 3 * 128.0**2}


def test_a_byte_of_128_is_no_normal(folder: Path) -> None:
    assert not data.reference(Clip(folder / "00000000.clip"))[0, 3:6].any()


def test_held_samples_are_fixed_and_from_all_clips(folder: Path) -> None:
    first, second = held(folder, 4, crop=None), held(folder, 4, crop=None)
    assert all(same(a, b) for a, b in zip(first, second, strict=True))
    assert {float(s["motion"][0, 0]) >= 0 for s in first} == {True} and first[0]["hi"].shape[-1] == SIZE
    assert len({int(s["reference"][:, 7, 0, 0].sum()) for s in first}) == 2


def test_an_empty_folder_and_bad_sizes_say_what_to_do(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(NoClips, match="training.renderer cook"):
        Samples(tmp_path, 1, 0)
    with pytest.raises(ValueError, match="multiple of 64"):
        Samples(folder, 1, 0, crop=100)
    with pytest.raises(ValueError, match="frames must be"):
        Samples(folder, 0, 0)
    loader = torch.utils.data.DataLoader(Samples(folder, 1, 0, crop=64), num_workers=2)
    with pytest.raises(ValueError, match="one loader worker"):
        next(iter(loader))


def test_the_sheet_shows_every_plane_of_every_frame(folder: Path) -> None:
    samples = [Samples(folder, frames=2, seed=1, crop=64).sample(n) for n in range(2)]
    assert sheet(samples, 20).shape == (80, 14 * 20, 3) and photographs(samples, 20).shape == (40, 120, 3)
