"""The second road to TensorRT, for data centre GPUs: torch.export -> torch_tensorrt -> a program that torch loads.

It starts from the same program as the ONNX graph. torch_tensorrt is imported here alone, when it is asked for.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any, Final

import torch

from engine.render.denoiser import Renderer
from engine.render.painter import KINDS, Painter
from exporters.painter import MOST, inputs_of, program

INSTALL: Final = "pip install 'visavis[tensorrt]' --extra-index-url https://pypi.nvidia.com"


def find() -> Any:
    """The package. Raises ValueError, with what to install or what is missing, when it cannot be used."""
    try:
        found = importlib.import_module("torch_tensorrt")
    except Exception as error:  # it raises its own, AssertionError and bare Exception too, for what it does not find
        told = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"torch_tensorrt cannot be used ({told}): {INSTALL}") from error
    if not has_gpu():
        raise ValueError(
            "torch_tensorrt compiles on the GPU that will run it, and torch finds none here; "
            "--backend onnx exports without one"
        )
    return found


def has_gpu() -> bool:
    """Whether torch can use a GPU."""
    return torch.cuda.is_available()


def export_program(
    net: Renderer, path: Path, *, steps: int = 1, size: tuple[int, int] = (512, 512), precision: str = "fp16",
    most: int = MOST,
) -> None:  # fmt: skip
    """Compiles Painter(net, steps) for 1 to ``most`` pictures of ``size`` and writes it, whole or not at all:
    ``torch.export.load(path).module()``, after ``import torch_tensorrt``, runs it on a GPU of the same kind.

    Raises ValueError without the package or a GPU, for fp8, and when something in the program cannot be compiled.
    """
    if precision not in KINDS:
        raise ValueError(f"precision must be one of {', '.join(KINDS)} for torch-tensorrt; got {precision!r}")
    package = find()
    painter = Painter(net, steps, KINDS[precision]).cuda()
    given = {name: value.cuda() for name, value in inputs_of(painter, size, 2).items()}
    usual = min(8, most)
    inputs = [
        package.Input(
            min_shape=(1, *x.shape[1:]), opt_shape=(usual, *x.shape[1:]), max_shape=(most, *x.shape[1:]),
            dtype=x.dtype, name=name,
        )
        for name, x in given.items()
    ]  # fmt: skip
    try:
        # Types are those of the program; all of it has to become one engine, or a frame would wait for Python between.
        compiled = package.dynamo.compile(
            program(painter, size, most), inputs, use_explicit_typing=True, require_full_compilation=True,
            disable_tf32=True,
        )  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        batch = torch.export.Dim("batch", min=1, max=max(most, 2))
        package.save(
            compiled, str(temporary), output_format="exported_program", arg_inputs=list(given.values()),
            dynamic_shapes=tuple({0: batch} for _ in given),
        )  # fmt: skip
    except Exception as error:  # of torch, TensorRT and their converters: too many types to name
        told = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"torch_tensorrt cannot compile the renderer ({told}); --backend tensorrt is the other road"
        ) from error
    os.replace(temporary, path)
