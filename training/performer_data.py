"""Performances to learn from: the shards of `training.choreography make`, and random stretches of them.

A window is what the performer makes at a time: it has heard frames 2k - 1 and 2k and performs 2k - o and 2k + 1 - o,
where o is the lookahead.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from engine.audio.logmel import BINS
from engine.clock import HOPS_PER_FRAME
from engine.motion.codec import PerformanceCodec
from engine.motion.condition import EMOTION_AT, KNOWN_AT, LOOKAHEAD_AT, MOST_LOOKAHEAD, SEMANTIC_AT
from engine.motion.manner import MOOD_HALF_LIFE
from engine.motion.performance import WINDOW
from engine.motion.performer import SILENCE
from training.choreography.curves import spring

FIELDS = ("mel", "condition", "performance", "lips", "emotion")
FRESH_SHARE = 0.3  # of the stretches begin where their stream begins
UNTOLD_SHARE = 0.5  # of the stretches are not told what the words mean
GAIN = 0.35  # log-mel units a microphone is louder or softer (7 dB)


@dataclass(frozen=True, slots=True)
class Streams:
    """N streams of T frames, half precision: mel (N, 4T, 80), condition (N, T, 48), performance (N, T, 96),
    lips (N, T, 52), emotion (N, T) uint8; stresses (M, 4): stream, seconds, prominence, whether a hand beats on it;
    gestures (M, 4): stream, start and stroke in seconds, which meaning."""

    mel: Tensor
    condition: Tensor
    performance: Tensor
    lips: Tensor
    emotion: Tensor
    stresses: Tensor
    gestures: Tensor

    @property
    def frames(self) -> int:
        """T."""
        return self.performance.shape[1]

    def __len__(self) -> int:
        return len(self.performance)


def load(folder: Path, split: str, limit: int | None = None) -> Streams:
    """All streams of a split, or of its first ``limit`` shards. Raises ValueError when there is none or one is bad."""
    paths = sorted(folder.glob(f"{split}-*.npz"))[:limit]
    if not paths:
        raise ValueError(
            f"no {split} performances in {folder}; make them: python -m training.choreography make --out {folder}"
        )
    parts: dict[str, list[Tensor]] = {name: [] for name in (*FIELDS, "stresses", "gesture_events")}
    for path in paths:
        count = sum(len(part) for part in parts["emotion"])
        try:
            with np.load(path, allow_pickle=False) as shard:
                for name in FIELDS:
                    parts[name].append(torch.from_numpy(shard[name]))
                for name in ("stresses", "gesture_events"):
                    rows = torch.from_numpy(shard[name].astype(np.float32)).reshape(-1, 4)
                    parts[name].append(rows + torch.tensor([float(count), 0.0, 0.0, 0.0]))
        except (OSError, KeyError, ValueError, EOFError, zlib.error, BadZipFile) as error:
            raise ValueError(
                f"{path} is not a whole performance shard ({error}); delete it and make it again"
            ) from error
    parts["condition"] = [_felt(rows) for rows in parts["condition"]]
    return Streams(*(torch.cat(rows) for rows in parts.values()))


def _felt(condition: Tensor) -> Tensor:
    """Emotions (N, T, 48) change in a shard from one frame to the next; the engine fades them, so the network is to
    see them fade (engine/motion/manner.py)."""
    told = condition[..., EMOTION_AT].float().transpose(0, 1).flatten(1)
    faded = torch.from_numpy(spring(told.numpy(), MOOD_HALF_LIFE)).clamp(0.0, 1.0)
    out = condition.clone()
    out[..., EMOTION_AT] = faded.unflatten(1, (len(condition), -1)).transpose(0, 1).to(out.dtype)
    return out


class Stretch(NamedTuple):
    """B stretches of n windows, float32: mel (B, 8n, 80), condition (B, n, 48) as the performer is told it,
    meaning (B, n, 33) as it really is, motion (B, 2n, 96) and lips (B, 2n, 52) of the frames it is to perform, and
    where they are from (B, 3): stream, first window, lookahead."""

    mel: Tensor
    condition: Tensor
    meaning: Tensor
    motion: Tensor
    lips: Tensor
    origin: Tensor


def stretch(streams: Streams, batch: int, windows: int, rng: np.random.Generator) -> Stretch:
    """Random stretches with random lookaheads."""
    frames = WINDOW * windows
    last = streams.frames - frames
    if last < 0:
        raise ValueError(f"streams of {streams.frames} frames are shorter than {windows} windows")
    which = rng.integers(len(streams), size=batch)
    start = rng.integers(last // WINDOW + 1, size=batch) * WINDOW
    start[rng.random(batch) < FRESH_SHARE] = 0
    ahead = rng.integers(MOST_LOOKAHEAD + 1, size=batch)
    told = rng.random(batch) >= UNTOLD_SHARE
    gain = rng.uniform(-GAIN, GAIN, batch)
    rows = [cut(streams, int(w), int(s), windows, int(o)) for w, s, o in zip(which, start, ahead, strict=True)]
    mel, condition, motion, lips = (torch.stack(parts) for parts in zip(*rows, strict=True))
    mel = (mel + torch.tensor(gain, dtype=torch.float32)[:, None, None]).clamp_min(SILENCE)
    meaning = condition[..., SEMANTIC_AT.start : KNOWN_AT + 1].clone()
    condition[..., SEMANTIC_AT.start : KNOWN_AT + 1] *= torch.tensor(told, dtype=torch.float32)[:, None, None]
    origin = torch.from_numpy(np.stack([which, start // WINDOW, ahead], 1))
    return Stretch(mel, condition, meaning, motion, lips, origin)


def cut(streams: Streams, which: int, start: int, windows: int, ahead: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One stretch from frame ``start`` (even): mel, condition, motion and lips. Before a stream there is silence and
    its first frame."""
    frames = WINDOW * windows
    first = (start - 1) * HOPS_PER_FRAME
    mel = streams.mel[which, max(first, 0) : first + frames * HOPS_PER_FRAME].float()
    if first < 0:
        mel = torch.cat([torch.full((-first, BINS), SILENCE), mel])
    condition = streams.condition[which, start : start + frames : WINDOW].float()
    condition[:, LOOKAHEAD_AT] = ahead / MOST_LOOKAHEAD
    shown = torch.arange(start - ahead, start - ahead + frames).clamp_min(0)
    return mel, condition, streams.performance[which, shown].float(), streams.lips[which, shown].float()


