"""What a run is worth beside others, for ablations: figures on held-out crops, on previous pictures that are true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from engine.render.denoiser import Renderer
from training import perceptual
from training.renderer import loss
from training.renderer.score import paint, score

GREY: Final = 0.5
HALF: Final = 0.5


@torch.no_grad()
def figures(net: Renderer, batches: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    """What :func:`training.renderer.score.score` says, and ``gradient`` (error of edges at three sizes over the truth's
    own), ``edge`` (mean error of alpha where the truth is partly there), ``perceptual`` (the judge's distance, "people"
    features, where somebody is)."""
    judge = perceptual.load("people")
    out = score(net, batches)
    sums = torch.zeros(6, dtype=torch.float64)
    for batch in batches:
        painted, truth = paint(net, batch), batch["target"][:, 0].float() / 255.0
        rgb, alpha = truth[:, :3], truth[:, 3:]
        ours, theirs = (painted.rgb + GREY * (1 - painted.alpha)).clamp(0, 1), rgb + GREY * (1 - alpha)
        flat, everywhere = torch.full_like(theirs, GREY), torch.ones_like(alpha)
        partly = (alpha > 0) & (alpha < 1)
        sums += torch.tensor([
            float(loss.edges(ours, theirs, everywhere)), float(loss.edges(flat, theirs, everywhere)),
            float((painted.alpha - alpha).abs()[partly].sum()), float(partly.sum()),
            float(judge(ours, theirs, (alpha > HALF).float()).sum()), float(len(ours)),
        ], dtype=torch.float64)  # fmt: skip
    gradient, edge, apart = (sums[0::2] / sums[1::2].clamp(min=1e-9)).tolist()
    return {**out, "gradient": gradient, "edge": edge, "perceptual": apart}
