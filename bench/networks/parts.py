"""What a generator network of a public system is to this benchmark: parts, how often each runs, what it paints.

Networks are re-described from layer shapes in the public sources that each module names, with random weights: a shape
decides what a picture costs, a weight does not. None of that code is in here, and none of those weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

F32 = NDArray[np.float32]
Feed = dict[str, NDArray[Any]]
Shape = tuple[int, ...]
Source = Callable[[np.random.Generator], NDArray[Any]]
BLOCK: Final = (1 << 20) + 7  # random numbers that all weights of a network are cut from
COARSE: Final = 8  # pixels between the random numbers of a smooth input


@dataclass(frozen=True, slots=True)
class Count:
    """Parameters that somebody else has counted, and where that is written. ``spread``: what may be off, a share."""

    parameters: float
    source: str
    spread: float = 0.01


@dataclass(frozen=True, slots=True)
class Part:
    """One network of a system: ``per_frame`` runs a picture (0: once a person, so it is timed and not summed).

    ``inputs`` names its inputs in order: a shape (uniform in [-1, 1]) or how to draw it; ``build`` makes it without
    weights. ``count``: parameters as published, None where only the layers' own shapes say it.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Mapping[str, Shape | Source]
    outputs: tuple[str, ...]
    per_frame: float = 1.0
    count: Count | None = None

    def feed(self, seed: int = 0) -> Feed:
        """Inputs of batch 1, the same for the same ``seed``."""
        rng = np.random.default_rng(seed)
        return {name: drawn(rng) if callable(drawn) else uniform(rng, drawn) for name, drawn in self.inputs.items()}

    def network(self, seed: int = 0) -> nn.Module:
        """With random weights, the same for the same ``seed``, ready to run."""
        with torch.device("meta"):
            net = self.build()
        return calibrate(draw(net, seed), self.feed(seed))

    def parameters(self) -> int:
        """How many, without a network."""
        with torch.device("meta"):
            return parameters(self.build())

    def cost(self) -> tuple[int, int]:
        """(parameters, floating point operations of a run: a product and its sum are two), nothing computed."""
        with torch.device("meta"):
            net = self.build().eval()
        return parameters(net), operations(net, self.feed(), "meta")


@dataclass(frozen=True, slots=True)
class System:
    """A public system: what it paints in a picture of ``size`` (W, H) of its own, in ``steps`` of its network.

    ``missing``: what it also does for each picture and is not timed; ``heavy``: seconds a picture on a few cores.
    """

    name: str
    title: str
    parts: tuple[Part, ...]
    size: tuple[int, int]
    paints: str
    steps: str
    missing: str
    licence: str
    source: str
    heavy: bool = False

    @property
    def pixels(self) -> int:
        """Of a picture."""
        return self.size[0] * self.size[1]

    @property
    def side(self) -> int:
        """The resolution class it belongs to: 256 or 512."""
        return 512 if max(self.size) > 384 else 256


def uniform(rng: np.random.Generator, shape: Shape) -> F32:
    """Random numbers in [-1, 1]."""
    return rng.uniform(-1, 1, shape).astype(np.float32)


def smooth(*shape: int) -> Source:
    """Draws numbers in [-1, 1] that change slowly along the last two axes, as pictures and their features do."""

    def drawn(rng: np.random.Generator) -> F32:
        coarse = uniform(rng, (1, prod(shape[:-2]), shape[-2] // COARSE + 1, shape[-1] // COARSE + 1))
        fine = nn.functional.interpolate(torch.from_numpy(coarse), shape[-2:], mode="bilinear", align_corners=True)
        return fine.reshape(shape).numpy()

    return drawn


def parameters(net: nn.Module) -> int:
    """How many numbers a network has learned, or would have."""
    return sum(parameter.numel() for parameter in net.parameters())


def operations(net: nn.Module, feed: Feed, device: str = "cpu") -> int:
    """Floating point operations of convolutions and matrix products in a run: a product and its sum are two."""
    given = [torch.as_tensor(value).to(device) for value in feed.values()]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(*given)
    return int(counter.get_total_flops())


def calibrate(net: nn.Module, feed: Feed) -> nn.Module:
    """Gives batch normalisations the size of what comes in, from one run, so that signals keep theirs."""
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    hooks = [norm.register_forward_pre_hook(_seen) for norm in norms]
    if norms:
        with torch.no_grad():
            net(*(torch.from_numpy(value) for value in feed.values()))
    for hook in hooks:
        hook.remove()
    return net


def _seen(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
    rows = given[0].transpose(0, 1).flatten(1)
    if isinstance(norm, _BatchNorm) and rows.shape[1] > 1 and norm.running_mean is not None:
        assert norm.running_var is not None
        norm.running_var.copy_(rows.square().mean(1) + 1e-3)


def draw(net: nn.Module, seed: int) -> nn.Module:
    """Gives a network built on the meta device random weights that keep signals at their size; ready to run.

    It may have no buffers but those of batch normalisation.
    """
    net = net.to_empty(device="cpu").eval()
    block, at = torch.from_numpy(uniform(np.random.default_rng(seed), (BLOCK,))), 0
    for module in net.modules():
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
        for name, value in module.named_parameters(recurse=False):
            at = _fill(value.data, block, at)
            _scale(value.data, name, isinstance(module, nn.modules.conv._ConvTransposeNd))
    return net


def _fill(value: Tensor, block: Tensor, at: int) -> int:
    """Fills ``value`` with numbers of ``block`` from ``at`` on, around and around; where to go on from."""
    flat, done = value.view(-1), 0
    while done < flat.numel():
        count = min(flat.numel() - done, BLOCK - at)
        flat[done : done + count] = block[at : at + count]
        done, at = done + count, (at + count) % BLOCK
    return at


def _scale(value: Tensor, name: str, transposed: bool) -> None:
    if value.dim() < 2:
        value.mul_(0.1)
        if name == "weight":  # of a normalisation
            value.add_(1)
        return
    inputs = prod(value.shape) // value.shape[1 if transposed else 0]
    value.mul_((6 / inputs) ** 0.5)  # He et al. 2015: a uniform's deviation is its limit over the root of 3
