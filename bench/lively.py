"""What a session does besides lips, on real speech it never heard: do seeds differ, is an emotion seen, does the head
move on the stressed vowels, do face and voice belong together. The judges are training's; what they see is a session's
whole Motion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from bench.ours import Talker
from bench.prompts import Prompt
from bench.report import Metrics, value
from engine.audio.logmel import LogMel
from engine.clock import FRAME, SAMPLE_RATE
from engine.motion.emotion import EMOTIONS, INTENSITIES
from engine.motion.frame import Motion
from engine.motion.manner import Manner
from engine.motion.performance import FACE_AT, GAZE_AT, HEAD_AT, JOINTS_AT, PERFORMANCE
from training.motion_judges import beat_alignment, diversity
from training.speech.features import loudness, pitch, stresses
from training.speech.tools import MissingPackage

Array = NDArray[np.float32]

SEEDS: Final = (1, 2, 3)
DIVERSE_PROMPTS: Final = 8  # joined into one call
EMOTION_PROMPTS: Final = 4
MOODS: Final = ("moderate", "strong")
SETTLED: Final = 15  # frames after which an emotion that was asked for has come


def lively(talker: Talker, said: Sequence[Prompt], call: Callable[[Sequence[Prompt]], Prompt], quick: bool,
           log: Console) -> Metrics:  # fmt: skip
    """Every figure; a judge whose weights or packages are not here is named and left out."""
    metrics: Metrics = {}
    parts: list[Callable[[], Metrics]] = [
        lambda: _diverse(talker, call(said[: DIVERSE_PROMPTS // (4 if quick else 1)])),
        lambda: _on_the_beat(talker, said if not quick else said[:10], call),
        lambda: _felt(talker, said[: 2 if quick else EMOTION_PROMPTS]),
        lambda: _in_sync(talker, call(said[:DIVERSE_PROMPTS])),
    ]
    for part in parts:
        try:
            metrics |= part()
        except (ValueError, ImportError, MissingPackage) as error:
            log.print(f"[yellow]not judged:[/] {error}", highlight=False)
    return metrics


def performance(motions: Sequence[Motion]) -> Array:
    """A session's Motion as the judges of performances see it, (T, 96)."""
    rows = np.zeros((len(motions), PERFORMANCE), np.float32)
    for row, motion in zip(rows, motions, strict=True):
        row[FACE_AT], row[GAZE_AT], row[HEAD_AT], row[JOINTS_AT] = (
            motion.face, motion.gaze, motion.head, motion.joints.ravel()
        )  # fmt: skip
    return rows


def _diverse(talker: Talker, prompt: Prompt) -> Metrics:
    """How far takes of one call by other seeds lie apart, a part of the body at a time, and lips among them."""
    shown = [talker.perform(prompt.pcm, seed) for seed in SEEDS]
    parts = diversity(np.stack([performance(s.motion) for s in shown]))
    gaps = np.stack([s.gap for s in shown])
    metrics = {f"diversity.{name}": value(number, "rms") for name, number in parts.items()}
    metrics["diversity"] = value(float(np.mean(list(parts.values()))), "rms")
    metrics["diversity.lip_gap_mm"] = value(float(np.abs(gaps - gaps[:1]).mean()), "mm")
    return metrics


