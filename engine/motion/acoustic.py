"""Front end of the lip network: how well each phone state of an acoustic model explains the sound (torch).

The acoustic model is pocketsphinx's US English one (BSD-2-Clause, Alpha Cephei 2015), trained on many real speakers:
42 phones x 3 states, each a mixture over its phone's 128 Gaussians in three streams (cepstra, deltas, double deltas).
Only its context-independent part is used. Imported by training and exporters only; see `training.motion_acoustic`.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from engine.audio.logmel import BINS
from engine.clock import HOPS_PER_FRAME

FILTERS: Final = 25
CEPSTRA: Final = 13
STREAMS: Final = 3
PHONES: Final = 42  # ARPAbet without stress, silence, and two kinds of noise
STATES: Final = 3
GAUSSIANS: Final = 128
FEATURES: Final = PHONES * STATES
DELAY: Final = 3  # hops: double deltas look three hops ahead
CONTEXT: Final = 2 * DELAY
FLOOR: Final = -40.0  # nats below the best state at which a state is ruled out
SCALE: Final = 0.1  # nats to features of the network's size
BLOCK: Final = 64  # rows at a time, so that their Gaussians stay in the cache

# Cepstral mean: an exponential mean over about four seconds of speech, so that microphone and room cancel out
# (Atal 1974). It follows what is not much quieter than itself, and the quarter second around it.
FOLLOW: Final = HOPS_PER_FRAME / 400.0
QUIETER: Final = 25.0  # of the zeroth cepstrum
HANG: Final = 0.88  # of nearness, a frame
LEAK: Final = 0.02  # share of FOLLOW that is always there: a voice that is much quieter is found in the end


class AcousticState(NamedTuple):
    """What the front end remembers: cepstra (B, 6, 13) of the last hops, how far the running mean (B, 13) is from its
    start, and how near speech (B, 1) is."""

    cepstra: Tensor
    moved: Tensor
    near: Tensor


SHAPES: Final = ((CONTEXT, CEPSTRA), (CEPSTRA,), (1,))
SIZES: Final = tuple(math.prod(shape) for shape in SHAPES)


class Acoustic(nn.Module):
    """log-mel (B, 4 T, 80) -> log-likelihoods of 126 phone states (B, 4 T, 126), late by DELAY hops.

    They are relative to the best state, cut at FLOOR and scaled by SCALE. Nothing in here is learned.
    """

    filters: Tensor
    transform: Tensor
    mean: Tensor
    linear: Tensor
    constant: Tensor
    mixture: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filters", torch.zeros(BINS, FILTERS))
        self.register_buffer("transform", torch.zeros(FILTERS, CEPSTRA))
        self.register_buffer("mean", torch.zeros(CEPSTRA))
        self.register_buffer("linear", torch.zeros(STREAMS, 2 * CEPSTRA, PHONES * GAUSSIANS))
        self.register_buffer("constant", torch.zeros(STREAMS, 1, PHONES * GAUSSIANS))
        self.register_buffer("mixture", torch.full((STREAMS, PHONES, GAUSSIANS, STATES), 1.0 / GAUSSIANS))

    @torch.no_grad()
    def forward(self, mel: Tensor, state: AcousticState) -> tuple[Tensor, AcousticState]:
        cepstra = self.cepstra(mel)
        means, moved, near = self._means(cepstra, state)
        line = torch.cat([state.cepstra, cepstra], dim=1)
        hops = mel.shape[1]

        def at(late: int) -> Tensor:
            return line[:, CONTEXT - late : CONTEXT - late + hops]

        static = at(DELAY) - means
        delta = at(1) - at(5)
        double = (at(0) - at(4)) - (at(2) - at(6))
        score = self.likelihood(torch.stack([static, delta, double]).flatten(1, 2)).unflatten(0, (-1, hops))
        score = (score - score.amax(2, keepdim=True)).clamp_min(FLOOR) * SCALE
        return score, AcousticState(line[:, hops:], moved, near)

    def cepstra(self, mel: Tensor) -> Tensor:
        """Mel-frequency cepstra (B, H, 13) as the acoustic model was trained on: 25 filters of 130-6800 Hz on the
        pre-emphasised power spectrum (here: weighted sums of ours), orthonormal DCT-II, liftered."""
        power = torch.exp((2.0 * mel - 3.0) * math.log(10.0))
        return torch.log(power @ self.filters + 1e-9) @ self.transform

    def likelihood(self, features: Tensor) -> Tensor:
        """features (3, N, 13) -> log-likelihood of every state, (N, 126), but for a constant a row.

        States more than some 80 nats below the best in a stream come out as if there.
        """
        blocks = [features] if torch.jit.is_tracing() else features.split(BLOCK, dim=1)
        return torch.cat([self._likelihood(block) for block in blocks])

    def _likelihood(self, features: Tensor) -> Tensor:
        total = torch.zeros(())
        for x, linear, constant, mixture in zip(features, self.linear, self.constant, self.mixture, strict=True):
            each = torch.cat([x, x * x], dim=1) @ linear + constant
            weight = torch.exp(each - each.amax(1, keepdim=True)).unflatten(1, (PHONES, GAUSSIANS))
            total = total + torch.log((weight.transpose(0, 1) @ mixture).clamp_min(1e-35))  # (42, N, 3)
        return total.transpose(0, 1).flatten(1)

    def _means(self, cepstra: Tensor, state: AcousticState) -> tuple[Tensor, Tensor, Tensor]:
        """The running mean that holds for each hop (B, H, 13), and its state after them."""
        moved, near, means = state.moved, state.near, []
        for frame in cepstra.split(HOPS_PER_FRAME, dim=1):
            now = frame.mean(1)
            gap = now[:, :1] - self.mean[:1] - moved[:, :1]
            near = torch.maximum(torch.sigmoid((gap + QUIETER) / 4.0), HANG * near)
            moved = moved + FOLLOW * near.clamp_min(LEAK) * (now - self.mean - moved)
            means.append((self.mean + moved)[:, None].expand_as(frame))
        return torch.cat(means, dim=1), moved, near
