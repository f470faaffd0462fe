"""The First Order Motion Model at 256 x 256 (vox-256): key points of the driving picture, then its generator.

Layer shapes: AliaksandrSiarohin/first-order-model config/vox-256.yaml (8b16d29), modules/{generator,dense_motion,
keypoint_detector,util}.py (1ac1bd4, 69c8901, 898921d); MIT.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.networks.parts import F32, Part, System, smooth
from bench.networks.warping import Layer2d, blobs, places

POINTS: Final = 10
SMALL: Final = 64  # side at which motion is estimated: a quarter
BLUR: Final = 1.5  # standard deviation in front of the quartering, pixels


class Hourglass(nn.Module):
    """(1,C,64,64) -> (1,first + C,64,64), halved five times."""

    def __init__(self, inputs: int, first: int) -> None:
        super().__init__()
        widths = (inputs, *(min(1024, first * 2**i) for i in range(1, 6)))
        self.down = nn.ModuleList(Layer2d(a, b) for a, b in zip(widths, widths[1:], strict=False))
        ups, width = [], widths[-1]
        for level in (*widths[-2:0:-1], first):
            ups.append(Layer2d(width, level))
            width = 2 * level
        self.up, self.width = nn.ModuleList(ups), first + inputs

    def forward(self, x: Tensor) -> Tensor:
        beside = [x]
        for down in self.down:
            beside.append(F.avg_pool2d(down(beside[-1]), 2))
        y = beside.pop()
        for up in self.up:
            y = torch.cat([up(F.interpolate(y, scale_factor=2.0, mode="nearest")), beside.pop()], 1)
        return y


class Residual2d(nn.Module):
    """Two convolutions, each behind its normalisation, and a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(width), nn.Conv2d(width, width, 3, padding=1)
        self.norm2, self.conv2 = nn.BatchNorm2d(width), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x)))
        return x + self.conv2(F.relu(self.norm2(y)))


class KeyPoints(nn.Module):
    """A picture (1,3,256,256) -> key points (1,10,2) and what is around them, (1,10,4)."""

    def __init__(self) -> None:
        super().__init__()
        self.hourglass = Hourglass(3, 32)
        self.points = nn.Conv2d(self.hourglass.width, POINTS, 7)
        self.around = nn.Conv2d(self.hourglass.width, 4 * POINTS, 7)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        y = self.hourglass(quarter(picture))
        heat = torch.softmax(self.points(y).flatten(2) / 0.1, 2)  # 1 K N
        side = SMALL - 6
        grid = places((side, side), picture).reshape(-1, 2)
        around = self.around(y).reshape(POINTS, 4, -1)
        return heat @ grid, (around * heat[0, :, None]).sum(2)[None]


class Generator(nn.Module):
    """A person's picture (1,3,256,256), key points (1,10,2) and Jacobians (1,10,4) of driver and source -> picture."""

    def __init__(self) -> None:
        super().__init__()
        self.hourglass = Hourglass((POINTS + 1) * 4, 64)
        self.mask = nn.Conv2d(self.hourglass.width, POINTS + 1, 7, padding=3)
        self.occlusion = nn.Conv2d(self.hourglass.width, 1, 7, padding=3)
        self.first, self.down0, self.down1 = Layer2d(3, 64, 7), Layer2d(64, 128), Layer2d(128, 256)
        self.middle = nn.Sequential(*(Residual2d(256) for _ in range(6)))
        self.up0, self.up1, self.leave = Layer2d(256, 128), Layer2d(128, 64), nn.Conv2d(64, 3, 7, padding=3)

    def forward(self, picture: Tensor, driving: Tensor, source: Tensor, turned: Tensor, turns: Tensor) -> Tensor:
        small = quarter(picture)
        grid = places((SMALL, SMALL), picture)
        away = (grid[None] - driving[0, :, None, None]).flatten(1, 2)  # K N 2
        local = turns.reshape(POINTS, 2, 2) @ inverse(turned.reshape(POINTS, 2, 2))
        moved = (away @ local.transpose(1, 2)).unflatten(1, (SMALL, SMALL)) + source[0, :, None, None]
        motions = torch.cat([grid[None], moved])  # K+1 64 64 2
        seen = F.grid_sample(small.expand(POINTS + 1, -1, -1, -1), motions, align_corners=False)
        heat = blobs(grid, driving[0]) - blobs(grid, source[0])
        heat = torch.cat([torch.zeros_like(heat[:1]), heat])
        y = self.hourglass(torch.cat([heat[:, None], seen], 1).flatten(0, 1)[None])
        mask = torch.softmax(self.mask(y), 1)[0]
        motion = (motions * mask[..., None]).sum(0)[None]
        covered = torch.sigmoid(self.occlusion(y))
        z = F.avg_pool2d(self.down0(self.first(picture)), 2)
        z = F.avg_pool2d(self.down1(z), 2)
        z = self.middle(F.grid_sample(z, motion, align_corners=False) * covered)
        for up in (self.up0, self.up1):
            z = up(F.interpolate(z, scale_factor=2.0, mode="nearest"))
        return torch.sigmoid(self.leave(z))


def quarter(picture: Tensor) -> Tensor:
    """A picture at a quarter of its sides, blurred first."""
    reach = 6
    line = [math.exp(-(i**2) / (2 * BLUR**2)) for i in range(-reach, reach + 1)]
    kernel = torch.tensor([[a * b / sum(line) ** 2 for a in line] for b in line], device=picture.device)
    blurred = F.conv2d(picture, kernel.expand(3, 1, -1, -1), padding=reach, groups=3)
    return blurred[:, :, ::4, ::4]


def inverse(matrices: Tensor) -> Tensor:
    """Of matrices (K,2,2)."""
    a, b, c, d = matrices.flatten(1).unbind(1)
    return torch.stack([d, -b, -c, a], 1).reshape(-1, 2, 2) / (a * d - b * c)[:, None, None]


def _jacobians(rng: np.random.Generator) -> F32:
    """Near no turn at all, so that they have an inverse."""
    return (np.eye(2).reshape(1, 1, 4) + rng.uniform(-0.2, 0.2, (1, POINTS, 4))).astype(np.float32)


PICTURE: Final = smooth(1, 3, 256, 256)
KEYS: Final = (1, POINTS, 2)
FOMM: Final = System(
    "fomm", "First Order Motion Model",
    (
        Part("keypoints", KeyPoints, {"picture": PICTURE}, ("points", "around")),
        Part("generator", Generator, {"picture": PICTURE, "driving": KEYS, "source": KEYS, "turned": _jacobians,
                                      "turns": _jacobians}, ("frame",)),
    ),
    (256, 256), "head and shoulders", "1", "face detection, crop", "MIT",
    "AliaksandrSiarohin/first-order-model 8b16d29", heavy=True,
)  # fmt: skip
