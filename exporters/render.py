"""The neural renderer: torch -> ONNX (opset 17, the tracer), and half-precision weights.

One graph paints a frame in one step, one hears a session's noise, one makes an identity's code from photographs. Their
weights are kept in half precision and widened when the graph is loaded.
"""

from __future__ import annotations

import copy
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from engine.motion.frame import SIZE
from engine.render.denoiser import PACKED, PATCH, VIEW, DenoiserConfig, Noisy, Renderer
from engine.render.identity import CODE
from exporters import weights

OPSET: Final = 17
INPUTS: Final = ["cells", "noise", "noise_detail", "view", "motion", "code"]
OUTPUTS: Final = ["residual", "shares", "gain", "mask"]
FORMAT: Final = 1
LARGE: Final = 256  # values from which a weight is worth halving
TRACED: Final = 64  # pixels; a graph is for any size, which a runtime sets when it loads the graph
GRID: Final = {1: "rows", 2: "columns"}  # names of the sides that are free
CELLS: Final = {1: "cell_rows", 2: "cell_columns"}


class FirstNoise(nn.Module):
    """What a session's noise (1,3,S,S) means to the network in the first step: (1,G,G,C) and (1,G,G,4D).

    Run once a session.
    """

    def __init__(self, net: Renderer) -> None:
        super().__init__()
        self.net = net.denoiser

    def forward(self, normal: Tensor) -> tuple[Tensor, Tensor]:
        top = self.net.config.sigma_max
        scaled = normal * (top / (top**2 + self.net.config.sigma_data**2) ** 0.5)
        heard = self.net.hear(scaled, normal.new_full((1,), top))
        return heard.feature.permute(0, 2, 3, 1), heard.detail.permute(0, 2, 3, 1)


class Frame(nn.Module):
    """One frame in one step (consistency sampling from sigma_max): what is known in, the answer out, channels last.

    cells (1,G,G,4,PACKED) u8 (denoiser.pack), noise and noise_detail of FirstNoise, view (1,VIEW), motion (1,SIZE),
    code (1,CODE) -> residual (1,2G,2G,RESIDUAL) in units of the picture, shares (1,2G,2G,SHARES), gain (1,G,G,3), mask
    (1,G,G) u8, the likeliest class. The picture's own c_skip at sigma_max, (sigma_data / sigma_max)^2 at most, is taken
    as 0.
    """

    def __init__(self, net: Renderer) -> None:
        super().__init__()
        self.net = net.denoiser
        last = self.net.to_residual  # folded: the residual's scale goes into the last layer
        assert last.folded and last.bias is not None
        with torch.no_grad():
            last.weight.mul_(net.denoiser.config.sigma_data)
            last.bias.mul_(net.denoiser.config.sigma_data)

    def forward(
        self, cells: Tensor, noise: Tensor, noise_detail: Tensor, view: Tensor, motion: Tensor, code: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        net = self.net
        known = net.perceive(cells, view, motion, code)
        level = net.from_level(torch.full((1,), net.config.sigma_max))
        answer = net.answer(Noisy(noise.permute(0, 3, 1, 2), noise_detail.permute(0, 3, 1, 2), level), known)
        mask = known.gates[0].argmax(1).to(torch.uint8)
        return answer.residual, answer.shares, answer.gain.permute(0, 2, 3, 1), mask


def export_frame(net: Renderer, path: Path) -> None:
    """Writes the graph that paints one frame, and PATH with "_noise" for its noise: of any size whose sides are
    multiples of 4 PATCH pixels."""
    folded, config, grid = rounded(net), net.denoiser.config, TRACED // PATCH
    normal, free = torch.zeros(1, 3, TRACED, TRACED), {"normal": {2: "height", 3: "width"}}
    _export(FirstNoise(folded), (normal,), path.with_stem(path.stem + "_noise"), ["normal"], INPUTS[1:3], config, {},
            {**free, "noise": GRID, "noise_detail": GRID})  # fmt: skip
    cells = torch.zeros(1, grid, grid, 4, PACKED, dtype=torch.uint8)
    heard = torch.zeros(1, grid, grid, config.widths[0]), torch.zeros(1, grid, grid, 4 * config.head)
    known = torch.zeros(1, VIEW), torch.zeros(1, SIZE), torch.zeros(1, CODE)
    free = dict.fromkeys(("cells", "noise", "noise_detail", "gain", "mask"), GRID)
    _export(Frame(folded), (cells, *heard, *known), path, INPUTS, OUTPUTS, config, {"steps": 1},
            {**free, "residual": CELLS, "shares": CELLS})  # fmt: skip


def export_encoder(net: Renderer, path: Path) -> None:
    """Writes the graph from reference planes (K,8,128,128) to a code (CODE,), whole or not at all."""
    module = rounded(net).encoder
    _export(module, (torch.ones(3, 8, 128, 128),), path, ["planes"], ["code"], net.denoiser.config, {},
            {"planes": {0: "photographs"}})  # fmt: skip


def rounded(net: Renderer) -> Renderer:
    """A copy as it is exported: normalisations folded, every weight rounded to half precision."""
    copied = copy.deepcopy(net).fold().eval()
    for parameter in copied.parameters():
        parameter.data = parameter.data.half().float()
    return copied


def _export(
    module: nn.Module, inputs: tuple[Tensor, ...], path: Path, names: list[str], outputs: list[str],
    config: DenoiserConfig, about: dict[str, Any], free: dict[str, dict[int, str]] | None = None,
) -> None:  # fmt: skip
    import onnx

    temporary = path.with_suffix(".tmp")
    with torch.no_grad():
        torch.onnx.export(
            module, inputs, str(temporary), input_names=names, output_names=outputs, opset_version=OPSET,
            dynamic_axes=free, dynamo=False,
        )  # fmt: skip
    model = onnx.load(str(temporary))
    halve(model)
    entry = model.metadata_props.add()
    entry.key, entry.value = "visavis.renderer", json.dumps({"format": FORMAT, **about, **asdict(config)})
    onnx.checker.check_model(model)
    onnx.save(model, str(temporary))
    os.replace(temporary, path)


def halve(model: Any) -> None:
    """Keeps large weights in half precision, with a cast behind each; runtimes fold it when they load the graph."""
    import onnx
    from onnx import numpy_helper

    casts = []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < LARGE:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + "_half"))
        casts.append(onnx.helper.make_node("Cast", [name + "_half"], [name], to=onnx.TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)


def save_weights(net: Renderer, path: Path) -> None:
    """Writes the weights in half precision, with the sizes of the network."""
    weights.save(net, asdict(net.denoiser.config), path)


def load_weights(path: Path) -> Renderer:
    """The renderer whose weights are in ``path``, ready to run. Raises ValueError when they are broken or foreign."""
    return weights.load(path, "a neural renderer", lambda sizes: Renderer(DenoiserConfig.from_json(sizes)))
