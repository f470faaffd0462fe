"""Losses and figures of the performer's two stages: how well codes keep a performance, how well they are foretold."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.clock import HOPS_PER_FRAME
from engine.motion.codec import MANNER, PerformanceCodec
from engine.motion.frame import ACTION_INDEX
from engine.motion.performance import GAZE_AT, GROUPS, HEAD_AT, PERFORMANCE
from engine.motion.performer import Performer
from training.performer_data import Coded, Streams, Stretch, stretch
from training.sync import SyncLoss, painted, seen

LEAST = {"body": 0.02, "head": 0.006, "face": 0.03, "eyes": 0.02}  # deviation below which a channel is hardly moving
VELOCITY, COMMITMENT = 1.0, 0.25  # weights beside the pose's
SECOND_LEVEL = 0.8  # of the rows use the residual level (quantizer dropout; Zeghidour et al. 2021)
SYNC = 0.1  # weight of the syncers, beside the codes'
MEANING = 0.5  # weight of the meaning that is heard, beside the codes'


class Spread(NamedTuple):
    """offset (PERFORMANCE,), usual (M, PERFORMANCE) and scale (PERFORMANCE,) that whiten a pose, and the deviation of
    a whitened frame's change."""

    offset: Tensor
    usual: Tensor
    scale: Tensor
    change: Tensor


def spread(streams: Streams) -> Spread:
    """What each manner usually looks like (least squares over all streams), and the deviations from that; a channel
    that hardly moves is not blown up."""
    motion, manner = streams.performance.float().flatten(0, 1), streams.condition[..., MANNER].float().flatten(0, 1)
    given = torch.cat([manner, torch.ones(len(manner), 1)], dim=1)
    ridge = 1e-3 * len(given) * torch.eye(given.shape[1])
    fit = torch.linalg.solve(given.T @ given + ridge, given.T @ motion)
    strays = (motion - given @ fit).view(len(streams), streams.frames, PERFORMANCE)
    least = torch.zeros(PERFORMANCE)
    for name, channels in GROUPS.items():
        least[list(channels)] = LEAST[name]
    scale = torch.maximum(strays.flatten(0, 1).std(0), least)
    change = (strays.diff(dim=1) / scale).flatten(0, 1).square().mean(0).sqrt()
    return Spread(fit[-1], fit[:-1], scale, change.clamp_min(0.02))