@dataclass(frozen=True, slots=True)
class Coded:
    """Whole streams as codes, once and for all: codes (O, N, n, Q) uint8 and the latents (O, N, n, L) they lead to,
    half precision, for each lookahead."""

    codes: Tensor
    latents: Tensor

    @staticmethod
    def of(streams: Streams, codec: PerformanceCodec, batch: int = 20) -> Coded:
        """Encodes every stream at every lookahead. Raises ValueError for codebooks a byte cannot index."""
        if codec.config.codes > 256:
            raise ValueError(f"codes are kept as bytes: at most 256 a book, got {codec.config.codes}")
        codes, latents = [], []
        for ahead in range(MOST_LOOKAHEAD + 1):
            shown = torch.arange(-ahead, streams.frames - ahead).clamp_min(0)
            rows = [
                codec.encode(streams.performance[first : first + batch][:, shown].float(),
                             streams.condition[first : first + batch, ::WINDOW].float())
                for first in range(0, len(streams), batch)
            ]  # fmt: skip
            codes.append(torch.cat([row[0] for row in rows]).to(torch.uint8))
            latents.append(torch.cat([row[1] for row in rows]).half())
        return Coded(torch.stack(codes), torch.stack(latents))

    def at(self, sample: Stretch) -> tuple[Tensor, Tensor]:
        """Codes (B, n, Q) int64 and latents (B, n, L) of stretches."""
        windows = torch.arange(sample.condition.shape[1])
        which, first, ahead = (column[:, None] for column in sample.origin.unbind(1))
        return self.codes[ahead, which, first + windows].long(), self.latents[ahead, which, first + windows].float()
