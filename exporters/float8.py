"""Eight-bit floats (e4m3) in the painter's 3 x 3 convolutions, the rest in half precision: weights by channel,
activations by tensor, scaled by the largest value seen on drawn frames (exporters/frames).

For GPUs from compute capability 8.9 on. The same numbers in torch, where quality is measured, and in the ONNX graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from engine.render.layers import Conv
from engine.render.painter import Painter
from exporters.frames import Feed, answer

LARGEST: Final = 448.0  # that e4m3 holds
LEAST: Final = 50.0  # dB to the float32 picture below which a network is not exported so


class Eight(nn.Module):
    """A folded convolution whose weights and inputs are rounded to e4m3 (kept in their own type)."""

    def __init__(self, conv: Conv, largest: float) -> None:
        super().__init__()
        self.conv = conv
        scale, values = weights(conv.weight.data)
        conv.weight.data = (values.float() * scale.float()).to(conv.weight.dtype)
        self.register_buffer("scale", _scale(torch.tensor(largest), conv.weight.dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.scale, Tensor)
        scale = self.scale.float()
        rounded = (x.float() / scale).clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn)
        return torch.as_tensor(self.conv((rounded.float() * scale).to(x.dtype)))


def weights(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A convolution's weight (O,I,3,3) as scales (O,1,1,1) in its own type and e4m3 values (O,I,3,3)."""
    scale = _scale(weight.abs().amax((1, 2, 3), keepdim=True), weight.dtype)
    return scale, (weight.float() / scale.float()).clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn)


def calibrate(painter: Painter, feeds: Iterable[Feed]) -> dict[str, float]:
    """The largest input of each 3 x 3 convolution, by the name of its weight, over all ``feeds`` and steps. Raises
    ValueError without any."""
    largest: dict[str, float] = {}

    def watch(name: str) -> Any:
        def look(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            largest[name] = max(largest.get(name, 0.0), float(given[0].abs().max()))

        return look

    hooks = [conv.register_forward_pre_hook(watch(f"{name}.weight")) for name, conv in convolutions(painter)]
    try:
        for feed in feeds:
            answer(painter, feed)
    finally:
        for hook in hooks:
            hook.remove()
    if not largest:
        raise ValueError("scales of eight-bit floats need frames to look at, got none")
    return largest


def convolutions(painter: Painter) -> list[tuple[str, Conv]]:
    """The 3 x 3 convolutions by name."""
    return [(name, part) for name, part in painter.named_modules() if isinstance(part, Conv) and part.kernel == 3]


def in_eight(painter: Painter, largest: Mapping[str, float]) -> Painter:
    """``painter`` with rounded 3 x 3 convolutions, in place: what the graph will compute."""
    for name, conv in convolutions(painter):
        owner, _, own = name.rpartition(".")
        setattr(painter.get_submodule(owner), own, Eight(conv, largest[f"{name}.weight"]))
    return painter


def rewrite(model: Any, largest: Mapping[str, float]) -> None:
    """The same in an ONNX graph of exporters.painter, in place: QuantizeLinear and DequantizeLinear before each 3 x 3
    convolution, whose weight becomes e4m3."""
    from onnx import TensorProto, helper, numpy_helper

    kept = {value.name: value for value in model.graph.initializer}
    nodes, made, zero = [], set[str](), "float8_zero"
    model.graph.initializer.append(helper.make_tensor(zero, TensorProto.FLOAT8E4M3FN, [], b"\0", raw=True))
    for node in model.graph.node:
        name = node.input[1] if node.op_type == "Conv" else ""
        if name in largest:
            weight = torch.from_numpy(np.array(numpy_helper.to_array(kept[name])))
            step, given = _scale(torch.tensor(largest[name]), weight.dtype), node.input[0]
            if name not in made:  # once for all steps
                scale, values = weights(weight)
                raw = values.view(torch.uint8).numpy().tobytes()
                model.graph.initializer.extend([
                    helper.make_tensor(f"{name}_values", TensorProto.FLOAT8E4M3FN, list(weight.shape), raw, raw=True),
                    numpy_helper.from_array(scale.flatten().numpy(), f"{name}_scale"),
                    numpy_helper.from_array(step.numpy(), f"{name}_step"),
                ])  # fmt: skip
                nodes.append(helper.make_node("DequantizeLinear", [f"{name}_values", f"{name}_scale"], [name], axis=0))
                model.graph.initializer.remove(kept[name])
                made.add(name)
            rounded = f"{node.output[0]}_rounded"
            nodes.append(helper.make_node("QuantizeLinear", [given, f"{name}_step", zero], [rounded]))
            nodes.append(helper.make_node("DequantizeLinear", [rounded, f"{name}_step", zero], [f"{rounded}_wide"]))
            node.input[0] = f"{rounded}_wide"
        nodes.append(node)
    assert made == largest.keys(), "the exporter calls weights otherwise"
    copied = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copied)


def _scale(largest: Tensor, kind: torch.dtype) -> Tensor:
    return (largest.float() / LARGEST).clamp_min(6e-5).to(kind)  # half precision's smallest normal number
