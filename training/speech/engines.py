"""Offline speech synthesizers. Every engine runs as its own process: data making only, nothing we ship links it."""

from __future__ import annotations

import random
import sys
import wave
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.speech.tools import run

ESPEAK_ENGLISH = ("en-us", "en-gb", "en-us+f2", "en-us+m3", "en-us+f4", "en-us+f5", "en-us+m7",
                  "en-gb-scotland", "en-gb-x-rp+f3", "en-us+linda", "en-us+steph", "en-us+Andy")  # fmt: skip
ESPEAK_SPEAKERS = ("", "+f2", "+f4", "+f5", "+m3", "+m7", "+steph", "+Andy")  # of any language

Speech = tuple[NDArray[np.float32], int]
Speak = Callable[[Sequence[str], random.Random, Path], list[Speech]]


def read_wav(path: Path) -> Speech:
    """Mono samples in [-1, 1] and their rate. Raises ValueError unless they are 16-bit."""
    with wave.open(str(path), "rb") as file:
        if file.getsampwidth() != 2:
            raise ValueError(f"{path.name}: expected 16-bit samples, got {8 * file.getsampwidth()}-bit")
        data = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, file.getnchannels())
        return data.mean(1).astype(np.float32) / 32768.0, file.getframerate()


def flite(voice: str) -> Speak:
    """A voice built into flite."""

    def speak(lines: Sequence[str], rng: random.Random, folder: Path) -> list[Speech]:
        out = []
        for line in lines:
            run(["flite", "-voice", voice, "--setf", f"duration_stretch={rng.uniform(0.85, 1.2):.3f}",
                 "-t", line, str(folder / "out.wav")])  # fmt: skip
            out.append(read_wav(folder / "out.wav"))
        return out

    return speak


def festival(voice: str, encoding: str = "ascii") -> Speak:
    """A Festival voice; ``encoding`` is what its text rules are written in."""

    def speak(lines: Sequence[str], rng: random.Random, folder: Path) -> list[Speech]:
        commands = [f"(voice_{voice})"]
        for index, line in enumerate(lines):
            commands += [
                f"(Parameter.set 'Duration_Stretch {rng.uniform(0.85, 1.2):.3f})",
                f'(set! utterance (SynthText "{line.replace(chr(34), "")}"))',
                f'(utt.save.wave utterance "{folder}/{index}.wav" \'riff)',
            ]
        run(["festival", "--pipe"], "\n".join(commands) + "\n", encoding)
        return [read_wav(folder / f"{index}.wav") for index in range(len(lines))]

    return speak


def espeak(voices: Sequence[str]) -> Speak:
    """A random one of espeak-ng's ``voices`` for every line."""

    def speak(lines: Sequence[str], rng: random.Random, folder: Path) -> list[Speech]:
        out = []
        for line in lines:
            run(["espeak-ng", "-v", rng.choice(voices), "-s", str(rng.randint(130, 190)),
                 "-p", str(rng.randint(30, 70)), "-w", str(folder / "out.wav"), "--", line])  # fmt: skip
            out.append(read_wav(folder / "out.wav"))
        return out

    return speak


def kokoro(style: str, language: str = "en-us") -> Speak:
    """One style of Kokoro-82M, ``language`` as espeak-ng names it."""

    def speak(lines: Sequence[str], rng: random.Random, folder: Path) -> list[Speech]:
        (folder / "lines.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        run([sys.executable, "-m", "training.speech.kokoro", str(folder / "lines.txt"), str(folder),
             str(rng.getrandbits(32)), style, language])  # fmt: skip
        return [read_wav(folder / f"{index}.wav") for index in range(len(lines))]

    return speak
