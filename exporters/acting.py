"""The performer as it runs: Performer.step of engine.motion.performer, in the few operations of exporters.steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.audio.logmel import BINS
from engine.motion.codec import MANNER, NEUTRAL_AT, PerformanceCodec
from engine.motion.condition import CONDITION, KNOWN_AT, SEMANTIC, SEMANTIC_AT
from engine.motion.performance import GROUPS, PERFORMANCE, WINDOW
from engine.motion.performer import EPSILON, HOPS, RARE, SILENCE, Hearing, Performer
from exporters.steps import (
    BlockStep,
    EachLinear,
    EachNorm,
    GruStep,
    HopsStep,
    Memory,
    Step,
    blocks,
    dense,
    linear,
)


class HearingStep(Step):
    """performer.Hearing for one window: mel (B, HOPS, BINS) -> what was heard (B, width), ear (B, ear)."""

    def __init__(self, hearing: Hearing) -> None:
        super().__init__()
        self.front, self.front_norm = HopsStep(hearing.front, HOPS), hearing.front_norm.norm
        self.down = dense(hearing.down)
        self.blocks = nn.ModuleList(BlockStep([block]) for block in blocks(hearing.blocks))
        self.ear = GruStep(hearing.ear)
        steps = [self.front, *self.blocks]
        self.sizes = [size for step in steps if isinstance(step, Step) for size in step.sizes] + [self.ear.size]

    def forward(self, mel: Tensor, past: Sequence[Tensor]) -> tuple[tuple[Tensor, Tensor], list[Tensor]]:
        memory = Memory(list(past[:-1]))
        x = F.gelu(self.front_norm(memory.run(self.front, mel - SILENCE)))
        x = self.down(x.reshape(-1, self.down.in_features))
        for block in self.blocks:
            x = memory.run(block, x)
        ear = self.ear(x, past[-1])
        return (x, ear), [*memory.after, ear]


class EnterStep(nn.Module):
    """What goes into the mind: heard, ear, condition (B, CONDITION) with the meaning that was heard where none is told,
    the last codes and latents."""

    def __init__(self, net: Performer) -> None:
        super().__init__()
        self.meaning = net.hearing.meaning
        weight = net.enter.weight.detach()
        ears = net.config.width + net.config.ear
        told = weight[:, ears : ears + CONDITION - 1]  # without the neutral slot
        slot = torch.zeros(len(weight), 1)
        condition = torch.cat([told[:, :NEUTRAL_AT], slot, told[:, NEUTRAL_AT:]], dim=1)
        meant = condition[:, SEMANTIC_AT].clone()
        condition[:, SEMANTIC_AT] = 0.0
        whole = torch.cat([weight[:, :ears], condition, meant, weight[:, ears + CONDITION - 1 :]], dim=1)
        self.enter = linear(whole, net.enter.bias.detach())

    def forward(
        self, x: Tensor, ear: Tensor, condition: Tensor, last: Tensor, latents: Tensor
    ) -> tuple[Tensor, Tensor]:
        meaning = self.meaning(ear)
        meaning = meaning / meaning.norm(dim=1, keepdim=True).clamp_min(1e-12)
        told = condition[:, SEMANTIC_AT]
        meant = meaning + condition[:, KNOWN_AT : KNOWN_AT + 1] * (told - meaning)
        return F.gelu(self.enter(torch.cat([x, ear, condition, meant, last, latents], dim=1))), meaning


class DecoderStep(Step):
    """The decoders of all G groups side by side: latents (B, G, D) and manner (B, M) -> whitened (B, 2, PERFORMANCE).

    Their past is (B, G, 1, S); wider groups set the size, what others have too much is not read.
    """

    order: Tensor

    def __init__(self, codec: PerformanceCodec) -> None:
        super().__init__()
        coders = codec.coders
        decoders = [coder.decoder for coder in coders]
        self.groups = len(coders)
        enters = [dense(decoder.enter) for decoder in decoders]
        latent = codec.config.latent
        self.enter = EachLinear([linear(each.weight[:, :latent].detach(), None) for each in enters])
        weight = torch.cat([each.weight[:, latent:] for each in enters]).detach()
        self.mood = linear(weight, torch.cat([each.bias for each in enters]).detach())
        self.inner = enters[0].out_features
        each = zip(*(blocks(decoder.blocks) for decoder in decoders), strict=True)
        self.blocks = nn.ModuleList(BlockStep(list(level)) for level in each)
        self.norm = EachNorm([decoder.norm.norm for decoder in decoders])
        leaves = [dense(decoder.leave) for decoder in decoders]
        backs = [coder.back for coder in coders]
        self.leave = EachLinear([
            linear(torch.cat([leave.weight, back.weight], 1).detach(), (leave.bias + back.bias).detach())
            for leave, back in zip(leaves, backs, strict=True)
        ])  # fmt: skip
        self.sizes = [size for block in self.blocks if isinstance(block, BlockStep) for size in block.sizes]
        self.width = self.leave.weight.shape[2]
        self.register_buffer("order", _order(self.width))

    def forward(self, latents: Tensor, manner: Tensor, past: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        memory, rows = Memory(past), latents[:, :, None]
        y = self.enter(rows) + self.mood(manner).reshape(-1, self.groups, 1, self.inner)
        for block in self.blocks:
            y = memory.run(block, y)
        y = self.leave(torch.cat([F.gelu(self.norm(y)), rows], dim=3))
        frames = y.reshape(-1, self.groups * self.width).index_select(1, self.order)
        return frames.reshape(-1, WINDOW, PERFORMANCE), memory.after


def _order(width: int) -> Tensor:
    """(2 x PERFORMANCE,): where the groups' outputs (G x width) keep each channel of each frame."""
    places = torch.zeros(WINDOW, PERFORMANCE, dtype=torch.long)
    for group, channels in enumerate(GROUPS.values()):
        for frame in range(WINDOW):
            for place, channel in enumerate(channels):
                places[frame, channel] = group * width + frame * len(channels) + place
    return places.flatten()


