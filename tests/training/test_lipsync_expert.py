"""The lip-sync expert: crops that do not tell the opening, offsets that are found, batches that can be drawn again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.avatar import find, load
from engine.motion.frame import ACTION_INDEX, Motion
from engine.render.geometric import GeometricRenderer
from engine.viewpoint import Viewpoint
from training import lipsync_data, lipsync_expert
from training.lipsync_data import SIDE, MouthFinder, Mouths
from training.lipsync_expert import ASSET, LATE, SPAN, Expert, ExpertConfig, SyncLoss, contrast, judge, sample

FRAMES = 60


def mouths(clips: int = 3, frames: int = 30) -> Mouths:
    dice = np.random.default_rng(5)
    count = clips * frames
    return Mouths(
        dice.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8),
        dice.normal(-6, 2, (count, 4, 80)).astype(np.float16),
        np.repeat(np.arange(clips, dtype=np.int32), frames),
        np.arange(clips, dtype=np.int32),
    )


class Reader(Expert):
    """An expert that reads a number out of the first pixel, and out of the first bin."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)

    def see(self, crops: Tensor) -> Tensor:
        return self._turn(crops[:, SPAN // 2, 0, 0, 0])

    def hear(self, mel: Tensor) -> Tensor:
        return self._turn(mel[:, SPAN // 2 * 4, 0])

    def _turn(self, x: Tensor) -> Tensor:
        angle = x[:, None] * torch.tensor([[40.0, 90.0, 130.0]])
        return torch.cat([angle.sin(), angle.cos()], 1) / 3**0.5


@pytest.mark.parametrize("late", [-7, 0, 4, LATE])
def test_a_known_delay_is_found(late: int) -> None:
    code = np.random.default_rng(1).integers(0, 256, FRAMES + 2 * LATE)
    crops = np.zeros((FRAMES, SIDE, SIDE, 3), np.uint8)
    crops[:, 0, 0, 0] = code[LATE - late : LATE - late + FRAMES]
    mel = np.zeros((FRAMES, 4, 80), np.float32)
    mel[:, :, 0] = code[LATE : LATE + FRAMES, None] / 255.0
    found = judge(Reader(), crops, mel)
    assert found.offset_ms == pytest.approx(40.0 * late, abs=10.0) and found.confidence > 0.5


def test_too_short_a_clip_is_refused() -> None:
    with pytest.raises(ValueError, match="7 frames and more"):
        judge(Reader(), np.zeros((6, SIDE, SIDE, 3), np.uint8), np.zeros((6, 4, 80), np.float32))


def test_a_crop_stays_where_it_is_when_the_jaw_opens_and_holds_the_lips_from_every_side() -> None:
    avatar = load(find("mei"))
    finder, size = MouthFinder(avatar), 256
    renderer = GeometricRenderer(avatar, (size, size), "upper", samples=1)
    opened = Motion.rest()
    opened.face[ACTION_INDEX["jawOpen"]] = 1.0
    opened.head[:3] = 0.05, 0.2, 0.1
    shut = Motion.rest()
    shut.head[:] = opened.head
    for yaw in (-1.0, 0.0, 0.6):
        view = Viewpoint(yaw=yaw, pitch=0.1, distance=renderer.framing.distance)
        place = finder.place(opened, view, "upper", size)
        assert place == finder.place(shut, view, "upper", size)
        picture, _ = renderer.step(opened, view, renderer.initial_state())
        rows, columns = np.nonzero(picture.gbuffer.region == lipsync_data.REGIONS.index("lips"))
        assert len(rows) and np.abs(rows - place.y).max() < place.side / 2
        assert np.abs(columns - place.x).max() < place.side / 2


def test_pairs_that_belong_together_cost_less() -> None:
    expert = Expert(ExpertConfig(width=8, embedding=16))
    crops, mel = sample([mouths()], np.random.default_rng(0))
    seen = expert.see(crops)
    assert torch.allclose(seen.norm(dim=1), torch.ones(len(seen)), atol=1e-5)
    assert expert.hear(mel).shape == seen.shape
    assert contrast(seen, seen) < contrast(seen, seen.roll(1, 0))


def test_the_same_step_draws_the_same_batch_and_another_another() -> None:
    first, again, other = (sample([mouths()], np.random.default_rng((0, step))) for step in (3, 3, 4))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert first[0].min() >= 0.0 and first[0].max() <= 1.0


def test_the_loss_reaches_the_pictures_and_not_the_expert() -> None:
    loss = SyncLoss(Expert(ExpertConfig(width=8, embedding=16)))
    crops = torch.rand(2, SPAN, SIDE, SIDE, 3, requires_grad=True)
    loss(crops, torch.randn(2, 4 * SPAN, 80)).backward()
    assert crops.grad is not None and crops.grad.abs().sum() > 0
    assert all(p.grad is None for p in loss.parameters())


def test_mouths_are_kept_whole_and_broken_files_are_named(tmp_path: Path) -> None:
    held, path = mouths(2, 12), tmp_path / "some.npz"
    held.save(path)
    back = Mouths.load(path)
    assert np.array_equal(back.crops, held.crops) and back.spans() == [(0, 12), (12, 24)]
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"some\.npz .*lipsync_expert gather"):
        Mouths.load(path)
    with pytest.raises(ValueError, match="no clip"):
        lipsync_data.gathered(iter(()))


def test_a_run_that_is_resumed_learns_what_it_would_have_learnt(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(lipsync_expert, "ASSET", tmp_path / "expert.safetensors")
    monkeypatch.setattr(lipsync_expert, "ExpertConfig", lambda: ExpertConfig(width=4, embedding=8))
    monkeypatch.setattr(lipsync_expert, "BATCH", 2)
    for name in ("photographed", "painted"):
        mouths().save(tmp_path / f"{name}.npz")
    learn = lipsync_expert.train
    learn(tmp_path, tmp_path / "whole", steps=4, rate=1e-3)
    whole = torch.load(tmp_path / "whole" / "lipsync.pt", weights_only=True)
    stop = iter(range(3))

    def interrupted(*arguments: Any) -> Any:
        if next(stop, None) is None:
            raise KeyboardInterrupt
        return sample(*arguments)

    monkeypatch.setattr(lipsync_expert, "sample", interrupted)
    monkeypatch.setattr("training.run.CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path, tmp_path / "cut", steps=4, rate=1e-3)
    monkeypatch.setattr(lipsync_expert, "sample", sample)
    learn(tmp_path, tmp_path / "cut", steps=4, rate=1e-3, resume=True)
    again = torch.load(tmp_path / "cut" / "lipsync.pt", weights_only=True)
    assert all(torch.equal(whole["net"][name], again["net"][name]) for name in whole["net"])


@pytest.mark.skipif(not ASSET.exists(), reason="the expert is not trained")
def test_the_kept_expert_is_small_and_sees_and_hears() -> None:
    expert = lipsync_expert.load_expert()
    assert sum(p.numel() for p in expert.parameters()) < 1_000_000
    held = mouths(1, 40)
    assert np.isfinite(judge(expert, held.crops, held.mel)).all()
