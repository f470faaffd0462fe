from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.motion.frame import K
from training.performer_data import Streams
from training.sync import (
    SEEN,
    SPACING,
    SyncConfig,
    Syncer,
    SyncLoss,
    contrast,
    judge_sync,
    load_syncer,
    painted,
    sample,
    save_syncer,
    seen,
)


def streams(count: int = 6, frames: int = 400) -> Streams:
    """A voice whose first bins are what the jaw does: a world in which sync is easily learned."""
    generator = torch.Generator().manual_seed(0)
    jaw = torch.rand(count, frames, 6, generator=generator)
    jaw = torch.nn.functional.avg_pool1d(jaw.transpose(1, 2), 3, 1, 1).transpose(1, 2)
    mel = torch.full((count, 4 * frames, 80), -2.0)
    mel[..., :6] += 3.0 * jaw.repeat_interleave(4, dim=1)
    lips, performance = torch.zeros(count, frames, K), torch.zeros(count, frames, 96)
    lips[..., 14:20] = jaw
    performance[..., 54:60] = 0.1 * jaw
    nothing = torch.zeros(0, 4)
    return Streams(
        mel.half(), torch.zeros(count, frames, 48).half(), performance.half(), lips.half(),
        torch.zeros(count, frames, dtype=torch.uint8), nothing, nothing,
    )  # fmt: skip


@pytest.fixture(scope="module")
def syncer() -> Iterator[Syncer]:
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    net, world = Syncer(SyncConfig(width=24, embedding=16)), streams()
    net.usual.fill_(0.1)
    optimizer = torch.optim.AdamW(net.parameters(), 4e-3)
    for step in range(60):
        mel, motion = sample(world, 6, 150, np.random.default_rng(step))
        loss = torch.stack(
            [contrast(a, b, s) for a, b, s in zip(net.hear(mel), net.see(motion), SPACING, strict=True)]
        ).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    yield net.eval()
    torch.set_num_threads(threads)  # what runs next in this process has its own


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    world = streams(4, 300)
    face = painted(world.lips.float(), world.performance.float())
    return world.mel.float(), seen(face, world.performance[..., 54:60].float())


@pytest.mark.parametrize("late", [-6, 0, 5])
def test_the_offset_is_found(syncer: Syncer, late: int) -> None:
    mel, motion = scene()
    assert judge_sync(syncer, mel, motion.roll(late, 1)).offset_ms == pytest.approx(40.0 * late, abs=25)


def test_confidence_tells_true_from_exchanged(syncer: Syncer) -> None:
    mel, motion = scene()
    assert judge_sync(syncer, mel, motion).confidence > 3 * judge_sync(syncer, mel, motion.roll(1, 0)).confidence


def test_the_loss_prefers_sync_and_reaches_the_motion_alone(syncer: Syncer) -> None:
    mel, motion = scene()
    judge = SyncLoss(syncer)
    assert float(judge(mel, motion)) < float(judge(mel, motion.roll(4, 1)))
    motion = motion.clone().requires_grad_()
    syncer.zero_grad(set_to_none=True)
    judge(mel, motion).backward()
    assert float(motion.grad.abs().max()) > 0.0
    assert all(p.grad is None for p in syncer.parameters())


def test_too_short_a_stretch_is_refused(syncer: Syncer) -> None:
    with pytest.raises(ValueError, match="more than 30 frames"):
        judge_sync(syncer, torch.zeros(1, 80, 80), torch.zeros(1, 20, SEEN))


def test_weights_read_back_and_a_missing_file_says_what_to_do(syncer: Syncer, tmp_path: Path) -> None:
    save_syncer(syncer, tmp_path / "s.safetensors")
    again = load_syncer(tmp_path / "s.safetensors")
    mel, motion = scene()
    assert judge_sync(again, mel, motion).confidence == pytest.approx(
        judge_sync(syncer, mel, motion).confidence, abs=0.01
    )
    with pytest.raises(ValueError, match="training.sync train"):
        load_syncer(tmp_path / "none.safetensors")
