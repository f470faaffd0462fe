"""Temporal features: what is asked of them, and that change that is wrong costs more than an error that stays."""

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("zstandard")

from engine.avatar import find, load
from engine.motion.frame import Motion
from engine.render.geometric import GeometricRenderer
from engine.viewpoint import Viewpoint
from training import temporal
from training.temporal import ASSET, FAULTS, FLOW_UNIT, WINDOW, TemporalConfig, TemporalLoss, TemporalNet, lesson

SIDE = 128


def batch(count: int = 6, seen: int = 255) -> dict[str, Tensor]:
    """Noise that slides by 4 pixels a frame."""
    dice = np.random.default_rng(2)
    wide = dice.integers(0, 255, (count, 3, SIDE, SIDE + 8), dtype=np.uint8)
    frames = np.stack([wide[..., 4 * t : 4 * t + SIDE] for t in range(WINDOW)], 1)
    target = np.concatenate([frames, np.full((count, WINDOW, 1, SIDE, SIDE), 255, np.uint8)], 2)
    flow = np.zeros((count, WINDOW, 2, SIDE // 2, SIDE // 2), np.float32)
    flow[:, :, 0] = 4.0
    lo = np.full((count, WINDOW, 8, SIDE // 2, SIDE // 2), seen, np.uint8)
    return {name: torch.from_numpy(x) for name, x in (("target", target), ("flow", flow), ("lo", lo))}


def test_flow_is_asked_in_its_unit_and_only_of_whole_windows() -> None:
    asked = lesson(batch(24), torch.Generator().manual_seed(0))
    assert asked.frames.shape == (24, WINDOW, 3, SIDE // 2, SIDE // 2)
    assert asked.flow.shape == (24, 4, SIDE // 16, SIDE // 16) and asked.known.shape == (24, 2, SIDE // 16, SIDE // 16)
    assert torch.allclose(asked.flow[:, 0], torch.tensor(4.0 / FLOW_UNIT)) and bool((asked.flow[:, 1] == 0).all())
    assert set(asked.fault.tolist()) == set(range(len(FAULTS)))
    assert all(bool(k.any()) == (int(f) == 0) for k, f in zip(asked.known, asked.fault, strict=True))


def test_every_fault_spoils_a_window_and_nothing_else_does() -> None:
    whole = lesson(batch(24, seen=0), torch.Generator().manual_seed(0))
    assert bool((whole.fault == 0).all()) and not bool(whole.known.any()), "a cut has neither flow nor fault"
    spoilt = lesson(batch(24), torch.Generator().manual_seed(0))
    changed = (spoilt.frames - whole.frames).abs().amax((1, 2, 3, 4)) > 1e-3
    assert changed.tolist() == (spoilt.fault > 0).tolist()
    again = lesson(batch(24), torch.Generator().manual_seed(0))
    assert torch.equal(again.frames, spoilt.frames)


def test_the_same_window_is_at_no_distance_and_gradients_reach_the_painted_one() -> None:
    loss = TemporalLoss(TemporalNet(TemporalConfig(width=4)))
    painted, truth = torch.rand(2, WINDOW, 3, 64, 64, requires_grad=True), torch.rand(2, WINDOW, 3, 64, 64)
    assert float(loss(truth, truth).max()) == 0.0
    loss(painted, truth).sum().backward()
    assert painted.grad is not None and bool((painted.grad.abs().amax((2, 3, 4)) > 0).all())
    assert all(p.grad is None for p in loss.parameters())


@pytest.mark.skipif(not ASSET.exists(), reason="the temporal features are not trained")
def test_an_error_that_boils_costs_more_than_the_same_error_that_stays() -> None:
    renderer = GeometricRenderer(load(find("maya")), (256, 256), "head", samples=4)
    frames, state = [], renderer.initial_state()
    for t in range(WINDOW):
        view = Viewpoint(yaw=0.02 * t, distance=renderer.framing.distance)
        picture, state = renderer.step(Motion.rest(), view, state)
        frames.append(torch.from_numpy(picture.rgb.copy()).permute(2, 0, 1).float() / 255)
    truth = torch.nn.functional.avg_pool2d(torch.stack(frames), 2)[None]
    dice = torch.Generator().manual_seed(0)
    loss, stays, boils = TemporalLoss(temporal.load_temporal()), 0.0, 0.0
    for _ in range(4):
        noise = 0.04 * torch.nn.functional.interpolate(torch.randn(WINDOW, 1, 64, 64, generator=dice), scale_factor=2.0)
        stays += float(loss((truth + noise[:1]).clamp(0, 1), truth))
        boils += float(loss((truth + noise).clamp(0, 1), truth))
    assert boils > 1.1 * stays > 0.0
