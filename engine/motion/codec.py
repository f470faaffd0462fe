"""Performance as a few codes: a group-residual VQ-VAE over windows of two frames (torch; training and exporters only).

Two stages as ProbTalk3D (Wu et al. 2024): this file is the first, the codes that the performer of performer.py then
draws. Lids and gaze, face, head, and body have codebooks of their own, each refined by a residual level (group-residual
quantisation: Yang et al. 2023, HiFi-Codec); the head's first codebook is VividTalk's codebook of poses. Codes say how
the latent changes, not where it is. Encoder and decoder are causal, so what is decoded code by code equals what is
decoded at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.motion.condition import EMOTION_AT, LISTENING_AT, SPEAKING_AT, STYLE_AT
from engine.motion.emotion import EMOTION_INDEX
from engine.motion.generator import Block, CausalConv, Norm
from engine.motion.performance import GROUPS, PERFORMANCE, WINDOW

# The parts of the condition that the decoder sees too: a mood shapes every window, and costs no code. How neutral one
# is says nothing (neutral is the absence of moods), so that slot is not read here, nor by the prior.
NEUTRAL_AT: Final = EMOTION_INDEX["neutral"]
MANNER: Final = (*range(NEUTRAL_AT + 1, EMOTION_AT.stop), SPEAKING_AT, *range(STYLE_AT.start, STYLE_AT.stop),
                 LISTENING_AT)  # fmt: skip
assert EMOTION_AT.start == NEUTRAL_AT
STALE: Final = 0.03  # a code used less often than this share of an even share starts anew
LEAK: Final = 0.96  # share of the latent that the next window goes on from
EMA: Final = 0.98  # of the codebooks' running means, a step


@dataclass(frozen=True, slots=True)
class CodecConfig:
    """Sizes. ``levels`` residual codebooks of ``codes`` entries of ``latent`` numbers for each group, of which the last
    ``fleeting`` do not outlast their window."""

    levels: int = 2
    codes: int = 256
    latent: int = 16
    fleeting: int = 4
    encoder: int = 64
    decoder: int = 96
    encoder_dilations: tuple[int, ...] = (1, 2)
    decoder_dilations: tuple[int, ...] = (1, 2, 4)
    dropout: float = 0.0

    @staticmethod
    def from_json(sizes: dict[str, Any]) -> CodecConfig:
        """The inverse of ``dataclasses.asdict`` through JSON, where tuples come back as lists."""
        tuples: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in sizes.items()}
        return CodecConfig(**tuples)


class Quantized(NamedTuple):
    """latent (B, T, G, D) that the codes lead to, with gradients passed straight through; codes (B, T, G, levels); and
    the commitment loss."""

    latent: Tensor
    codes: Tensor
    commitment: Tensor


class DeltaQuantizer(nn.Module):
    """Closed-loop residual quantisation of G groups' latents: what is coded is the change.

    latent(t) = lasting latent(t - 1) + a sum of entries, one a level; ``lasting`` is LEAK for most numbers, 0 for the
    fleeting ones. Small steps are dense in the codebooks, so slow motion is smooth, and the leak bounds the latent.
    Codebooks follow their members' means (van den Oord et al. 2017).
    """

    lasting: Tensor
    books: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, groups: int, config: CodecConfig) -> None:
        super().__init__()
        self.levels, self.codes = config.levels, config.codes
        lasting = torch.full((config.latent,), LEAK)
        lasting[config.latent - config.fleeting :] = 0.0
        self.register_buffer("lasting", lasting, persistent=False)
        self.register_buffer("books", torch.zeros(config.levels, groups, config.codes, config.latent))
        self.register_buffer("counts", torch.ones(config.levels, groups, config.codes))
        self.register_buffer("sums", torch.zeros(config.levels, groups, config.codes, config.latent))

    def forward(self, wanted: Tensor, keep: Tensor | None = None) -> Quantized:
        """(B, T, G, D) -> its codes, from a latent of zero. ``keep`` (B, levels) 0/1 leaves later levels out."""
        latents, codes, members = [], [], []
        with torch.no_grad():
            latent = torch.zeros_like(wanted[:, 0])
            for row in wanted.detach().unbind(1):
                step = row - self.lasting * latent
                here, before = [], []
                for level in range(self.levels):
                    before.append(step)
                    code = torch.cdist(step.transpose(0, 1), self.books[level]).argmin(2)  # (G, B)
                    entry = torch.stack([F.embedding(c, b) for c, b in zip(code, self.books[level], strict=True)], 1)
                    step = step - (entry if keep is None else entry * keep[:, level, None, None])
                    here.append(code.T)
                latent = row - step
                latents.append(latent)
                codes.append(torch.stack(here, 2))
                members.append(torch.stack(before))
            found, chosen = torch.stack(latents, 1), torch.stack(codes, 1)
            if self.training:
                self._follow(torch.stack(members, 2), chosen, keep)
        commitment = F.mse_loss(wanted, found)
        return Quantized(wanted + (found - wanted).detach(), chosen, commitment)

    def follow(self, codes: Tensor, latent: Tensor) -> Tensor:
        """The latent (..., G, D) after codes (..., G, levels)."""
        return self.lasting * latent + self._steps(codes)

    def _steps(self, codes: Tensor) -> Tensor:
        groups = self.books.shape[1]
        rows = self.books.flatten(0, 2)
        group, level = (torch.arange(count, device=codes.device) for count in (groups, self.levels))
        first = group[:, None] * self.codes + level * (groups * self.codes)
        return F.embedding(codes + first, rows).sum(-2)

    def start(self, wanted: Tensor) -> None:
        """Codebooks for latents (B, T, G, D): k-means on the steps an exact quantizer would take, level by level."""
        steps = (wanted[:, 1:] - self.lasting * wanted[:, :-1]).flatten(0, 1)
        for group in range(steps.shape[1]):
            members = steps[:, group]
            for level in range(self.levels):
                book = _k_means(members, self.codes)
                self.books[level, group] = self.sums[level, group] = book
                self.counts[level, group] = 1.0
                members = members - F.embedding(torch.cdist(members, book).argmin(1), book)

    def _follow(self, members: Tensor, codes: Tensor, keep: Tensor | None) -> None:
        """members (levels, B, T, G, D) that chose codes (B, T, G, levels)."""
        for level in range(self.levels):
            used = slice(None) if keep is None else keep[:, level] > 0
            rows, chosen = members[level][used].flatten(0, 1), codes[used][..., level].flatten(0, 1)
            if not len(rows):
                continue
            for group in range(rows.shape[1]):
                counts, sums, book = (x[level, group] for x in (self.counts, self.sums, self.books))
                counts.lerp_(torch.bincount(chosen[:, group], minlength=self.codes).float(), 1.0 - EMA)
                sums.lerp_(torch.zeros_like(sums).index_add_(0, chosen[:, group], rows[:, group]), 1.0 - EMA)
                stale = counts < STALE * len(rows) / self.codes
                if stale.any():  # dead codes take the place of present members (Dhariwal et al. 2020)
                    sums[stale] = rows[torch.randint(len(rows), (int(stale.sum()),)), group]
                    counts[stale] = 1.0
                book.copy_(sums / counts[:, None])


def _k_means(members: Tensor, size: int, rounds: int = 8) -> Tensor:
    book = members[torch.randint(len(members), (size,))].clone()
    for _ in range(rounds):
        code = torch.cdist(members, book).argmin(1)
        counts = torch.bincount(code, minlength=size).to(members.dtype)[:, None]
        means = torch.zeros_like(book).index_add_(0, code, members) / counts.clamp_min(1.0)
        book = torch.where(counts > 0, means, members[torch.randint(len(members), (size,))])
    return book


class CausalStack(nn.Module):
    """Pointwise in, causal residual blocks, pointwise out: (B, T, inputs) and its past -> (B, T, outputs), past."""

    def __init__(self, inputs: int, width: int, outputs: int, dilations: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.enter = nn.Conv1d(inputs, width, 1)
        self.blocks = nn.ModuleList(Block(width, dilation, dropout) for dilation in dilations)
        self.norm, self.leave = Norm(width), nn.Conv1d(width, outputs, 1)

    @property
    def sizes(self) -> list[int]:
        """Values of state a row, block by block."""
        return [m.inputs * m.context for m in self.modules() if isinstance(m, CausalConv)]

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        y, nexts = self.enter(x.transpose(1, 2)), []
        for block, row in zip(self.blocks, torch.split(past, self.sizes, dim=1), strict=True):
            y, row = block(y, row.unflatten(1, (y.shape[1], -1)))
            nexts.append(row.flatten(1))
        return self.leave(F.gelu(self.norm(y))).transpose(1, 2), torch.cat(nexts, dim=1)


class GroupCodec(nn.Module):
    """Encoder and decoder of one group of C channels, on whitened windows (B, T, WINDOW C) and manner (B, T, M)."""

    def __init__(self, channels: int, config: CodecConfig) -> None:
        super().__init__()
        size, manner = WINDOW * channels, len(MANNER)
        # What a linear map can do is left to it (it starts from principal axes); the stacks do the rest.
        self.axes, self.back = nn.Linear(size, config.latent), nn.Linear(config.latent, size)
        self.encoder = CausalStack(
            size + manner, config.encoder, config.latent, config.encoder_dilations, config.dropout
        )
        self.decoder = CausalStack(
            config.latent + manner, config.decoder, size, config.decoder_dilations, config.dropout
        )

    def encode(self, windows: Tensor, manner: Tensor) -> Tensor:
        """Latents (B, T, D) of windows that begin the stream."""
        past = windows.new_zeros(windows.shape[0], sum(self.encoder.sizes))
        latent: Tensor = self.encoder(torch.cat([windows, manner], dim=2), past)[0]
        return self.axes(windows) + latent

    def decode(self, latent: Tensor, manner: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Windows of latents, and the past that goes on from there."""
        refined, past = self.decoder(torch.cat([latent, manner], dim=2), past)
        return self.back(latent) + refined, past

    def start(self, windows: Tensor, fleeting: int) -> None:
        """Begins with principal axes of whitened windows (B, T, WINDOW C): of their middles, which last, and of what
        changes inside them, which does not."""
        frames = windows.unflatten(2, (WINDOW, -1))
        middle = frames.mean(2, keepdim=True).expand_as(frames)
        lasting = self.axes.out_features - fleeting
        for part, first, count in ((middle, 0, lasting), (frames - middle, lasting, fleeting)):
            _, _, axes = torch.linalg.svd(part.flatten(2).flatten(0, 1), full_matrices=False)
            axes = axes[: min(count, frames.shape[-1])]  # the middles, like the changes, span C dimensions
            here = slice(first, first + count)
            self.axes.weight[here].zero_()[: len(axes)].copy_(axes)
            self.back.weight[:, here].zero_()[:, : len(axes)].copy_(axes.T)
        for stack in (self.encoder, self.decoder):
            stack.leave.weight.mul_(0.1)
            nn.init.zeros_(stack.leave.bias)  # type: ignore[arg-type]
        self.axes.bias.zero_()
        self.back.bias.zero_()


