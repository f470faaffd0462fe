"""How good the renderer is while it trains: a few numbers on held-out crops. bench/render.py is the real judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from engine.render.denoiser import Known, Painted, Renderer, faded
from engine.render.sampler import sample

REGIONS: Final = {"eyes": 2, "mouth": 3, "hair": 4, "hands": 6}


@torch.no_grad()
def paint(net: Renderer, batch: dict[str, Tensor], steps: int = 1, frame: int = 0) -> Painted:
    """A batch's frame painted on its true previous picture, from noise 0."""
    hi = faded(torch.cat([batch["hi"][:, frame], batch["previous"]], 1))
    with torch.autocast(hi.device.type, torch.bfloat16):
        code = net.encoder(batch["reference"]).float()
        known = Known(hi, batch["lo"][:, frame], batch["view"][:, frame], batch["motion"][:, frame], code)
        conditions = net.denoiser.condition(known)
        noise = torch.randn((1, 3, *hi.shape[-2:]), generator=torch.Generator().manual_seed(0)).expand(
            len(hi), -1, -1, -1
        )
        painted = sample(net.denoiser, known, conditions, noise.to(hi.device), steps)
    return Painted(painted.rgb.float().clamp(0, 1), painted.alpha.float(), painted.masks.float())


def score(net: Renderer, batches: Sequence[dict[str, Tensor]], steps: int = 1) -> dict[str, float]:
    """PSNR in dB (all, and by region) of pictures over mid-grey, alpha's mean error, how often the mask is right.

    Errors are pooled over all pictures before they become decibels.
    """
    square: dict[str, list[Tensor]] = {"psnr": [], **{name: [] for name in REGIONS}}
    alpha, right = [], []
    net.eval()
    for batch in batches:
        painted = paint(net, batch, steps)
        truth, region = batch["target"][:, 0].float() / 255.0, batch["region"][:, 0]
        ours, theirs = (rgb + 0.5 * (1 - a) for rgb, a in ((painted.rgb, painted.alpha), (truth[:, :3], truth[:, 3:])))
        error = (ours.clamp(0, 1) - theirs).square().mean(1)
        square["psnr"].append(error.flatten())
        for name, index in REGIONS.items():
            square[name].append(error[region == index])
        alpha.append((painted.alpha - truth[:, 3:]).abs().flatten())
        right.append((painted.masks.argmax(1) == region).float().flatten())
    out = {name: float(-10 * torch.cat(values).mean().clamp(min=1e-9).log10()) for name, values in square.items()}
    return {**out, "alpha": float(torch.cat(alpha).mean()), "mask": float(torch.cat(right).mean())}
