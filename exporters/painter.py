"""The renderer for GPUs: engine.render.painter -> ONNX (opset 22, from torch.export), strongly typed, any batch.

Opset 22 is the first whose Conv and AveragePool take bfloat16, so that one opset serves every precision. The size of
the picture is fixed at export: a GPU backend captures a graph for each size anyway, and a runtime chooses kernels for
sizes that it knows. TensorRT's builder, ONNX Runtime and torch-tensorrt read the same graph.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.motion.frame import SIZE
from engine.render.denoiser import PACKED, PATCH, VIEW, Renderer
from engine.render.identity import CODE
from engine.render.network import SIDE
from engine.render.painter import KINDS, Painter
from exporters import float8
from exporters.render import INPUTS, OUTPUTS

__all__ = ["KINDS", "OPSET", "PRECISIONS", "Painter", "export_painter", "inputs_of", "parity", "program", "tolerance"]

PRECISIONS: Final = (*KINDS, "fp8")
OPSET: Final = 22
FORMAT: Final = 1
META: Final = "visavis.painter"  # in the file's metadata: format, steps, precision, size, weights, the network's sizes
MOST: Final = 64  # frames of a batch
MORE: Final = ("normal", "wanted")  # inputs of more than one step
# Largest absolute difference to eager of the same precision, by output. Half precision: the same sums, rounded in
# another order, which may fall on the other side of an edge between two eight-bit floats. bfloat16, which no CPU
# runtime computes: weights as rounded, sums in float32, against eager bfloat16.
TOLERANCES: Final[Mapping[str, Mapping[str, float]]] = {
    "fp32": {"residual": 1e-4, "shares": 1e-4, "gain": 1e-4},
    "fp16": {"residual": 1e-3, "shares": 2e-2, "gain": 1e-2},
    "bf16": {"residual": 1e-2, "shares": 2e-1, "gain": 6e-2},
    "fp8": {"residual": 2e-2, "shares": 3e-1, "gain": 1e-1},
}
SAME_MASK: Final = 0.98  # share of patches whose likeliest class is the same
Feed = dict[str, NDArray[Any]]


def inputs_of(painter: Painter, size: tuple[int, int], batch: int) -> dict[str, Tensor]:
    """Inputs of Painter.forward by name, for ``batch`` pictures of ``size`` (H, W): noise and grey, to trace with."""
    rows, columns, draws = size[0] // PATCH, size[1] // PATCH, torch.Generator().manual_seed(0)
    near, head = painter.config.widths[0], painter.config.head
    shapes = {
        "noise": (rows, columns, near), "noise_detail": (rows, columns, 4 * head), "view": (VIEW,), "motion": (SIZE,),
        "code": (CODE,), "normal": (3, *size),
    }  # fmt: skip
    made = {name: torch.randn((batch, *shape), generator=draws) for name, shape in shapes.items()}
    made["cells"] = torch.randint(0, 256, (batch, rows, columns, 4, PACKED), generator=draws, dtype=torch.uint8)
    made["wanted"] = torch.full((batch,), painter.steps, dtype=torch.int32)
    return {name: made[name] for name in (*INPUTS, *(MORE if painter.steps > 1 else ()))}


def check_size(size: tuple[int, int]) -> None:
    """Raises ValueError for a size (H, W) that no network paints."""
    if size[0] % SIDE or size[1] % SIDE or min(size) < SIDE:
        raise ValueError(
            f"the neural renderer paints sides that are multiples of {SIDE} pixels, not {size[1]} x {size[0]}"
        )


def program(painter: Painter, size: tuple[int, int], most: int = MOST) -> torch.export.ExportedProgram:
    """The painter as ATen operators for 1 to ``most`` pictures of ``size``: both roads to TensorRT begin here.

    Raises ValueError for a size that no network paints.
    """
    check_size(size)
    device = next(painter.parameters()).device
    given = tuple(value.to(device) for value in inputs_of(painter, size, 2).values())
    batch = torch.export.Dim("batch", min=1, max=max(most, 2))  # one alone would be no free side
    with _quiet(), torch.no_grad():
        made = torch.export.export(painter, given, dynamic_shapes=tuple({0: batch} for _ in given))
        # The usual way to write x.lerp(y, share) is both of its formulas and a choice between them.
        return made.run_decompositions({torch.ops.aten.lerp.Scalar: lambda x, y, share: x * (1 - share) + y * share})


def kind_of(precision: str) -> torch.dtype:
    """What most is computed in. Raises ValueError for an unknown precision."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; got {precision!r}")
    return KINDS.get(precision, torch.float16)


