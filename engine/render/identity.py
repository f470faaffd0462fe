"""Who it is and in which light, as one code: an encoder of reference photographs (torch)."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.render.layers import Conv, silu

CODE: Final = 128


class IdentityEncoder(nn.Module):
    """Reference photographs (K, 8, 128, 128) to one code (CODE,): who it is and in which light.

    Planes: r, g, b over grey, world normal x, y, z, alpha, present (engine.render.reference.reference_planes). Absent
    photographs are zeros and weigh nothing.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        sizes = [8, width, 2 * width, 3 * width, 4 * width]
        self.convs = nn.ModuleList(Conv(a, b, 3) for a, b in zip(sizes, sizes[1:], strict=False))
        self.out = Conv(2 * sizes[-1], CODE, 0)

    def forward(self, planes: Tensor) -> Tensor:
        """(..., K, 8, 128, 128) -> (..., CODE)."""
        shape = planes.shape
        x = F.avg_pool2d(planes.flatten(0, -4), 2)
        for conv in self.convs:
            x = silu(F.avg_pool2d(conv(x), 2) * 1.5)
        x = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1).unflatten(0, shape[:-3])
        present = planes[..., 7, 0, 0][..., None].to(x.dtype)
        x = (x * present).sum(-2) / present.sum(-2).clamp(min=1.0)
        return self.out(x)
