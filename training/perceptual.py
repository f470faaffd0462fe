"""How different two pictures look: distances between features of networks that learned from real pictures.

No perceptual network can be downloaded, so features come from what packages ship (training/perceptual_convert.py):

    "mesh"    first stages of MediaPipe's face mesh (Apache-2.0), trained on real faces: 62 thousand weights: light
              enough to be a loss.
    "people"  first stages of nsfwjs's MobileNetV2 (MIT), trained on ImageNet, then on photographs of people:
              0.45 million weights. The judge of bench/render: nothing here is ever trained against it.

The distance is LPIPS's (Zhang et al. 2018, equation 1) with equal weights: features of unit length at every place,
squared differences summed over channels, mean over places and layers. What there is nothing of (walls) has features
that are all noise; a floor under their length keeps them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from exporters import weights

ASSETS = Path(__file__).parent / "assets"
FLOOR = 1.0  # of a layer's usual length of features: shorter ones count less
MESH_WIDTHS = (16, 32, 64, 128)
# MobileNetV2 (Sandler et al. 2018, table 2) up to its 96 channels: expansion, channels, blocks, stride
PEOPLE_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
SMALLEST = 32  # pixels a side that the deepest layer still makes sense of


class MeshBlock(nn.Module):
    """A depthwise and a pointwise convolution beside a shortcut, then PReLU. (B, C, H, W) -> (B, D, H / s, W / s)."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.stride = 1 if out == width else 2
        self.across = nn.Conv2d(width, width, 3, self.stride, padding=1 if self.stride == 1 else 0, groups=width)
        self.mix, self.bend = nn.Conv2d(width, out, 1), nn.PReLU(out)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            return self.bend(x + self.mix(self.across(x)))
        skip = F.max_pool2d(x, 2)
        skip = F.pad(skip, (0, 0, 0, 0, 0, self.mix.out_channels - skip.shape[1]))
        return self.bend(skip + self.mix(self.across(F.pad(x, (0, 1, 0, 1)))))  # TensorFlow's "SAME" at stride 2


class MeshTrunk(nn.Module):
    """Picture (B, 3, H, W) in [0, 1] -> features at 1/2, 1/4, 1/8 and 1/16 of it, 16 to 128 channels."""

    def __init__(self) -> None:
        super().__init__()
        first = MESH_WIDTHS[0]
        self.enter, self.bend = nn.Conv2d(3, first, 3, 2), nn.PReLU(first)
        stages = []
        for width, before in zip(MESH_WIDTHS, (first, *MESH_WIDTHS), strict=False):
            down = [] if before == width else [MeshBlock(before, width)]
            stages.append(nn.Sequential(*down, MeshBlock(width, width), MeshBlock(width, width)))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        x, found = self.bend(self.enter(F.pad(x, (0, 1, 0, 1)))), []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found


class Bottleneck(nn.Module):
    """Inverted residual (Sandler et al. 2018), batch norms folded in: wide, across, narrow."""

    def __init__(self, width: int, expansion: int, out: int, stride: int) -> None:
        super().__init__()
        wide = width * expansion
        self.wide = nn.Conv2d(width, wide, 1) if expansion > 1 else None
        self.across = nn.Conv2d(wide, wide, 3, stride, padding=1 if stride == 1 else 0, groups=wide)
        self.narrow = nn.Conv2d(wide, out, 1)
        self.residual = stride == 1 and width == out

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.wide is None else F.relu6(self.wide(x))
        y = self.narrow(F.relu6(self.across(y if self.across.stride[0] == 1 else F.pad(y, (0, 1, 0, 1)))))
        return x + y if self.residual else y


class PeopleTrunk(nn.Module):
    """Picture (B, 3, H, W) in [0, 1] -> features at 1/2, 1/4, 1/8, 1/16 and 1/16 of it, 16 to 96 channels."""

    def __init__(self) -> None:
        super().__init__()
        width = 32
        self.enter = nn.Conv2d(3, width, 3, 2)
        stages = []
        for expansion, out, blocks, stride in PEOPLE_STAGES:
            stage = []
            for number in range(blocks):
                stage.append(Bottleneck(width, expansion, out, stride if number == 0 else 1))
                width = out
            stages.append(nn.Sequential(*stage))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        x, found = F.relu6(self.enter(F.pad(x, (0, 1, 0, 1)))), []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found


