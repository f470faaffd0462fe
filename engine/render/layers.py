"""Layers of the neural renderer: magnitude-preserving convolutions and the two mixtures of experts (torch).

No normalisation of activations (Karras et al., Analyzing and Improving the Training Dynamics of Diffusion Models, 2024,
sections 2.2-2.4, "EDM2"): weights are normalised where they are used, which costs nothing once folded.
B batch, C channels, E experts.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MASKS: Final = 8  # classes of the mask predictor, engine.render.guidance.MASKS
SILU_GAIN: Final = 1 / 0.596  # EDM2 eq. 81


class Mixtures(NamedTuple):
    """Sizes that all blocks share: E of the embedding, number of view experts, rank of each mask expert, and whether
    masks guide them at all."""

    embed: int
    view_experts: int
    mask_rank: int
    mask_guided: bool


def silu(x: Tensor) -> Tensor:
    """SiLU that keeps unit variance (EDM2 eq. 81)."""
    return F.silu(x) * SILU_GAIN


def add(x: Tensor, y: Tensor, share: float) -> Tensor:
    """x and y mixed, ``share`` of y, at unit variance (EDM2 eq. 88)."""
    return x.lerp(y, share) / math.sqrt((1 - share) ** 2 + share**2)


def unit(weight: Tensor) -> Tensor:
    """Weights (..., O, I, k, k) or (..., O, I) such that unit-variance inputs give unit-variance outputs."""
    over = (-3, -2, -1) if weight.ndim == 4 else (-1,)
    return weight / (weight.square().sum(over, keepdim=True).sqrt() + 1e-4)


class Conv(nn.Module):
    """k x k convolution (k=0: linear layer; k=2: halves the size), magnitude-preserving (EDM2 eq. 66)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, gain: float = 1.0, bias: bool = False) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.stride, self.padding = (2, 0) if kernel == 2 else (1, kernel // 2)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *([kernel] * 2 if kernel else [])))
        self.gain = nn.Parameter(torch.tensor(gain))
        self.kernel, self.folded = kernel, False

    def fold(self) -> None:
        """Keeps the normalised weight in place of the weight: for running and exporting, not for training."""
        if not self.folded:
            self.weight, self.folded = nn.Parameter(unit(self.weight.data) * self.gain.data, False), True

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight if self.folded else unit(self.weight) * self.gain).to(x.dtype)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        if not self.kernel:
            return F.linear(x, weight, bias)
        return F.conv2d(x, weight, bias, self.stride, self.padding)


class Bytes(Conv):
    """Linear layer on bytes, which count as -1 to 1: that scale is in weight and bias, so that bytes go in as they are.

    Bytes are exact in bfloat16, and an integer runtime need not touch them (exporters/quantize.py).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 0, bias=True)

    def fold(self) -> None:
        """As Conv.fold."""
        if not self.folded:
            weight, bias = self._scaled()
            self.weight, self.bias = nn.Parameter(weight.data, False), nn.Parameter(bias.data, False)
            self.folded = True

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = (self.weight, self.bias) if self.folded else self._scaled()
        assert bias is not None
        return F.linear(x, weight.to(x.dtype), bias.to(x.dtype))

    def _scaled(self) -> tuple[Tensor, Tensor]:
        assert self.bias is not None
        weight = unit(self.weight) * self.gain
        return weight * (2 / 255), self.bias - weight.sum(1)


class ViewExperts(nn.Module):
    """View-guided mixture: a 1 x 1 convolution whose kernel is the gate's mixture of E kernels.

    The gate depends on the viewpoint alone, so kernels are mixed once a frame and the layer costs one convolution
    (conditionally parameterised convolution, Yang et al. 2019, with the view as the router).
    """

    def __init__(self, channels: int, experts: int) -> None:
        super().__init__()
        shared = torch.randn(1, channels, channels)
        self.weight = nn.Parameter(shared + 0.3 * torch.randn(experts, channels, channels))
        self.folded = False

    def fold(self) -> None:
        """As Conv.fold."""
        if not self.folded:
            self.weight, self.folded = nn.Parameter(unit(self.weight.data), False), True

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        _, channels, height, width = x.shape
        experts = self.weight if self.folded else unit(self.weight)
        kernel = (gate @ experts.flatten(1)).unflatten(1, (channels, channels)).to(x.dtype)
        rows = x.permute(0, 2, 3, 1).flatten(1, 2) @ kernel.transpose(1, 2)
        return rows.unflatten(1, (height, width)).permute(0, 3, 1, 2)


class MaskExperts(nn.Module):
    """Mask-guided mixture: MASKS low-rank 1 x 1 layers, each weighed per pixel by its region's mask."""

    spread: Tensor

    def __init__(self, channels: int, rank: int, guided: bool) -> None:
        super().__init__()
        self.inward = Conv(channels, MASKS * rank, 1)
        self.outward = Conv(MASKS * rank, channels, 1, 0.0)
        self.guided = guided
        spread = torch.eye(MASKS).repeat_interleave(rank, 0)[:, :, None, None] * math.sqrt(MASKS)
        self.register_buffer("spread", spread, persistent=False)

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        weight = gate if self.guided else torch.full_like(gate, 1.0 / MASKS)
        return x + self.outward(self.inward(x) * F.conv2d(weight, self.spread.to(x.dtype)))


class Block(nn.Module):
    """Residual block: SiLU, 3 x 3, scale by the embedding, SiLU, then the two mixtures of experts."""

    def __init__(self, width: int, sizes: Mixtures) -> None:
        super().__init__()
        self.conv = Conv(width, width, 3)
        self.scale = Conv(sizes.embed, width, 0, 0.0)
        self.view = ViewExperts(width, sizes.view_experts)
        self.mask = MaskExperts(width, sizes.mask_rank, sizes.mask_guided)

    def forward(self, x: Tensor, embed: Tensor, experts: Tensor, gate: Tensor) -> Tensor:
        y = self.conv(silu(x)) * (1 + self.scale(embed))[:, :, None, None]
        return add(x, self.mask(self.view(silu(y), experts), gate), 0.3)


class Gate(nn.Module):
    """Viewpoint (B, 4) to the weights of the view experts (B, E): softmax over directions they are best at."""

    def __init__(self, experts: int) -> None:
        super().__init__()
        yaw = torch.linspace(-1.2, 1.2, experts) if experts > 1 else torch.zeros(1)
        self.place = nn.Parameter(torch.stack([yaw, torch.zeros(experts)], 1))  # radians
        self.sharpness = nn.Parameter(torch.tensor(4.0))

    def forward(self, view: Tensor) -> Tensor:
        away = (view[:, None, :2] - self.place).square().sum(-1)
        return torch.softmax(-self.sharpness * away, -1)
