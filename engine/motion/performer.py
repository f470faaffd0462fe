"""The performer: voice and condition to everything but speech's lips (torch; imported by training and exporters only).

A causal prior over the codes of engine.motion.codec, twelve and a half times a second: what is heard (a convolutional
stem on log-mel), what is asked for (condition) and what was just done (the previous window's codes) go through one GRU;
the codes of the next window are then drawn one after the other, each seeing those before it (the depth transformer of
RQ-Transformer, Lee et al. 2022, with a small perceptron a code). Drawing is the Gumbel-max trick on noise that is
given, so the same noise gives the same performance. All state is one flat tensor of bounded values.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.audio.logmel import BINS, FLOOR
from engine.clock import HOPS_PER_FRAME
from engine.motion.codec import MANNER, NEUTRAL_AT, CodecConfig, PerformanceCodec
from engine.motion.condition import CONDITION, KNOWN_AT, SEMANTIC, SEMANTIC_AT
from engine.motion.generator import Block, CausalConv, Norm
from engine.motion.performance import GROUPS, PERFORMANCE, WINDOW

HOPS: Final = WINDOW * HOPS_PER_FRAME  # log-mel hops the performer hears at a time
SILENCE: Final = 1.5 + 0.5 * math.log10(FLOOR)  # log-mel of a silent bin
RARE: Final = 0.02  # codes less likely than this share of the likeliest are never drawn (min-p; Nguyen et al. 2024)
MASS: Final = {"head": 0.3, "body": 0.3}  # share of the last frame in the next: heads and arms have mass, eyes do not
EPSILON: Final = 1e-6  # noise is kept this far from 0 and 1


@dataclass(frozen=True, slots=True)
class PerformerConfig:
    """Sizes of the network: its codec, the stem, what hears meaning (ear), the GRU and the perceptron of each code."""

    codec: CodecConfig = field(default_factory=CodecConfig)
    stem: int = 64
    width: int = 160
    dilations: tuple[int, ...] = (1, 2)
    ear: int = 128
    memory: int = 320
    embedding: int = 96
    hidden: int = 128
    dropout: float = 0.1

    @staticmethod
    def from_json(sizes: dict[str, Any]) -> PerformerConfig:
        """The inverse of :meth:`to_json` through JSON, where tuples come back as lists."""
        tuples: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in sizes.items()}
        return PerformerConfig(**{**tuples, "codec": CodecConfig.from_json(sizes["codec"])})

    def to_json(self) -> dict[str, Any]:
        """Plain values for a file's header."""
        return asdict(self)


class Thought(NamedTuple):
    """What the prior knows before it draws a window: mind (B, T, memory) and semantic (B, T, SEMANTIC), unit norm."""

    mind: Tensor
    semantic: Tensor


