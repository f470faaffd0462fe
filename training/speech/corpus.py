"""The corpus on disk: one ``.npz`` shard a batch of sentences of one voice, and a manifest that counts them."""

from __future__ import annotations

import json
import os
import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from engine.clock import HOP, SAMPLE_RATE
from training.speech.align import align, forget
from training.speech.phones import Span
from training.speech.voices import VOICES, Speech, Voice, synthesize

SENTENCES_PER_SHARD = 40
PEAK = 0.7
LEAD, TAIL = SAMPLE_RATE // 5, SAMPLE_RATE // 4  # silence around a sentence, in samples
LONGEST_PHONE = 80  # hops; a longer non-silence means the aligner lost its way


@dataclass(frozen=True, slots=True)
class Utterance:
    """One aligned sentence: pcm (samples,) int16 at 16 kHz and its phones on the 10 ms grid."""

    voice: str
    text: str
    pcm: NDArray[np.int16]
    spans: list[Span]


@dataclass(frozen=True, slots=True)
class Task:
    """One shard to make. Its content depends on these fields alone."""

    voice: str
    split: str  # train, sentence (held-out sentences) or speaker (held-out speaker)
    index: int
    seed: int
    lines: tuple[str, ...]

    @property
    def filename(self) -> str:
        return f"{self.split}-{self.voice}-{self.index:04d}.npz"


def voice_named(name: str) -> Voice:
    """The voice of that name. Raises ValueError naming the known ones."""
    for voice in VOICES:
        if voice.name == name:
            return voice
    raise ValueError(f"unknown voice {name!r}; known: {', '.join(voice.name for voice in VOICES)}")


def make_shard(task: Task, folder: Path) -> Path:
    """Speaks, re-pitches and aligns the task's lines, and writes the shard whole or not at all."""
    rng = random.Random(f"{task.seed}/{task.filename}")
    utterances = []
    forget()
    for text, speech in zip(task.lines, synthesize(voice_named(task.voice), task.lines, rng), strict=True):
        pcm = _as_16k(speech, rng)
        spans = align(pcm, text)
        if spans and max((s.stop - s.start for s in spans if s.phone), default=0) <= LONGEST_PHONE:
            utterances.append(Utterance(task.voice, text, pcm, spans))
    target = folder / task.filename
    _save(target, utterances, dropped=len(task.lines) - len(utterances))
    return target


def _as_16k(speech: Speech, rng: random.Random) -> NDArray[np.int16]:
    """Resamples by .88-1.14 around 16 kHz: pitch, formants and speed move together, as another speaker's would."""
    samples, rate = speech
    new_rate = int(round(SAMPLE_RATE / rng.uniform(0.88, 1.14) / 50)) * 50
    moved = resample_poly(samples, new_rate // 50, rate // 50).astype(np.float32)
    moved *= PEAK / max(float(np.abs(moved).max()), 1e-3)
    padded = np.concatenate([np.zeros(LEAD, np.float32), moved, np.zeros(TAIL, np.float32)])
    dither = np.random.default_rng(rng.getrandbits(32)).normal(0.0, 1e-4, padded.size)
    return (np.clip(padded + dither, -1, 1) * 32767).astype(np.int16)


def _save(path: Path, utterances: Sequence[Utterance], dropped: int) -> None:
    counts = [len(u.spans) for u in utterances]
    arrays = {
        "pcm": np.concatenate([u.pcm for u in utterances]) if utterances else np.zeros(0, np.int16),
        "lengths": np.array([u.pcm.size for u in utterances], np.int64),
        "spans": np.array([span for u in utterances for span in u.spans], np.int32).reshape(-1, 3),
        "counts": np.array(counts, np.int64),
        "texts": np.array([u.text for u in utterances], dtype=np.str_),
        "dropped": np.array(dropped),
    }
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    os.replace(temporary, path)


def read_shard(path: Path) -> Iterator[Utterance]:
    """The utterances of one shard. Raises ValueError when the file is not a whole shard."""
    try:
        with np.load(path, allow_pickle=False) as shard:
            pcm, lengths, spans, counts, texts = (shard[k] for k in ("pcm", "lengths", "spans", "counts", "texts"))
    except (OSError, KeyError, ValueError, EOFError, zlib.error, BadZipFile) as error:
        raise ValueError(f"{path} is not a whole speech shard ({error}); delete it and run make again") from error
    voice = path.name.split("-")[1]
    sample, span = 0, 0
    for length, count, text in zip(lengths, counts, texts, strict=True):
        rows = [Span(*map(int, row)) for row in spans[span : span + count]]
        yield Utterance(voice, str(text), pcm[sample : sample + length], rows)
        sample, span = sample + int(length), span + int(count)


def shards(folder: Path, split: str) -> list[Path]:
    """Shards of one split, sorted. Raises ValueError when there is none, with the command that makes them."""
    found = sorted(folder.glob(f"{split}-*.npz"))
    if not found:
        raise ValueError(f"no {split} speech in {folder}; make it: python -m training.speech make --out {folder}")
    return found


def write_manifest(folder: Path, seed: int) -> dict[str, Any]:
    """Counts what is on disk and writes ``manifest.json`` beside it; returns what it wrote."""
    rows: dict[str, Any] = {}
    for path in sorted(folder.glob("*-*.npz")):
        split, name, _ = path.stem.split("-")
        voice = voice_named(name)
        row = rows.setdefault(name, {"speaker": voice.speaker, "engine": voice.engine, "licence": voice.licence,
                                     "package": voice.package, "splits": {}})  # fmt: skip
        with np.load(path, allow_pickle=False) as shard:
            lengths, phones, dropped = shard["lengths"], int(shard["counts"].sum()), int(shard["dropped"])
        part = row["splits"].setdefault(split, {"sentences": 0, "seconds": 0.0, "phones": 0, "dropped": 0})
        part["sentences"] += len(lengths)
        part["seconds"] = round(part["seconds"] + float(lengths.sum()) / SAMPLE_RATE, 1)
        part["phones"] += phones
        part["dropped"] += dropped
    manifest = {"format": 1, "seed": seed, "sample_rate": SAMPLE_RATE, "hop": HOP, "aligner": "pocketsphinx 5.1.1",
                "text": "Debian package fortunes", "voices": rows}  # fmt: skip
    temporary = folder / "manifest.tmp"
    temporary.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, folder / "manifest.json")
    return manifest
