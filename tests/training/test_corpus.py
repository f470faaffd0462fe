import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from engine.clock import SAMPLE_RATE
from training.speech import corpus
from training.speech.__main__ import app, plan
from training.speech.align import align
from training.speech.corpus import Task, Utterance, make_shard, read_shard, shards, voice_named, write_manifest
from training.speech.phones import PHONES, Span
from training.speech.text import FORTUNES
from training.speech.voices import VOICES, MissingPackage, Voice, require

needs_aligner = pytest.mark.skipif(find_spec("pocketsphinx") is None, reason="pocketsphinx is not installed")
needs_fortunes = pytest.mark.skipif(not FORTUNES.is_dir(), reason="fortunes is not installed")
needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")


def utterance(samples: int, rng: np.random.Generator) -> Utterance:
    pcm = rng.integers(-9000, 9000, samples).astype(np.int16)
    return Utterance("flite_slt", "some words", pcm, [Span(0, 10, 0), Span(10, 20, 5)])


def test_a_shard_reads_back_what_was_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    written = [utterance(n, rng) for n in (1601, 0, 777)]
    path = tmp_path / "train-flite_slt-0000.npz"
    corpus._save(path, written, dropped=2)
    for got, expected in zip(read_shard(path), written, strict=True):
        assert (got.voice, got.text, got.spans) == (expected.voice, expected.text, expected.spans)
        assert np.array_equal(got.pcm, expected.pcm)
    manifest = write_manifest(tmp_path, seed=3)
    part = manifest["voices"]["flite_slt"]["splits"]["train"]
    assert part["sentences"] == 3 and part["phones"] == 6 and part["dropped"] == 2
    assert [p.name for p in tmp_path.glob("*.tmp")] == []


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
    nobody = Voice("x", "x", 1.0, "no-such-engine", "none", "Debian: no-such-engine", VOICES[0].speak)
    with pytest.raises(MissingPackage, match="Debian: no-such-engine"):
        require([nobody])


def test_held_out_speakers_are_nowhere_in_training() -> None:
    trained = {voice.speaker for voice in VOICES if not voice.held_out}
    assert trained.isdisjoint(voice.speaker for voice in VOICES if voice.held_out)


@needs_aligner
@needs_flite
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


@needs_aligner
def test_align_names_a_word_it_cannot_say_and_refuses_other_speech() -> None:
    with pytest.raises(ValueError, match="zxqwv"):
        align(np.zeros(8000, np.int16), "hello zxqwv")
    assert align(np.zeros(800, np.int16), "the birch canoe slid on the smooth planks") is None


@needs_aligner
@needs_fortunes
def test_a_plan_is_repeatable_and_grows_with_the_hours() -> None:
    voices = [voice_named("flite_slt"), voice_named("flite_kal")]
    small, large = plan(voices, 0.1, seed=0), plan(voices, 0.3, seed=0)
    assert small == plan(voices, 0.1, seed=0)
    assert set(small) <= set(large)  # an interrupted or enlarged corpus keeps the shards it has
    said = {split: {line for t in large if t.split == split for line in t.lines} for split in ("train", "sentence")}
    assert said["train"].isdisjoint(said["sentence"])
    assert {t.split for t in large if t.voice == "flite_kal"} == {"speaker"}


def test_make_says_which_package_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    result = CliRunner().invoke(app, ["make", "--out", str(tmp_path / "speech"), "--voices", "flite_slt"])
    assert result.exit_code == 2 and "Debian: flite" in result.output and not (tmp_path / "speech").exists()


def test_make_names_the_voices_it_knows(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["make", "--out", str(tmp_path), "--voices", "nobody"])
    assert result.exit_code == 2 and "flite_slt" in result.output
