"""Ultralight-Digital-Human's generator: a U-Net of inverted residuals, 160 x 160, heard through HuBERT.

Layer shapes: anliyuan/Ultralight-Digital-Human unet.py (3f9852e), Apache-2.0.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.networks.parts import Part, System, smooth

SIDE: Final = 160
EXPAND: Final = 2
WIDTHS: Final = (32, 64, 128, 256, 512)


class Inverted(nn.Sequential):
    """1 x 1 to twice the width, 3 x 3 by channel, 1 x 1 to ``outputs``; with a skip where ``skip``."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, skip: bool = False) -> None:
        wide = EXPAND * inputs
        super().__init__(
            nn.Conv2d(inputs, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU(),
            nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return x + y if self.skip else y


def double(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Two of them, the second with a skip."""
    return nn.Sequential(Inverted(inputs, outputs, stride), Inverted(outputs, outputs, skip=True))


class Hearing(nn.Module):
    """HuBERT's features (1,16,32,32) -> (1,512,10,10)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Inverted(16, 64), Inverted(64, 128),
            nn.Conv2d(128, 256, 3, 2, 1), nn.BatchNorm2d(256), nn.ReLU(), Inverted(256, 256, skip=True),
            nn.Conv2d(256, 512, 3, 2, 3), nn.BatchNorm2d(512), nn.ReLU(),
            Inverted(512, 512, skip=True), Inverted(512, 512, skip=True),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


class Ultralight(nn.Module):
    """face (1,6,160,160): a reference and one with the mouth masked; audio (1,16,32,32) -> (1,3,160,160)."""

    def __init__(self) -> None:
        super().__init__()
        one, two, three, four, five = WIDTHS
        self.hearing, self.enter = Hearing(), Inverted(6, one)
        self.downs = nn.ModuleList(double(a, b, 2) for a, b in zip(WIDTHS, WIDTHS[1:], strict=False))
        self.fuse = nn.Sequential(double(2 * five, five), double(five, four))
        self.ups = nn.ModuleList([double(five, four // 2), double(four, three // 2), double(three, two // 2),
                                  double(two, one)])  # fmt: skip
        self.out = nn.Conv2d(one, 3, 1)

    def forward(self, face: Tensor, audio: Tensor) -> Tensor:
        beside = [self.enter(face)]
        for down in self.downs:
            beside.append(down(beside[-1]))
        y = self.fuse(torch.cat([beside.pop(), self.hearing(audio)], 1))
        for up in self.ups:
            y = F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=True)
            y = up(torch.cat([y, beside.pop()], 1))
        return torch.sigmoid(self.out(y))


ULTRALIGHT: Final = System(
    "ultralight", "Ultralight-DH",
    (Part("generator", Ultralight, {"face": smooth(1, 6, SIDE, SIDE), "audio": (1, 16, 32, 32)}, ("frame",)),),
    (SIDE, SIDE), "box around the face, mouth new; one network a person", "1",
    "HuBERT, landmarks, paste into the film's frame", "Apache-2.0", "anliyuan/Ultralight-Digital-Human 3f9852e",
)  # fmt: skip
