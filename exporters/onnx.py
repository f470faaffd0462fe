"""torch -> ONNX (opset 17, the tracer), and half-precision weights. The exported graph equals eager within 1e-4."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.audio.logmel import BINS
from engine.clock import HOPS_PER_FRAME
from engine.motion.frame import K
from engine.motion.generator import LEARNED, GeneratorConfig, LipGenerator
from engine.motion.lips import VISEMES
from exporters import weights

OPSET = 17
LIP_INPUTS = ["mel", "state", "gain"]
TOLERANCE = 1e-4  # largest absolute difference to eager, float32, on the same machine


class LipStep(nn.Module):
    """The graph that is exported: one frame of every head, with lip contacts sharpened and composed.

    mel (B, 4, 80), state (B, S), gain (B, LEARNED) -> for each lookahead L face_L (B, 52), contact_L (B, 2),
    viseme_L (B, 15) of the frame and hop_viseme_L (B, 4, 15) of its hops; next state (B, S).
    """

    def __init__(self, net: LipGenerator) -> None:
        super().__init__()
        self.net = net

    def forward(self, mel: Tensor, state: Tensor, gain: Tensor) -> tuple[Tensor, ...]:
        mouths, following = self.net(mel, state)
        faces = [self.net.face(mouth, head, gain[:, None])[:, 0] for head, mouth in enumerate(mouths)]
        contacts = [self.net.contact(mouth, head)[:, 0] for head, mouth in enumerate(mouths)]
        hops = [torch.softmax(mouth.viseme[:, 0], dim=2) for mouth in mouths]
        return (*faces, *contacts, *(hop.mean(1) for hop in hops), *hops, following)


def lip_names(config: GeneratorConfig) -> list[str]:
    """Names of the exported outputs, in order."""
    kinds = ("face", "contact", "viseme", "hop_viseme")
    return [f"{kind}_{lookahead}" for kind in kinds for lookahead in config.lookaheads] + ["next_state"]


def export_lips(net: LipGenerator, path: Path) -> None:
    """Writes the step graph with a free batch size, whole or not at all."""
    step = LipStep(net).eval()
    names = lip_names(net.config)
    inputs = (torch.zeros(2, HOPS_PER_FRAME, BINS), net.initial_state(2), torch.ones(2, len(LEARNED)))
    temporary = path.with_suffix(".tmp")
    torch.onnx.export(
        step, inputs, str(temporary), input_names=LIP_INPUTS, output_names=names, opset_version=OPSET,
        dynamic_axes={name: {0: "batch"} for name in [*LIP_INPUTS, *names]}, dynamo=False,
    )  # fmt: skip
    _describe(temporary, net)
    os.replace(temporary, path)


def _describe(path: Path, net: LipGenerator) -> None:
    """Puts the sizes into the file (metadata, output shapes) and proves that it is a valid model."""
    import onnx

    model = onnx.load(str(path))
    entry = model.metadata_props.add()
    entry.key, entry.value = "visavis.motion", json.dumps({"format": 1, **asdict(net.config)})
    sizes = {"face": (K,), "contact": (2,), "viseme": (len(VISEMES),), "hop": (HOPS_PER_FRAME, len(VISEMES)),
             "next": (net.state_size,)}  # fmt: skip
    for output in model.graph.output:
        batch, *values = output.type.tensor_type.shape.dim
        batch.dim_param = "batch"
        for value, size in zip(values, sizes[output.name.split("_")[0]], strict=True):
            value.dim_value = size
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def save_weights(net: LipGenerator, path: Path) -> None:
    """Writes the weights with the network's sizes in the header, whole or not at all: half precision, but for the
    acoustic model, whose range needs single."""
    weights.save(net, asdict(net.config), path, whole="acoustic.")


def load_weights(path: Path) -> LipGenerator:
    """The network saved by :func:`save_weights`. Raises ValueError for another file."""
    return weights.load(path, "lip weights", lambda sizes: LipGenerator(GeneratorConfig.from_json(sizes)))
