import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from engine.clock import SAMPLE_RATE
from training.speech import corpus
from training.speech.__main__ import app, plan
from training.speech.align import align
from training.speech.corpus import Task, Utterance, complete, make_shard, read_shard, shards, write_manifest
from training.speech.features import LEXICON
from training.speech.phones import PHONES, Span, Word
from training.speech.text import FORTUNES
from training.speech.tools import MissingPackage
from training.speech.voices import VOICES, require, voice_named

needs_aligner = pytest.mark.skipif(find_spec("pocketsphinx") is None, reason="pocketsphinx is not installed")
needs_fortunes = pytest.mark.skipif(not FORTUNES.is_dir(), reason="fortunes is not installed")
needs_features = pytest.mark.skipif(
    find_spec("pyworld") is None or not LEXICON.is_file(), reason="pyworld or festlex-cmu is not installed"
)
needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")


def utterance(samples: int, rng: np.random.Generator) -> Utterance:
    pcm = rng.integers(-9000, 9000, samples).astype(np.int16)
    hops, count = samples // 160, int(rng.integers(0, 4))
    words = [Word(10 * i, 10 * i + 7, "d\u00eda") for i in range(count)]
    stress = rng.uniform(size=(count, 2)).astype(np.float32)
    loud = rng.integers(-80, 0, hops).astype(np.float32)
    spans = [Span(0, 10, 0), Span(10, 20, 5)]
    return Utterance(
        "flite_slt", "some words", pcm, spans, words, np.arange(hops, dtype=np.float32), loud, stress, "es"
    )


def test_a_shard_reads_back_what_was_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    written = [utterance(n, rng) for n in (1601, 0, 777)]
    path = tmp_path / "train-flite_slt-0000.npz"
    corpus._save(path, written, dropped=2)
    for got, expected in zip(read_shard(path), written, strict=True):
        for name in ("voice", "text", "spans", "words", "language"):
            assert getattr(got, name) == getattr(expected, name), name
        for name in ("pcm", "pitch", "loudness", "stress"):
            assert np.array_equal(getattr(got, name), getattr(expected, name)), name
    assert complete(path)
    manifest = write_manifest(tmp_path, seed=3)
    part = manifest["voices"]["flite_slt"]["splits"]["train"]
    assert part["sentences"] == 3 and part["phones"] == 6 and part["dropped"] == 2
    assert [p.name for p in tmp_path.glob("*.tmp")] == []


def test_a_shard_of_format_1_is_read_but_not_complete(tmp_path: Path) -> None:
    path = tmp_path / "train-flite_slt-0000.npz"
    corpus._save(path, [utterance(1600, np.random.default_rng(0))], dropped=0)
    with np.load(path) as shard:
        old = {name: shard[name] for name in ("pcm", "lengths", "spans", "counts", "texts", "dropped")}
    np.savez(path, **old)
    (got,) = read_shard(path)
    assert got.pcm.size == 1600 and len(got.spans) == 2 and got.words == [] and got.pitch.size == 0
    assert not complete(path) and not complete(tmp_path / "train-flite_slt-0001.npz")


def test_an_empty_shard_is_a_shard(tmp_path: Path) -> None:
    path = tmp_path / "train-flite_slt-0000.npz"
    corpus._save(path, [], dropped=40)
    assert complete(path) and list(read_shard(path)) == []


@pytest.mark.parametrize("keep", [0, 100, 2000])
def test_a_cut_shard_is_an_error_that_names_it(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "train-flite_slt-0000.npz"
    corpus._save(path, [utterance(4000, np.random.default_rng(0))], dropped=0)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="not a whole speech shard"):
        list(read_shard(path))


def test_no_shards_is_an_error_that_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"training\.speech make"):
        shards(tmp_path, "train")


def test_unknown_voice_and_missing_engine_are_named() -> None:
    with pytest.raises(ValueError, match="flite_slt"):
        voice_named("nobody")
    nobody = replace(VOICES[0], engine="no-such-engine", package="Debian: no-such-engine", present=lambda: False)
    with pytest.raises(MissingPackage, match="Debian: no-such-engine"):
        require([nobody])


