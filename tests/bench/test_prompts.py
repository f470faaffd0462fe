import gzip
import json
from pathlib import Path

import av
import numpy as np
import pytest

from bench import prompts
from bench.prompts import Prompt, _aligned, _Recording
from engine.clock import FRAME, SAMPLE_RATE
from training.speech.align import Aligned
from training.speech.phones import PHONE_INDEX, Span, Word
from training.speech.tools import MissingPackage

ALIGNED = Aligned([Span(0, 10, 0), Span(10, 20, PHONE_INDEX["M"])], [Word(10, 20, "m")])


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Texts given to an aligner that fails on "nothing"; alignments are kept in a folder of the test."""
    seen: list[str] = []

    def align(pcm: np.ndarray, text: str, language: str) -> Aligned | None:
        assert pcm.dtype == np.int16
        seen.append(text)
        return None if text == "nothing" else ALIGNED

    monkeypatch.setattr(prompts, "align", align)
    monkeypatch.setattr(prompts, "KEPT", tmp_path / "kept")
    return seen


def recording(name: str, text: str = "m", value: float = 0.1, size: int = 5000) -> _Recording:
    return _Recording(name, text, np.full(size, value, np.float32))


def test_a_set_is_aligned_once_and_read_the_same(calls: list[str]) -> None:
    said = [recording("a"), recording("b", "nothing"), recording("c"), recording("d")]
    first = _aligned("set", said, "en", 2)
    assert [p.name for p in first] == ["a", "c"] and calls == ["m", "nothing", "m"]
    again = _aligned("set", said, "en", 2)
    assert calls == ["m", "nothing", "m"] and [(p.spans, p.words) for p in again] == [(p.spans, p.words) for p in first]
    assert isinstance(again[0].spans[0], Span) and again[0].words == [Word(10, 20, "m")]
    assert first[0].pcm.size % FRAME == 0 and np.array_equal(first[0].pcm[:5000], said[0].pcm)


@pytest.mark.parametrize("change", ["sound", "text", "language", "count", "broken"])
def test_any_change_aligns_the_whole_set_again(calls: list[str], change: str) -> None:
    _aligned("set", [recording("a"), recording("b")], "en")
    if change == "broken":
        (prompts.KEPT / "set.json").write_text('{"mark": ')
    said = [recording("a", value=0.2 if change == "sound" else 0.1), recording("b", "n" if change == "text" else "m")]
    _aligned("set", said, "es" if change == "language" else "en", 5 if change == "count" else None)
    assert len(calls) == 4
    json.loads((prompts.KEPT / "set.json").read_text())


def test_silence_is_the_share_in_which_nothing_is_said() -> None:
    assert Prompt("a", "m", np.zeros(6400, np.float32), ALIGNED.spans).silence == pytest.approx(0.75)


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A sound package in Spanish: one good prompt, one with a number, one too short, one without its sound."""
    folder, doc = tmp_path / "sounds" / "es_MX_f_Allison", tmp_path / "doc" / "asterisk-core-sounds-es"
    folder.mkdir(parents=True)
    doc.mkdir(parents=True)
    rows = ("; nota", "", "bueno: Por favor, espere un momento.", "numero: Tiene 3 mensajes nuevos", "corto: Hola.",
            "falta: Este no tiene sonido.")  # fmt: skip
    text = "\ufeff" + "\n".join(rows)
    with gzip.open(doc / "core-sounds-es.txt.gz", "wt", encoding="utf-8") as file:
        file.write(text)
    for name in ("bueno", "numero", "corto"):
        with av.open(str(folder / f"{name}.g722"), "w", format="g722") as out:
            stream = out.add_stream("g722", rate=SAMPLE_RATE, layout="mono")
            tone = (8000 * np.sin(np.arange(SAMPLE_RATE) / 9)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
            frame.sample_rate = SAMPLE_RATE
            out.mux([*stream.encode(frame), *stream.encode(None)])
    monkeypatch.setattr(prompts, "SOUNDS", tmp_path / "sounds")
    monkeypatch.setattr(prompts, "DOCS", tmp_path / "doc")
    return tmp_path


def test_a_language_takes_whole_sentences_with_their_sound(calls: list[str], packages: Path) -> None:
    (prompt,) = prompts.language("es")
    assert prompt.name == "es_bueno" and calls == ["Por favor, espere un momento."]
    assert prompt.pcm.size == pytest.approx(SAMPLE_RATE, abs=1000)
    assert np.abs(prompt.pcm).max() == pytest.approx(0.244, abs=0.03)


def test_what_is_not_installed_is_named(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingPackage, match="asterisk-core-sounds-fr-g722"):
        list(prompts.language("fr"))
    with pytest.raises(ValueError, match="xx.*es"):
        list(prompts.language("xx"))
    monkeypatch.setattr(prompts, "LIBRIVOX", packages / "none")
    with pytest.raises(MissingPackage, match="pocketsphinx-testdata"):
        list(prompts.librivox())


def test_no_test_language_is_trained_on() -> None:
    from training.speech.text import LANGUAGES

    assert set(prompts.LANGUAGES).isdisjoint({code.split("-")[0] for code in LANGUAGES})