def codec_loss(
    codec: PerformanceCodec, sample: Stretch, change: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """Pose and velocity, each relative to what is usual for the channel, and the encoder's commitment."""
    keep = torch.ones(len(sample.motion), codec.config.levels)
    keep[:, 1:] = (torch.rand(len(sample.motion), 1, generator=generator) < SECOND_LEVEL).float()
    made = codec(sample.motion, sample.condition, keep)
    target = codec.whiten(sample.motion, sample.condition[..., MANNER])
    pose = F.smooth_l1_loss(made.motion, target, beta=1.0)
    velocity = F.smooth_l1_loss(made.motion.diff(dim=1) / change, target.diff(dim=1) / change, beta=1.0)
    loss = pose + VELOCITY * velocity + COMMITMENT * made.commitment
    return {"loss": loss, "pose": pose, "velocity": velocity, "commitment": made.commitment}


def prior_loss(
    net: Performer, sample: Stretch, coded: Coded, burn_in: int, sync: SyncLoss | None = None
) -> dict[str, Tensor]:
    """Cross-entropy of the codes that were performed, and one minus the cosine of the meaning that was heard.

    A stretch from the middle of a stream counts after ``burn_in`` windows: only a stream's beginning may look like one.
    With ``sync``, what the codes lead to on average must also fit its voice at every scale of the syncers.
    """
    codes, latent = coded.at(sample)
    with torch.autocast("cpu", torch.bfloat16):
        logits, thought = net(sample.mel, sample.condition, codes, latent)
    surprise = F.cross_entropy(logits.float().flatten(0, 2), codes.flatten(), reduction="none").view_as(codes)
    counted = torch.ones(codes.shape[:2])
    counted[:, :burn_in] = (sample.origin[:, 1:2] == 0).float()
    nats = (surprise.mean(2) * counted).sum() / counted.sum()
    known = sample.meaning[..., -1]
    cosine = F.cosine_similarity(thought.semantic.float(), sample.meaning[..., :-1], dim=2)
    missed = ((1.0 - cosine) * known).sum() / known.sum().clamp_min(1.0)
    parts = {"loss": nats + MEANING * missed, "nats": nats, "meaning": 1.0 - missed}
    if sync is not None:
        motion = net.codec.expected(logits.float().softmax(-1), latent, sample.condition)
        apart = sync(_voice(sample), seen(painted(sample.lips, motion), motion[..., HEAD_AT]))
        parts |= {"loss": parts["loss"] + SYNC * apart, "sync": apart}
    return parts


def _voice(sample: Stretch) -> Tensor:
    """The log-mel (B, 8n, 80) that belongs to the frames performed; one frame at an edge of a stretch wraps around."""
    behind = (1 - sample.origin[:, 2]) * HOPS_PER_FRAME  # frame 2k - o goes with mel of frames 2k - 1 and on
    rows = [mel.roll(-int(shift), 0) for mel, shift in zip(sample.mel, behind, strict=True)]
    return torch.stack(rows)


@torch.no_grad()
def codec_score(codec: PerformanceCodec, streams: Streams, batches: int = 4, windows: int = 100) -> dict[str, float]:
    """Explained share of pose and velocity for each group, blinks and saccades kept, codes in use (perplexity)."""
    rng = np.random.default_rng(0)
    truth, made, codes = [], [], []
    for _ in range(batches):
        sample = stretch(streams, 16, windows, rng)
        result = codec(sample.motion, sample.condition)
        truth.append(sample.motion)
        made.append(codec.colour(result.motion, sample.condition[..., MANNER]))
        codes.append(result.codes)
    x, y = torch.cat(truth), torch.cat(made)
    row: dict[str, float] = {}
    for name, channels in GROUPS.items():
        live = [c for c in channels if float(x[..., c].std()) > 1e-4]
        row[f"{name}.pose"] = _explained(x[..., live], y[..., live])
        row[f"{name}.velocity"] = _explained(x[..., live].diff(dim=1), y[..., live].diff(dim=1))
    row["blinks"] = _kept(x[..., ACTION_INDEX["eyeBlinkLeft"]], y[..., ACTION_INDEX["eyeBlinkLeft"]])
    row["gaze.velocity"] = _explained(x[..., GAZE_AT].diff(dim=1), y[..., GAZE_AT].diff(dim=1))
    used = torch.cat(codes).flatten(0, 1)
    row["perplexity"] = float(
        np.mean([_perplexity(used[:, book], codec.config.codes) for book in range(used.shape[1])])
    )
    return row


@torch.no_grad()
def prior_score(
    net: Performer, streams: Streams, coded: Coded, batches: int = 3, windows: int = 150
) -> dict[str, float]:
    """Nats a code, the share of the likeliest code that was right, and the cosine of the meaning heard."""
    rng, rows = np.random.default_rng(0), []
    for _ in range(batches):
        rows.append({k: float(v) for k, v in prior_loss(net, stretch(streams, 16, windows, rng), coded, 16).items()})
    return {name: float(np.mean([row[name] for row in rows])) for name in ("nats", "meaning")}


def _explained(truth: Tensor, made: Tensor) -> float:
    """Share of variance explained, the mean over channels."""
    flat, error = truth.flatten(0, 1), (truth - made).flatten(0, 1)
    return float((1.0 - error.square().mean(0) / flat.var(0).clamp_min(1e-10)).mean())


def _kept(truth: Tensor, made: Tensor, shut: float = 0.7, enough: float = 0.6) -> float:
    """Share of the blinks (B, T) that are still there within a frame."""
    edge = (truth[:, 1:-1] > shut) & (truth[:, 1:-1] >= truth[:, :-2]) & (truth[:, 1:-1] > truth[:, 2:])
    near = torch.stack([made[:, :-2], made[:, 1:-1], made[:, 2:]]).amax(0)
    return float((near[edge] > enough).float().mean()) if edge.any() else math.nan


def _perplexity(codes: Tensor, size: int) -> float:
    share = torch.bincount(codes, minlength=size).float() / len(codes)
    return float(torch.exp(-(share * (share + 1e-12).log()).sum()))