def _on_the_beat(talker: Talker, said: Sequence[Prompt], call: Callable[[Sequence[Prompt]], Prompt]) -> Metrics:
    """Whether head and hands peak where vowels are stressed, against the same stresses at other times of the speech."""
    rows, times, talking = list[NDArray[Any]](), list[NDArray[Any]](), list[NDArray[Any]]()
    for start in range(0, len(said), 5):
        group = said[start : start + 5]
        joined = call(group)
        frames = joined.pcm.size // FRAME
        rows.append(performance(talker.perform(joined.pcm).motion))
        talk = np.zeros(4 * frames, bool)
        for span in joined.spans:
            talk[span.start : span.stop] |= span.phone != 0
        talking.append(np.asarray(talk.reshape(-1, 4).any(1)))
        times.append(
            np.concatenate([_stressed(one) + at for one, at in zip(group, _begins(group, joined), strict=True)])
        )
    metrics: Metrics = {}
    for part in ("head", "hands"):
        try:
            beat = beat_alignment(rows, times, talking, part)
        except ValueError:
            continue  # this performer keeps that part still
        metrics[f"beat_alignment.{part}"] = value(beat.score, "")
        metrics[f"beat_alignment.{part}.shuffled"] = value(beat.control, "")
        metrics[f"beat_alignment.{part}.p"] = value(beat.p_value, "")
        metrics[f"beat_alignment.{part}.lag_ms"] = value(beat.lag_ms, "ms")
    if "beat_alignment.head" not in metrics:
        raise ValueError("the head does not move while somebody speaks, or no stressed vowel is known")
    metrics["beat_alignment"] = metrics["beat_alignment.head"]
    return metrics


def _begins(group: Sequence[Prompt], joined: Prompt) -> list[float]:
    """When each prompt of a call begins, in seconds."""
    pause = (joined.pcm.size - sum(p.pcm.size for p in group)) / (len(group) + 1)
    starts = np.cumsum([pause, *(p.pcm.size + pause for p in group)])[:-1]
    return [float(start) / SAMPLE_RATE for start in starts]


def _stressed(prompt: Prompt) -> NDArray[np.float64]:
    """Seconds of the stressed vowels of an English prompt."""
    pcm = (np.clip(prompt.pcm, -1, 1) * 32767).astype(np.int16)
    rows = stresses(prompt.spans, prompt.words, loudness(pcm), pitch(pcm), prompt.text)
    return rows[:, 0].astype(np.float64)


def _felt(talker: Talker, said: Sequence[Prompt]) -> Metrics:
    """The share of prompts whose emotion a judge that learned from choreography recognises in the session's Motion."""
    from training.emotion_judge import load_judge, recognise

    judge = load_judge()
    right: dict[str, list[bool]] = {mood: [] for mood in MOODS}
    confused = np.zeros((len(EMOTIONS), len(EMOTIONS)), int)
    for mood in MOODS:
        for number, emotion in enumerate(EMOTIONS):
            manner = Manner(emotion=emotion, intensity=INTENSITIES[mood])
            for prompt in said:
                motions = talker.perform(prompt.pcm, seed=number, manner=manner).motion[SETTLED:]
                face, head = np.stack([m.face for m in motions]), np.stack([m.head for m in motions])
                seen = recognise(judge, face, head)
                right[mood].append(seen == emotion)
                confused[number, EMOTIONS.index(seen)] += 1
    metrics: Metrics = {f"emotion_acc.{mood}": value(float(np.mean(row)), "share") for mood, row in right.items()}
    metrics["emotion_acc"] = value(float(np.mean(right[MOODS[-1]] + right[MOODS[0]])), "share")
    for number, emotion in enumerate(EMOTIONS):
        metrics[f"emotion_acc.{emotion}"] = value(confused[number, number] / confused[number].sum(), "share")
    return metrics


def _in_sync(talker: Talker, prompt: Prompt) -> Metrics:
    """How well syncers at three time scales find voice and Motion to belong together, and at which offset."""
    import torch

    from training.sync import judge_sync, load_syncer, seen

    syncer = load_syncer()
    motions = talker.perform(prompt.pcm).motion
    log_mel = LogMel()
    mel, _ = log_mel.step(prompt.pcm[None], log_mel.initial_state())
    face, head = np.stack([m.face for m in motions]), np.stack([m.head for m in motions])
    shown = seen(torch.from_numpy(face)[None], torch.from_numpy(head)[None])
    verdict = judge_sync(syncer, torch.from_numpy(np.ascontiguousarray(mel)), shown)
    return {"sync.confidence": value(verdict.confidence, ""), "sync.offset_ms": value(verdict.offset_ms, "ms")}
