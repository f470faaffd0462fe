import struct
from importlib.util import find_spec
from pathlib import Path

import pytest

from training.speech.align import dictionary, words
from training.speech.text import held_out, script, sentences
from training.speech.tools import MissingPackage

needs_aligner = pytest.mark.skipif(find_spec("pocketsphinx") is None, reason="pocketsphinx is not installed")


@needs_aligner
def test_words_are_spelled_as_the_dictionary_spells_them() -> None:
    assert words("Don't  stop, 'tis  Bob\u2019s!") == ["don't", "stop", "tis", "bob's"]
    assert {"don't", "stop"} <= dictionary()


@needs_aligner
def test_sentences_keeps_clean_lines_only(tmp_path: Path) -> None:
    (tmp_path / "jokes").write_text(
        "The cat sat on the mat. It was 12 o'clock.\n\t\t-- Nobody\n%\nZxqwv is not a word here.\n%\nToo short.\n"
    )
    (tmp_path / "jokes.dat").write_bytes(b"\0binary")
    assert sentences(folder=tmp_path) == ["The cat sat on the mat."]


def test_a_foreign_sentence_is_in_its_own_letters(tmp_path: Path) -> None:
    (tmp_path / "cs").mkdir()
    page = "P\u0159\u00edli\u0161 \u017elu\u0165ou\u010dk\u00fd k\u016f\u0148. Das ist sch\u00f6n gro\u00df.\n%\nDva.\n"
    (tmp_path / "cs" / "quotes").write_bytes(page.encode())
    (tmp_path / "brasil").write_text("Tudo isso \u00e9 nosso.\n%\n", encoding="utf-8")
    (tmp_path / "jokes").write_text("The cat sat on the mat.\n%\n")
    assert sentences("cs", tmp_path) == ["P\u0159\u00edli\u0161 \u017elu\u0165ou\u010dk\u00fd k\u016f\u0148."]
    assert sentences("pt-br", tmp_path) == ["Tudo isso \u00e9 nosso."]
    with pytest.raises(ValueError, match="no text in language 'es'"):
        sentences("es", tmp_path)


def test_program_messages_are_read_without_their_marks(tmp_path: Path) -> None:
    folder = tmp_path / "fi" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    original, translated = b"_Open the old file", b"_Avaa vanha tiedosto"
    head = struct.pack("<7I", 0x950412DE, 0, 1, 28, 36, 0, 0)
    table = struct.pack("<4I", len(original), 44, len(translated), 45 + len(original))
    (folder / "x.mo").write_bytes(head + table + original + b"\0" + translated + b"\0")
    (folder / "broken.mo").write_bytes(b"not a catalogue")
    assert sentences("fi", locales=tmp_path) == ["Avaa vanha tiedosto"]
    with pytest.raises(MissingPackage, match="no translated messages"):
        sentences("sv", locales=tmp_path)


def test_without_text_the_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingPackage, match="fortunes"):
        sentences(folder=tmp_path)


def test_validation_is_a_property_of_the_words() -> None:
    assert held_out("The cat sat.") == held_out("the CAT, sat")
    pool = [f"line {'x' * i}" for i in range(2000)]
    share = sum(map(held_out, pool)) / len(pool)
    assert 0.03 < share < 0.07


def test_a_voice_reads_its_half_in_an_order_of_its_own() -> None:
    pool = [f"line number {'a' * i}" for i in range(200)]
    train, validation = script("joe", False, 0, pool), script("joe", True, 0, pool)
    assert sorted(train + validation) == sorted(pool)
    assert train == script("joe", False, 0, pool) != script("slt", False, 0, pool)
