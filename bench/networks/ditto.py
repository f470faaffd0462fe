"""Ditto: a diffusion transformer that makes the motion of 80 pictures at once, painted by LivePortrait's networks.

Layer shapes: wangjia184/ditto-talkinghead core/models/modules/lmdm_modules/model.py (4d24f23), MotionDiT/src/models/
LMDM.py (7aa0c1b), a fork of antgroup/ditto-talkinghead; Apache-2.0. 70 of the 80 are new; sampling_timesteps is 50
where nothing is set and 10 in that fork's port; guidance runs the network twice a step.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.networks.liveportrait import APPEARANCE, DECODER, WARPING
from bench.networks.parts import Count, Part, System

WIDTH, HEADS, WIDE, LAYERS = 512, 8, 1024, 8
MOTION, SOUND, FRAMES = 265, 1024 + 35, 80
NEW: Final = 70  # pictures of a run
STEPS: Final = 10
GUIDANCE: Final = 2.0


class Heads(nn.Module):
    """Multi-head attention, its three entries in one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        weights, biases = self.enter.weight.chunk(3), self.enter.bias.chunk(3)
        split = [F.linear(x, w, b).unflatten(2, (HEADS, -1)).transpose(1, 2)
                 for x, w, b in zip((query, key, value), weights, biases, strict=True)]  # fmt: skip
        y: Tensor = self.leave(F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2))
        return y


class Film(nn.Sequential):
    """Scale and shift of features by the time step."""

    def __init__(self) -> None:
        super().__init__(nn.Mish(), nn.Linear(WIDTH, 2 * WIDTH))

    def scaled(self, x: Tensor, t: Tensor) -> Tensor:
        """(1,N,C) by t (1,C)."""
        scale, shift = self(t)[:, None].chunk(2, 2)
        return (scale + 1) * x + shift


class Encoder(nn.Module):
    """Self-attention with turned queries and keys, and a feed-forward."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.wide, self.narrow = Heads(), nn.Linear(WIDTH, WIDE), nn.Linear(WIDE, WIDTH)
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.own(turned(y), turned(y), y)
        return x + self.narrow(F.gelu(self.wide(self.norm2(x))))


class Layer(nn.Module):
    """Self-attention, attention to what is heard, feed-forward; each scaled by the time step."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.cross = Heads(), Heads()
        self.wide, self.narrow = nn.Linear(WIDTH, WIDE), nn.Linear(WIDE, WIDTH)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3))
        self.film1, self.film2, self.film3 = Film(), Film(), Film()

    def forward(self, x: Tensor, heard: Tensor, t: Tensor) -> Tensor:
        y = self.norms[0](x)
        x = x + self.film1.scaled(self.own(turned(y), turned(y), y), t)
        y = self.norms[1](x)
        x = x + self.film2.scaled(self.cross(turned(y), turned(heard), heard), t)
        y = self.narrow(F.gelu(self.wide(self.norms[2](x))))
        return x + self.film3.scaled(y, t)


class MotionDit(nn.Module):
    """One guided step: noisy motion (1,80,265), the frame before (1,265), sound (1,80,1059), time (1,) -> motion."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.Mish())
        self.to_time, self.to_tokens = nn.Linear(4 * WIDTH, WIDTH), nn.Linear(4 * WIDTH, 2 * WIDTH)
        self.nothing = nn.Parameter(torch.empty(1, FRAMES, WIDTH))
        self.nobody = nn.Parameter(torch.empty(1, WIDTH))
        self.enter, self.hear = nn.Linear(2 * MOTION, WIDTH), nn.Linear(SOUND, WIDTH)
        self.encoders = nn.Sequential(Encoder(), Encoder())
        self.pooled = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
        self.norm, self.layers = nn.LayerNorm(WIDTH), nn.ModuleList(Layer() for _ in range(LAYERS))
        self.leave = nn.Linear(WIDTH, MOTION)

    def forward(self, motion: Tensor, before: Tensor, sound: Tensor, time: Tensor) -> Tensor:
        known = self.encoders(self.hear(sound))
        without = self.once(motion, before, self.nothing, self.nobody, time)
        given = self.once(motion, before, known, self.pooled(known.mean(1)), time)
        return without + (given - without) * GUIDANCE

    def once(self, motion: Tensor, before: Tensor, heard: Tensor, pooled: Tensor, time: Tensor) -> Tensor:
        """One pass."""
        x = self.enter(torch.cat([motion, before[:, None].expand(-1, FRAMES, -1)], 2))
        t = self.time(waves(time))
        tokens = self.norm(torch.cat([heard, self.to_tokens(t).unflatten(1, (2, WIDTH))], 1))
        t = self.to_time(t) + pooled
        for layer in self.layers:
            x = layer(x, tokens, t)
        y: Tensor = self.leave(x)
        return y


def turned(x: Tensor) -> Tensor:
    """Rotary embedding (Su et al. 2021) of (1,N,C), over its whole width."""
    rates = torch.exp(torch.arange(WIDTH // 2, device=x.device) * (-2 * math.log(10_000) / WIDTH))
    phase = torch.arange(x.shape[1], device=x.device)[:, None] * rates
    even, odd = x.unflatten(2, (-1, 2)).unbind(3)
    cos, sin = phase.cos(), phase.sin()
    return torch.stack([even * cos - odd * sin, odd * cos + even * sin], 3).flatten(2)


def waves(time: Tensor) -> Tensor:
    """A time step (1,) as sines and cosines (1,512)."""
    half = WIDTH // 2
    phase = time[:, None] * torch.exp(torch.arange(half, device=time.device) * (-math.log(10_000) / (half - 1)))
    return torch.cat([phase.sin(), phase.cos()], 1)


DITTO: Final = System(
    "ditto", "Ditto",
    (
        APPEARANCE,
        Part("motion", MotionDit, {"motion": (1, FRAMES, MOTION), "before": (1, MOTION), "sound": (1, FRAMES, SOUND),
                                   "time": (1,)}, ("clean",), STEPS / NEW,
             Count(191e6 / 4, "lmdm_v0.4_hubert.pth, 191 MB of float32 (digital-avatar/ditto-talkinghead)")),
        WARPING, DECODER,
    ),
    (512, 512), "head and shoulders", "10, for 70 pictures at once", "HuBERT, stitching, paste back", "Apache-2.0",
    "wangjia184/ditto-talkinghead 4d24f23, a fork of antgroup's", heavy=True,
)  # fmt: skip
