"""The 32 directions of meaning: principal components of the sentence encoder over English sentences."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from engine.motion.condition import SEMANTIC

Array = NDArray[Any]
SENTENCES: Final = 6000


def components(embedded: Array, size: int = SEMANTIC) -> tuple[Array, Array, float]:
    """mean (D,), basis (D, size) and the share of variance it keeps, of embedded sentences (N, D).

    Raises ValueError for fewer sentences than directions.
    """
    if embedded.ndim != 2 or len(embedded) < 2 * size:
        raise ValueError(f"{size} directions need at least {2 * size} sentences, got {embedded.shape}")
    mean = embedded.mean(0)
    _, spread, rows = np.linalg.svd(embedded - mean, full_matrices=False)
    signs = np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(1)])  # the same basis on every machine
    kept = float((spread[:size] ** 2).sum() / (spread**2).sum())
    return mean.astype(np.float32), np.ascontiguousarray((rows * signs[:, None])[:size].T, np.float32), kept


def make_basis(texts: list[str], path: Path, embed: Callable[[list[str]], Array], seed: int = 0) -> float:
    """Writes ``mean`` and ``basis`` from at most SENTENCES of ``texts``; returns the share of variance they keep."""
    rng = np.random.Generator(np.random.Philox(seed))
    chosen = [texts[int(i)] for i in rng.permutation(len(texts))[:SENTENCES]]
    mean, basis, kept = components(np.asarray(embed(chosen), np.float64))
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    save_file(
        {"mean": mean, "basis": basis}, temporary, metadata={"encoder": "all-MiniLM-L6-v2", "kept": f"{kept:.4f}"}
    )
    os.replace(temporary, path)
    return kept
