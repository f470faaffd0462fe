"""What the neural renderer is trained for. Every term has a weight, and 0 takes it out (the ablations do).

Pictures are premultiplied sRGB in [0, 1]. B batch, h w pixels of a crop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.render.denoiser import PATCH, Painted
from engine.render.layers import MASKS

# How much a pixel counts, by mask class: none, skin, eyes, mouth, hair, clothes, hands, accessories. People look there.
WEIGHT: Final = (0.4, 1.2, 5.0, 5.0, 1.5, 0.8, 2.0, 1.5)
HUBER: Final = 0.03  # pseudo-Huber's c (Song & Dhariwal 2024), in units of the picture


@dataclass(frozen=True, slots=True)
class Weights:
    """Share of each term in the loss."""

    picture: float = 1.0  # denoising, EDM's weight by noise level, pseudo-Huber
    gradient: float = 1.0  # edges at three scales
    alpha: float = 1.0
    mask: float = 0.1  # cross-entropy of the mask predictor
    perceptual: float = 0.5
    still: float = 0.5  # change from frame to frame as the truth changes (rollouts)
    consistency: float = 1.0  # distillation


def importance(region: Tensor) -> Tensor:
    """Mask classes (B,h,w) u8 -> weight of each pixel (B,1,h,w), softened over its neighbourhood, mean about 1."""
    table = torch.tensor(WEIGHT, device=region.device)
    weight = F.max_pool2d(table[region.long()][:, None], 3, 1, 1)
    return F.avg_pool2d(weight, 5, 1, 2, count_include_pad=False)


def huber(x: Tensor, y: Tensor, c: float = HUBER) -> Tensor:
    """Pseudo-Huber distance per value, in units where a small error counts as in a mean square over c."""
    return torch.sqrt((x - y).square() + c * c) - c


def edges(painted: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference of horizontal and vertical gradients at full, half and quarter size."""
    loss = painted.new_zeros(())
    for _ in range(3):
        for axis in (2, 3):
            near = weight.narrow(axis, 1, weight.shape[axis] - 1)
            loss = loss + (near * (torch.diff(painted, dim=axis) - torch.diff(truth, dim=axis)).abs()).mean()
        painted, truth, weight = (F.avg_pool2d(t, 2) for t in (painted, truth, weight))
    return loss


def mask_loss(masks: Tensor, shares: Tensor, region: Tensor) -> Tensor:
    """Cross-entropy of the mask predictor: masks (B,MASKS,h,w) logits against the class of each pixel (B,h,w), and
    shares (B,MASKS,h/8,w/8) logits against how much of a patch each class holds. Every second row and column is asked
    in turn by chance, which is as good and a quarter of the work."""
    down, right = (int(x) for x in torch.randint(2, (2,)))
    seen = region[:, down::2, right::2]
    share = torch.stack([F.avg_pool2d((seen == index).float()[:, None], PATCH // 2)[:, 0] for index in range(MASKS)], 1)
    coarse = -(share * F.log_softmax(shares.float(), 1)).sum(1).mean()
    return coarse + F.cross_entropy(masks[:, :, down::2, right::2].float(), seen.long())


def alpha_loss(alpha: Tensor, truth: Tensor) -> Tensor:
    """Absolute error of alpha and of its edges: (B,1,h,w) in [0, 1]."""
    return (alpha - truth).abs().mean() + edges(alpha, truth, torch.ones_like(alpha))


def picture_loss(painted: Painted, truth: Tensor, weight: Tensor, by_level: Tensor) -> dict[str, Tensor]:
    """The terms that compare a picture with the truth (B,4,h,w): picture, gradient, alpha.

    ``by_level`` (B,): EDM's weight of the noise level (Karras et al. 2022, table 1) times sigma_data squared.
    """
    rgb, level = truth[:, :3], by_level[:, None, None, None]
    sure = level.clamp(max=1.0)  # edges count where the network, not the noise, makes the picture
    return {
        "picture": (level.sqrt() * weight * huber(painted.rgb, rgb)).mean(),
        "gradient": edges(painted.rgb * sure, rgb * sure, weight),
        "alpha": alpha_loss(painted.alpha, truth[:, 3:]),
    }


def total(parts: dict[str, Tensor], weights: Weights) -> dict[str, Tensor]:
    """The parts with their weighted sum as "loss"."""
    named = [getattr(weights, name) * value for name, value in parts.items()]
    return {"loss": torch.stack(named).sum(), **parts}
