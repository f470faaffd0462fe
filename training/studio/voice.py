"""Somebody speaking, for a clip: sound, mouth, loudness and stress, out of the aligned speech of training/speech."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from engine.audio.logmel import BINS, LogMel
from engine.clock import FRAME, HOP, HOPS_PER_FRAME, SAMPLE_RATE
from engine.motion.frame import K
from engine.motion.generator import Compose
from training.choreography.mouth import mouth_targets
from training.speech.corpus import Utterance, read_shard, shards
from training.speech.phones import PHONES, Span, paint

Array = NDArray[np.float32]
GAP: Final = (0.1, 0.7)  # seconds between sentences
STRESS_GAP: Final = 8  # frames between stressed syllables, at least
VOWELS: Final = frozenset(
    PHONES.index(n) for n in ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """T frames of somebody speaking, or of nobody.

    source: shard, sentence and start of the first sample, or "silence"; pcm (T, 640) int16 at 16 kHz; lips (T, K)
    face actions; speech (T,) share of the frame that is speech; mel (T, 4, 80); stress (N,) frames of stressed vowels.
    """

    source: str
    pcm: NDArray[np.int16]
    lips: Array
    speech: Array
    mel: Array
    stress: NDArray[np.int64]


class Library:
    """The speech shards of some splits, read as they are needed. Raises ValueError when a split has none."""

    def __init__(self, folder: Path, splits: tuple[str, ...]) -> None:
        self.paths = [path for split in splits for path in shards(folder, split)]
        self._read = lru_cache(maxsize=4)(lambda path: list(read_shard(path)))

    @property
    def names(self) -> list[str]:
        """File names of the shards, in the order that the draws depend on."""
        return [path.name for path in self.paths]

    def stretch(self, frames: int, rng: np.random.Generator) -> Stretch:
        """``frames`` random frames of one voice: sentences in a row, from anywhere in the first."""
        path = self.paths[int(rng.integers(len(self.paths)))]
        said = self._read(path)
        if not said:
            raise ValueError(f"{path} holds no sentence; delete it and make the speech again")
        first = int(rng.integers(len(said)))
        gain = 10 ** rng.uniform(-0.5, 0.1)
        skip = int(rng.uniform(0.0, 0.7) * said[first].pcm.size) // HOP * HOP
        pcm, spans = _row(said, first, skip + frames * FRAME, rng)
        pcm = np.clip(pcm[skip : skip + frames * FRAME] * gain, -32767, 32767).astype(np.int16)
        moved = [Span(s.start - skip // HOP, s.stop - skip // HOP, s.phone) for s in spans]
        return labelled(f"{path.name}#{first}+{skip}", pcm, moved)


def silence(frames: int, rng: np.random.Generator) -> Stretch:
    """Somebody listening: a quiet room, no speech."""
    pcm = np.clip(rng.normal(0.0, 10 ** rng.uniform(0.0, 1.2), frames * FRAME), -32767, 32767).astype(np.int16)
    return labelled("silence", pcm, [])


def labelled(source: str, pcm: NDArray[np.int16], spans: list[Span]) -> Stretch:
    """Mouth, loudness and stress of ``pcm`` (T * 640,), whose phones are ``spans`` (hops from its first sample)."""
    frames = pcm.size // FRAME
    log_mel = LogMel()
    mel, _ = log_mel.step(pcm[None].astype(np.float32) / 32768.0, log_mel.initial_state())
    mel = mel[0].reshape(frames, HOPS_PER_FRAME, BINS)
    target = mouth_targets(spans, frames)
    lips = Compose()(*map(torch.from_numpy, (target.open, target.closure, target.labiodental))).numpy()
    spoken = (paint(spans, frames * HOPS_PER_FRAME) > 0).reshape(frames, HOPS_PER_FRAME).mean(1).astype(np.float32)
    assert lips.shape == (frames, K)
    return Stretch(source, pcm.reshape(frames, FRAME), lips, spoken, mel, _stress(spans, mel.mean((1, 2))))


def _row(said: list[Utterance], first: int, size: int, rng: np.random.Generator) -> tuple[Array, list[Span]]:
    """Sentences from ``first`` on with pauses between, at least ``size`` samples, and their phones."""
    parts: list[Array] = []
    spans: list[Span] = []
    total = 0
    for index in range(first, first + size // (SAMPLE_RATE // 2) + 2):
        utterance = said[index % len(said)]
        spans += [Span(s.start + total // HOP, s.stop + total // HOP, s.phone) for s in utterance.spans]
        gap = int(rng.uniform(*GAP) * SAMPLE_RATE)
        room = -(utterance.pcm.size + gap) % HOP  # every sentence starts on the 10 ms grid
        parts += [utterance.pcm.astype(np.float32), rng.normal(0.0, 3.0, gap + room).astype(np.float32)]
        total += utterance.pcm.size + gap + room
        if total >= size:
            break
    return np.concatenate(parts), spans


def _stress(spans: list[Span], loudness: Array) -> NDArray[np.int64]:
    """Frames of the vowels that stand out in loudness, at least STRESS_GAP apart, loudest first in line."""
    frames = len(loudness)
    middles = [(s.start + s.stop) // 2 // HOPS_PER_FRAME for s in spans if s.phone in VOWELS]
    chosen: list[int] = []
    for frame in sorted((m for m in middles if 0 <= m < frames), key=lambda m: (-float(loudness[m]), m)):
        if all(abs(frame - other) >= STRESS_GAP for other in chosen):
            chosen.append(frame)
    return np.array(sorted(chosen), np.int64)
