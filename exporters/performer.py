"""The performer out of torch: one ONNX graph a window (opset 17, the tracer), and half-precision weights.

The graph's weights are half precision too, widened when it is loaded: the file is half as big and computes the same.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from engine.audio.logmel import BINS
from engine.motion.condition import CONDITION, SEMANTIC
from engine.motion.performance import PERFORMANCE, WINDOW
from engine.motion.performer import HOPS, Performer, PerformerConfig
from exporters import weights

if TYPE_CHECKING:
    import onnx

OPSET = 17
TOLERANCE = 1e-4  # largest absolute difference to eager, float32, on the same machine, while the same codes are drawn
INPUTS = ["mel", "condition", "noise", "temperature", "state"]
OUTPUTS = ["motion", "codes", "semantic", "next_state"]
FORMAT = 1
SMALL = 1024  # numbers; smaller weights stay single precision


class PerformerStep(nn.Module):
    """The graph that is exported: :meth:`Performer.step`."""

    def __init__(self, net: Performer) -> None:
        super().__init__()
        self.net = net

    def forward(self, mel: Tensor, condition: Tensor, noise: Tensor, temperature: Tensor, state: Tensor) -> object:
        return self.net.step(mel, condition, noise, temperature, state)


def export_performer(net: Performer, path: Path) -> None:
    """Writes the step graph with a free batch size, whole or not at all. It equals ``rounded(net)``."""
    books, codes = net.codec.books, net.config.codec.codes
    inputs = (
        torch.zeros(2, HOPS, BINS), torch.zeros(2, CONDITION), torch.full((2, books, codes), 0.5),
        torch.ones(2, 1), net.initial_state(2),
    )  # fmt: skip
    temporary = path.with_suffix(".tmp")
    torch.onnx.export(
        PerformerStep(rounded(net)).eval(), inputs, str(temporary), input_names=INPUTS, output_names=OUTPUTS,
        opset_version=OPSET, dynamic_axes={name: {0: "batch"} for name in INPUTS + OUTPUTS}, dynamo=False,
    )  # fmt: skip
    _describe(temporary, net)
    os.replace(temporary, path)


def rounded(net: Performer) -> Performer:
    """A copy whose weights are those that half precision can hold: what a user runs."""
    twin = Performer(net.config)
    twin.load_state_dict({name: value.half().float() for name, value in net.state_dict().items()})
    return twin.eval()


def _describe(path: Path, net: Performer) -> None:
    """Puts the sizes into the file (metadata, output shapes) and proves that it is a valid model."""
    import onnx

    model = onnx.load(str(path))
    entry = model.metadata_props.add()
    entry.key, entry.value = "visavis.performer", json.dumps({"format": FORMAT, **net.config.to_json()})
    sizes = {"motion": (WINDOW, PERFORMANCE), "codes": (net.codec.books,), "semantic": (SEMANTIC,),
             "next_state": (net.state_size,)}  # fmt: skip
    for output in model.graph.output:
        batch, *values = output.type.tensor_type.shape.dim
        batch.dim_param = "batch"
        for value, size in zip(values, sizes[output.name], strict=True):
            value.dim_value = size
    _halve(model)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _halve(model: onnx.ModelProto) -> None:
    """Keeps big float weights as float16 with a Cast in front of whoever reads them; ONNX Runtime folds it away."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or math.prod(weight.dims) < SMALL:
            continue
        name, values = weight.name, numpy_helper.to_array(weight)
        weight.CopyFrom(numpy_helper.from_array(values.astype("float16"), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT, name=f"{name}.widen"))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def save_performer(net: Performer, path: Path) -> None:
    """Writes the weights in half precision with the network's sizes in the header, whole or not at all."""
    weights.save(net, net.config.to_json(), path)


def load_performer(path: Path) -> Performer:
    """The network saved by :func:`save_performer`. Raises ValueError for another file."""
    return weights.load(path, "a performer's weights", lambda sizes: Performer(PerformerConfig.from_json(sizes)))
