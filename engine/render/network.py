"""The neural renderer's networks, as ONNX files on a runtime: who, noise and frame. No torch.

NAME.onnx            one frame: what is known of it -> what to paint (exporters/render.py)
NAME_noise.onnx      a session's noise -> what the first step hears of it; once a session
NAME_identity.onnx   reference photographs -> the code of an identity; once an avatar
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.backends import Program, openvino, ort
from engine.motion.frame import SIZE
from kernels.cells import PACKED, PATCH, RESIDUAL, SHARES

ASSETS: Final = Path(__file__).parents[1] / "assets"
BACKENDS: Final = ("openvino", "onnxruntime", "onnxruntime-cuda")
CODE, VIEW = 128, 4
SIDE: Final = 4 * PATCH  # pixels; the network halves its grid twice
F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Network:
    """Where a renderer's three files are, and how to run them. ``threads`` 0: what `threads_of` says; ``backend``: one
    of `BACKENDS`; ``shared``: programs that run side by side when they are told their lanes."""

    path: Path
    threads: int = 0
    precision: str = "auto"
    backend: str = "openvino"
    shared: int = 1

    def program(self, size: tuple[int, int], seed: int) -> Program:
        """The frame's graph for pictures of ``size`` (H, W), with buffers of its own and the noise of a session in
        place: the same for the same ``seed``. Raises ValueError when it is missing or broken, or for a size that no
        network paints."""
        if size[0] % SIDE or size[1] % SIDE:
            near = " x ".join(str(max(round(side / SIDE), 1) * SIDE) for side in size[::-1])
            raise ValueError(
                f"the neural renderer paints sides that are multiples of {SIDE} pixels, not {size[1]} x {size[0]}: set "
                f'[render] width and height to {near}, or renderer = "geometric"'
            )
        height, width = size[0] // PATCH, size[1] // PATCH
        sides = {"rows": height, "columns": width, "cell_rows": 2 * height, "cell_columns": 2 * width}
        heard = self.heard(size, drawn(size, seed))
        inputs = {
            "cells": (1, height, width, 4, PACKED), "view": (1, VIEW), "motion": (1, SIZE), "code": (1, CODE),
            **{name: value.shape for name, value in heard.items()},
        }  # fmt: skip
        program = self._load("", inputs, sides)
        check(self.path, program.inputs(1), inputs)
        for name, value in heard.items():
            program.inputs(1)[name][:] = value
        check(self.path, program.run(1), {
            "residual": (1, 2 * height, 2 * width, RESIDUAL), "shares": (1, 2 * height, 2 * width, SHARES),
            "gain": (1, height, width, 3), "mask": (1, height, width),
        })  # fmt: skip
        return program

    def heard(self, size: tuple[int, int], normal: F32) -> dict[str, F32]:
        """What the first step hears of the noise ``normal`` (1,3,H,W), as inputs of the frame's graph."""
        rows, columns = size[0] // PATCH, size[1] // PATCH
        sides = {"rows": rows, "columns": columns, "cell_rows": 2 * rows, "cell_columns": 2 * columns}
        noise = self._load("_noise", {"normal": normal.shape}, {"height": size[0], "width": size[1], **sides})
        check(self._file("_noise"), noise.inputs(1), {"normal": normal.shape})
        noise.inputs(1)["normal"][:] = normal
        heard = {name: np.array(value) for name, value in noise.run(1).items()}
        wanted = {name: (1, rows, columns, value.shape[-1]) for name, value in heard.items()}
        check(self._file("_noise"), heard, {name: wanted.get(name, ()) for name in ("noise", "noise_detail")})
        return heard

    def identity(self, planes: F32) -> F32:
        """Reference planes (3,8,128,128) to the code (CODE,) of who it is and in which light."""
        program = self._load("_identity", {"planes": planes.shape}, {}, len(planes))
        check(self._file("_identity"), program.inputs(len(planes)), {"planes": planes.shape})
        program.inputs(len(planes))["planes"][:] = planes
        code = program.run(len(planes))
        check(self._file("_identity"), code, {"code": (CODE,)})
        return np.array(code["code"], np.float32)

    def _file(self, suffix: str) -> Path:
        return self.path.with_stem(self.path.stem + suffix)

    def _load(
        self, suffix: str, fixed: Mapping[str, tuple[int, ...]], sides: Mapping[str, int], batch: int = 1
    ) -> Program:  # fmt: skip
        path = self._file(suffix)
        if not path.is_file():
            raise ValueError(
                f"{path}: the neural renderer's weights are not there; reinstall visavis, name others in [render] "
                'network, or set renderer = "geometric"'
            )
        # Identities and noise are worth full precision: they are computed once and seen in every frame.
        precision = "f32" if suffix else self.precision
        threads = self.threads or threads_of(openvino.cores())
        if self.backend != "openvino":
            return ort.load(path, (batch,), fixed, sides, threads=threads, cuda=self.backend == "onnxruntime-cuda")
        shared = 1 if suffix else self.shared
        return openvino.load(path, (batch,), fixed, sides, threads=threads, precision=precision, shared=shared)


def drawn(size: tuple[int, int], seed: int) -> F32:
    """The noise (1,3,H,W) of a session: unit normal, the same for the same ``seed``."""
    return np.random.default_rng(seed).standard_normal((1, 3, *size), np.float32)


def find(
    name: str, threads: int = 0, precision: str = "auto", backend: str = "openvino", shared: int = 1
) -> Network:  # fmt: skip
    """The network called ``name``: a size that is shipped ("lite"), or the path of an ONNX file."""
    path = Path(name) if name.endswith(".onnx") else ASSETS / f"renderer_{name}.onnx"
    return Network(path, threads, precision, backend, shared)


def threads_of(cores: int) -> int:
    """Threads for the network on a machine with ``cores``: one is left for sound, encoder and everybody else, unless
    there are only two, where waiting for one thread would cost every frame its deadline."""
    return cores if cores <= 2 else cores - 1


def check(path: Path, arrays: Mapping[str, NDArray[Any]], wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Raises ValueError unless ``arrays`` are exactly those ``wanted``, by name and shape."""
    found = {name: array.shape for name, array in arrays.items()}
    if found != dict(wanted):
        names = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        said = "; ".join(f"{name} is {found.get(name, 'missing')}, not {wanted.get(name, 'known')}" for name in names)
        raise ValueError(f"{path.name} is not of this version of visavis: {said}; reinstall visavis or export it again")
