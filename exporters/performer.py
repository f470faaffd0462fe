"""The performer out of torch: one ONNX graph a window, and half-precision weights.

The graph's weights are half precision too, widened when it is loaded: the file is half as big and computes the same.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from engine.motion.condition import SEMANTIC
from engine.motion.performance import PERFORMANCE, WINDOW
from engine.motion.performer import Performer, PerformerConfig
from exporters import weights
from exporters.acting import PerformerStep
from exporters.steps import name_shapes, traced

if TYPE_CHECKING:
    import onnx

TOLERANCE = 1e-4  # largest absolute difference to eager, float32, on the same machine, while the same codes are drawn
INPUTS = ["mel", "condition", "noise", "temperature", "state"]
OUTPUTS = ["motion", "codes", "semantic", "next_state"]
FORMAT = 1
SMALL = 1024  # numbers; smaller weights stay single precision


def export_performer(net: Performer, path: Path) -> None:
    """Writes the step graph (exporters.acting.PerformerStep) with a free batch size, whole or not at all. It equals
    ``rounded(net)``."""
    step, temporary = PerformerStep(rounded(net)), path.with_suffix(".tmp")
    traced(step, temporary, step.example(), INPUTS, OUTPUTS)
    _describe(temporary, net, step)
    os.replace(temporary, path)


def rounded(net: Performer) -> Performer:
    """A copy whose weights are those that half precision can hold: what a user runs."""
    twin = Performer(net.config)
    twin.load_state_dict({name: value.half().float() for name, value in net.state_dict().items()})
    return twin.eval()


def _describe(path: Path, net: Performer, step: PerformerStep) -> None:
    """Puts the sizes into the file (metadata, output shapes) and proves that it is a valid model."""
    import onnx

    model = onnx.load(str(path))
    entry = model.metadata_props.add()
    entry.key, entry.value = "visavis.performer", json.dumps({"format": FORMAT, **net.config.to_json()})
    sizes = {"motion": (WINDOW, PERFORMANCE), "codes": (net.codec.books,), "semantic": (SEMANTIC,),
             "next_state": (sum(step.sizes),)}  # fmt: skip
    name_shapes(model, sizes)
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