TRUNKS: dict[str, type[MeshTrunk] | type[PeopleTrunk]] = {"mesh": MeshTrunk, "people": PeopleTrunk}


class Perceptual(nn.Module):
    """The distance by one trunk: frozen, differentiable in its pictures. Build it with :func:`load`.

    ``usual`` (layers,): root mean square length of the features of photographs, layer by layer.
    """

    usual: Tensor

    def __init__(self, name: str) -> None:
        super().__init__()
        if name not in TRUNKS:
            raise ValueError(f"perceptual features are {' or '.join(TRUNKS)}, got {name!r}")
        self.name, self.trunk = name, TRUNKS[name]()
        self.register_buffer("usual", torch.ones(len(self.trunk.stages)))
        self.requires_grad_(False)

    def features(self, picture: Tensor) -> list[Tensor]:
        """Unit-length features of (B, 3, H, W) sRGB in [0, 1], layer by layer. Raises ValueError when too small."""
        if picture.dim() != 4 or picture.shape[1] != 3 or min(picture.shape[2:]) < SMALLEST:
            raise ValueError(f"pictures are (B, 3, H, W) of {SMALLEST} pixels and more, got {tuple(picture.shape)}")
        unit = []
        picture = picture.contiguous(memory_format=torch.channels_last)  # a third faster on a CPU
        for feature, usual in zip(self.trunk(picture), self.usual, strict=True):
            length = (feature.square().sum(1, keepdim=True) + (FLOOR * usual) ** 2).sqrt()
            unit.append(feature / length)
        return unit

    def forward(self, a: Tensor, b: Tensor, weight: Tensor | None = None) -> Tensor:
        """Distances (B,) of pictures a and b, (B, 3, H, W) sRGB in [0, 1]: 0 for the same, at most 2 a layer.

        ``weight`` (B, 1, H, W) >= 0 says where to look; a picture without weight is at distance 0. Gradients reach
        ``a`` and, where it asks for them, ``b``.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and b.requires_grad):
            wanted = self.features(b)
        total = a.new_zeros(len(a))
        for mine, theirs in zip(self.features(a), wanted, strict=True):
            apart = (mine - theirs).square().sum(1, keepdim=True)
            if weight is None:
                total = total + apart.mean((1, 2, 3))
            else:
                there = _like(weight, apart)
                total = total + (apart * there).sum((1, 2, 3)) / there.sum((1, 2, 3)).clamp_min(1e-6)
        return total / len(wanted)

    @torch.no_grad()
    def between(
        self, a: NDArray[np.uint8], b: NDArray[np.uint8], masks: Sequence[NDArray[Any] | None] = (None,)
    ) -> list[float]:
        """For NumPy: the distance of two pictures (H, W, 3) u8, once for each mask (H, W) (None: everywhere; NaN for
        an empty one)."""
        pair = torch.from_numpy(np.stack([a, b])).permute(0, 3, 1, 2).float() / 255.0
        maps = [(x[:1] - x[1:]).square().sum(1, keepdim=True) for x in self.features(pair)]
        out = []
        for mask in masks:
            if mask is None:
                out.append(float(torch.stack([x.mean() for x in maps]).mean()))
                continue
            weight = torch.from_numpy(np.asarray(mask, np.float32))[None, None]
            if not bool(weight.any()):
                out.append(float("nan"))
                continue
            there = [_like(weight, x) for x in maps]
            out.append(float(torch.stack([(x * w).sum() / w.sum() for x, w in zip(maps, there, strict=True)]).mean()))
        return out


def _like(weight: Tensor, features: Tensor) -> Tensor:
    """``weight`` (B, 1, H, W) averaged down to the places of ``features``."""
    return F.adaptive_avg_pool2d(weight, (features.shape[2], features.shape[3]))


def path(name: str) -> Path:
    """Where the weights of a trunk are."""
    return ASSETS / f"perceptual_{name}.safetensors"


def load(name: str = "mesh") -> Perceptual:
    """The distance by trunk ``name``, ready to use. Raises ValueError when its weights are missing or broken."""
    kind = "perceptual features (make them: python -m training.perceptual_convert)"
    net = weights.load(path(name), kind, lambda sizes: Perceptual(**sizes))
    return net.requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
