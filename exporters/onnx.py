"""The lip network out of torch: one ONNX graph a frame, and half-precision weights. It equals eager within 1e-4."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from engine.clock import HOPS_PER_FRAME
from engine.motion.frame import K
from engine.motion.generator import GeneratorConfig, LipGenerator
from engine.motion.lips import META, VISEMES
from exporters import weights
from exporters.lips import LipStep
from exporters.steps import name_shapes, traced

LIP_INPUTS = ["mel", "state", "gain"]
LIP_OUTPUTS = ["face", "contact", "viseme", "hop_viseme", "next_state"]
FORMAT = 2  # 1 had outputs of their own for each lookahead
TOLERANCE = 1e-4  # largest absolute difference to eager, float32, on the same machine


def export_lips(net: LipGenerator, path: Path) -> None:
    """Writes the step graph (exporters.lips.LipStep) with a free batch size, whole or not at all."""
    step, temporary = LipStep(net), path.with_suffix(".tmp")
    traced(step, temporary, step.example(), LIP_INPUTS, LIP_OUTPUTS)
    _describe(temporary, net, step)
    os.replace(temporary, path)


def _describe(path: Path, net: LipGenerator, step: LipStep) -> None:
    """Puts the sizes into the file (metadata, output shapes) and proves that it is a valid model."""
    import onnx

    model, heads = onnx.load(str(path)), len(net.heads)
    entry = model.metadata_props.add()
    entry.key, entry.value = META, json.dumps({"format": FORMAT, **asdict(net.config)})
    sizes = {"face": (heads, K), "contact": (heads, 2), "viseme": (heads, len(VISEMES)),
             "hop_viseme": (heads, HOPS_PER_FRAME, len(VISEMES)), "next_state": (sum(step.sizes),)}  # fmt: skip
    name_shapes(model, sizes)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def save_weights(net: LipGenerator, path: Path) -> None:
    """Writes the weights with the network's sizes in the header, whole or not at all: half precision, but for the
    acoustic model, whose range needs single."""
    weights.save(net, asdict(net.config), path, whole="acoustic.")


def load_weights(path: Path) -> LipGenerator:
    """The network saved by :func:`save_weights`. Raises ValueError for another file."""
    return weights.load(path, "lip weights", lambda sizes: LipGenerator(GeneratorConfig.from_json(sizes)))
