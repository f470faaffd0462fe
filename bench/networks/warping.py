"""Face-vid2vid's warping of a feature volume by key points, which LivePortrait, Ditto and SadTalker share; its decoder.

Layer shapes: KwaiVGI/LivePortrait src/modules/{warping_network,dense_motion,spade_generator,util}.py and src/config/
models.yaml (a272d74, 20b1a00), MIT. OpenVINO samples pictures, not volumes: volumes are sampled by eight gathers here.
K key points, D depth, S side of the volume.
"""

from __future__ import annotations

from itertools import product
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DEPTH, CHANNELS, SIDE = 16, 32, 64  # of the feature volume
VARIANCE: Final = 0.01  # of the blobs around key points
COMPRESSED: Final = 4
DOWN: Final = (64, 128, 256, 512, 1024)
FLAT: Final = 256


class Layer3d(nn.Sequential):
    """Convolution of a volume, normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.Conv3d(inputs, outputs, 3, padding=1), nn.BatchNorm3d(outputs), nn.ReLU())


class Layer2d(nn.Sequential):
    """Convolution of a picture, normalisation, ReLU; with ``slope`` for what is below 0."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, slope: float = 0.0) -> None:
        act = nn.LeakyReLU(slope) if slope else nn.ReLU()
        super().__init__(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.BatchNorm2d(outputs), act)


class Hourglass3d(nn.Module):
    """(1,C,D,S,S) -> (1,32 + C,D,S,S): halved five times in the plane, never in depth."""

    def __init__(self, inputs: int, first: int = 32) -> None:
        super().__init__()
        widths = (inputs, *DOWN)
        self.down = nn.ModuleList(Layer3d(a, b) for a, b in zip(widths, widths[1:], strict=False))
        ups, width = [], DOWN[-1]
        for level, beside in zip((*DOWN[-2::-1], first), (*DOWN[-2::-1], 0), strict=True):
            ups.append(Layer3d(width, level))
            width = level + beside
        self.up, self.width = nn.ModuleList(ups), first + inputs
        self.last = Layer3d(self.width, self.width)

    def forward(self, x: Tensor) -> Tensor:
        beside = [x]
        for down in self.down:
            beside.append(F.avg_pool3d(down(beside[-1]), (1, 2, 2)))
        y = beside.pop()
        for up in self.up:
            y = torch.cat([up(F.interpolate(y, scale_factor=(1.0, 2.0, 2.0), mode="nearest")), beside.pop()], 1)
        z: Tensor = self.last(y)
        return z


class Warping(nn.Module):
    """volume (1,32,D,S,S), key points of the driver and of the source (1,K,3) -> features (1,256,S,S)."""

    def __init__(self, points: int) -> None:
        super().__init__()
        self.points = points
        self.compress = nn.Sequential(nn.Conv3d(CHANNELS, COMPRESSED, 1), nn.BatchNorm3d(COMPRESSED), nn.ReLU())
        self.hourglass = Hourglass3d((points + 1) * (COMPRESSED + 1))
        self.mask = nn.Conv3d(self.hourglass.width, points + 1, 7, padding=3)
        self.occlusion = nn.Conv2d(self.hourglass.width * DEPTH, 1, 7, padding=3)
        self.third, self.fourth = Layer2d(CHANNELS * DEPTH, FLAT, slope=0.01), nn.Conv2d(FLAT, FLAT, 1)

    def forward(self, volume: Tensor, driving: Tensor, source: Tensor) -> Tensor:
        size, count = (DEPTH, SIDE, SIDE), self.points + 1
        grid = places(size, volume)  # D S S 3
        motions = torch.cat([grid[None], grid - (driving - source)[0, :, None, None, None]])  # K+1 D S S 3
        moved = sample(self.compress(volume), motions.reshape(-1, 3)).unflatten(1, (count, *size)).transpose(0, 1)
        heat = blobs(grid, driving[0]) - blobs(grid, source[0])
        heat = torch.cat([torch.zeros_like(heat[:1]), heat])
        seen = self.hourglass(torch.cat([heat[:, None], moved], 1).flatten(0, 1)[None])
        mask = torch.softmax(self.mask(seen), 1)[0]  # K+1 D S S
        motion = (motions * mask[..., None]).sum(0)
        covered = torch.sigmoid(self.occlusion(seen.flatten(1, 2)))
        warped = sample(volume, motion.reshape(-1, 3)).reshape(1, CHANNELS * DEPTH, SIDE, SIDE)
        y: Tensor = self.fourth(self.third(warped)) * covered
        return y