def export_painter(
    net: Renderer, path: Path, *, steps: int = 1, size: tuple[int, int] = (512, 512), precision: str = "fp32",
    most: int = MOST, largest: Mapping[str, float] | None = None,
) -> None:  # fmt: skip
    """Writes the graph of Painter(net, steps) whole or not at all. ``precision``, one of PRECISIONS, is that of weights
    and activations; inputs and outputs stay float32, bytes and integers. "fp8" is half precision but for the
    convolutions of which ``largest`` tells the range (exporters.float8.calibrate).

    Raises ValueError for another precision or number of steps, or a size that no network paints.
    """
    import onnx

    painter = Painter(net, steps, kind_of(precision))
    traced, names = program(painter, size, most), [*inputs_of(painter, size, 1)]
    with _quiet(), torch.no_grad():
        made = torch.onnx.export(
            traced, (), input_names=names, output_names=OUTPUTS, opset_version=OPSET, dynamo=True, verbose=False
        )  # fmt: skip
    assert made is not None
    model = made.model_proto
    _tidy(model)
    if precision == "fp8":
        assert largest, "eight-bit floats need ranges"
        float8.rewrite(model, largest)
    entry = model.metadata_props.add()
    about = {"format": FORMAT, "steps": steps, "precision": precision, "size": size, "most": most}
    entry.key, entry.value = META, json.dumps({**about, "weights": digest(net), **asdict(net.denoiser.config)})
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    onnx.save(model, str(temporary))
    os.replace(temporary, path)


def digest(net: Renderer) -> str:
    """What tells networks apart: sha256 of their weights in half precision, as they are kept on disk."""
    told = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        told.update(name.encode() + value.detach().half().contiguous().numpy().tobytes())
    return told.hexdigest()


def parity(painter: Painter, path: Path, feeds: Iterable[Mapping[str, NDArray[Any]]]) -> dict[str, float]:
    """Largest absolute difference of each output of the graph at ``path``, run by ONNX Runtime on the CPU, to eager, on
    any of ``feeds``; of "mask" the least share of patches with the same class. bfloat16 is widened first (see
    TOLERANCES)."""
    import onnx
    import onnxruntime

    model, options = onnx.load(str(path)), onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if painter.kind == torch.bfloat16:
        widen(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: dict[str, float] = {}
    for feed in feeds:
        given = {node.name: feed[node.name] for node in session.get_inputs()}
        with torch.no_grad():
            wanted = painter(*(torch.from_numpy(np.ascontiguousarray(value)) for value in given.values()))
        for name, ours, theirs in zip(OUTPUTS, session.run(OUTPUTS, given), wanted, strict=True):
            eager = theirs.numpy()
            assert ours.shape == eager.shape and ours.dtype == eager.dtype, name
            if name == "mask":
                found[name] = min(found.get(name, 1.0), float((ours == eager).mean()))
            else:
                found[name] = float(np.maximum(found.get(name, 0.0), np.abs(ours - eager).max()))  # NaN stays
    return found


def tolerance(precision: str, found: Mapping[str, float]) -> list[str]:
    """What of :func:`parity` is beyond its tolerance, in words."""
    most = TOLERANCES[precision]
    wrong = [
        f"{name} is off by {found[name]:.2g}, {most[name]:.0e} at most"
        for name in most
        if not found[name] <= most[name]
    ]
    if not found["mask"] >= SAME_MASK:
        wrong.append(f"mask: {found['mask']:.3f} of the patches have the same class, {SAME_MASK} at least")
    return wrong


def widen(model: Any) -> None:
    """Computes a bfloat16 graph in float32, in place; weights keep the values they were rounded to."""
    from onnx import TensorProto, helper, numpy_helper

    def single(tensor: Any) -> None:
        if tensor.data_type == TensorProto.BFLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))

    for weight in model.graph.initializer:
        single(weight)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == TensorProto.BFLOAT16:
                attribute.CopyFrom(helper.make_attribute("to", TensorProto.FLOAT))
            elif attribute.HasField("t"):
                single(attribute.t)


def _tidy(model: Any) -> None:
    """Calls the free side "batch" and takes out what the exporter tells of the machine it ran on."""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]
    for part in (model.graph, *model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output):
        part.doc_string = ""
        del part.metadata_props[:]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's news of itself and of packages that nobody needs."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