class Draw(nn.Module):
    """Draws the codes of one window, one after the other: mind (B, memory) and noise (B, Q, V) -> codes, Q x (B,)."""

    def __init__(self, net: Performer) -> None:
        super().__init__()
        self.codes, self.books = net.config.codec.codes, net.codec.books
        self.settle, self.think, self.join, self.choose = net.settle, net.think, net.join, net.choose
        for book, table in enumerate(net.prior.weight.detach().split(self.codes)):
            self.register_buffer(f"table{book}", table, persistent=False)

    def forward(self, mind: Tensor, noise: Tensor, temperature: Tensor) -> list[Tensor]:
        luck = torch.log(-torch.log(noise.clamp(EPSILON, 1.0 - EPSILON))).reshape(-1, self.books * self.codes)
        lucks = (luck * -temperature).split(self.codes, 1)
        thoughts = self.think(self.settle(mind)).split(self.think.out_features // self.books, 1)
        codes: list[Tensor] = []
        so_far = mind  # replaced by the first code's entry
        each = zip(thoughts, lucks, self.join, self.choose, strict=True)
        for book, (thought, fortune, join, choose) in enumerate(each):
            logits = choose(F.gelu(thought + join(so_far) if book else thought))
            rare = logits < logits.amax(1, keepdim=True) + math.log(RARE)
            codes.append(torch.where(rare, -torch.inf, logits + fortune).argmax(1))
            entry = F.embedding(codes[-1], self.get_buffer(f"table{book}"))
            so_far = so_far + entry if book else entry
        return codes


class PerformerStep(nn.Module):
    """The graph that is exported: Performer.step, but that the state holds each past in another order."""

    def __init__(self, net: Performer) -> None:
        super().__init__()
        self.net = net
        codec = net.codec
        self.hearing, self.enter = HearingStep(net.hearing), EnterStep(net)
        self.mind, self.draw, self.decoder = GruStep(net.mind), Draw(net), DecoderStep(codec)
        self.groups = len(codec.coders)

    @property
    def sizes(self) -> list[int]:
        """Values of state a row: hearing, mind, last codes, latents, decoders, last frame."""
        config = self.net.config
        latents, decoders = self.net.codec.sizes[0], self.groups * sum(self.decoder.sizes)
        return [*self.hearing.sizes, config.memory, config.embedding, latents, decoders, PERFORMANCE]

    def forward(
        self, mel: Tensor, condition: Tensor, noise: Tensor, temperature: Tensor, state: Tensor
    ) -> tuple[Tensor, ...]:
        codec = self.net.codec
        *ears, mind, last, latents, hands, frame = state.split(self.sizes, 1)
        (x, ear), ears = self.hearing(mel, ears)
        thought, meaning = self.enter(x, ear, condition, last, latents)
        mind = self.mind(thought, mind)
        codes = torch.cat(self.draw(mind, noise, temperature)).reshape(codec.books, -1).T
        last = F.embedding(codes + self.net.first, self.net.last.weight).sum(1)
        here = codec.quantizer.follow(
            codes.reshape(-1, self.groups, codec.config.levels), latents.reshape(-1, self.groups, codec.config.latent)
        )
        manner = condition[:, MANNER]
        pasts = hands.reshape(-1, self.groups, 1, sum(self.decoder.sizes)).split(self.decoder.sizes, 3)
        whitened, pasts = self.decoder(here, manner, pasts)
        frames = [frame.reshape(-1, 1, PERFORMANCE)]
        for wanted in (whitened * codec.scale + (manner @ codec.usual)[:, None]).split(1, 1):
            frames.append(wanted + self.net.held * (frames[-1] - wanted))
        motion, frame = codec.offset + torch.cat(frames[1:], 1), frames[-1].reshape(-1, PERFORMANCE)
        hands = torch.cat(pasts, dim=3).reshape(-1, self.groups * sum(self.decoder.sizes))
        after = [*ears, mind, last, here.reshape(-1, codec.sizes[0]), hands, frame]
        return motion, codes, meaning, torch.cat(after, dim=1)

    def example(self) -> tuple[Tensor, ...]:
        """Inputs of two rows, before the first window."""
        noise = torch.full((2, self.net.codec.books, self.net.config.codec.codes), 0.5)
        state = torch.zeros(2, sum(self.sizes))
        return torch.zeros(2, HOPS, BINS), torch.zeros(2, CONDITION), noise, torch.ones(2, 1), state


assert SEMANTIC_AT.stop - SEMANTIC_AT.start == SEMANTIC
