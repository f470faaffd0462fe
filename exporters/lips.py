"""The lip network as it runs: engine.motion.generator for one frame, in the few operations of exporters.steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.audio.logmel import BINS
from engine.clock import HOPS_PER_FRAME
from engine.motion import acoustic
from engine.motion.acoustic import CEPSTRA, CONTEXT, DELAY, FEATURES, GAUSSIANS, PHONES, SIZES, STATES, STREAMS
from engine.motion.generator import CARRY, LEARNED, Head, LipGenerator, Mouth
from engine.motion.lips import VISEMES
from exporters.steps import (
    BlockStep,
    EachLinear,
    HopBlockStep,
    HopsStep,
    Memory,
    Step,
    blocks,
    dense,
    first_rows,
    linear,
)


class AcousticStep(Step):
    """engine.motion.acoustic.Acoustic for one frame: log-mel (B, 4, 80) -> likelihoods (B, 4, 126)."""

    filters: Tensor
    transform: Tensor
    mean: Tensor
    differences: Tensor
    mixture: Tensor

    def __init__(self, model: acoustic.Acoustic) -> None:
        super().__init__()
        self.sizes = list(SIZES)
        self.register_buffer("filters", (model.filters.double() * 1e-3).float())  # power is of 10^(2 mel - 3)
        self.register_buffer("transform", model.transform)
        self.register_buffer("mean", model.mean)
        each = zip(model.linear, model.constant, strict=True)
        self.streams = nn.ModuleList(linear(weight.T, bias[0]) for weight, bias in each)
        self.register_buffer("mixture", model.mixture.flatten(0, 1))
        self.register_buffer("differences", _differences())

    def forward(self, mel: Tensor, past: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        power = torch.exp(mel * (2.0 * math.log(10.0)))
        cepstra = torch.log(power @ self.filters + 1e-9) @ self.transform
        mean, moved, near = self._mean(cepstra.mean(1), *past[1:])
        line = torch.cat([past[0].reshape(-1, CONTEXT, CEPSTRA), cepstra, mean.reshape(-1, 1, CEPSTRA)], dim=1)
        score = self._likelihood(self.differences @ line)
        score = (score - score.amax(2, keepdim=True)).clamp_min(acoustic.FLOOR) * acoustic.SCALE
        kept = line[:, HOPS_PER_FRAME : HOPS_PER_FRAME + CONTEXT].reshape(-1, self.sizes[0])
        return score, [kept, moved, near]

    def _mean(self, now: Tensor, moved: Tensor, near: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        away = now - self.mean - moved
        near = torch.maximum(torch.sigmoid((away[:, :1] + acoustic.QUIETER) * 0.25), acoustic.HANG * near)
        moved = moved + acoustic.FOLLOW * near.clamp_min(acoustic.LEAK) * away
        return self.mean + moved, moved, near

    def _likelihood(self, features: Tensor) -> Tensor:
        pairs = torch.cat([features, features * features], dim=2).reshape(-1, STREAMS * 2 * CEPSTRA)
        each = torch.cat(
            [stream(x) for stream, x in zip(self.streams, pairs.split(2 * CEPSTRA, 1), strict=True)], dim=1
        )
        each = each.reshape(-1, STREAMS, PHONES * GAUSSIANS)
        weight = torch.exp(each - each.amax(2, keepdim=True)).reshape(-1, STREAMS * PHONES, GAUSSIANS)
        total = torch.log((weight.transpose(0, 1) @ self.mixture).clamp_min(1e-35))  # (3 x 42, 4 B, 3)
        total = total.reshape(STREAMS, PHONES, -1, STATES).sum(0).transpose(0, 1)
        return total.reshape(-1, HOPS_PER_FRAME, FEATURES)


def _differences() -> Tensor:
    """(4 x 3, 6 + 4 + 1): from the cepstra of ten hops and the running mean to each of the four hops' static ones (less
    the mean), deltas and double deltas, all DELAY hops late."""
    rows = torch.zeros(HOPS_PER_FRAME, STREAMS, CONTEXT + HOPS_PER_FRAME + 1)
    for hop, (static, delta, double) in enumerate(rows):
        now = hop + CONTEXT
        static[now - DELAY], static[-1] = 1.0, -1.0
        delta[now - 1], delta[now - 5] = 1.0, -1.0
        for late, weight in ((0, 1.0), (4, -1.0), (2, -1.0), (6, 1.0)):
            double[now - late] = weight
    return rows.flatten(0, 1)


class HeadsStep(Step):
    """All H of generator.Head for one frame: (B, C) -> Mouth (B, H, ...), without phones.

    They norm the same channels, so what their norms scale by is folded into their first matrices, which are one.
    """

    def __init__(self, heads: Sequence[Head]) -> None:
        super().__init__()
        self.parts = heads[0].sizes[:3]
        self.count, self.width = len(heads), heads[0].hidden.in_channels
        first = [dense(head.hidden) for head in heads]
        weights = [one.weight * head.norm.norm.weight for one, head in zip(first, heads, strict=True)]
        biases = [one(head.norm.norm.bias) for one, head in zip(first, heads, strict=True)]
        self.hidden = linear(torch.cat(weights).detach(), torch.cat(biases).detach())
        self.out = EachLinear([first_rows(dense(head.out), sum(self.parts)) for head in heads])
        self.sizes = [2 * self.count]

    def forward(self, x: Tensor, past: Sequence[Tensor]) -> tuple[Mouth, list[Tensor]]:
        x = F.gelu(self.hidden(F.layer_norm(x, (self.width,))))
        y = self.out(x.reshape(-1, self.count, 1, self.width)).reshape(-1, self.count, sum(self.parts))
        pose, contact, viseme = y.split(self.parts, 2)
        steady = contact + CARRY * (past[0].reshape(-1, self.count, 2) - contact)
        hops = viseme.reshape(-1, self.count, HOPS_PER_FRAME, len(VISEMES))
        mouth = Mouth(torch.sigmoid(pose), contact, steady, hops, hops[..., :0])
        return mouth, [contact.reshape(-1, self.sizes[0])]


class LipStep(nn.Module):
    """The graph that is exported: one frame of all H heads, with lip contacts sharpened and composed.

    mel (B, 4, 80), state (B, S), gain (B, LEARNED) -> face (B, H, 52), contact (B, H, 2), viseme (B, H, 15) of the
    frame, hop_viseme (B, H, 4, 15) of its hops; next state (B, S).
    """

    def __init__(self, net: LipGenerator) -> None:
        super().__init__()
        self.net = net
        self.acoustic = AcousticStep(net.acoustic)
        self.front, self.front_norm = HopsStep(net.front, HOPS_PER_FRAME), net.front_norm.norm
        self.hop_block = HopBlockStep(net.hop_block, HOPS_PER_FRAME)
        self.down = dense(net.down)
        self.blocks = nn.ModuleList(BlockStep([block]) for block in blocks(net.blocks))
        self.heads = HeadsStep([head for head in net.heads if isinstance(head, Head)])

    @property
    def sizes(self) -> list[int]:
        """Values of state a row, piece by piece."""
        steps = [self.acoustic, self.front, self.hop_block, *self.blocks, self.heads]
        return [size for step in steps if isinstance(step, Step) for size in step.sizes]

    def forward(self, mel: Tensor, state: Tensor, gain: Tensor) -> tuple[Tensor, ...]:
        memory = Memory(state.split(self.sizes, 1))
        likelihood = memory.run(self.acoustic, mel)
        x = memory.run(self.front, torch.cat([mel, likelihood], dim=2))
        x = memory.run(self.hop_block, F.gelu(self.front_norm(x)))
        x = self.down(x.reshape(-1, self.down.in_features))
        for block in self.blocks:
            x = memory.run(block, x)
        mouth: Mouth = memory.run(self.heads, x)
        every, hops = slice(None), torch.softmax(mouth.viseme, dim=3)
        face = self.net.face(mouth, every, gain.reshape(-1, 1, len(LEARNED)))
        return face, self.net.contact(mouth, every), hops.mean(2), hops, torch.cat(memory.after, dim=1)

    def example(self) -> tuple[Tensor, ...]:
        """Inputs of two rows, before the first frame."""
        return torch.zeros(2, HOPS_PER_FRAME, BINS), torch.zeros(2, sum(self.sizes)), torch.ones(2, len(LEARNED))
