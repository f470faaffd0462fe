"""Texts become tokens, tokens a meaning; without the encoder the error says what to install."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from engine.motion import semantics
from engine.motion.condition import SEMANTIC
from engine.motion.wordpiece import WordPiece, words

needs_encoder = pytest.mark.skipif(find_spec(semantics.PACKAGE) is None, reason="extra `text` is not installed")


def test_text_becomes_the_tokens_of_uncased_bert() -> None:
    tokens = WordPiece()
    assert tokens.encode("Hello, world!", 128) == [101, 7592, 1010, 2088, 999, 102]
    assert tokens.encode("unaffable", 128) == [101, 14477, 20961, 3468, 102]
    assert tokens.encode("Café", 128) == tokens.encode("cafe", 128)
    assert len(tokens.encode("word " * 500, 128)) == 128
    assert tokens.encode("x" * 101, 128) == [101, 100, 102]
    assert words(" don't\x00 東京\n") == ["don", "'", "t", "東", "京"]


def test_a_missing_or_wrong_vocabulary_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no vocabulary"):
        WordPiece(tmp_path / "none.txt")
    (tmp_path / "some.txt").write_text("a\nb\n", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks"):
        WordPiece(tmp_path / "some.txt")


def test_without_the_encoder_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semantics, "PACKAGE", "no_such_package_here")
    with pytest.raises(ValueError, match=r"visavis\[text\]"):
        semantics.SemanticEncoder()


@needs_encoder
def test_like_meanings_are_near_and_unlike_ones_far() -> None:
    encoder = semantics.SemanticEncoder()
    texts = ["I have no idea.", "I don't know.", "The dog sleeps in the garden."]
    vectors = np.stack([encoder.encode(text) for text in texts])
    assert vectors.shape == (3, SEMANTIC) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.6 > vectors[0] @ vectors[2]
    np.testing.assert_array_equal(encoder.embed(texts)[1], encoder.embed(texts[1:2])[0])  # in any company the same
    for empty in ("", " \n", "\x00"):
        with pytest.raises(ValueError, match="needs words"):
            encoder.encode(empty)


@needs_encoder
def test_files_that_are_not_what_they_should_be_are_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"not a network")
    with pytest.raises(ValueError, match=r"bad\.onnx"):
        semantics.SentenceEncoder(bad)
    with pytest.raises(ValueError, match="no basis of meanings"):
        semantics.SemanticEncoder(basis=tmp_path / "none.safetensors")
    save_file({"mean": np.zeros(3, np.float32)}, tmp_path / "basis.safetensors")
    with pytest.raises(ValueError, match="expected mean"):
        semantics.SemanticEncoder(basis=tmp_path / "basis.safetensors")
