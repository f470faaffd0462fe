"""Suite ``precision``: the neural renderer's network in float32, bfloat16 and eight bits, on both runtimes.

Each way of computing it paints the same moving, talking avatar on its own previous pictures, frame by frame in turn:
what else this machine does falls on all alike. Time is the network's alone, on one thread (or those of ``python -m
bench.precision --threads``); error is that of the picture, drift included, against float32 on ONNX Runtime.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from bench.kernels import scene
from bench.report import Measured, document, show, spread, value
from engine import avatar as packs
from engine.backends import openvino, ort
from engine.render.network import ASSETS, Network
from engine.render.neural import NeuralRenderer
from engine.stages import Stages

SIZE: Final = (512, 512)
TRUTH: Final = "ort.f32"


class Way(NamedTuple):
    """One way to compute the network: a file of the two, a runtime, a precision."""

    name: str
    quantised: bool
    runtime: str
    precision: str


WAYS: Final = (
    Way(TRUTH, False, "ort", "f32"), Way("ort.int8", True, "ort", "f32"),
    Way("openvino.f32", False, "openvino", "f32"), Way("openvino.bf16", False, "openvino", "bf16"),
    Way("openvino.int8_f32", True, "openvino", "f32"), Way("openvino.int8_bf16", True, "openvino", "bf16"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Runtime(Network):
    """A network on a runtime of one's choice rather than on the best there is."""

    runtime: str = "openvino"

    def _load(self, suffix: str, fixed: Any, sides: Any, batch: int = 1) -> Any:
        path = self._file(suffix)
        if suffix or self.runtime == "ort":  # identity and noise alike for all
            return ort.load(path, (batch,), fixed, sides, threads=self.threads)
        return openvino.OpenVinoProgram(path, (batch,), fixed, self.threads, self.precision)


def run(*, quick: bool, log: Console, threads: int = 1, avatar: str = "maya") -> Measured:
    """150 frames (quick: 30) each way."""
    person, metrics, series = packs.load(packs.find(avatar)), {}, {}
    with TemporaryDirectory() as folder:
        plain = _plain(Path(folder))
        renderers = {}
        for way in WAYS:
            if way.precision == "bf16" and not openvino.has_bf16():
                log.print(f"{way.name}: this processor has no bfloat16; left out")
                continue
            path = ASSETS / "renderer_lite.onnx" if way.quantised else plain
            network = Runtime(path, threads, way.precision, way.runtime)
            renderers[way.name] = NeuralRenderer(person, network, SIZE, "upper")
        times, errors = _paint(renderers, 30 if quick else 150, log)
    for name in renderers:
        metrics[f"{name}.network_ms"] = spread(times[name], "ms")
        metrics[f"{name}.of_f32"] = value(float(np.median(times[name]) / np.median(times[TRUTH])), "time of ort.f32")
        metrics[f"{name}.error"] = value(float(np.sqrt(np.mean(errors[name]))), "of 255, root mean square")
        series[f"{name}.network_ms"] = times[name]
    metrics["threads"] = value(threads, "threads")
    return Measured(metrics, series)


def _plain(folder: Path) -> Path:
    """The shipped weights exported anew, without quantising. Raises ValueError without torch."""
    try:
        from exporters.render import export_frame, load_weights
    except ImportError as error:
        raise ValueError(f"{error}: the plain network is exported first, which needs the extra train") from error
    path = folder / "renderer_lite.onnx"
    export_frame(load_weights(ASSETS / "renderer_lite.safetensors"), path)
    (folder / "renderer_lite_identity.onnx").symlink_to(ASSETS / "renderer_lite_identity.onnx")
    return path


def _paint(
    renderers: dict[str, NeuralRenderer], frames: int, log: Console
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds of the network, and mean squared errors of the pictures, by name."""
    states = {name: renderer.initial_state() for name, renderer in renderers.items()}
    times, errors = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for number in track(range(-3, frames), description="painting", console=log, transient=True):
        painted = {}
        for name, renderer in renderers.items():
            stages = Stages()
            picture, states[name] = renderer.step(*scene(number, renderer.framing.distance), states[name], stages)
            painted[name] = picture.rgb.astype(np.float32)
            if number >= 0:  # the first frames warm everything up
                times[name].append(stages.times["network"])
        if number >= 0:
            for name, picture_ in painted.items():
                errors[name].append(float(np.square(picture_ - painted[TRUTH]).mean()))
    return times, errors


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="30 frames instead of 150")
    parser.add_argument("--threads", type=int, default=1, help="of each network (default: 1)")
    parser.add_argument("--avatar", default="maya", help="avatar to paint (default: maya)")
    given, log = parser.parse_args(), Console(stderr=True)
    try:
        measured = run(quick=given.quick, log=log, threads=given.threads, avatar=given.avatar)
    except ValueError as error:
        log.print(f"[red]{escape(str(error))}")
        sys.exit(1)
    show(document("precision", measured.metrics), Console())


if __name__ == "__main__":
    main()
