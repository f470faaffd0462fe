from importlib.util import find_spec
from pathlib import Path

import pytest

from training.speech.align import MissingPackage, dictionary, words
from training.speech.text import held_out, script, sentences

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
    assert sentences(tmp_path) == ["The cat sat on the mat."]


def test_without_text_the_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingPackage, match="fortunes"):
        sentences(tmp_path)


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
