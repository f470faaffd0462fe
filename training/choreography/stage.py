"""The stage: who says what, when and in which mood, frame by frame. All a choreographer may know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.clock import FPS, HOPS_PER_FRAME
from engine.motion.condition import AVERAGE_STYLE, SEMANTIC, condition
from engine.motion.emotion import EMOTION_INDEX, EMOTIONS, check
from training.choreography.curves import frame_times, spring
from training.speech.phones import HOPS_PER_SECOND, PHONES, Span, Word

Array = NDArray[Any]
BRIDGE: Final = 0.20  # seconds of silence inside a phrase that do not end it
FADE: Final = 0.6  # seconds from one emotion to the next (engine/motion/perform.py)
FEEL: Final = 0.16  # half-life, seconds, with which a face comes to feel what it is told to
VOWELS: Final = frozenset(index for index, name in enumerate(PHONES) if name[0] in "AEIOU")


class Meant(NamedTuple):
    """A gesture with a meaning: its name in the vocabulary and the second of the word that carries it."""

    time: float
    name: str


class Phrase(NamedTuple):
    """Speech between two pauses: seconds, whether it asks, and the length of the pause before it."""

    start: float
    stop: float
    question: bool
    pause: float


@dataclass(frozen=True, slots=True)
class Script:
    """One stretch of a performance, ``frames`` long, in one mood.

    spans and words: hops of 10 ms from its start; stresses (n, 2): seconds and prominence in [0, 1]; style (4,) as
    engine.motion.emotion.STYLE; meaning (32,) of the sentence when it is known; listening: the other one talks;
    question: the sentence asks; meant: gestures that say something (training/choreography/meaning.py finds them).
    Raises ValueError for values out of range.
    """

    frames: int
    spans: Sequence[Span] = ()
    words: Sequence[Word] = ()
    stresses: Array = field(default_factory=lambda: np.zeros((0, 2)))
    emotion: str = "neutral"
    intensity: float = 0.0
    style: tuple[float, ...] = AVERAGE_STYLE
    meaning: Array | None = None
    listening: bool = False
    question: bool = False
    meant: tuple[Meant, ...] = ()

    def __post_init__(self) -> None:
        if self.frames < 0:
            raise ValueError(f"a script has 0 or more frames, got {self.frames}")
        check(self.emotion, self.intensity)
        condition(style=self.style, meaning=self.meaning)
        stresses = np.asarray(self.stresses, float)
        if stresses.ndim != 2 or stresses.shape[1] != 2 or not np.isfinite(stresses).all():
            raise ValueError(f"stresses are finite (n, 2): seconds and prominence; got shape {stresses.shape}")


@dataclass(frozen=True, slots=True)
class Stage:
    """Scripts in a row as tracks of T frames. felt (T, 8): emotions as they are felt, told (T, 8): as they are asked
    for; style (T, 4); meaning (T, 33): the vector and whether it is known."""

    times: Array
    told: Array
    felt: Array
    style: Array
    speaking: NDArray[np.bool_]
    listening: NDArray[np.bool_]
    meaning: Array
    phrases: list[Phrase]
    stresses: Array
    meant: list[Meant]
    loudness: Array  # (T,) in [0, 1]: how much voice there is, from vowels and prominence

    @property
    def frames(self) -> int:
        """T."""
        return len(self.times)

    @property
    def end(self) -> float:
        """Seconds."""
        return self.frames / FPS

    def at(self, time: float) -> int:
        """The frame of a second, inside the stage."""
        return min(max(int(time * FPS), 0), self.frames - 1)

    def mood(self, table: dict[str, float], time: float | None = None) -> Any:
        """A number that depends on emotion: (T,), or at one second. ``table`` holds it per emotion at intensity 1."""
        base = table["neutral"]
        row = np.array([table.get(name, base) - base for name in EMOTIONS])
        return base + (self.felt @ row if time is None else float(self.felt[self.at(time)] @ row))

    def conditions(self, lookahead: int = 0) -> Array:
        """(T, 48) float32: what engine.motion.condition says at each frame."""
        out = np.tile(condition(lookahead=lookahead), (self.frames, 1))
        out[:, : len(EMOTIONS)] = self.told
        out[:, len(EMOTIONS)] = self.speaking
        out[:, len(EMOTIONS) + 1 : len(EMOTIONS) + 5] = self.style
        out[:, len(EMOTIONS) + 5 : len(EMOTIONS) + 6 + SEMANTIC] = self.meaning
        out[:, -1] = self.listening
        return out

    @staticmethod
    def of(scripts: Sequence[Script], most: int | None = None) -> Stage:
        """Puts scripts in a row; what lies beyond ``most`` frames is cut off."""
        frames = sum(script.frames for script in scripts)
        told, style = np.zeros((frames, len(EMOTIONS))), np.zeros((frames, 4))
        listening, meaning = np.zeros(frames, bool), np.zeros((frames, SEMANTIC + 1))
        voiced, loud = np.zeros(frames * HOPS_PER_FRAME, bool), np.zeros(frames * HOPS_PER_FRAME)
        stresses, meant, asked, at = [np.zeros((0, 2))], [], [], 0
        for script in scripts:
            here, start = slice(at, at + script.frames), at / FPS
            told[here, EMOTION_INDEX[script.emotion]] = script.intensity
            style[here], listening[here] = script.style, script.listening
            if script.meaning is not None:
                meaning[here, :SEMANTIC], meaning[here, SEMANTIC] = script.meaning, 1.0
            stop = (at + script.frames) * HOPS_PER_FRAME
            for span in script.spans:
                first = at * HOPS_PER_FRAME + span.start
                last = min(at * HOPS_PER_FRAME + span.stop, stop)
                voiced[max(first, 0) : last] |= span.phone != 0
                loud[max(first, 0) : last] = 1.0 if span.phone in VOWELS else 0.35 * (span.phone != 0)
            rows = np.asarray(script.stresses, float)
            stresses.append(rows[(rows[:, 0] >= 0) & (rows[:, 0] < script.frames / FPS)] + (start, 0.0))
            meant += [Meant(one.time + start, one.name) for one in script.meant if one.time < script.frames / FPS]
            asked.append((start, start + script.frames / FPS, script.question))
            at += script.frames
        if most is not None and most < frames:
            frames, told, style, listening, meaning = most, told[:most], style[:most], listening[:most], meaning[:most]
            voiced, loud = voiced[: most * HOPS_PER_FRAME], loud[: most * HOPS_PER_FRAME]
            stresses = [rows[rows[:, 0] < most / FPS] for rows in stresses]
            meant = [one for one in meant if one.time < most / FPS]
        phrases = _phrases(voiced, asked)
        times = frame_times(frames)
        speaking = np.zeros(frames, bool)
        for phrase in phrases:
            speaking |= (times > phrase.start) & (times < phrase.stop)
        loudness = spring(loud.reshape(frames, HOPS_PER_FRAME).mean(1)[:, None], 0.08)[:, 0]
        told = faded(told)
        felt = spring(told, FEEL)
        accents = np.concatenate(stresses)
        return Stage(
            times, told, felt, style, speaking, listening & ~speaking, meaning, phrases,
            accents[np.argsort(accents[:, 0], kind="stable")], sorted(meant), loudness,
        )  # fmt: skip


def faded(told: Array) -> Array:
    """(T, 8) a new emotion takes FADE over from the old one, evenly, as the runtime does it."""
    ramp = np.ones(round(FADE * FPS)) / round(FADE * FPS)
    if not len(told):
        return told
    padded = np.concatenate([np.repeat(told[:1], len(ramp) - 1, axis=0), told])
    return np.stack([np.convolve(column, ramp, "valid") for column in padded.T], axis=1)


def _phrases(voiced: NDArray[np.bool_], asked: list[tuple[float, float, bool]]) -> list[Phrase]:
    """Runs of voice with gaps shorter than BRIDGE closed; the last phrase of a script that asks is a question."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], voiced.astype(np.int8), [0]])))
    runs: list[list[float]] = []
    for start, stop in edges.reshape(-1, 2) / HOPS_PER_SECOND:
        if runs and start - runs[-1][1] < BRIDGE:
            runs[-1][1] = stop
        else:
            runs.append([start, stop])
    out: list[Phrase] = []
    for index, (start, stop) in enumerate(runs):
        last = index + 1 == len(runs)
        owner = next((row for row in asked if row[0] <= start < row[1]), None)
        final = owner is not None and (last or runs[index + 1][0] >= owner[1])
        before = start - runs[index - 1][1] if index else start
        out.append(Phrase(start, stop, bool(owner and owner[2] and final), before))
    return out
