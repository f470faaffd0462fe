"""Eight-bit weights and activations where they pay: the neural renderer's frame in a fifth less time.

What is quantised was chosen by measurement (docs/decisions.md): the 3 x 3 convolutions, by ONNX Runtime's static
quantiser (QDQ, weights by channel, activations by tensor), and the two layers that read bytes, where the bytes
themselves are the activations and nothing is lost but the weights' rounding. Everything else stays as it was.
Weights have 7 bits, since processors without VNNI add products of 8 and 8 bits in 16 and would overflow.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from exporters.render import halve

Feed = dict[str, NDArray[Any]]
BYTES: Final = "cells"  # the input that is read as bytes
LIMIT: Final = 64  # largest weight, 7 bits with sign
MIDDLE: Final = 127.5  # of a byte


def quantize(source: Path, out: Path, feeds: Iterable[Feed]) -> None:
    """Writes the frame's graph ``source`` (exporters.render.export_frame) quantised to ``out``, whole or not at all.

    ``feeds`` are inputs as a session would give them; they set the range of each activation, so they must show all
    there is: people, views, mouths. Raises ValueError without any, or for a graph that does not read bytes.
    """
    import onnx

    given = list(feeds)
    if not given:
        raise ValueError("quantising needs samples of what the network will see, got none")
    with TemporaryDirectory() as folder:
        model = widen(onnx.load(str(source)))
        _bytes_in(model)
        _convolutions(model, given, Path(folder))
        model = onnx.load(str(Path(folder) / "quantised.onnx"))
    halve(model)
    described = {entry.key for entry in model.metadata_props}
    model.metadata_props.extend(e for e in onnx.load(str(source)).metadata_props if e.key not in described)
    onnx.checker.check_model(model)
    temporary = out.with_suffix(".tmp")
    onnx.save(model, str(temporary))
    os.replace(temporary, out)


def widen(model: Any) -> Any:
    """The inverse of :func:`exporters.render.halve`, in place: weights in single precision, without a cast."""
    from onnx import numpy_helper

    kept = {weight.name: weight for weight in model.graph.initializer}
    for node in [n for n in model.graph.node if n.op_type == "Cast" and n.input[0] in kept]:
        weight = kept[node.input[0]]
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float32), node.output[0]))
        model.graph.node.remove(node)
    return model


def _convolutions(model: Any, feeds: list[Feed], folder: Path) -> None:
    """Quantises the 3 x 3 convolutions of ``model`` into quantised.onnx in ``folder``."""
    import onnx
    from onnxruntime import quantization as q

    class Feeds(q.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter(feeds)

        def get_next(self) -> Feed | None:
            return next(self.rest, None)

    sides = {weight.name: weight.dims[-1] for weight in model.graph.initializer if len(weight.dims) == 4}
    chosen = [n.name for n in model.graph.node if n.op_type == "Conv" and sides.get(n.input[1]) == 3]
    onnx.save(model, str(folder / "float.onnx"))
    with _quiet():
        q.quantize_static(
            str(folder / "float.onnx"), str(folder / "quantised.onnx"), Feeds(), quant_format=q.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"], nodes_to_quantize=chosen, per_channel=True, reduce_range=True,
            activation_type=q.QuantType.QUInt8, weight_type=q.QuantType.QInt8, extra_options={"WeightSymmetric": True},
        )  # fmt: skip


def _bytes_in(model: Any) -> None:
    """Has the linear layers on bytes read the bytes: integers times integers."""
    from onnx import helper, numpy_helper

    graph = model.graph
    weights = {weight.name: weight for weight in graph.initializer}
    cast = next((n for n in graph.node if n.op_type == "Cast" and n.input[0] == BYTES), None)
    if cast is None:
        raise ValueError(f"the graph does not read bytes from an input {BYTES!r}: export it again")

    def put(name: str, values: Any) -> str:
        graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    unit, nil = put("byte_scale", np.float32(1)), put("byte_zero", np.uint8(0))
    cast.CopyFrom(helper.make_node("DequantizeLinear", [BYTES, unit, nil], list(cast.output), "bytes"))
    for product in _products(graph, cast.output[0], weights):
        weight, name = numpy_helper.to_array(weights[product.input[1]]), product.input[1]
        scale = (np.abs(weight).max(0) / LIMIT).astype(np.float32)
        rounded = np.round(weight / scale).astype(np.int8)
        sum_, bias = next((n, weights[i]) for n in graph.node if product.output[0] in n.input
                          for i in n.input if n.op_type == "Add" and i in weights)  # fmt: skip
        # So that rounding errs not at all where every byte is the middle one.
        shift = ((weight - rounded * scale).sum(0) * MIDDLE).astype(np.float32)
        corrected = put(f"{name}_bias", numpy_helper.to_array(bias) + shift)
        sum_.input[list(sum_.input).index(bias.name)] = corrected
        parts = [put(f"{name}_{part}", v) for part, v in
                 (("int8", rounded), ("scale", scale), ("zero", np.zeros(len(scale), np.int8)))]  # fmt: skip
        wide = helper.make_node("DequantizeLinear", parts, [f"{name}_wide"], f"{name}_dequantize", axis=1)
        product.input[1] = f"{name}_wide"
        graph.node.insert(list(graph.node).index(product), wide)
        for old in (weights[name], bias):
            graph.initializer.remove(old)


def _products(graph: Any, start: str, weights: dict[str, Any]) -> Iterator[Any]:
    """The matrix products with constant weights that read ``start``, at once or reshaped."""
    for node in list(graph.node):
        if start in node.input and node.op_type in ("Reshape", "Flatten"):
            yield from _products(graph, node.output[0], weights)
        elif start in node.input and node.op_type == "MatMul" and node.input[1] in weights:
            yield node


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser advises a preprocessing that this graph does not need."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
