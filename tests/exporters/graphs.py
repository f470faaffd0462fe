"""Small graphs of the painter, exported once for all tests: exporting takes seconds, whatever the size."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.render.denoiser import Renderer
from exporters.painter import export_painter
from tests.engine.render.test_denoiser import SMALL, stirred

SIZE = (64, 96)
WAYS = [("fp32", 1), ("fp16", 2), ("bf16", 1)]  # each precision, and more than one step
_folder = TemporaryDirectory(prefix="visavis-graphs-")  # goes with the process


@cache
def net() -> Renderer:
    """The network of them all."""
    return stirred(replace(SMALL, depths=(1, 1, 1)))


@cache
def graph(precision: str) -> Path:
    """The graph of that precision in WAYS. Copy it before it is changed, or anything is written beside it."""
    path = Path(_folder.name) / precision / "painter.onnx"
    export_painter(net(), path, steps=dict(WAYS)[precision], size=SIZE, precision=precision)
    assert [p.name for p in path.parent.iterdir()] == ["painter.onnx"]
    return path
