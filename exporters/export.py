"""What ``visavis export`` does: one network, one road, measured before anybody relies on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from engine.backends.tensorrt import Gpu
from engine.backends.tensorrt_build import MOST, Flavour
from engine.render.denoiser import Renderer
from engine.render.network import ASSETS
from engine.render.painter import Painter
from engine.render.sampler import MULTISTEP
from exporters import float8, tensorrt, torch_tensorrt
from exporters.frames import Feed, answer, decibels, draw, picture
from exporters.painter import OPSET, check_size, export_painter, kind_of, parity, tolerance
from exporters.render import load_weights

BACKENDS: Final = ("onnx", "tensorrt", "torch-tensorrt")
PEOPLE: Final = ("ada", "kofi")
FRAMES: Final = 2  # of each of them, of which every second is measured
RANGES: Final = 8  # where the others set the ranges of eight-bit floats
OTHERS: Final = ("motion_v2.onnx", "performer_v1.onnx")  # networks of a tick beside the renderer's
Say = Callable[[str, int, int], None]  # what is being done, steps done, steps in all (0: not known)


@dataclass(frozen=True, slots=True)
class Wish:
    """What to export. ``network``: a shipped size, or the path of a .safetensors file; ``out``: a folder; ``most``:
    frames of a batch, of engines for a GPU that is there and of programs."""

    backend: str = "onnx"
    precision: str = "fp16"
    steps: int = 1
    size: tuple[int, int] = (512, 512)
    network: str = "lite"
    out: Path = Path()
    most: int = MOST

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ValueError(f'backend must be one of {", ".join(BACKENDS)}; got "{self.backend}"')
        if not 1 <= self.most <= MOST:
            raise ValueError(f"batches are of 1 to {MOST} frames, not of {self.most}")
        if self.steps not in MULTISTEP:
            raise ValueError(f"steps must be one of {', '.join(map(str, MULTISTEP))}; got {self.steps}")
        kind_of(self.precision)
        check_size(self.size)

    def path(self, suffix: str) -> Path:
        """A file for it in ``out``, whose name says what it is."""
        name = Path(self.network).stem if self.network.endswith(".safetensors") else f"renderer_{self.network}"
        steps = f"{self.steps}step{'s' * (self.steps > 1)}"
        return self.out / f"{name}_{self.size[1]}x{self.size[0]}_{steps}_{self.precision}{suffix}"

    def weights(self) -> Path:
        """Where the network's weights are. Raises ValueError when they are not there."""
        own = self.network.endswith(".safetensors")
        path = Path(self.network) if own else ASSETS / f"renderer_{self.network}.safetensors"
        if not path.is_file():
            names = ", ".join(sorted(p.stem.removeprefix("renderer_") for p in ASSETS.glob("renderer_*.safetensors")))
            raise ValueError(f"{path}: there is no such network; --network takes {names}, or a .safetensors file")
        return path


def export(wish: Wish, flavour: Flavour | None = None, gpu: Gpu | None = None, say: Say | None = None) -> Iterator[str]:
    """Exports it, and tells in lines what was written and how exact it is. ``flavour`` and ``gpu``: by which TensorRT
    package, and for which GPU, an engine is built.

    Raises ValueError when it cannot be done, or when what comes out is not the network: then nothing is left behind.
    """
    say = say or (lambda what, done, total: None)
    say("reading the network", 0, 0)
    net = load_weights(wish.weights())
    if wish.backend == "torch-tensorrt":
        path = wish.path(".pt2")
        say("compiling by torch_tensorrt", 0, 0)
        torch_tensorrt.export_program(
            net, path, steps=wish.steps, size=wish.size, precision=wish.precision, most=wish.most
        )
        yield f"wrote {_told(path)}, for batches of 1 to {wish.most}"
        return
    path = wish.path(".onnx")
    say("drawing frames to measure on", 0, 0)
    feeds = list(draw(net, wish.size, PEOPLE, RANGES if wish.precision == "fp8" else FRAMES))
    painter, largest, quality = _painter(net, wish, feeds, say)
    say("exporting the graph", 0, 0)
    export_painter(net, path, steps=wish.steps, size=wish.size, precision=wish.precision, largest=largest)
    say("comparing it with torch", 0, 0)
    found = parity(painter, path, [{**feed, "wanted": np.full(1, wish.steps, np.int32)} for feed in feeds[1::2]])
    wrong = tolerance(wish.precision, found)
    if wrong:
        path.unlink()
        raise ValueError(f"the graph is not the network: {'; '.join(wrong)}; nothing was written")
    yield f"wrote {_told(path)}, opset {OPSET}, for batches of 1 to {MOST}"
    off = ", ".join(f"{name} {found[name]:.1e}" for name in found if name != "mask")
    yield f"  largest difference to torch on {len(feeds[1::2])} frames: {off}; same masks {found['mask']:.1%}"
    yield f"  its pictures to those in float32: {quality:.1f} dB (PSNR)"
    if wish.backend == "tensorrt":
        assert flavour is not None
        targets = tensorrt.EIGHT if wish.precision == "fp8" else tensorrt.PORTABLE
        built = tensorrt.export_engine(path, flavour, gpu, targets=targets, most=wish.most, progress=say)
        where = (
            f"{gpu.name}, driver {gpu.driver}, batches of 1 to {wish.most}"
            if gpu
            else f"GPUs of compute capability {', '.join(targets)}"
        )
        yield f"wrote {_told(built)}: {flavour.runs}, for {where}"
        for name in OTHERS if gpu is not None else ():
            built = tensorrt.export_engine(ASSETS / name, flavour, gpu, most=wish.most, progress=say)
            yield f"wrote {_told(built)}: of {name}"


def _painter(
    net: Renderer, wish: Wish, feeds: list[Feed], say: Say
) -> tuple[Painter, dict[str, float] | None, float]:  # fmt: skip
    """What the graph has to equal, ranges of eight-bit floats, and decibels to the float32 picture."""
    painter, largest = Painter(net, wish.steps, kind_of(wish.precision)), None
    if wish.precision == "fp8":
        say("measuring ranges", 0, 0)
        largest = float8.calibrate(painter, feeds[::2])
        float8.in_eight(painter, largest)
    say("painting in float32", 0, 0)
    wanted, exact = [], Painter(net, wish.steps)
    made = []
    for number, feed in enumerate(feeds[1::2]):
        say("painting", number, len(feeds[1::2]))
        wanted.append(picture(feed, answer(exact, feed)))
        made.append(picture(feed, answer(painter, feed)))
    quality = decibels(made, wanted)
    if quality < float8.LEAST and wish.precision == "fp8":
        raise ValueError(
            f"eight-bit floats lose too much on this network: {quality:.1f} dB to its float32 picture, and "
            f"{float8.LEAST:.0f} are asked for; export it with --precision fp16"
        )
    return painter, largest, quality


def _told(path: Path) -> str:
    return f"{path} ({path.stat().st_size / 1e6:.1f} MB)"
