"""Mixtures of experts of the neural renderer on CUDA: a row's own kernels out of its gate, the masks' low-rank layers,
and with them the whole second half of a Block (engine/render/layers.py). What is computed: reference.py; what it
costs: cost.py. Tensor cores multiply, sums are float32.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels.cuda import Device, Stream, blocks
from kernels.experts.reference import CLASSES
from kernels.layout import struct
from kernels.nvrtc import CudaError

KINDS: Final = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}
MOST: Final = 8  # experts
INNER: Final = 128  # values at most between inward and outward
SPAN: Final = 16  # rows that a thread of mix makes
SIZES: Final = {192: (64, 256), 320: (64, 256), 448: (32, 128)}  # channels at most: pixels and threads a block
Array = NDArray[Any]


def pack(matrix: Array) -> Array:
    """Weights (..., O, I), both multiples of 16, of two-byte numbers, in the order in which lanes read them:
    (..., O/16, I/16, 8, 4, 2, 2, 2) as one run. Lane (g, t) multiplies outputs g and g + 8, of each the inputs 2t,
    2t + 1, 2t + 8 and 2t + 9."""
    *more, outputs, inputs = matrix.shape
    if outputs % 16 or inputs % 16:
        raise ValueError(f"sides must be multiples of 16, got {outputs} x {inputs}")
    cut = matrix.reshape(-1, outputs // 16, 2, 8, inputs // 16, 2, 4, 2)
    return np.ascontiguousarray(cut.transpose(0, 1, 4, 3, 6, 2, 5, 7)).reshape(*more, outputs * inputs)


def refused(kind: str, arch: str, channels: int, inner: int, experts: int) -> str | None:
    """Why `masked` and `finish` cannot be used for a layer, in words; None when they can."""
    if kind not in ("fp16", "bf16"):
        return f"tensor cores multiply fp16 and bf16, not {kind}"
    if kind == "bf16" and arch == "sm_75":
        return "Turing's tensor cores have no bfloat16: use fp16"
    if channels % 16 or channels > max(SIZES):
        return f"{channels} channels: they must be a multiple of 16, and {max(SIZES)} at most"
    if inner % 16 or inner > INNER:
        return f"{inner} inner values: they must be a multiple of 16, and {INNER} at most"
    if experts > MOST:
        return f"{experts} view experts: there may be {MOST}"
    return None


def mix(
    device: Device, kind: str, gate: int, experts: int, out: int, shape: tuple[int, int, int], live: int = 0,
    stream: Stream | None = None,
) -> None:  # fmt: skip
    """out (B,N) = gate (B,E) float32 times experts (E,N); ``shape`` is (B, E, N), N a multiple of 8, E at most MOST.

    ``gate``, ``experts``, ``out`` and ``live`` (int32: how many rows are meant; 0 = all) are device addresses. Raises
    CudaError for a shape that the kernel does not take.
    """
    rows, count, values = shape
    lanes = 4 if kind == "fp32" else 8
    if values % lanes or not 1 <= count <= MOST:
        raise CudaError(f"mix takes 1 to {MOST} experts of a multiple of {lanes} values, got {count} of {values}")
    words = values // lanes
    device.launch(
        "experts", f"mix_{KINDS[kind]}", (blocks(words, 128), blocks(rows, SPAN)), (128,),
        np.uint64(gate), np.uint64(experts), np.uint64(out), np.uint64(live), rows, count, words, stream=stream,
    )  # fmt: skip


def masked(device: Device, kind: str, rows: int, stream: Stream | None = None, **layer: Any) -> None:
    """reference.masked on ``rows`` rows; ``layer``: the fields of struct Layer that it needs, as device addresses and
    numbers. Raises CudaError for a layer that tensor cores do not take."""
    nothing = {"y": 0, "scale": 0, "kernel": 0, "kernel_step": 0, "gain": 0.0, "keep": 0.0, "take": 0.0}
    _launch(device, "masked", kind, rows, stream, nothing | layer)


def finish(device: Device, kind: str, rows: int, stream: Stream | None = None, **layer: Any) -> None:
    """reference.finish, as `masked`."""
    _launch(device, "finish", kind, rows, stream, layer)


def _launch(device: Device, name: str, kind: str, rows: int, stream: Stream | None, layer: dict[str, Any]) -> None:
    layer = {"gate": 0, "gate_step": 0, "live": 0} | layer
    record = np.zeros((), struct("experts", "Layer"))
    if layer.keys() != set(record.dtype.names or ()):
        odd = sorted(layer.keys() ^ set(record.dtype.names or ()))
        raise ValueError(f"{name}: struct Layer and what is given differ in: {', '.join(odd)}")
    why = refused(kind, device.arch, layer["channels"], layer["inner"], 1)
    if why is not None:
        raise CudaError(f"experts: {why}")
    for field, value in layer.items():
        record[field] = value
    widest = next(size for size in SIZES if layer["channels"] <= size)
    pixels, threads = SIZES[widest]
    grid = blocks(layer["pixels"], pixels), 1, rows
    device.launch("experts", f"{name}_{KINDS[kind]}_{widest}", grid, (threads,), record, stream=stream)


__all__ = ["CLASSES", "INNER", "KINDS", "MOST", "SIZES", "finish", "mix", "masked", "pack", "refused"]
