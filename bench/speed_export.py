"""Networks of suite ``speed`` as ONNX files: each built, run eagerly and exported in a process apart.

That process takes its memory with it. Files are kept under the cache folder, by what they were made of.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
OPSET: Final = 17
FILE: Final = "model.onnx"
SOURCES: Final = Path(__file__).parent / "networks"


@dataclass(frozen=True, slots=True)
class Exported:
    """A part as a file, what it was fed and what it answers in eager torch; what a run of it costs.

    ``rounded``: how far eager torch itself is off with its weights rounded to bfloat16 (`difference`): a network with
    random weights carries small errors far, and no runtime can be asked to be nearer than that in bfloat16.
    """

    path: Path
    feed: Arrays
    answer: Arrays
    parameters: int
    flops: int
    eager_ms: float
    rounded: float


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/visavis/speed, by default under ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "visavis" / "speed"


@contextmanager
def exporter(fresh: bool) -> Iterator[ProcessPoolExecutor]:
    """A process for all networks, or with ``fresh`` for each its own."""
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawned, max_tasks_per_child=1 if fresh else None) as pool:
        yield pool


def exported(system: str, part: str, folder: Path, threads: int) -> Exported:
    """Part ``part`` of ``system``: run eagerly now on ``threads``, exported unless the file is there already."""
    import torch

    from bench.networks.systems import part_of

    torch.set_num_threads(threads)
    described = part_of(system, part)
    parameters, flops = described.cost()
    net, feed = described.network(), described.feed()
    given = tuple(torch.from_numpy(value) for value in feed.values())
    start = time.perf_counter()
    answer = eager(net, given, described.outputs)
    eager_ms = 1e3 * (time.perf_counter() - start)
    place = folder / f"{system}.{part}-{made_of(torch.__version__)}"
    if not (place / FILE).is_file():
        for old in folder.glob(f"{system}.{part}-*"):
            shutil.rmtree(old, ignore_errors=True)
        export(net, given, list(feed), list(answer), place)
    for weight in net.parameters():
        weight.data = weight.data.bfloat16().float()
    rounded = difference(eager(net, given, described.outputs), answer)
    return Exported(place / FILE, feed, answer, parameters, flops, eager_ms, rounded)


def eager(net: Any, given: tuple[Any, ...], names: Sequence[str]) -> Arrays:
    """What ``net`` answers, by name."""
    import torch

    with torch.no_grad():
        out = net(*given)
    return {name: v.numpy() for name, v in zip(names, out if isinstance(out, tuple) else (out,), strict=True)}


def made_of(version: str) -> str:
    """Changes when a description here, our weights, the opset or torch do."""
    seen = hashlib.sha256(f"{version} {OPSET}".encode())
    from engine.render.network import ASSETS

    for path in [*sorted(SOURCES.glob("*.py")), ASSETS / "renderer_lite.safetensors"]:
        seen.update(path.read_bytes())
    return seen.hexdigest()[:12]


def export(net: Any, given: tuple[Any, ...], inputs: list[str], outputs: list[str], place: Path) -> None:
    """Writes the graph of ``net`` and its weights into the folder ``place``, whole or not at all: fixed shapes, the
    tracer; weights in one file beside the graph where they do not fit into it."""
    import onnx
    import torch

    place.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(mkdtemp(prefix=".part-", dir=place.parent))
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer says of every constant that it is one
            torch.onnx.export(
                net, given, str(partial / FILE), input_names=inputs, output_names=outputs, opset_version=OPSET,
                dynamo=False, do_constant_folding=True,
            )  # fmt: skip
        if len(list(partial.iterdir())) > 1:  # larger than a file may be: one file a weight
            whole = onnx.load(str(partial / FILE))
            for file in partial.iterdir():
                file.unlink()
            onnx.save(whole, str(partial / FILE), save_as_external_data=True, location="weights.bin")
        partial.rename(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def fixed(source: Path, sides: Mapping[str, int], out: Path) -> Path:
    """A copy at ``out`` of the ONNX file ``source`` whose named dimensions are the numbers ``sides``."""
    import onnx

    model = onnx.load(str(source))
    for value in (*model.graph.input, *model.graph.output):
        for side in value.type.tensor_type.shape.dim:
            if side.dim_param in sides:
                side.dim_value = sides[side.dim_param]
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(f".{os.getpid()}.part")
    onnx.save(model, str(partial))
    partial.replace(out)
    return out


def difference(answer: Mapping[str, NDArray[Any]], truth: Mapping[str, NDArray[Any]]) -> float:
    """Root mean square of what differs over the deviation of what is right, of the worst output; classes are not
    numbers and are left out. Not finite where an answer is not."""
    worst = 0.0
    for name, right in truth.items():
        if right.dtype.kind == "f":
            off = np.square(answer[name].astype(np.float64) - right).mean()
            worst = max(worst, float(np.sqrt(off) / max(float(right.std()), 1e-9)))
    return worst if all(np.isfinite(v).all() for v in answer.values()) else float("inf")
