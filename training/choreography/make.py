"""Performance shards: streams of one speaker who talks, listens and idles, with what a performer should do.

One ``.npz`` a batch of streams, whole or not there at all; stream n of a split depends on (seed, split, n) and the
speech alone, so a run resumes and another machine makes the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from engine.audio.logmel import LogMel
from engine.clock import FPS, FRAME, HOP, HOPS_PER_FRAME, SAMPLE_RATE
from engine.motion.emotion import EMOTION_INDEX, EMOTIONS, INTENSITIES
from engine.motion.generator import Compose
from engine.motion.wordpiece import words as tokens
from training.choreography.meaning import Chooser
from training.choreography.mouth import mouth_targets
from training.choreography.performance import act
from training.choreography.stage import VOWELS, Script, Stage
from training.speech.channel import channel
from training.speech.corpus import Utterance, read_shard, shards
from training.speech.phones import Span, Word
from training.speech.voices import voice_named

Array = NDArray[Any]
SPLITS: Final = {"train": "train", "validation": "speaker", "test": "test"}  # ours: the corpus's, by speaker
SHARE: Final = {"train": 0.90, "validation": 0.05, "test": 0.05}
STREAM: Final = 1500  # frames
STREAMS: Final = 10  # in a shard
NEUTRAL: Final = 0.25  # of the stretches feel nothing in particular
MOOD_SECONDS: Final = (6.0, 25.0)  # a mood lasts
HEARD_ON, HEARD_OFF = 0.06, 0.24  # seconds after which the runtime's VAD knows (engine/motion/turn.py)
ENGLISH: Final = 0.8  # of the streams, where there is a choice
CHANNEL_SHARE: Final = 0.5  # of the streams pass through a random channel


@dataclass(frozen=True, slots=True)
class Take:
    """One stream of T frames, as it is stored: see :func:`make_shard`."""

    mel: Array
    condition: Array
    performance: Array
    lips: Array
    emotion: Array
    stresses: Array
    strokes: Array


class Sayings:
    """Sentences of one split, by voice, read as they are needed. Raises ValueError when there are none."""

    def __init__(self, folder: Path, split: str) -> None:
        self.paths = shards(folder, SPLITS[split])
        self._read = lru_cache(maxsize=3)(lambda path: list(read_shard(path)))

    def speaker(self, rng: np.random.Generator) -> list[Utterance]:
        """What one voice says, in a random order. Mostly English, whose meaning we know; then every voice is as
        likely, however much it says."""
        voices = sorted({path.name.split("-")[1] for path in self.paths})
        english = [voice for voice in voices if voice_named(voice).language == "en"]
        foreign = [voice for voice in voices if voice not in english]
        first = bool(english) and (not foreign or rng.random() < ENGLISH)
        voice = (english if first else foreign)[int(rng.integers(len(english if first else foreign)))]
        mine = [path for path in self.paths if path.name.split("-")[1] == voice]
        said = self._read(mine[int(rng.integers(len(mine)))])
        if not said:
            raise ValueError(f"a speech shard of {voice} holds no sentence; delete it and make the speech again")
        return [said[int(i)] for i in rng.permutation(len(said))]


def scripts(
    said: list[Utterance], frames: int, rng: np.random.Generator, chooser: Chooser
) -> tuple[list[Script], Array]:
    """A stream of ``frames`` frames: turns of sentences, listening and idling, moods that change; and its sound."""
    out: list[Script] = []
    pcm: list[Array] = []
    style = tuple(np.round(np.clip(rng.beta(1.6, 1.6, 4), 0.0, 1.0), 3).tolist())
    emotion, intensity, left = *_mood(rng), float(rng.uniform(*MOOD_SECONDS))
    total, index, turn = 0, 0, int(rng.integers(1, 5))
    while total < frames:
        if left <= 0.0:
            emotion, intensity, left = *_mood(rng), float(rng.uniform(*MOOD_SECONDS))
        mood = {"emotion": emotion, "intensity": intensity, "style": style}
        if turn > 0:
            one = said[index % len(said)]
            pause = float(rng.choice([rng.uniform(0.0, 0.3), rng.uniform(0.2, 1.0)]))
            length = int(np.ceil((one.pcm.size / SAMPLE_RATE + pause) * FPS))
            level = np.float32(10 ** rng.uniform(-0.15, 0.05) / 32768)
            sound = np.zeros(length * FRAME, np.float32)
            sound[: one.pcm.size] = one.pcm.astype(np.float32)[: sound.size] * level
            english = one.language == "en"  # the encoder's language
            words = words_of(one)
            meaning, meant = chooser.sentence(one.text, words, stresses_of(one)) if english else (None, ())
            script = Script(length, one.spans, words, stresses_of(one), meaning=meaning, meant=meant,
                            question=one.text.rstrip().endswith("?"), **mood)  # type: ignore[arg-type]  # fmt: skip
            index, turn = index + 1, turn - 1
        else:
            length = int(rng.uniform(2.0, 9.0) * FPS)
            script = Script(length, listening=bool(rng.random() < 0.6), **mood)  # type: ignore[arg-type]
            sound = np.zeros(length * FRAME, np.float32)
            turn = int(rng.integers(1, 6)) if out and not out[-1].spans or rng.random() < 0.8 else 0
        out.append(script)
        pcm.append(sound)
        total += length
        left -= length / FPS
    return out, np.concatenate(pcm)[: frames * FRAME]


def _mood(rng: np.random.Generator) -> tuple[str, float]:
    if rng.random() < NEUTRAL:
        return "neutral", 0.0
    named = list(INTENSITIES.values())[int(rng.integers(3))]
    strength = float(rng.uniform(0.15, 1.0)) if rng.random() < 0.35 else named
    return EMOTIONS[int(rng.integers(1, len(EMOTIONS)))], round(strength, 3)


def stresses_of(one: Utterance) -> Array:
    """(n, 2) seconds and prominence; by the loudness of vowels where the corpus does not say."""
    if len(one.stress):
        return np.asarray(one.stress, float)
    middles = np.array([(s.start + s.stop) / 2 for s in one.spans if s.phone in VOWELS])
    if not len(middles):
        return np.zeros((0, 2))
    power = np.abs(one.pcm.astype(float))
    levels = np.array([power[int(m * HOP) - 400 if m * HOP > 400 else 0 : int(m * HOP) + 400].mean() for m in middles])
    rank = levels.argsort().argsort() / max(len(levels) - 1, 1)
    keep = rank > 0.4
    return np.stack([middles[keep] / 100.0, rank[keep]], axis=1)


def words_of(one: Utterance) -> list[Word]:
    """Words with their times; by their letters' share of the voiced time where the corpus does not say."""
    if one.words or not one.spans:
        return one.words
    names = [name for name in tokens(one.text) if name.isalpha()]
    ends = np.cumsum([len(name) + 1 for name in names]) / max(sum(len(name) + 1 for name in names), 1)
    hops = np.array([hop for s in one.spans if s.phone for hop in range(s.start, s.stop)] or [0])
    edges = hops[np.minimum((np.concatenate([[0.0], ends]) * len(hops)).astype(int), len(hops) - 1)]
    return [Word(int(a), int(b), name) for a, b, name in zip(edges, edges[1:], names, strict=False)]


