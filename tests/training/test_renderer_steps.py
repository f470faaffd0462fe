from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor

pytest.importorskip("zstandard")

from engine.motion.frame import SIZE
from engine.render.denoiser import LO, VIEW, Painted, Renderer
from engine.render.layers import MASKS
from tests.engine.render.test_denoiser import SMALL
from training import perceptual
from training.renderer import loss
from training.renderer.loss import Weights
from training.renderer.steps import Step, gap

SIDE = 64


def batch(count: int = 2, frames: int = 3) -> dict[str, Tensor]:
    """Somebody orange whose photograph is their surface in dimmer light, seen again and again."""
    draw = torch.Generator().manual_seed(0)
    shape = (count, frames)
    alpha = torch.zeros(*shape, 1, SIDE, SIDE)
    alpha[..., 16:48, 12:52] = 1.0
    lit = alpha * (0.3 + 0.7 * torch.rand(*shape, 3, 1, 1, generator=draw))
    planes = [lit, alpha, alpha, torch.zeros_like(alpha)]
    lo = torch.randint(0, 256, (*shape, LO, SIDE // 2, SIDE // 2), generator=draw, dtype=torch.uint8)
    lo[:, :, 6] = (alpha[:, :, 0, ::2, ::2]).byte()
    lo[:, :, 7] = 255
    target = torch.cat([lit * 0.6, alpha], 2)
    motion, view = torch.rand(*shape, SIZE, generator=draw), torch.rand(*shape, VIEW, generator=draw)
    return {
        "hi": (torch.cat(planes, 2) * 255).byte(), "lo": lo, "target": (target * 255).byte(),
        "flow": torch.zeros(*shape, 2, SIDE // 2, SIDE // 2), "previous": (target[:, 0] * 255).byte(),
        "region": alpha[:, :, 0].byte(), "motion": motion, "view": view, "reference": torch.ones(count, 3, 8, 128, 128),
    }  # fmt: skip


def step(weights: Weights | None = None) -> Step:
    torch.manual_seed(0)
    look = perceptual.load()
    return Step(Renderer(SMALL), weights or Weights(), torch.Generator().manual_seed(1), look)


def learn(one: Step, count: int, tune: bool) -> list[float]:
    optimizer = torch.optim.Adam(one.net.parameters(), 4e-3)
    losses = []
    for _ in range(count):
        parts = one.tune(batch(), 0.5) if tune else one.teach(batch())
        optimizer.zero_grad()
        parts["loss"].backward()
        optimizer.step()
        losses.append(float(parts["loss"].detach()))
    return losses


def test_teaching_lowers_the_loss() -> None:
    losses = learn(step(), 24, tune=False)
    assert sum(losses[-4:]) < 0.75 * sum(losses[:4])


def test_tuning_lowers_the_loss_and_reaches_every_weight() -> None:
    one = step()
    losses = learn(one, 8, tune=True)
    assert losses[-1] < losses[0]
    still = [name for name, p in one.net.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert still == []


@pytest.mark.parametrize("name", [name for name in asdict(Weights()) if name != "picture"])
def test_a_dropped_loss_weighs_nothing(name: str) -> None:
    whole, less = (step(w).tune(batch(), 0.5) for w in (Weights(), replace(Weights(), **{name: 0.0})))
    weighed = sum(getattr(Weights(), n) * float(v.detach()) for n, v in whole.items() if n not in ("loss", name))
    assert float(less["loss"].detach()) == pytest.approx(weighed, rel=0.05)
    assert float(less["loss"].detach()) < float(whole["loss"].detach())


def test_the_same_seed_learns_the_same() -> None:
    first, again = (float(step().tune(batch(), 0.25)["loss"].detach()) for _ in range(2))
    assert first == again


def test_a_tint_falls_on_everything_that_shows_the_person() -> None:
    plain = batch()
    tinted = step()._tinted(plain)
    gain = tinted["target"][:, :, :3].float().sum((1, 3, 4)) / plain["target"][:, :, :3].float().sum((1, 3, 4))
    for name, axes in (("hi", (1, 3, 4)), ("previous", (2, 3)), ("reference", (1, 3, 4))):
        colour = [x[name][..., :3, :, :].float().sum(axes) for x in (tinted, plain)]
        assert torch.allclose(colour[0] / colour[1], gain, atol=0.02), name
    assert float(gain.min()) > 0.6 and float(gain.max()) <= 1.0
    assert torch.equal(tinted["target"][:, :, 3], plain["target"][:, :, 3])
    assert torch.equal(tinted["hi"][:, :, 3:], plain["hi"][:, :, 3:])


def test_the_gap_of_consistency_tuning_halves_over_the_run() -> None:
    gaps = [gap(part) for part in (0.0, 0.19, 0.21, 0.5, 0.99, 1.0)]
    assert gaps == [1.0, 1.0, 0.5, 0.25, 0.0625, 0.0625]


def test_importance_is_greatest_in_eyes_and_mouth() -> None:
    region = torch.zeros(1, 32, 32, dtype=torch.uint8)
    region[:, 8:24, 8:16], region[:, 8:24, 16:24] = 1, 3
    weight = loss.importance(region)[0, 0]
    assert weight[16, 20] > 3 * weight[16, 11] > 3 * weight[2, 2] > 0


def test_the_right_picture_costs_nothing() -> None:
    truth = torch.rand(2, 4, 32, 32)
    region = torch.randint(0, MASKS, (2, 32, 32), dtype=torch.uint8)
    sure = 40.0 * torch.nn.functional.one_hot(region.long(), MASKS).movedim(-1, 1).float()
    painted = Painted(truth[:, :3], truth[:, 3:], sure)
    parts = loss.picture_loss(painted, truth, loss.importance(region), torch.ones(2))
    assert all(float(value) < 1e-6 for value in parts.values())
    shares = torch.nn.functional.avg_pool2d(sure / 40.0, 8).clamp(min=1e-9).log()
    right = float(loss.mask_loss(painted.masks, shares, region))
    assert right < float(loss.mask_loss(-painted.masks, shares, region))
    assert right < float(loss.mask_loss(painted.masks, torch.zeros_like(shares), region))


def test_everything_random_is_drawn_where_the_network_is() -> None:
    step = Step(Renderer(SMALL), Weights(), None, None, torch.device("meta"))  # type: ignore[arg-type]
    assert step._levels(3).device.type == step._uniform(2).device.type == step._normal((2,)).device.type == "meta"
