"""Performance as a few codes: a group-residual VQ-VAE over windows of two frames (torch; training and exporters only).

Two stages as ProbTalk3D (Wu et al. 2024): this file is the first, the codes that the performer of performer.py then
draws. Lids and gaze, face, head, and body have codebooks of their own, each refined by a residual level (group-residual
quantisation: Yang et al. 2023, HiFi-Codec); the head's first codebook is VividTalk's codebook of poses. Encoder and
decoder are causal, so what is decoded code by code equals what is decoded at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

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
EMA: Final = 0.98  # of the codebooks' running means, a step


@dataclass(frozen=True, slots=True)
class CodecConfig:
    """Sizes. ``levels`` residual codebooks of ``codes`` entries of ``latent`` numbers for each group."""

    levels: int = 2
    codes: int = 256
    latent: int = 16
    encoder: int = 64
    decoder: int = 96
    encoder_dilations: tuple[int, ...] = (1, 2)
    decoder_dilations: tuple[int, ...] = (1, 2, 4)
    dropout: float = 0.0


class Quantized(NamedTuple):
    """latent (B, T, D) with gradients passed straight through, codes (B, T, levels), and the commitment loss."""

    latent: Tensor
    codes: Tensor
    commitment: Tensor


class ResidualQuantizer(nn.Module):
    """Residual vector quantisation (Zeghidour et al. 2021) with codebooks that follow their members' means."""

    books: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, levels: int, codes: int, latent: int) -> None:
        super().__init__()
        self.levels, self.codes = levels, codes
        self.register_buffer("books", torch.randn(levels, codes, latent) / latent**0.5)
        self.register_buffer("counts", torch.ones(levels, codes), persistent=False)
        self.register_buffer("sums", self.books.clone(), persistent=False)

    def forward(self, latent: Tensor, keep: Tensor | None = None) -> Quantized:
        """(B, T, D) -> its codes. ``keep`` (B, levels) 0/1 leaves later levels out (quantizer dropout)."""
        residual, total, codes = latent.detach(), torch.zeros_like(latent), []
        for level in range(self.levels):
            code = torch.cdist(residual, self.books[level]).argmin(-1)
            entry = F.embedding(code, self.books[level])
            used = torch.ones_like(entry[:, :1, :1]) if keep is None else keep[:, level, None, None]
            if self.training:
                rows = used.expand(entry.shape[:2] + (1,)).reshape(-1) > 0
                self._follow(level, residual.reshape(-1, residual.shape[-1])[rows], code.reshape(-1)[rows])
            total, residual = total + entry * used, residual - entry * used
            codes.append(code)
        commitment = F.mse_loss(latent, total.detach())
        return Quantized(latent + (total - latent).detach(), torch.stack(codes, -1), commitment)

    def lookup(self, codes: Tensor) -> Tensor:
        """Latents (..., D) of codes (..., levels)."""
        return torch.stack([F.embedding(codes[..., level], self.books[level]) for level in range(self.levels)]).sum(0)

    @torch.no_grad()
    def _follow(self, level: int, members: Tensor, code: Tensor) -> None:
        if not len(members):
            return
        counts = torch.bincount(code, minlength=self.codes).to(members.dtype)
        sums = torch.zeros_like(self.sums[level]).index_add_(0, code, members)
        self.counts[level].lerp_(counts, 1.0 - EMA)
        self.sums[level].lerp_(sums, 1.0 - EMA)
        stale = self.counts[level] < STALE * len(members) / self.codes
        if stale.any():  # dead codes take the place of present members (Dhariwal et al. 2020)
            fresh = members[torch.randint(len(members), (int(stale.sum()),))]
            self.sums[level][stale], self.counts[level][stale] = fresh, 1.0
            self.books[level][stale] = fresh
        self.books[level] = self.sums[level] / self.counts[level].clamp_min(1e-5)[:, None]


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
    """The codec of one group of C channels, on whitened windows (B, T, WINDOW C) and manner (B, T, M)."""

    def __init__(self, channels: int, config: CodecConfig) -> None:
        super().__init__()
        size, manner = WINDOW * channels, len(MANNER)
        self.encoder = CausalStack(
            size + manner, config.encoder, config.latent, config.encoder_dilations, config.dropout
        )
        self.quantizer = ResidualQuantizer(config.levels, config.codes, config.latent)
        self.decoder = CausalStack(
            config.latent + manner, config.decoder, size, config.decoder_dilations, config.dropout
        )

    def encode(self, windows: Tensor, manner: Tensor) -> Tensor:
        """Latents (B, T, D) of windows that begin the stream."""
        past = windows.new_zeros(windows.shape[0], sum(self.encoder.sizes))
        latent: Tensor = self.encoder(torch.cat([windows, manner], dim=2), past)[0]
        return latent

    def decode(self, latent: Tensor, manner: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Windows of latents, and the past that goes on from there."""
        decoded: tuple[Tensor, Tensor] = self.decoder(torch.cat([latent, manner], dim=2), past)
        return decoded


class Reconstruction(NamedTuple):
    """motion (B, 2T, PERFORMANCE) whitened, codes (B, T, Q), and the commitment loss."""

    motion: Tensor
    codes: Tensor
    commitment: Tensor


class PerformanceCodec(nn.Module):
    """Performance (B, 2T, PERFORMANCE) <-> codes (B, T, Q), Q = groups x levels, in the order of GROUPS."""

    offset: Tensor
    scale: Tensor
    order: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.groups = nn.ModuleList(GroupCodec(len(channels), config) for channels in GROUPS.values())
        # Whitening, set on the training data before anything is learned: motion = offset + scale x whitened.
        self.register_buffer("offset", torch.zeros(PERFORMANCE))
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
        """Values of decoder state a row, group by group."""
        return [sum(group.decoder.sizes) for group in self.coders]

    def whiten(self, motion: Tensor) -> Tensor:
        """Every channel with mean 0 and deviation about 1."""
        return (motion - self.offset) / self.scale

    def colour(self, whitened: Tensor) -> Tensor:
        """The inverse of :meth:`whiten`."""
        return self.offset + self.scale * whitened

    def forward(self, motion: Tensor, condition: Tensor, keep: Tensor | None = None) -> Reconstruction:
        """Encodes and decodes (B, 2T, PERFORMANCE) under condition (B, T, CONDITION); keep (B, levels) 0/1."""
        whitened, manner = self.whiten(motion), condition[..., MANNER]
        latents, codes, losses = [], [], []
        for group, channels in zip(self.coders, GROUPS.values(), strict=True):
            found = group.quantizer(group.encode(_windows(whitened[..., channels]), manner), keep)
            latents.append(found.latent)
            codes.append(found.codes)
            losses.append(found.commitment)
        decoded, _ = self.decode(latents, manner, motion.new_zeros(motion.shape[0], sum(self.sizes)))
        return Reconstruction(decoded, torch.cat(codes, -1), torch.stack(losses).mean())

    @torch.no_grad()
    def encode(self, motion: Tensor, condition: Tensor) -> Tensor:
        """Codes (B, T, Q) int64 of motion (B, 2T, PERFORMANCE)."""
        codes: Tensor = self(motion, condition).codes
        return codes

    def latents(self, codes: Tensor) -> list[Tensor]:
        """Latents (B, T, D) of each group of codes (B, T, Q)."""
        parts = torch.split(codes, self.config.levels, dim=-1)
        return [group.quantizer.lookup(part) for group, part in zip(self.coders, parts, strict=True)]

    def decode(self, latents: list[Tensor], manner: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Whitened motion (B, 2T, PERFORMANCE) of each group's latents, and the decoders' past (B, S) after it."""
        pieces, nexts = [], []
        for group, latent, row in zip(self.coders, latents, torch.split(past, self.sizes, dim=1), strict=True):
            piece, row = group.decode(latent, manner, row)
            pieces.append(piece.unflatten(2, (WINDOW, -1)).flatten(1, 2))
            nexts.append(row)
        return torch.cat(pieces, dim=2)[..., self.order], torch.cat(nexts, dim=1)


def _windows(frames: Tensor) -> Tensor:
    """(B, 2T, C) -> (B, T, 2C)."""
    if frames.shape[1] % WINDOW:
        raise ValueError(f"performance is coded {WINDOW} frames at a time, got {frames.shape[1]} frames")
    return frames.unflatten(1, (-1, WINDOW)).flatten(2)
