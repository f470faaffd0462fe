from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from engine.render.denoiser import Renderer
from exporters import torch_tensorrt
from exporters.torch_tensorrt import export_program
from tests.engine.render.test_denoiser import SMALL, stirred

SIZE = (32, 32)


@pytest.fixture(scope="module")
def net() -> Renderer:
    return stirred(replace(SMALL, depths=(1, 1, 1)))


def package(monkeypatch: pytest.MonkeyPatch, compiled: Any = "compiled") -> dict[str, Any]:
    """A stand-in for torch_tensorrt on a machine with a GPU, which is the processor; what it is asked for."""
    asked: dict[str, Any] = {}

    def compile_(program: Any, inputs: Any, **options: Any) -> Any:
        asked.update(program=program, inputs=inputs, options=options)
        if isinstance(compiled, Exception):
            raise compiled
        return compiled

    def save(what: Any, path: str, **options: Any) -> None:
        asked["saved"] = what, options
        Path(path).write_text("program")

    fake = SimpleNamespace(Input=lambda **kw: kw, dynamo=SimpleNamespace(compile=compile_), save=save)
    monkeypatch.setitem(sys.modules, "torch_tensorrt", fake)
    monkeypatch.setattr(torch_tensorrt, "has_gpu", lambda: True)
    monkeypatch.setattr(torch.nn.Module, "cuda", lambda self: self)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    return asked


@pytest.mark.parametrize("error", [ImportError("no module"), AssertionError("Torch not compiled with CUDA enabled"),
                                   Exception("Could not find libnvinfer.so.11\nat ..."), OSError()])  # fmt: skip
def test_a_package_that_does_not_load_is_an_error_that_says_what_to_install(
    net: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(name: str) -> None:
        raise error

    monkeypatch.setattr(torch_tensorrt.importlib, "import_module", broken)
    with pytest.raises(ValueError, match=r"torch_tensorrt cannot be used \(.*\): pip install .*pypi.nvidia.com"):
        export_program(net, tmp_path / "x.pt2")
    assert not list(tmp_path.iterdir())


def test_without_a_gpu_it_says_so(net: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(monkeypatch)
    monkeypatch.setattr(torch_tensorrt, "has_gpu", lambda: False)
    with pytest.raises(ValueError, match="on the GPU that will run it, and torch finds none here"):
        export_program(net, tmp_path / "x.pt2")


def test_it_compiles_the_painter_whole_with_its_own_types_for_every_batch(
    net: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = package(monkeypatch)
    export_program(net, tmp_path / "new" / "x.pt2", size=SIZE, precision="bf16", most=16)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.pt2"]
    assert isinstance(asked["program"], torch.export.ExportedProgram)
    assert asked["options"] == {"use_explicit_typing": True, "require_full_compilation": True, "disable_tf32": True}
    first = asked["inputs"][0]
    assert first["name"] == "cells" and first["dtype"] == torch.uint8
    assert [first[f"{part}_shape"][0] for part in ("min", "opt", "max")] == [1, 8, 16]
    what, options = asked["saved"]
    assert what == "compiled" and len(options["dynamic_shapes"]) == len(options["arg_inputs"]) == 6
    kinds = {value.dtype for name, value in asked["program"].state_dict.items() if "conv" in name}
    assert kinds == {torch.bfloat16}


def test_what_cannot_be_compiled_is_an_error_and_leaves_nothing(
    net: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(monkeypatch, RuntimeError("no converter for aten.roll\nTraceback"))
    with pytest.raises(
        ValueError, match=r"cannot compile the renderer \(no converter for aten.roll\); --backend tensorrt"
    ):
        export_program(net, tmp_path / "x.pt2", size=SIZE, most=1)
    with pytest.raises(ValueError, match="precision must be one of fp32, fp16, bf16"):
        export_program(net, tmp_path / "x.pt2", size=SIZE, precision="fp8")
    assert not list(tmp_path.iterdir())