def test_no_speaker_is_in_two_splits_and_no_test_language_is_spoken() -> None:
    speakers = {split: {v.speaker for v in VOICES if v.split == split} for split in ("train", "speaker", "test")}
    assert all(speakers.values())
    assert speakers["train"].isdisjoint(speakers["speaker"] | speakers["test"])
    assert speakers["speaker"].isdisjoint(speakers["test"])
    assert {voice.language for voice in VOICES}.isdisjoint({"es", "fr", "fr-fr", "it", "ru"})
    assert len({voice.name for voice in VOICES}) == len(VOICES) and not any("-" in voice.name for voice in VOICES)


@needs_aligner
@needs_flite
@needs_features
def test_a_made_shard_is_aligned_and_repeatable(tmp_path: Path) -> None:
    lines = ("Bob may buy a map.", "She saw six ships.")
    task = Task("flite_slt", "train", 0, 7, lines)
    first = list(read_shard(make_shard(task, tmp_path)))
    again = list(read_shard(make_shard(task, tmp_path)))
    assert [u.text for u in first] == list(lines)
    assert all(np.array_equal(a.pcm, b.pcm) and a.spans == b.spans for a, b in zip(first, again, strict=True))
    said = [PHONES[s.phone] for s in first[0].spans]
    assert [name for name in said if name in "PBM"] == ["B", "B", "M", "B", "M", "P"]
    assert all(a.stop == b.start for a, b in zip(first[0].spans, first[0].spans[1:], strict=False))
    assert first[0].spans[-1].stop * SAMPLE_RATE / 100 <= first[0].pcm.size + 160
    assert [word.text for word in first[0].words] == ["bob", "may", "buy", "a", "map"]
    assert first[0].pitch.size == first[0].loudness.size == first[0].pcm.size // 160
    voiced = first[0].pitch[first[0].pitch > 0]
    assert 120 < np.median(voiced) < 260 and np.array_equal(first[0].stress, again[0].stress)


@needs_aligner
@needs_flite
@needs_features
def test_a_persona_says_the_same_words_with_another_pitch(tmp_path: Path) -> None:
    lines = ("Bob may buy a map.", "Nobody moved the boulder from our lawn.")
    persona = voice_named("flite_slt+a")
    moved = list(read_shard(make_shard(Task(persona.name, "train", 0, 7, lines), tmp_path)))
    base = list(read_shard(tmp_path / "train-flite_slt-0000.npz"))
    assert [u.text for u in moved] == [u.text for u in base] == list(lines)
    ratio = np.median([np.median(m.pitch[m.pitch > 0]) / np.median(b.pitch[b.pitch > 0])
                       for m, b in zip(moved, base, strict=True)])  # fmt: skip
    assert persona.persona is not None and ratio == pytest.approx(persona.persona.pitch, rel=0.1)
    assert moved[0].pcm.size == pytest.approx(base[0].pcm.size / persona.persona.tempo, rel=0.02)
    assert [w.text for w in moved[1].words] == [w.text for w in base[1].words]


@needs_aligner
def test_align_names_a_word_it_cannot_say_and_refuses_other_speech() -> None:
    with pytest.raises(ValueError, match="zxqwv"):
        align(np.zeros(8000, np.int16), "hello zxqwv")
    assert align(np.zeros(800, np.int16), "the birch canoe slid on the smooth planks") is None


@needs_aligner
@needs_fortunes
def test_a_plan_is_repeatable_and_grows_with_the_hours() -> None:
    voices = [voice_named("flite_slt"), voice_named("flite_slt+a"), voice_named("flite_kal")]
    small, large = plan(voices, 4.0, seed=0), plan(voices, 9.0, seed=0)
    assert small == plan(voices, 4.0, seed=0)
    assert set(small) <= set(large)  # an interrupted or enlarged corpus keeps the shards it has
    said = {split: {line for t in large if t.split == split for line in t.lines} for split in ("train", "sentence")}
    assert said["train"].isdisjoint(said["sentence"])
    assert {t.split for t in large if t.voice == "flite_kal"} == {"speaker"}
    bases, copies = (
        [t.lines for t in large if t.voice == n and t.split == "train"] for n in ("flite_slt", "flite_slt+a")
    )
    assert bases == copies


def test_make_says_which_package_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert not voice_named("flite_slt").present()
    result = CliRunner().invoke(app, ["make", "--out", str(tmp_path / "speech"), "--voices", "flite_slt"])
    assert result.exit_code == 2 and "Debian: flite" in result.output and not (tmp_path / "speech").exists()


def test_make_names_the_voices_it_knows(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["make", "--out", str(tmp_path), "--voices", "nobody"])
    assert result.exit_code == 2 and "flite_slt" in result.output