class Spade(nn.Module):
    """Normalised features, scaled and shifted by what the segmentation says."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.shared = nn.Conv2d(FLAT, 128, 3, padding=1)
        self.gamma, self.beta = nn.Conv2d(128, width, 3, padding=1), nn.Conv2d(128, width, 3, padding=1)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        times = x.shape[2] // told.shape[2]
        if times > 1:
            told = F.interpolate(told, scale_factor=float(times), mode="nearest")
        y = F.relu(self.shared(told))
        return F.instance_norm(x) * (1 + self.gamma(y)) + self.beta(y)


class SpadeResidual(nn.Module):
    """Two convolutions, each behind a Spade; the skip has one of its own where the width changes."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        middle = min(inputs, outputs)
        self.norm0, self.conv0 = Spade(inputs), nn.Conv2d(inputs, middle, 3, padding=1)
        self.norm1, self.conv1 = Spade(middle), nn.Conv2d(middle, outputs, 3, padding=1)
        self.changes = inputs != outputs
        if self.changes:
            self.norm, self.conv = Spade(inputs), nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        y = self.conv0(F.leaky_relu(self.norm0(x, told), 0.2))
        y = self.conv1(F.leaky_relu(self.norm1(y, told), 0.2))
        return y + (self.conv(self.norm(x, told)) if self.changes else x)


class SpadeDecoder(nn.Module):
    """features (1,256,64,64) -> picture of 256 x 256, or of 512 x 512 with ``upscale`` 2, in [0, 1]."""

    def __init__(self, upscale: int = 1) -> None:
        super().__init__()
        self.enter = nn.Conv2d(FLAT, 2 * FLAT, 3, padding=1)
        self.middle = nn.ModuleList(SpadeResidual(2 * FLAT, 2 * FLAT) for _ in range(6))
        self.up0, self.up1 = SpadeResidual(2 * FLAT, FLAT), SpadeResidual(FLAT, 64)
        self.leave, self.upscale = nn.Conv2d(64, 3 * upscale**2, 3, padding=1), upscale

    def forward(self, told: Tensor) -> Tensor:
        y = self.enter(told)
        for block in self.middle:
            y = block(y, told)
        for block in (self.up0, self.up1):
            y = block(F.interpolate(y, scale_factor=2.0, mode="nearest"), told)
        y = self.leave(F.leaky_relu(y, 0.2))
        return torch.sigmoid(F.pixel_shuffle(y, self.upscale) if self.upscale > 1 else y)


class Residual3d(nn.Module):
    """Two convolutions of a volume, each behind its normalisation, and a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm3d(width), nn.Conv3d(width, width, 3, padding=1)
        self.norm2, self.conv2 = nn.BatchNorm3d(width), nn.Conv3d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x)))
        return x + self.conv2(F.relu(self.norm2(y)))


class Appearance(nn.Module):
    """A person's picture (1,3,256,256) -> feature volume (1,32,D,S,S)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.down0, self.down1 = Layer2d(3, 64), Layer2d(64, 128), Layer2d(128, 256)
        self.second = nn.Conv2d(256, CHANNELS * DEPTH, 1)
        self.volume = nn.Sequential(*(Residual3d(CHANNELS) for _ in range(6)))

    def forward(self, picture: Tensor) -> Tensor:
        y = F.avg_pool2d(self.down0(self.first(picture)), 2)
        y = self.second(F.avg_pool2d(self.down1(y), 2))
        z: Tensor = self.volume(y.unflatten(1, (CHANNELS, DEPTH)))
        return z


def places(size: tuple[int, ...], like: Tensor) -> Tensor:
    """Where each cell of a volume lies, (*size, 3) as x, y, z in [-1, 1]; of a picture (*size, 2)."""
    sides = [torch.linspace(-1, 1, side, device=like.device) for side in size]
    return torch.stack(torch.meshgrid(*sides, indexing="ij")[::-1], -1)


def blobs(grid: Tensor, points: Tensor) -> Tensor:
    """A blob (K,*size) around each of the points (K,N)."""
    away = grid - points.reshape(len(points), *[1] * (grid.dim() - 1), points.shape[1])
    return torch.exp(away.square().sum(-1) * (-0.5 / VARIANCE))


def sample(volume: Tensor, at: Tensor) -> Tensor:
    """volume (1,C,D,H,W) at places (P,3) in [-1, 1], between its cells linearly and 0 outside -> (C,P); torch's
    grid_sample without aligned corners."""
    sides = volume.shape[4], volume.shape[3], volume.shape[2]
    rows = volume[0].flatten(1).T  # cells by channels: a gather then copies whole rows
    lows, shares = [], []
    for axis, side in enumerate(sides):
        place = ((at[:, axis] + 1) * side - 1) * 0.5
        low = place.floor()
        shares.append((place - low, 1 - (place - low)))
        lows.append(low.long())
    total: Tensor | None = None
    for corner in product((0, 1), repeat=3):
        index, weight = None, None
        for axis in (2, 1, 0):
            cell, side = lows[axis] + corner[axis], sides[axis]
            inside = ((cell >= 0) & (cell < side)).to(at.dtype)
            share = shares[axis][1 - corner[axis]] * inside
            cell = cell.clamp(0, side - 1)
            index = cell if index is None else index * side + cell
            weight = share if weight is None else weight * share
        assert index is not None and weight is not None
        part = rows[index] * weight[:, None]
        total = part if total is None else total + part
    assert total is not None
    return total.T
