"""Training streams for voice-to-lips: aligned sentences in a row, a channel on top, log-mel in, mouth targets out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from engine.audio.logmel import FLOOR, LogMel
from engine.clock import FRAME, HOP, HOPS_PER_FRAME, SAMPLE_RATE
from engine.motion.acoustic import SHAPES, Acoustic, AcousticState
from engine.motion.lips import VISEMES
from training.choreography.mouth import MouthTargets, mouth_targets
from training.motion_acoustic import acoustic
from training.speech.channel import channel, mel_warp, nonspeech
from training.speech.consonants import casual
from training.speech.corpus import Utterance, read_shard, shards
from training.speech.phones import PHONES, Shape, Span, paint, shapes

Array = NDArray[np.float32]

SILENCE = float(np.log10(FLOOR) + 3.0) / 2  # log-mel of a silent bin
GAP_SECONDS = (0.0, 0.8)  # extra pause between sentences, on top of their own edges
NONSPEECH_SHARE = 0.14  # of the streams hold no speech at all: room, hum, tones, clicks
CHANNEL_SHARE = 0.65  # of the streams pass through a random channel
NATURAL = 2.0  # times as often is a voice heard that sounds like a person
WARP_SHARE = 0.6  # of the streams get another vocal tract length
BAND_SHARE = 0.4  # lose a band of the mel
LOST_SHARE = 0.08  # lose the mel, and as many the phone likelihoods


@dataclass(frozen=True, slots=True)
class Sample:
    """T frames: mel (4T, 80), likelihood (4T, 126) of `engine.motion.acoustic`, pose (T, K) without contacts, contact
    (T, 2), viseme and phone (T, 4) of each hop."""

    mel: Array
    likelihood: Array
    pose: Array
    contact: Array
    viseme: NDArray[np.int64]
    phone: NDArray[np.int64]


def load(folder: Path, split: str, limit: int | None = None) -> list[Utterance]:
    """Utterances of one split, at most ``limit`` a shard; raises ValueError when there are none."""
    out: list[Utterance] = []
    for path in shards(folder, split):
        out += list(read_shard(path))[:limit]
    if not out:
        raise ValueError(f"the {split} shards in {folder} hold no sentence; delete them and make them again")
    return out


def is_neural(voice: str) -> bool:
    """Whether a voice of the corpus comes from a neural network, in the language its style was made for."""
    return voice.startswith("kokoro_")


@cache
def _front() -> Acoustic:
    return acoustic()


def likelihoods(mel: Array) -> Array:
    """What the front end makes of log-mel (4T, 80) from a fresh state: (4T, 126)."""
    fresh = AcousticState(*(torch.zeros(1, *shape) for shape in SHAPES))
    return np.asarray(_front()(torch.from_numpy(np.ascontiguousarray(mel))[None], fresh)[0][0].numpy())


def labelled(pcm: Array, spans: list[Span], start: int = 0, warp: float = 1.0) -> Sample:
    """Labels the whole frames of ``pcm`` (samples,), whose first sample is ``start`` samples into ``spans``, heard
    from a vocal tract ``warp`` times as long."""
    frames = pcm.size // FRAME
    log_mel = LogMel()
    mel, _ = log_mel.step(pcm[None, : frames * FRAME].astype(np.float32), log_mel.initial_state())
    offset, hops = start / HOP, frames * HOPS_PER_FRAME
    moved = [Span(s.start - offset, s.stop - offset, s.phone) for s in spans]  # type: ignore[arg-type]
    target: MouthTargets = mouth_targets(moved, frames)
    viseme = paint(_shifted(shapes(spans), offset), hops).reshape(frames, HOPS_PER_FRAME)
    contact = np.stack([target.closure, target.labiodental], axis=1)
    phone = paint(moved, hops).reshape(frames, HOPS_PER_FRAME)
    heard = mel[0] if warp == 1.0 else mel_warp(mel[0], warp)
    return Sample(heard, likelihoods(heard), target.open, contact, viseme, phone)


def _shifted(track: list[Shape], offset: float) -> list[Shape]:
    return [Shape(s.start - offset, s.stop - offset, s.viseme) for s in track]


def over_a_channel(utterance: Utterance, seed: int) -> Utterance:
    """The sentence as training hears most: said casually, through a random channel."""
    rng = np.random.default_rng(seed)
    said = casual(utterance.pcm.astype(np.float32), utterance.spans, rng) / np.float32(32768)
    return replace(utterance, pcm=(np.clip(channel(said, rng), -1, 1) * 32767).astype(np.int16))


class Streams(IterableDataset[tuple[Tensor, ...]]):
    """Endless random streams of ``frames`` frames. Stream n depends on (seed, n) alone, so a run resumes exactly.

    A voice is heard as often as the square root of its sentences, many speakers count more than much of one; neural
    voices NATURAL times as often.
    """

    def __init__(self, utterances: list[Utterance], frames: int, seed: int, first: int = 0) -> None:
        self.utterances, self.frames, self.seed, self.first = utterances, frames, seed, first
        sentences = Counter(utterance.voice for utterance in utterances)
        weight = {voice: count**-0.5 * (NATURAL if is_neural(voice) else 1.0) for voice, count in sentences.items()}
        self.upto = np.cumsum([weight[utterance.voice] for utterance in utterances])

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        torch.set_num_threads(1)
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
        warp = rng.uniform(0.86, 1.16) if rng.random() < WARP_SHARE else 1.0
        return labelled(np.clip(heard, -1, 1), spans, skip, warp)

    def _sentences(self, size: int, rng: np.random.Generator) -> tuple[Array, list[Span]]:
        parts: list[Array] = []
        spans: list[Span] = []
        total = 0
        while total < size:
            utterance = self.utterances[int(np.searchsorted(self.upto, rng.uniform(0, self.upto[-1])))]
            gap = int(rng.uniform(*GAP_SECONDS) * SAMPLE_RATE) // HOP * HOP
            level = np.float32(10 ** rng.uniform(-0.3, 0.1) / 32768)
            at = (total + gap) // HOP
            spans += [Span(s.start + at, s.stop + at, s.phone) for s in utterance.spans]
            whole = utterance.pcm[: utterance.pcm.size // HOP * HOP].astype(np.float32)
            parts += [np.zeros(gap, np.float32), casual(whole, utterance.spans, rng) * level]
            total += gap + whole.size
        return np.concatenate(parts), spans


def masked(mel: Tensor, likelihood: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Copies of mel (B, 4T, 80) and likelihood (B, 4T, 126) with parts lost: bands of the mel (SpecAugment, Park et al.
    2019), or now and then one of the two wholly, so that neither is leaned on alone."""
    mel, likelihood = mel.clone(), likelihood.clone()
    for row in range(mel.shape[0]):
        draw = torch.rand(4, generator=generator).tolist()
        if draw[0] < LOST_SHARE:
            mel[row] = 0.0
        elif draw[0] < 2 * LOST_SHARE:
            likelihood[row] = 0.0
        if draw[0] >= LOST_SHARE and draw[1] < BAND_SHARE:
            low = int(draw[2] * 70)
            mel[row, :, low : low + 2 + int(8 * draw[3])] = SILENCE
    return mel, likelihood


assert PHONES[0] == "SIL" and VISEMES[0] == "sil"