class Reconstruction(NamedTuple):
    """motion (B, 2T, PERFORMANCE) whitened, latent (B, T, G, D), codes (B, T, Q), and the commitment loss."""

    motion: Tensor
    latent: Tensor
    codes: Tensor
    commitment: Tensor


class PerformanceCodec(nn.Module):
    """Performance (B, 2T, PERFORMANCE) <-> codes (B, T, Q), Q = G groups x levels, in the order of GROUPS."""

    offset: Tensor
    usual: Tensor
    scale: Tensor
    order: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.groups = nn.ModuleList(GroupCodec(len(channels), config) for channels in GROUPS.values())
        self.quantizer = DeltaQuantizer(len(GROUPS), config)
        # Whitening, set on the training data before anything is learned: what a manner usually looks like, and how far
        # motion strays from it. motion = offset + manner @ usual + scale x whitened.
        self.register_buffer("offset", torch.zeros(PERFORMANCE))
        self.register_buffer("usual", torch.zeros(len(MANNER), PERFORMANCE))
        self.register_buffer("scale", torch.ones(PERFORMANCE))
        place = {channel: i for i, channel in enumerate(c for group in GROUPS.values() for c in group)}
        order = torch.tensor([place[channel] for channel in range(PERFORMANCE)])
        self.register_buffer("order", order, persistent=False)

    @property
    def books(self) -> int:
        """Q: codes a window."""
        return len(GROUPS) * self.config.levels

    @property
    def coders(self) -> list[GroupCodec]:
        """The codecs of GROUPS, in order."""
        return [group for group in self.groups if isinstance(group, GroupCodec)]

    @property
    def sizes(self) -> list[int]:
        """Values of decoder state a row: the latents, then each group's past."""
        return [len(GROUPS) * self.config.latent, *(sum(group.decoder.sizes) for group in self.coders)]

    def whiten(self, motion: Tensor, manner: Tensor) -> Tensor:
        """How motion (B, 2T, PERFORMANCE) strays from what manner (B, T, M) usually looks like, in deviations."""
        if motion.shape[1] != WINDOW * manner.shape[1]:
            raise ValueError(f"performance is coded {WINDOW} frames at a time: {motion.shape[1]} frames do not fill "
                             f"{manner.shape[1]} windows")  # fmt: skip
        return (motion - self._usually(manner)) / self.scale

    def colour(self, whitened: Tensor, manner: Tensor) -> Tensor:
        """The inverse of :meth:`whiten`."""
        return self._usually(manner) + self.scale * whitened

    def _usually(self, manner: Tensor) -> Tensor:
        looks = self.offset + manner @ self.usual
        return torch.stack([looks] * WINDOW, dim=2).flatten(1, 2)

    def forward(self, motion: Tensor, condition: Tensor, keep: Tensor | None = None) -> Reconstruction:
        """Encodes and decodes (B, 2T, PERFORMANCE) under condition (B, T, CONDITION); keep (B, levels) 0/1."""
        found = self.quantizer(self._wanted(motion, condition), keep)
        past = [motion.new_zeros(motion.shape[0], size) for size in self.sizes[1:]]
        decoded, _ = self._paint(found.latent, condition[..., MANNER], past)
        return Reconstruction(decoded, found.latent, found.codes.flatten(2), found.commitment)

    @torch.no_grad()
    def start(self, motion: Tensor, condition: Tensor) -> None:
        """Begins from principal axes and k-means of motion (B, 2T, PERFORMANCE) under condition (B, T, CONDITION)."""
        whitened = self.whiten(motion, condition[..., MANNER])
        for group, channels in zip(self.coders, GROUPS.values(), strict=True):
            group.start(_windows(whitened[..., channels]), self.config.fleeting)
        self.quantizer.start(self._wanted(motion, condition))

    def _wanted(self, motion: Tensor, condition: Tensor) -> Tensor:
        manner = condition[..., MANNER]
        whitened = self.whiten(motion, manner)
        return torch.stack([
            group.encode(_windows(whitened[..., channels]), manner)
            for group, channels in zip(self.coders, GROUPS.values(), strict=True)
        ], dim=2)  # fmt: skip

    @torch.no_grad()
    def encode(self, motion: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (B, T, Q) int64 of motion (B, 2T, PERFORMANCE), and the latents (B, T, G D) they lead to."""
        made = self(motion, condition)
        return made.codes, made.latent.flatten(2)

    def step(self, codes: Tensor, manner: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Performs one window: codes (B, Q), manner (B, M), past (B, S) -> motion (B, 2, PERFORMANCE), next past."""
        latent, *pasts = torch.split(past, self.sizes, dim=1)
        chosen = codes.unflatten(1, (len(GROUPS), self.config.levels))
        here = self.quantizer.follow(chosen, latent.unflatten(1, (len(GROUPS), self.config.latent)))
        whitened, pasts = self._paint(here[:, None], manner[:, None], pasts)
        return self.colour(whitened, manner[:, None]), torch.cat([here.flatten(1), *pasts], dim=1)

    def decode(self, codes: Tensor, condition: Tensor) -> Tensor:
        """Motion (B, 2T, PERFORMANCE) of codes (B, T, Q) that begin a stream, under condition (B, T, CONDITION)."""
        past, parts = torch.zeros(len(codes), sum(self.sizes)), []
        for chosen, manner in zip(codes.unbind(1), condition[..., MANNER].unbind(1), strict=True):
            part, past = self.step(chosen, manner, past)
            parts.append(part)
        return torch.cat(parts, dim=1)

    def expected(self, chances: Tensor, latent: Tensor, condition: Tensor) -> Tensor:
        """Motion (B, 2T, PERFORMANCE) that codes of these chances (B, T, Q, V) lead to on average, window by window
        from the latents (B, T, G D) of what was really performed, under condition (B, T, CONDITION)."""
        books = self.quantizer.books.transpose(0, 1).flatten(0, 1)  # (Q, V, D)
        moves = torch.einsum("btqv,qvd->btqd", chances, books).unflatten(2, (len(GROUPS), -1)).sum(3)
        before = F.pad(latent.unflatten(2, (len(GROUPS), -1)), (0, 0, 0, 0, 1, 0))[:, :-1]
        past = [latent.new_zeros(len(latent), size) for size in self.sizes[1:]]
        manner = condition[..., MANNER]
        return self.colour(self._paint(self.quantizer.lasting * before + moves, manner, past)[0], manner)

    def _paint(self, latent: Tensor, manner: Tensor, pasts: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Whitened motion (B, 2T, PERFORMANCE) of latents (B, T, G, D), and each decoder's past after it."""
        pieces, nexts = [], []
        for group, row, past in zip(self.coders, latent.unbind(2), pasts, strict=True):
            piece, past = group.decode(row, manner, past)
            pieces.append(piece.unflatten(2, (WINDOW, -1)).flatten(1, 2))
            nexts.append(past)
        return torch.cat(pieces, dim=2)[..., self.order], nexts


def _windows(frames: Tensor) -> Tensor:
    """(B, 2T, C) -> (B, T, 2C)."""
    return frames.unflatten(1, (-1, WINDOW)).flatten(2)
