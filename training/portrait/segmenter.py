"""The network that tells hair, skin and clothes apart, for training and export alone: a small U-Net that looks at a
crop around one face, and at what the person mask's own network sees there.

That network (MediaPipe's selfie segmentation, training/assets/person_mask.onnx) was taught on photographs of real
people, which the studio has none of: its inner feature maps (TAPS) are read beside the picture and never trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

TAPS: Final = (("tensor_12", 16, 4), ("tensor_219", 16, 4), ("tensor_48", 24, 8), ("tensor_157", 32, 16))
WIDTHS: Final = (24, 48, 88, 128)  # channels at a half, a quarter, an eighth and a sixteenth of the side


class Segmenter(nn.Module):
    """Logits (B, classes, S, S) from planes (B, planes, S, S) and the maps of TAPS (channels, S over its step)."""

    def __init__(self, planes: int, classes: int, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.planes, self.classes, self.widths = planes, classes, tuple(widths)
        half, quarter, eighth, least = widths
        self.scale = nn.ModuleList(nn.BatchNorm2d(channels) for _, channels, _ in TAPS)
        self.stem = nn.Sequential(_unit(planes, half, 2), _unit(half, half))
        self.fine = nn.Sequential(_unit(half + 32, quarter), Block(quarter))
        self.middle = nn.Sequential(_unit(quarter + 24, eighth), Block(eighth))
        self.coarse = nn.Sequential(_unit(eighth + 32, least), Block(least), Block(least), Block(least, dilation=2))
        self.down = nn.ModuleList([_unit(half, half, 2), _unit(quarter, quarter, 2), _unit(eighth, eighth, 2)])
        steps = ((least, eighth), (eighth, quarter))
        self.join = nn.ModuleList(nn.Sequential(_unit(low + level, level), Block(level)) for low, level in steps)
        self.last = _unit(quarter + half, half)
        self.head = nn.Conv2d(half, 4 * classes, 3, 1, 1)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.spread = nn.PixelShuffle(2)

    def forward(self, x: Tensor, *taps: Tensor) -> Tensor:
        """``taps`` in the order of TAPS."""
        first, decoded, eighth, least = (scale(tap) for scale, tap in zip(self.scale, taps, strict=True))
        a = self.stem(x)  # (B, half, S/2, S/2)
        b = self.fine(torch.cat([self.down[0](a), first, decoded], 1))
        c = self.middle(torch.cat([self.down[1](b), eighth], 1))
        y = self.coarse(torch.cat([self.down[2](c), least], 1))
        for join, skip in zip(self.join, (c, b), strict=True):
            y = join(torch.cat([self.up(y), skip], 1))
        y = self.last(torch.cat([self.up(y), a], 1))
        logits: Tensor = self.spread(self.head(y))
        return logits


class Block(nn.Module):
    """Two convolutions (B, channels, h, w) beside a shortcut."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = _unit(channels, channels, dilation=dilation)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """As large as ``x``."""
        return torch.relu(x + self.second(self.first(x)))


def _unit(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())
