"""Frames as sessions give them to the renderer's network: shipped avatars that talk, look and turn, on their own last
pictures. Exports are measured on them, and eight-bit scales set by them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from engine import avatar as packs
from engine.motion.frame import ACTION_INDEX, JOINT_INDEX, Motion
from engine.render.denoiser import Renderer
from engine.render.network import Network
from engine.render.neural import NeuralRenderer
from engine.render.painter import Painter
from engine.viewpoint import Viewpoint
from exporters.render import OUTPUTS, FirstNoise
from kernels import cells

PEOPLE: Final = ("ada", "kofi", "mei", "omar")
Feed = dict[str, NDArray[Any]]
Answer = Mapping[str, NDArray[Any]]


class _Eager:
    """engine.backends.Program: one step in float32, by torch."""

    runs = "torch, eager"

    def __init__(self, net: Renderer, size: tuple[int, int], seed: int) -> None:
        self.painter = Painter(net)
        normal = torch.from_numpy(np.random.default_rng(seed).standard_normal((1, 3, *size), np.float32))
        with torch.no_grad():
            noise, detail = FirstNoise(net)(normal)
        rows, columns = size[0] // cells.PATCH, size[1] // cells.PATCH
        self.feed: Feed = {
            "cells": np.zeros((1, rows, columns, 4, cells.PACKED), np.uint8), "noise": noise.numpy(),
            "noise_detail": detail.numpy(), "view": np.zeros((1, 4), np.float32),
            "motion": Motion.rest().pack()[None], "code": np.zeros((1, 128), np.float32), "normal": normal.numpy(),
        }  # fmt: skip

    def inputs(self, batch: int) -> Feed:
        """See Program."""
        assert batch == 1
        return self.feed

    def run(self, batch: int) -> Answer:
        """See Program."""
        return answer(self.painter, self.feed)


@dataclass(frozen=True, slots=True)
class _Net(Network):
    """A network in memory rather than in files."""

    net: Renderer | None = None

    def program(self, size: tuple[int, int], seed: int) -> Any:
        assert self.net is not None
        return _Eager(self.net, size, seed)

    def identity(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        assert self.net is not None
        with torch.no_grad():
            return np.asarray(self.net.encoder(torch.from_numpy(planes)).numpy())


def draw(net: Renderer, size: tuple[int, int], people: Sequence[str] = PEOPLE, count: int = 6) -> Iterator[Feed]:
    """``count`` frames of each of ``people``, avatars' ids, at ``size`` (H, W): inputs of the painter by name, batch 1,
    for any number of steps but for "wanted"."""
    for number, person in enumerate(people):
        network = _Net(Path(f"{id(net)}.memory"), net=net)
        renderer = NeuralRenderer(packs.load(packs.find(person)), network, size, seed=number)
        state, feed = renderer.initial_state(), renderer._program.inputs(1)
        for frame in range(count):
            # Two pictures in a row, then far away: a previous one is there, and views and mouths are many.
            at = 25.0 * number + 1.7 * (frame // 2) + 0.04 * (frame % 2)
            _, state = renderer.step(*scene(at, renderer.framing.distance), state)
            yield {name: value.copy() for name, value in feed.items()}


def scene(t: float, distance: float) -> tuple[Motion, Viewpoint]:
    """Somebody who talks, blinks, smiles, looks around and lifts an arm, ``t`` seconds in, and where from."""
    motion = Motion.rest()
    for name, rate, most in (("jawOpen", 9.0, 0.6), ("mouthPucker", 5.0, 0.6), ("mouthSmileLeft", 1.1, 0.5),
                             ("mouthSmileRight", 1.1, 0.5), ("eyeBlinkLeft", 2.3, 1.0), ("eyeBlinkRight", 2.3, 1.0),
                             ("browInnerUp", 1.7, 0.6)):  # fmt: skip
        motion.face[ACTION_INDEX[name]] = 0.5 * most * (1 + math.sin(rate * t))
    motion.gaze[:] = 0.2 * math.sin(0.9 * t), 0.1 * math.sin(0.7 * t)
    motion.head[:3] = 0.1 * math.sin(t), 0.2 * math.sin(0.7 * t), 0.06 * math.sin(1.3 * t)
    motion.joints[JOINT_INDEX["shoulder_l"], 2] = 0.3 * (1 + math.sin(0.6 * t))
    return motion, Viewpoint(
        0.9 * math.sin(0.5 * t), 0.25 * math.sin(0.3 * t), distance * (1 + 0.2 * math.sin(0.4 * t))
    )


def answer(painter: Painter, feed: Feed) -> Answer:
    """What the painter makes of a frame; every row in all its steps."""
    given = dict(feed)
    if painter.steps > 1:
        given["wanted"] = np.full(len(feed["cells"]), painter.steps, np.int32)
    else:
        given.pop("normal", None)
    with torch.no_grad():
        made = painter(**{name: torch.from_numpy(value) for name, value in given.items()})
    return {name: value.numpy() for name, value in zip(OUTPUTS, made, strict=True)}


def picture(feed: Feed, made: Answer) -> NDArray[np.uint8]:
    """The picture (H,W,4) of an answer to a frame, as a session paints it."""
    rows, columns = feed["cells"].shape[1:3]
    out = np.zeros((rows * cells.PATCH, columns * cells.PATCH, 4), np.uint8)
    residual, shares, gain = (np.ascontiguousarray(made[name][0]) for name in OUTPUTS[:3])
    return cells.paint(residual, shares, gain, np.ascontiguousarray(feed["cells"][0]), out)


def decibels(pictures: Sequence[NDArray[np.uint8]], wanted: Sequence[NDArray[np.uint8]]) -> float:
    """PSNR of pictures (H,W,4), premultiplied colours where somebody is; inf when they are the same."""
    errors = []
    for one, other in zip(pictures, wanted, strict=True):
        there = other[..., 3] > 0
        errors.append(np.square(one[there][:, :3].astype(np.float64) - other[there][:, :3]).ravel())
    error = float(np.concatenate(errors).mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)
