"""Stable Diffusion 1's U-Net and its autoencoder's decoder, which MuseTalk and LatentSync paint with.

Layer shapes: TMElyralab/MuseTalk train_codes/musetalk.json (d73daf1) read as diffusers' UNet2DConditionModel and the
AutoencoderKL of sd-vae-ft-mse; with four channels in and text of 768 it counts the published 859,520,964 parameters.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS: Final = (320, 640, 1280, 1280)
HEADS: Final = 8
GROUPS: Final = 32
DECODER: Final = (512, 512, 256, 128)
LATENT: Final = 4
SCALE: Final = 0.18215


class Residual(nn.Module):
    """Two normalised 3 x 3 convolutions; the time step is added between them where there is one."""

    def __init__(self, inputs: int, outputs: int, time: int = 0, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(GROUPS, inputs, eps), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time = nn.Linear(time, outputs) if time else None
        self.norm2, self.conv2 = nn.GroupNorm(GROUPS, outputs, eps), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        if self.time is not None and t is not None:
            y = y + self.time(F.silu(t))[:, :, None, None]
        return self.skip(x) + self.conv2(F.silu(self.norm2(y)))


class Attention(nn.Module):
    """Multi-head attention of rows x (1,N,C) to what is heard (1,M,E)."""

    def __init__(self, width: int, heard: int, heads: int, bias: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=bias)
        self.key, self.value = nn.Linear(heard, width, bias=bias), nn.Linear(heard, width, bias=bias)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, heard: Tensor) -> Tensor:
        split = [y.unflatten(2, (self.heads, -1)).transpose(1, 2)
                 for y in (self.query(x), self.key(heard), self.value(heard))]  # fmt: skip
        y: Tensor = self.out(F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2))
        return y


class Transformer(nn.Module):
    """Self-attention, attention to what is heard, a gated feed-forward; between two 1 x 1 convolutions."""

    def __init__(self, width: int, heard: int) -> None:
        super().__init__()
        self.norm, self.enter = nn.GroupNorm(GROUPS, width, 1e-6), nn.Conv2d(width, width, 1)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.own, self.cross = Attention(width, width, HEADS), Attention(width, heard, HEADS)
        self.wide, self.narrow = nn.Linear(width, 8 * width), nn.Linear(4 * width, width)
        self.leave = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, heard: Tensor) -> Tensor:
        rows = self.enter(self.norm(x)).flatten(2).transpose(1, 2)
        y = self.norms[0](rows)
        rows = rows + self.own(y, y)
        rows = rows + self.cross(self.norms[1](rows), heard)
        y, gate = self.wide(self.norms[2](rows)).chunk(2, 2)
        rows = rows + self.narrow(y * F.gelu(gate))
        return x + self.leave(rows.transpose(1, 2).unflatten(2, x.shape[2:]))


class Level(nn.Module):
    """One residual of a level, with attention where there is any."""

    def __init__(self, inputs: int, width: int, heard: int) -> None:
        super().__init__()
        self.residual = Residual(inputs, width, 4 * WIDTHS[0])
        self.attention = Transformer(width, heard) if heard else None

    def forward(self, x: Tensor, t: Tensor, heard: Tensor) -> Tensor:
        y = self.residual(x, t)
        return y if self.attention is None else self.attention(y, heard)


class Unet(nn.Module):
    """latent (1,C,h,w), time (1,), what is heard (1,M,E) -> latent (1,4,h,w)."""

    def __init__(self, channels: int, heard: int) -> None:
        super().__init__()
        first, time = WIDTHS[0], 4 * WIDTHS[0]
        self.time = nn.Sequential(nn.Linear(first, time), nn.SiLU(), nn.Linear(time, time))
        self.enter = nn.Conv2d(channels, first, 3, padding=1)
        hears = [heard] * (len(WIDTHS) - 1) + [0]
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()  # by level: layers, then what halves the grid
        beside, width = [first], first
        for i, (level, ear) in enumerate(zip(WIDTHS, hears, strict=True)):
            self.down.append(nn.ModuleList([Level(width, level, ear), Level(level, level, ear)]))
            beside += [level, level]
            width = level
            if i + 1 < len(WIDTHS):
                self.shrink.append(nn.Conv2d(level, level, 3, 2, 1))
                beside.append(level)
        self.middle = nn.ModuleList([Level(width, width, heard), Level(width, width, 0)])
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for i, (level, ear) in enumerate(zip(WIDTHS[::-1], hears[::-1], strict=True)):
            stage = nn.ModuleList()
            for _ in range(3):
                stage.append(Level(width + beside.pop(), level, ear))
                width = level
            self.up.append(stage)
            if i + 1 < len(WIDTHS):
                self.grow.append(nn.Conv2d(level, level, 3, padding=1))
        self.norm, self.leave = nn.GroupNorm(GROUPS, first), nn.Conv2d(first, LATENT, 3, padding=1)

    def forward(self, latent: Tensor, time: Tensor, heard: Tensor) -> Tensor:
        t = self.time(sines(time, WIDTHS[0]))
        y = self.enter(latent)
        beside = [y]
        for i, level in enumerate(self.down):
            assert isinstance(level, nn.ModuleList)
            for layer in level:
                y = layer(y, t, heard)
                beside.append(y)
            if i < len(self.shrink):
                y = self.shrink[i](y)
                beside.append(y)
        for layer in self.middle:
            y = layer(y, t, heard)
        for i, level in enumerate(self.up):
            assert isinstance(level, nn.ModuleList)
            for layer in level:
                y = layer(torch.cat([y, beside.pop()], 1), t, heard)
            if i < len(self.grow):
                y = self.grow[i](F.interpolate(y, scale_factor=2.0, mode="nearest"))
        return self.leave(F.silu(self.norm(y)))


class Decoder(nn.Module):
    """latent (1,4,h,w) -> picture (1,3,8h,8w) in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        width = DECODER[0]
        self.unscale, self.enter = nn.Conv2d(LATENT, LATENT, 1), nn.Conv2d(LATENT, width, 3, padding=1)
        self.before, self.after = Residual(width, width, eps=1e-6), Residual(width, width, eps=1e-6)
        self.norm, self.attention = nn.GroupNorm(GROUPS, width, 1e-6), Attention(width, width, 1, bias=True)
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for i, level in enumerate(DECODER):
            inputs = (width, level, level)
            self.up.append(nn.Sequential(*(Residual(n, level, eps=1e-6) for n in inputs)))
            width = level
            if i + 1 < len(DECODER):
                self.grow.append(nn.Conv2d(level, level, 3, padding=1))
        self.last, self.leave = nn.GroupNorm(GROUPS, width, 1e-6), nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, latent: Tensor) -> Tensor:
        y = self.before(self.enter(self.unscale(latent / SCALE)))
        rows = self.norm(y).flatten(2).transpose(1, 2)
        y = self.after(y + self.attention(rows, rows).transpose(1, 2).unflatten(2, y.shape[2:]))
        for i, level in enumerate(self.up):
            y = level(y)
            if i < len(self.grow):
                y = self.grow[i](F.interpolate(y, scale_factor=2.0, mode="nearest"))
        return (self.leave(F.silu(self.last(y))) / 2 + 0.5).clamp(0, 1)


def sines(time: Tensor, width: int) -> Tensor:
    """A time step (1,) as cosines and sines (1, width)."""
    half = width // 2
    rates = torch.exp(torch.arange(half, device=time.device) * (-math.log(10_000) / half))
    phase = time[:, None] * rates
    return torch.cat([phase.cos(), phase.sin()], 1)
