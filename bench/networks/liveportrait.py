"""LivePortrait: a person's feature volume once, then for each picture key points, a warped volume, a decoder to 512.

Layer shapes: KwaiVGI/LivePortrait src/modules/{motion_extractor,convnextv2}.py, src/config/models.yaml (a272d74); MIT.
Parameters and times on an RTX 4090: assets/docs/speed.md (9d8821f).
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.networks.parts import Count, Part, System, smooth
from bench.networks.warping import CHANNELS, DEPTH, FLAT, SIDE, Appearance, SpadeDecoder, Warping

POINTS: Final = 21
SPEED: Final = "KwaiVGI/LivePortrait assets/docs/speed.md 9d8821f"
STAGES: Final = ((96, 3), (192, 3), (384, 9), (768, 3))  # ConvNeXt V2 tiny: width, blocks
BINS: Final = 66  # of each angle


class ChannelNorm(nn.Module):
    """Layer norm over the channels of (1,C,H,W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return y


class Next(nn.Module):
    """ConvNeXt V2's block (Woo et al. 2023), with its response normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width, eps=1e-6)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gamma, self.beta = (nn.Parameter(torch.empty(4 * width)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        y = F.gelu(self.wide(self.norm(self.depthwise(x).permute(0, 2, 3, 1))))
        size = y.square().sum((1, 2), keepdim=True).sqrt()
        y = self.gamma * (y * size / (size.mean(-1, keepdim=True) + 1e-6)) + self.beta + y
        return x + self.narrow(y).permute(0, 3, 1, 2)


class MotionExtractor(nn.Module):
    """A picture (1,3,256,256) -> key points, angles, expression, place and scale in one row."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, STAGES[0][0], 4, 4), ChannelNorm(STAGES[0][0])]
        before = STAGES[0][0]
        for width, blocks in STAGES:
            if width != before:
                layers += [ChannelNorm(before), nn.Conv2d(before, width, 2, 2)]
            layers += [Next(width) for _ in range(blocks)]
            before = width
        self.layers, self.norm = nn.Sequential(*layers), nn.LayerNorm(before, eps=1e-6)
        self.heads = nn.Linear(before, 6 * POINTS + 3 * BINS + 4)

    def forward(self, picture: Tensor) -> Tensor:
        y: Tensor = self.heads(self.norm(self.layers(picture).mean((2, 3))))
        return y


VOLUME: Final = (1, CHANNELS, DEPTH, SIDE, SIDE)
KEYS: Final = (1, POINTS, 3)
WARPING: Final = Part("warping", lambda: Warping(POINTS),
                      {"volume": smooth(*VOLUME), "driving": KEYS, "source": KEYS}, ("features",),
                      count=Count(45.53e6, SPEED))  # fmt: skip
DECODER: Final = Part("decoder", lambda: SpadeDecoder(2), {"features": smooth(1, FLAT, SIDE, SIDE)}, ("frame",),
                      count=Count(55.37e6, SPEED))  # fmt: skip
APPEARANCE: Final = Part("appearance", Appearance, {"picture": smooth(1, 3, 256, 256)}, ("volume",), 0.0,
                         Count(0.84e6, SPEED))  # fmt: skip
EXTRACTOR: Final = Part("motion", MotionExtractor, {"picture": smooth(1, 3, 256, 256)}, ("row",),
                        count=Count(28.12e6, SPEED))  # fmt: skip

LIVEPORTRAIT: Final = System(
    "liveportrait", "LivePortrait, driven by a video", (APPEARANCE, EXTRACTOR, WARPING, DECODER), (512, 512),
    "head and shoulders", "1", "face detection, stitching (3 small networks), paste back", "MIT",
    "KwaiVGI/LivePortrait a272d74", heavy=True,
)  # fmt: skip