def take(said: list[Utterance], frames: int, rng: np.random.Generator, chooser: Chooser, seed: int) -> Take:
    """One stream and what to do in it. ``seed`` is the choreographer's."""
    rows, sound = scripts(said, frames, rng, chooser)
    stage = Stage.of(rows, frames)
    sound = sound * np.float32(10 ** rng.uniform(-0.7, 0.1)) + rng.normal(
        0.0, 10 ** rng.uniform(-5.0, -3.7), sound.size
    )
    if rng.random() < CHANNEL_SHARE:
        sound = channel(sound.astype(np.float32), rng)
    log_mel = LogMel()
    mel, _ = log_mel.step(np.clip(sound, -1, 1).astype(np.float32)[None], log_mel.initial_state())
    done = act(stage, seed)
    spans = stage_spans(rows, frames)
    target = mouth_targets(spans, frames)
    lips = Compose()(*map(torch.from_numpy, (target.open, target.closure, target.labiodental))).numpy()
    condition = stage.conditions()
    condition[:, len(EMOTIONS)] = heard(stage)
    emotion = np.where(stage.told.max(1) > 0, stage.told.argmax(1), EMOTION_INDEX["neutral"]).astype(np.uint8)
    near = np.abs(stage.stresses[:, :1] - done.strokes[None, :, 1]) < 0.12
    struck = near.any(1).astype(float) if len(stage.stresses) else np.zeros(0)
    stresses = np.column_stack([stage.stresses, struck]) if len(stage.stresses) else np.zeros((0, 3))
    return Take(mel[0], condition, done.pack(), lips, emotion, stresses, done.strokes)


