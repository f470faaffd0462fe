"""Training streams for voice-to-lips: aligned sentences in a row, a channel on top, log-mel in, mouth targets out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from engine.audio.logmel import FLOOR, LogMel
from engine.clock import FRAME, HOP, HOPS_PER_FRAME, SAMPLE_RATE
from engine.motion.lips import VISEMES
from training.choreography.mouth import MouthTargets, mouth_targets
from training.speech.channel import channel, mel_warp, nonspeech
from training.speech.corpus import Utterance, read_shard, shards
from training.speech.phones import PHONES, Shape, Span, paint, shapes

Array = NDArray[np.float32]

SILENCE = float(np.log10(FLOOR) + 3.0) / 2  # log-mel of a silent bin
GAP_SECONDS = (0.0, 0.8)  # extra pause between sentences, on top of their own edges
NONSPEECH_SHARE = 0.14  # of the streams hold no speech at all: room, hum, tones, clicks
CHANNEL_SHARE = 0.55  # of the streams pass through a random channel
WARP_SHARE = 0.7  # of the streams get another vocal tract length


@dataclass(frozen=True, slots=True)
class Sample:
    """T frames: mel (4T, 80), pose (T, K) without contacts, contact (T, 2), viseme (T, 15) shares, phone (T, 4)."""

    mel: Array
    pose: Array
    contact: Array
    viseme: Array
    phone: NDArray[np.int64]


def load(folder: Path, split: str, limit: int | None = None) -> list[Utterance]:
    """Utterances of one split, at most ``limit`` a shard; raises ValueError when there are none."""
    out: list[Utterance] = []
    for path in shards(folder, split):
        out += list(read_shard(path))[:limit]
    if not out:
        raise ValueError(f"the {split} shards in {folder} hold no sentence; delete them and make them again")
    return out


def labelled(pcm: Array, spans: list[Span], start: int = 0) -> Sample:
    """Labels the whole frames of ``pcm`` (samples,), whose first sample is ``start`` samples into ``spans``."""
    frames = pcm.size // FRAME
    log_mel = LogMel()
    mel, _ = log_mel.step(pcm[None, : frames * FRAME].astype(np.float32), log_mel.initial_state())
    offset, hops = start / HOP, frames * HOPS_PER_FRAME
    moved = [Span(s.start - offset, s.stop - offset, s.phone) for s in spans]  # type: ignore[arg-type]
    target: MouthTargets = mouth_targets(moved, frames)
    viseme = np.eye(len(VISEMES), dtype=np.float32)[paint(_shifted(shapes(spans), offset), hops)]
    contact = np.stack([target.closure, target.labiodental], axis=1)
    phone = paint(moved, hops).reshape(frames, HOPS_PER_FRAME)
    return Sample(mel[0], target.open, contact, viseme.reshape(frames, HOPS_PER_FRAME, -1).mean(1), phone)


def _shifted(track: list[Shape], offset: float) -> list[Shape]:
    return [Shape(s.start - offset, s.stop - offset, s.viseme) for s in track]


class Streams(IterableDataset[tuple[Tensor, ...]]):
    """Endless random streams of ``frames`` frames. Stream n depends on (seed, n) alone, so a run resumes exactly."""

    def __init__(self, utterances: list[Utterance], frames: int, seed: int, first: int = 0) -> None:
        self.utterances, self.frames, self.seed, self.first = utterances, frames, seed, first

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        worker = torch.utils.data.get_worker_info()
        step, index = (worker.num_workers, self.first + worker.id) if worker else (1, self.first)
        while True:
            sample = self.stream(np.random.default_rng((self.seed, index)))
            yield tuple(torch.from_numpy(np.ascontiguousarray(getattr(sample, f))) for f in Sample.__slots__)
            index += step

    def stream(self, rng: np.random.Generator) -> Sample:
        """One random stream."""
        size = self.frames * FRAME
        if rng.random() < NONSPEECH_SHARE:
            return labelled(nonspeech(size, rng), [])
        skip = int(rng.integers(0, SAMPLE_RATE * 2))  # start anywhere, also in the middle of a word
        pcm, spans = self._sentences(size + skip, rng)
        heard = pcm[skip : skip + size]
        if rng.random() < CHANNEL_SHARE:
            heard = channel(heard, rng)
        else:
            heard = heard * np.float32(10 ** rng.uniform(-0.8, 0.1))
        sample = labelled(np.clip(heard, -1, 1), spans, skip)
        mel = mel_warp(sample.mel, rng.uniform(0.86, 1.16)) if rng.random() < WARP_SHARE else sample.mel
        if rng.random() < 0.4:  # a band lost, as SpecAugment (Park et al. 2019)
            low = int(rng.integers(0, 70))
            mel = mel.copy()
            mel[:, low : low + int(rng.integers(2, 10))] = SILENCE
        return Sample(mel, sample.pose, sample.contact, sample.viseme, sample.phone)

    def _sentences(self, size: int, rng: np.random.Generator) -> tuple[Array, list[Span]]:
        parts: list[Array] = []
        spans: list[Span] = []
        total = 0
        while total < size:
            utterance = self.utterances[int(rng.integers(len(self.utterances)))]
            gap = int(rng.uniform(*GAP_SECONDS) * SAMPLE_RATE) // HOP * HOP
            level = np.float32(10 ** rng.uniform(-0.3, 0.1) / 32768)
            at = (total + gap) // HOP
            spans += [Span(s.start + at, s.stop + at, s.phone) for s in utterance.spans]
            whole = utterance.pcm[: utterance.pcm.size // HOP * HOP]
            parts += [np.zeros(gap, np.float32), whole.astype(np.float32) * level]
            total += gap + whole.size
        return np.concatenate(parts), spans


assert PHONES[0] == "SIL" and VISEMES[0] == "sil"
