"""The corpus on disk: one ``.npz`` shard a batch of sentences of one voice, and a manifest that counts them."""

from __future__ import annotations

import json
import os
import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from engine.clock import HOP, SAMPLE_RATE
from training.speech.align import align, forget
from training.speech.engines import Speech
from training.speech.features import loudness, pitch, stresses
from training.speech.persona import convert
from training.speech.phones import Span, Word
from training.speech.voices import Voice, synthesize, voice_named

PEAK = 0.7
LEAD, TAIL = SAMPLE_RATE // 5, SAMPLE_RATE // 4  # silence around a sentence, in samples
LONGEST_PHONE = 80  # hops; a longer non-silence means the aligner lost its way

Array = NDArray[np.float32]
_FORMAT_1 = ("pcm", "lengths", "spans", "counts", "texts")


def _empty(*shape: int) -> Any:
    return field(default_factory=lambda: np.zeros(shape, np.float32))


@dataclass(frozen=True, slots=True)
class Utterance:
    """One aligned sentence: pcm (samples,) int16 at 16 kHz and its phones on the 10 ms grid.

    ``pitch`` is F0 in Hz (hops,), 0 without voice; ``loudness`` is dB of full scale (hops,); ``stress`` (n, 2) has
    the time in seconds and the prominence, 0-1, of every stressed syllable. Shards of format 1 lack the last five.
    """

    voice: str
    text: str
    pcm: NDArray[np.int16]
    spans: list[Span]
    words: list[Word] = field(default_factory=list)
    pitch: Array = _empty(0)
    loudness: Array = _empty(0)
    stress: Array = _empty(0, 2)
    language: str = "en"


@dataclass(frozen=True, slots=True)
class Task:
    """One shard to make. Its content depends on these fields alone."""

    voice: str
    split: str  # train, sentence (held-out sentences), speaker or test (held-out speakers)
    index: int
    seed: int
    lines: tuple[str, ...]

    @property
    def filename(self) -> str:
        return f"{self.split}-{self.voice}-{self.index:04d}.npz"


def make_shard(task: Task, folder: Path) -> Path:
    """Speaks, re-pitches and aligns the task's lines, and writes the shard whole or not at all.

    A persona converts the shard of its base voice, which is made first when it is not there. A shard in an older
    format keeps its sound and gains what it lacks.
    """
    rng = random.Random(f"{task.seed}/{task.filename}")
    voice, target = voice_named(task.voice), folder / task.filename
    if _readable(target):
        recorded = [(u.text, u.pcm) for u in read_shard(target)]
    elif voice.persona is not None:
        source = replace(task, voice=voice.base)
        path = folder / source.filename
        path = path if _readable(path) else make_shard(source, folder)
        noise = np.random.default_rng(rng.getrandbits(32))
        recorded = []
        for base in read_shard(path):
            said = convert(base.pcm / np.float32(32768), voice.persona, noise)
            recorded.append((base.text, _levelled(said, rng)))
    else:
        recorded = [
            (text, _as_16k(speech, rng))
            for text, speech in zip(task.lines, synthesize(voice, task.lines, rng), strict=True)
        ]
    forget()
    described = [describe(voice, text, pcm) for text, pcm in recorded]
    utterances = [utterance for utterance in described if utterance is not None]
    _save(target, utterances, dropped=len(task.lines) - len(utterances))
    return target


def describe(voice: Voice, text: str, pcm: NDArray[np.int16]) -> Utterance | None:
    """Everything known of one recorded sentence, or None when text and sound do not match."""
    aligned = align(pcm, text, voice.language)
    if aligned is None or max((s.stop - s.start for s in aligned.spans if s.phone), default=0) > LONGEST_PHONE:
        return None
    loud, f0 = loudness(pcm), pitch(pcm)
    stress = stresses(aligned.spans, aligned.words, loud, f0, text, voice.language)
    return Utterance(voice.name, text, pcm, aligned.spans, aligned.words, f0, loud, stress, voice.language)