def heard(stage: Stage) -> Array:
    """(T,) whether the runtime knows, when it has heard frame t, that there is speech: late on, later off."""
    ends = stage.times + 0.5 / FPS
    out = np.zeros(stage.frames)
    for phrase in stage.phrases:
        out[(ends > phrase.start + HEARD_ON) & (ends < phrase.stop + HEARD_OFF)] = 1.0
    return out


def stage_spans(rows: list[Script], frames: int) -> list[Span]:
    """The phones of scripts in a row, as far as ``frames`` frames."""
    out: list[Span] = []
    at = 0
    for script in rows:
        moved = [Span(s.start + at, s.stop + at, s.phone) for s in script.spans]
        out += [s for s in moved if s.stop <= frames * HOPS_PER_FRAME]
        at += script.frames * HOPS_PER_FRAME
    return out


def make_shard(path: Path, sayings: Sayings, split: str, index: int, seed: int, chooser: Chooser) -> None:
    """Writes one shard of STREAMS streams of STREAM frames, whole or not at all:

    mel float16 (N, 4T, 80); condition float16 (N, T, 48); performance float16 (N, T, 96); lips float16 (N, T, 52) with
    closures and without expression; emotion uint8 (N, T); stresses float32 (M, 4): stream, second, prominence, whether
    a hand's stroke falls there; gesture_events float32 (M, 4): stream, start, stroke, meaning (a row of VOCABULARY).
    """
    takes, key = [], list(SPLITS).index(split)
    for number in range(index * STREAMS, (index + 1) * STREAMS):
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, key, number))))
        takes.append(take(sayings.speaker(rng), STREAM, rng, chooser, seed=int(rng.integers(2**62))))
    arrays = {name: np.stack([getattr(t, name) for t in takes]).astype(np.float16)
              for name in ("mel", "condition", "performance", "lips")}  # fmt: skip
    arrays["emotion"] = np.stack([t.emotion for t in takes])
    for name, field in (("stresses", "stresses"), ("gesture_events", "strokes")):
        rows = [np.insert(getattr(t, field), 0, n, axis=1) for n, t in enumerate(takes)]
        arrays[name] = np.concatenate(rows).astype(np.float32)
    arrays["seed"] = np.array([seed, key, index])
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    os.replace(temporary, path)


def make(
    speech: Path, out: Path, hours: float, seed: int, report: Callable[[int, int, str], None],
    chooser: Chooser | None = None,
) -> Iterator[Path]:  # fmt: skip
    """Makes what is missing of ``hours`` of streams, shard by shard; ``report(done, all, name)`` after each.

    Raises ValueError for hours that are not positive or speech that is not there.
    """
    if not 0.0 < hours < 1000.0:
        raise ValueError(f"hours must lie between 0 and 1000, got {hours}")
    out.mkdir(parents=True, exist_ok=True)
    whole = hours * 3600 * FPS / (STREAM * STREAMS)
    wanted = [(split, i) for split in SPLITS for i in range(max(1, round(whole * SHARE[split])))]
    wanted.sort(key=lambda row: row[1] / max(SHARE[row[0]], 1e-9))  # every split grows from the start
    sayings = {split: Sayings(speech, split) for split in SPLITS if split == "train" or _spoken(speech, split)}
    wanted = [row for row in wanted if row[0] in sayings]
    chooser = chooser or Chooser()
    for done, (split, index) in enumerate(wanted):
        path = out / f"{split}-{index:04d}.npz"
        if not path.exists():
            make_shard(path, sayings[split], split, index, seed, chooser)
            yield path
        report(done + 1, len(wanted), path.name)


def _spoken(speech: Path, split: str) -> bool:
    """Whether the corpus has speech for a split of ours; a small one may hold out nobody."""
    return any(speech.glob(f"{SPLITS[split]}-*.npz"))
