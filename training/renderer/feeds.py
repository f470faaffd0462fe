"""Inputs of the exported frame as sessions would give them, from cooked clips: what quantising sets its ranges by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from engine.render.denoiser import Renderer, faded, pack
from exporters.render import FirstNoise, rounded
from training.renderer.data import held


@torch.no_grad()
def feeds(net: Renderer, data: Path, count: int, seed: int) -> Iterator[dict[str, NDArray[Any]]]:
    """``count`` whole pictures of the cooked clips in ``data``, as inputs of the frame's graph (exporters.render)."""
    net, draws = rounded(net), torch.Generator().manual_seed(seed)
    for sample in held(data, count, None, seed):
        hi = faded(torch.cat([sample["hi"][:1], sample["previous"][None]], 1))
        noise, detail = FirstNoise(net)(torch.randn((1, 3, *hi.shape[-2:]), generator=draws))
        given = {
            "cells": pack(hi, sample["lo"][:1]), "noise": noise, "noise_detail": detail, "view": sample["view"][:1],
            "motion": sample["motion"][:1], "code": net.encoder(sample["reference"])[None],
        }  # fmt: skip
        yield {name: value.numpy() for name, value in given.items()}