def _as_16k(speech: Speech, rng: random.Random) -> NDArray[np.int16]:
    """Resamples by .88-1.14 around 16 kHz: pitch, formants and speed move together, as another speaker's would."""
    samples, rate = speech
    new_rate = int(round(SAMPLE_RATE / rng.uniform(0.88, 1.14) / 50)) * 50
    moved = resample_poly(samples, new_rate // 50, rate // 50).astype(np.float32)
    return _levelled(np.concatenate([np.zeros(LEAD, np.float32), moved, np.zeros(TAIL, np.float32)]), rng)


def _levelled(x: Array, rng: random.Random) -> NDArray[np.int16]:
    dither = np.random.default_rng(rng.getrandbits(32)).normal(0.0, 1e-4, x.size)
    return (np.clip(x * (PEAK / max(float(np.abs(x).max()), 1e-3)) + dither, -1, 1) * 32767).astype(np.int16)


def _save(path: Path, utterances: Sequence[Utterance], dropped: int) -> None:
    def joined(parts: list[Any], dtype: Any, *shape: int) -> NDArray[Any]:
        return np.concatenate([np.asarray(p, dtype).reshape(-1, *shape) for p in [np.zeros((0, *shape)), *parts]],
                              dtype=dtype)  # fmt: skip

    words = [word for u in utterances for word in u.words]
    arrays = {
        "pcm": joined([u.pcm for u in utterances], np.int16),
        "lengths": np.array([u.pcm.size for u in utterances], np.int64),
        "spans": joined([u.spans for u in utterances], np.int32, 3),
        "counts": np.array([len(u.spans) for u in utterances], np.int64),
        "texts": np.array([u.text for u in utterances], dtype=np.str_),
        "words": joined([[w[:2] for w in u.words] for u in utterances], np.int32, 2),
        "word_counts": np.array([len(u.words) for u in utterances], np.int64),
        "word_texts": np.array([word.text for word in words], dtype=np.str_),
        "pitch": joined([u.pitch for u in utterances], np.float16),
        "loudness": joined([u.loudness for u in utterances], np.float16),
        "hops": np.array([u.pitch.size for u in utterances], np.int64),
        "stress": joined([u.stress for u in utterances], np.float32, 2),
        "stress_counts": np.array([len(u.stress) for u in utterances], np.int64),
        "languages": np.array([u.language for u in utterances], dtype=np.str_),
        "dropped": np.array(dropped),
    }
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    os.replace(temporary, path)


def complete(path: Path) -> bool:
    """Whether a shard is there and in the present format; a look at its table of contents, not at its data."""
    return "stress.npy" in _members(path)


def _readable(path: Path) -> bool:
    return {f"{name}.npy" for name in _FORMAT_1} <= _members(path)


def _members(path: Path) -> set[str]:
    try:
        with ZipFile(path) as shard:
            return set(shard.namelist())
    except (OSError, BadZipFile):
        return set()


def read_shard(path: Path) -> Iterator[Utterance]:
    """The utterances of one shard. Raises ValueError when the file is not a whole shard."""
    try:
        with np.load(path, allow_pickle=False) as shard:
            data = {name: shard[name] for name in shard.files}
        rows = _rows(data, path.name.split("-")[1])
    except (OSError, KeyError, ValueError, EOFError, IndexError, zlib.error, BadZipFile) as error:
        raise ValueError(f"{path} is not a whole speech shard ({error}); delete it and run make again") from error
    yield from rows


def _rows(data: dict[str, NDArray[Any]], voice: str) -> list[Utterance]:
    def parts(name: str, counts: str) -> list[NDArray[Any]]:
        return np.split(data[name], np.cumsum(data[counts])[:-1]) if len(data[counts]) else []

    spans = [[Span(*row) for row in part.tolist()] for part in parts("spans", "counts")]
    texts = list(map(str, data["texts"]))
    old = [
        Utterance(voice, text, pcm, phones)
        for text, pcm, phones in zip(texts, parts("pcm", "lengths"), spans, strict=True)
    ]
    if "stress" not in data:
        return old
    words = [
        [Word(start, stop, str(text)) for (start, stop), text in zip(edges.tolist(), texts, strict=True)]
        for edges, texts in zip(parts("words", "word_counts"), parts("word_texts", "word_counts"), strict=True)
    ]
    pitches, louds = ([p.astype(np.float32) for p in parts(name, "hops")] for name in ("pitch", "loudness"))
    stress, languages = parts("stress", "stress_counts"), map(str, data["languages"])
    return [
        replace(row, words=said, pitch=f0, loudness=loud, stress=accents, language=language)
        for row, said, f0, loud, accents, language in zip(old, words, pitches, louds, stress, languages, strict=True)
    ]


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
        row = rows.setdefault(name, {"speaker": voice.speaker, "language": voice.language, "engine": voice.engine,
                                     "licence": voice.licence, "package": voice.package, "splits": {}})  # fmt: skip
        with np.load(path, allow_pickle=False) as shard:
            lengths, phones, dropped = shard["lengths"], int(shard["counts"].sum()), int(shard["dropped"])
        part = row["splits"].setdefault(split, {"sentences": 0, "seconds": 0.0, "phones": 0, "dropped": 0})
        part["sentences"] += len(lengths)
        part["seconds"] = round(part["seconds"] + float(lengths.sum()) / SAMPLE_RATE, 1)
        part["phones"] += phones
        part["dropped"] += dropped
    totals = {
        split: {
            "hours": round(sum(r["splits"][split]["seconds"] for r in rows.values() if split in r["splits"]) / 3600, 2),
            "voices": sum(split in row["splits"] for row in rows.values()),
        }
        for split in sorted({split for row in rows.values() for split in row["splits"]})
    }
    manifest = {"format": 2, "seed": seed, "sample_rate": SAMPLE_RATE, "hop": HOP, "aligner": "pocketsphinx 5.1.1",
                "text": "Debian fortunes (en, pt-br, cs, de, pl); translated program messages (others)",
                "totals": totals, "voices": rows}  # fmt: skip
    temporary = folder / "manifest.tmp"
    temporary.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, folder / "manifest.json")
    return manifest
