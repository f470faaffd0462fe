"""Our own network for the same table: the shipped weights, one frame in one step, float again before quantising."""

from __future__ import annotations

from typing import Final

import numpy as np
from torch import nn

from bench.networks.parts import Part, Shape, Source, System, operations, parameters
from engine.motion.frame import SIZE
from engine.render.denoiser import LITE, PACKED, PATCH, VIEW, Renderer
from engine.render.identity import CODE
from engine.render.network import ASSETS
from exporters.render import INPUTS, OUTPUTS, Frame, load_weights, rounded

SIDES: Final = (256, 512)
WEIGHTS: Final = ASSETS / "renderer_lite.safetensors"


class Ours(Part):
    """The frame's graph for pictures of one size: with our weights, which are there, rather than random ones."""

    def network(self, seed: int = 0) -> nn.Module:
        """With the shipped weights."""
        return Frame(rounded(load_weights(WEIGHTS))).eval()

    def cost(self) -> tuple[int, int]:
        """Of the frame's graph alone: the encoder runs once a person."""
        net = self.network()
        return parameters(net), operations(net, self.feed())


def _build() -> nn.Module:
    return Frame(Renderer(LITE).fold())


def _bytes(shape: tuple[int, ...]) -> Source:
    return lambda rng: rng.integers(0, 256, shape, np.uint8)


def system(side: int) -> System:
    """The neural renderer at ``side`` x ``side``."""
    grid = side // PATCH
    inputs: dict[str, Shape | Source] = {
        "cells": _bytes((1, grid, grid, 4, PACKED)), "noise": (1, grid, grid, LITE.widths[0]),
        "noise_detail": (1, grid, grid, 4 * LITE.head), "view": (1, VIEW), "motion": (1, SIZE), "code": (1, CODE),
    }  # fmt: skip
    part = Ours("network", _build, {name: inputs[name] for name in INPUTS}, tuple(OUTPUTS))
    return System(f"ours{side}", f"Visavis lite {side}", (part,), (side, side), "upper body, any view", "1",
                  "guidance, cells, background: see the whole frame", "Apache-2.0", "this repository")  # fmt: skip
