"""The networks of a tick for the torch backend (engine/backends/torch.py), out of the weights that are shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from engine.backends.torch import Net
from engine.motion import lips, perform
from engine.render.network import ASSETS, SIDE
from engine.render.painter import KINDS, Painter
from exporters import onnx, performer
from exporters.acting import PerformerStep
from exporters.lips import LipStep
from exporters.painter import inputs_of
from exporters.render import OUTPUTS, load_weights

LITE: Final = ASSETS / "renderer_lite.safetensors"


def nets(
    weights: Path = LITE, *, size: tuple[int, int] = (512, 512), steps: tuple[int, ...] = (1,), precision: str = "fp16",
) -> dict[str, Net]:  # fmt: skip
    """Called "lips" and "performer", and "painter1", "painter2", "painter4" for as many ``steps``: the painter of the
    renderer in ``weights`` for pictures of ``size`` (H, W), in ``precision``; the other two are small and stay float32.
    Inputs and outputs have the names that the ONNX files have.

    Raises ValueError for broken weights, another precision or number of steps, or a size that no network paints.
    """
    if precision not in KINDS:
        raise ValueError(f"precision must be one of {', '.join(KINDS)}; got {precision!r}")
    if size[0] % SIDE or size[1] % SIDE or min(size) < SIDE:
        raise ValueError(
            f"the neural renderer paints sides that are multiples of {SIDE} pixels, not {size[1]} x {size[0]}"
        )
    speaks = LipStep(onnx.load_weights(lips.MODEL.with_suffix(".safetensors")))
    acts = PerformerStep(performer.load_performer(perform.MODEL.with_suffix(".safetensors")))
    made = {
        "lips": Net.of(speaks, dict(zip(onnx.LIP_INPUTS, speaks.example(), strict=True)), onnx.LIP_OUTPUTS),
        "performer": Net.of(acts, dict(zip(performer.INPUTS, acts.example(), strict=True)), performer.OUTPUTS),
    }
    renderer = load_weights(weights)
    for count in steps:
        painter = Painter(renderer, count, KINDS[precision])
        made[f"painter{count}"] = Net.of(painter, inputs_of(painter, size, 1), OUTPUTS)
    return made
