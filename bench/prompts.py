"""Speech to score lips on, with the truth: phones by forced alignment. Never trained on.

``asterisk``: real prompts of one woman (Debian packages, CC-BY-SA-3.0). ``tts``: Harvard sentences (IEEE 1969) in two
flite voices, one of which no training corpus holds.
"""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from engine.clock import FRAME, SAMPLE_RATE
from training.speech.align import MissingPackage, align, dictionary, forget, words
from training.speech.phones import Span
from training.speech.voices import VOICES, require, synthesize

SOUNDS: Final = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
TEXTS: Final = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
G722_BYTES_PER_SECOND: Final = 8000
REGRESSION_SIZE: Final = 45  # long prompts, in the order of their names: few enough for every change

HARVARD: Final = (
    "The birch canoe slid on the smooth planks.", "Glue the sheet to the dark blue background.",
    "It's easy to tell the depth of a well.", "These days a chicken leg is a rare dish.",
    "Rice is often served in round bowls.", "The juice of lemons makes fine punch.",
    "The box was thrown beside the parked truck.", "The hogs were fed chopped corn and garbage.",
    "Four hours of steady work faced us.", "A large size in stockings is hard to sell.",
    "The boy was there when the sun rose.", "A rod is used to catch pink salmon.",
    "The source of the huge river is the clear spring.", "Kick the ball straight and follow through.",
    "Help the woman get back to her feet.", "A pot of tea helps to pass the evening.",
)  # fmt: skip
TTS_VOICES: Final = ("flite_kal", "flite_rms")  # the first is held out of every corpus


@dataclass(frozen=True, slots=True)
class Prompt:
    """One recording: pcm (samples,) float32 at 16 kHz, and what is said in it."""

    name: str
    text: str
    pcm: NDArray[np.float32]
    spans: list[Span]


def asterisk(full: bool) -> Iterator[Prompt]:
    """Prompts of three words and more; without ``full``, the 45 longer ones that every change is held against.

    Raises MissingPackage without the Debian packages.
    """
    chosen = 0
    forget()
    for key, path, text in _catalogue():
        spoken = words(text)
        seconds = path.stat().st_size / G722_BYTES_PER_SECOND
        if re.search(r"[\d\[(#*@]", text) or len(spoken) < 3 or not all(w in dictionary() for w in spoken):
            continue
        if not full and (len(spoken) < 8 or seconds < 2.5):
            continue
        prompt = _aligned(key.replace("/", "_"), text, _decode(path))
        if prompt is None:
            continue
        yield prompt
        chosen += 1
        if not full and chosen == REGRESSION_SIZE:
            return


def tts() -> Iterator[Prompt]:
    """Harvard sentences in synthetic voices. Raises MissingPackage without flite."""
    voices = [voice for voice in VOICES if voice.name in TTS_VOICES]
    require(voices)
    forget()
    for voice in voices:
        for line, (samples, rate) in zip(HARVARD, synthesize(voice, HARVARD, random.Random(0)), strict=True):
            if rate != SAMPLE_RATE:
                raise ValueError(f"{voice.name} speaks at {rate} Hz, expected {SAMPLE_RATE}")
            quiet = np.zeros(SAMPLE_RATE // 5, np.float32)
            loud = samples * (0.7 / max(float(np.abs(samples).max()), 1e-3))
            prompt = _aligned(f"{voice.name} {line}", line, np.concatenate([quiet, loud, quiet]).astype(np.float32))
            if prompt is not None:
                yield prompt


def _catalogue() -> list[tuple[str, Path, str]]:
    if not TEXTS.is_file() or not SOUNDS.is_dir():
        raise MissingPackage("no test speech: install the Debian packages asterisk-core-sounds-en (its text) and "
                             "asterisk-core-sounds-en-g722 (its sound)")  # fmt: skip
    rows = []
    with gzip.open(TEXTS, "rt", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            key, colon, text = line.strip().partition(":")
            path = SOUNDS / f"{key.strip()}.g722"
            if colon and not key.startswith(";") and path.is_file():
                rows.append((key.strip(), path, text.strip()))
    return sorted(rows)


def _decode(path: Path) -> NDArray[np.float32]:
    with av.open(str(path), format="g722") as container:
        frames = [frame.to_ndarray().ravel() for frame in container.decode(audio=0)]
    return np.concatenate(frames).astype(np.float32) / 32768.0


def _aligned(name: str, text: str, pcm: NDArray[np.float32]) -> Prompt | None:
    aligned = align((np.clip(pcm, -1, 1) * 32767).astype(np.int16), text)
    pcm = np.pad(pcm, (0, -pcm.size % FRAME))
    return None if aligned is None else Prompt(name, text, pcm, aligned.spans)