class Hearing(nn.Module):
    """log-mel (B, HOPS T, BINS) and its past (B, S) -> what was heard (B, T, width + ear), its meaning, next past."""

    def __init__(self, config: PerformerConfig) -> None:
        super().__init__()
        self.front, self.front_norm = CausalConv(BINS, config.stem, 5), Norm(config.stem)
        self.down = nn.Conv1d(config.stem, config.width, HOPS, stride=HOPS)
        self.blocks = nn.ModuleList(Block(config.width, d, config.dropout) for d in config.dilations)
        self.ear = nn.GRU(config.width, config.ear, batch_first=True)
        self.meaning = nn.Linear(config.ear, SEMANTIC)

    @property
    def sizes(self) -> list[int]:
        """Values of state a row: every convolution, then the ear."""
        convs = [m.inputs * m.context for m in self.modules() if isinstance(m, CausalConv)]
        return [*convs, self.ear.hidden_size]

    def forward(self, mel: Tensor, past: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first, *rows, ear = torch.split(past, self.sizes, dim=1)
        x = (mel - SILENCE).transpose(1, 2)  # a stream begins in silence, as zeros
        x, first = self.front(x, first.unflatten(1, (BINS, -1)))
        x, nexts = self.down(F.gelu(self.front_norm(x))), [first.flatten(1)]
        for block, row in zip(self.blocks, rows, strict=True):
            x, row = block(x, row.unflatten(1, (x.shape[1], -1)))
            nexts.append(row.flatten(1))
        x = x.transpose(1, 2)
        y, ear = self.ear(x, ear[None].contiguous())
        meaning = F.normalize(self.meaning(y), dim=2)
        return torch.cat([x, y], dim=2), meaning, torch.cat([*nexts, ear[0]], dim=1)


class Performer(nn.Module):
    """The prior and its codec. State is (B, S): hearing, mind, embedding of the last window's codes, decoders,
    last frame."""

    def __init__(self, config: PerformerConfig) -> None:
        super().__init__()
        self.config = config
        self.codec = PerformanceCodec(config.codec)
        books, codes = self.codec.books, config.codec.codes
        self.hearing = Hearing(config)
        self.last = nn.Embedding(books * codes, config.embedding)  # of the previous window's codes, summed
        self.prior = nn.Embedding(books * codes, config.embedding)  # of this window's codes so far, summed
        self.enter = nn.Linear(
            config.width + config.ear + CONDITION - 1 + config.embedding + self.codec.sizes[0], config.memory
        )
        self.mind = nn.GRU(config.memory, config.memory, batch_first=True)
        self.settle = nn.LayerNorm(config.memory)
        self.drop = nn.Dropout(config.dropout)
        self.think = nn.Linear(config.memory, books * config.hidden)
        self.join = nn.ModuleList(nn.Linear(config.embedding, config.hidden, bias=False) for _ in range(books))
        self.choose = nn.ModuleList(nn.Linear(config.hidden, codes) for _ in range(books))
        for table in (self.last, self.prior):
            nn.init.normal_(table.weight, std=0.3)
        held = torch.zeros(PERFORMANCE)
        for name, share in MASS.items():
            held[list(GROUPS[name])] = share
        self.register_buffer("held", held, persistent=False)
        self.register_buffer("first", torch.arange(books) * codes, persistent=False)  # of each book in the tables

    held: Tensor
    first: Tensor

    @property
    def sizes(self) -> list[int]:
        """Values of state a row: hearing, mind, last codes, decoders, last frame."""
        hearing, hands = sum(self.hearing.sizes), sum(self.codec.sizes)
        return [hearing, self.config.memory, self.config.embedding, hands, PERFORMANCE]

    @property
    def state_size(self) -> int:
        """S."""
        return sum(self.sizes)

    def initial_state(self, batch: int = 1) -> Tensor:
        """State before the first window: zeros, (B, S)."""
        return torch.zeros(batch, self.state_size)

    def known(self, condition: Tensor, heard: Tensor) -> Tensor:
        """The condition, but for the neutral slot, with the meaning that was heard where none is known."""
        told = condition[..., KNOWN_AT : KNOWN_AT + 1]
        meaning = heard + told * (condition[..., SEMANTIC_AT] - heard)
        before, after = condition[..., NEUTRAL_AT + 1 : SEMANTIC_AT.start], condition[..., SEMANTIC_AT.stop :]
        return torch.cat([before, meaning, after], dim=-1)

    def forward(self, mel: Tensor, condition: Tensor, codes: Tensor, latent: Tensor) -> tuple[Tensor, Thought]:
        """Logits (B, T, Q, V) of each code given all before it, for training: a stream from its beginning.

        mel (B, HOPS T, BINS), condition (B, T, CONDITION), codes (B, T, Q) that were really performed and the
        latents (B, T, L) they lead to (PerformanceCodec.encode).
        """
        heard, meaning, _ = self.hearing(mel, mel.new_zeros(mel.shape[0], sum(self.hearing.sizes)))
        told = self.known(condition, meaning.detach())
        done = torch.cat([self.last(codes + self.first).sum(2), latent], dim=2)
        done = torch.cat([torch.zeros_like(done[:, :1]), done[:, :-1]], dim=1)
        mind, _ = self.mind(self._enter(heard, told, done))
        mind = self.drop(self.settle(mind))
        so_far = self.prior(codes + self.first).cumsum(2)
        thoughts = self.think(mind).unflatten(2, (self.codec.books, -1))
        logits = [
            self._choose(book, thoughts[:, :, book], so_far[:, :, book - 1] if book else None)
            for book in range(self.codec.books)
        ]
        return torch.stack(logits, 2), Thought(mind, meaning)

    def _enter(self, heard: Tensor, condition: Tensor, done: Tensor) -> Tensor:
        return F.gelu(self.enter(torch.cat([heard, condition, done], dim=-1)))

    def _choose(self, book: int, thought: Tensor, so_far: Tensor | None) -> Tensor:
        if so_far is not None:
            thought = thought + self.join[book](so_far)
        logits: Tensor = self.choose[book](F.gelu(thought))
        return logits

    def step(
        self, mel: Tensor, condition: Tensor, noise: Tensor, temperature: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Performs one window: motion (B, 2, PERFORMANCE), codes (B, Q), meaning heard (B, SEMANTIC), next state.

        mel (B, HOPS, BINS), condition (B, CONDITION), noise (B, Q, V) uniform in (0, 1), temperature (B, 1): 0 always
        takes the likeliest. State (B, S).
        """
        ears, mind, last, hands, frame = torch.split(state, self.sizes, dim=1)
        heard, meaning, ears = self.hearing(mel, ears)
        told = self.known(condition[:, None], meaning)
        done = torch.cat([last, hands[:, : self.codec.sizes[0]]], dim=1)
        _, mind = self.mind(self._enter(heard, told, done[:, None]), mind[None].contiguous())
        mind = mind[0]
        thoughts = self.think(self.settle(mind)).unflatten(1, (self.codec.books, -1))
        gumbel = -torch.log(-torch.log(noise.clamp(EPSILON, 1.0 - EPSILON)))
        so_far: Tensor | None = None
        codes: list[Tensor] = []
        for book in range(self.codec.books):
            logits = self._choose(book, thoughts[:, book], so_far)
            rare = logits < logits.amax(1, keepdim=True) + math.log(RARE)
            code = (logits + temperature * gumbel[:, book]).masked_fill(rare, -torch.inf).argmax(1)
            entry = self.prior(code + self.first[book])
            so_far = entry if so_far is None else so_far + entry
            codes.append(code)
        chosen = torch.stack(codes, 1)
        last = self.last(chosen + self.first).sum(1)
        motion, hands = self.codec.step(chosen, condition[:, MANNER], hands)
        frames = []
        for wanted in (motion - self.codec.offset).unbind(1):
            frame = wanted + self.held * (frame - wanted)
            frames.append(frame)
        motion = self.codec.offset + torch.stack(frames, 1)
        return motion, chosen, meaning[:, 0], torch.cat([ears, mind, last, hands, frame], dim=1)
