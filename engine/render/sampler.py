"""Sampling: from noise to a picture in one, two, four or fifty steps (torch)."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.render.denoiser import Conditions, Denoiser, Known, Painted

RHO = 7.0  # EDM (Karras et al. 2022) eq. 5
MULTISTEP = {1: (), 2: (0.5,), 4: (2.0, 0.5, 0.12)}  # noise levels of the steps after the first


def sample(net: Denoiser, known: Known, conditions: Conditions, noise: Tensor, steps: int) -> Painted:
    """Consistency sampling (Song et al. 2023, algorithm 1) in 1, 2 or 4 steps. noise (B,3,S,S), unit normal.

    ``conditions`` is what ``net.condition`` made of ``known``. Every step uses the same noise, moved by half a picture:
    a session keeps its noise, and frames do not flicker.
    """
    if steps not in MULTISTEP:
        raise ValueError(f"steps must be one of {', '.join(map(str, MULTISTEP))}; got {steps}")
    top = net.config.sigma_max
    painted = net(start(net, known, noise), noise.new_full((noise.shape[0],), top), known, conditions)
    for step, sigma in enumerate(MULTISTEP[steps]):
        moved = torch.roll(noise, noise.shape[-1] // 2 + 8 * step, -1)
        painted = net(painted.rgb + sigma * moved, noise.new_full((noise.shape[0],), sigma), known, conditions)
    return painted


def start(net: Denoiser, known: Known, noise: Tensor) -> Tensor:
    """Where sampling begins: the lit surface, drowned in noise."""
    return known.hi[:, :3].float() / 255.0 + net.config.sigma_max * noise


def schedule(net: Denoiser, steps: int) -> Tensor:
    """Noise levels (steps + 1,) from sigma_max down to 0 (EDM eq. 5)."""
    low, high = net.config.sigma_min ** (1 / RHO), net.config.sigma_max ** (1 / RHO)
    part = torch.arange(steps) / max(steps - 1, 1)
    return torch.cat([(high + part * (low - high)) ** RHO, torch.zeros(1)])


@torch.no_grad()
def solve(net: Denoiser, known: Known, conditions: Conditions, noise: Tensor, steps: int = 50) -> Painted:
    """The probability-flow ODE by Heun's second-order method (EDM algorithm 1); 2 steps - 1 evaluations."""
    levels = schedule(net, steps).to(noise)
    x = start(net, known, noise)
    for now, following in zip(levels[:-1], levels[1:], strict=True):
        painted = net(x, now.expand(noise.shape[0]), known, conditions)
        slope = (x - painted.rgb) / now
        ahead = x + (following - now) * slope
        if following > 0:
            again = net(ahead, following.expand(noise.shape[0]), known, conditions)
            ahead = x + (following - now) * 0.5 * (slope + (ahead - again.rgb) / following)
        x = ahead
    return Painted(x, painted.alpha, painted.masks)
