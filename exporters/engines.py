"""A tick's networks on TensorRT out of the weights that are shipped: what is not yet on disk as a graph is exported."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.backends import kept
from engine.gpu.engines import EngineNetworks
from engine.motion import lips, perform
from exporters.nets import LITE
from exporters.painter import digest, export_painter
from exporters.render import load_weights
from kernels.cuda import Device


def files(
    weights: Path = LITE, *, size: tuple[int, int] = (512, 512), steps: Sequence[int] = (1,), precision: str = "fp16",
    folder: Path | None = None, progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> dict[str, Path]:  # fmt: skip
    """The ONNX file of every network by name, "painter1" and so on for as many ``steps``, of the renderer in
    ``weights`` for pictures of ``size`` (H, W). Graphs are exported once and kept in ``folder``, without one
    in this user's cache.

    Raises ValueError for broken weights, another precision or number of steps, or a size that no network paints.
    """
    net = load_weights(weights)
    folder = folder or kept.folder("painters") or Path(tempfile.mkdtemp(prefix="visavis-"))
    found = {"lips": lips.MODEL, "performer": perform.MODEL}
    for number, count in enumerate(steps):
        path = folder / f"{digest(net)[:16]}_{size[1]}x{size[0]}_{count}_{precision}.onnx"
        if not path.is_file():
            progress(f"exporting the painter for {count} step{'s' * (count > 1)}", number, len(steps))
            export_painter(net, path, steps=count, size=size, precision=precision)
        found[f"painter{count}"] = path
    return found


def networks(
    device: Device, weights: Path = LITE, *, size: tuple[int, int] = (512, 512), steps: Sequence[int] = (1,),
    precision: str = "fp16", most: int = 64, progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> EngineNetworks:  # fmt: skip
    """They, on TensorRT. Raises as `files` and EngineNetworks."""
    graphs = files(weights, size=size, steps=steps, precision=precision, progress=progress)
    return EngineNetworks(device, graphs, most=most, progress=progress)
