"""``visavis export``: the neural renderer as an ONNX graph, a TensorRT engine, or a torch-tensorrt program."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from engine.backends.tensorrt import Gpu

out, err = Console(), Console(stderr=True)
EXTRA = "exporting needs the extra 'gpu': pip install 'visavis[gpu]'"


def export(
    backend: Annotated[str, typer.Option(help="onnx, tensorrt, or torch-tensorrt.")] = "onnx",
    precision: Annotated[str, typer.Option(help="fp32, fp16, bf16, or fp8.")] = "fp16",
    steps: Annotated[int, typer.Option(help="Denoising steps at most: 1, 2 or 4.")] = 1,
    size: Annotated[str, typer.Option(help="Of the picture: N or WIDTHxHEIGHT, multiples of 32.")] = "512",
    network: Annotated[str, typer.Option(help="A shipped network, or a .safetensors file.")] = "lite",
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")] = Path(),
    package: Annotated[str | None, typer.Option(help="tensorrt or tensorrt_rtx; what suits the GPU without.")] = None,
    most: Annotated[int, typer.Option("--batch", help="Frames of a batch at most, 1 to 64.")] = 64,
) -> None:
    """Export the neural renderer for GPUs, and say how exact it is."""
    try:
        from exporters import export as exporting
    except ImportError as error:
        raise ValueError(f"{EXTRA} ({error.name} is missing)") from error
    from engine.backends.tensorrt_build import find

    wish = exporting.Wish(backend, precision, steps, parse_size(size), network, output, most)
    flavour = gpu = None
    if backend == "tensorrt":
        gpu, missing = there()
        flavour = find(package, gpu and gpu.capability)
        on = (
            f"{gpu.name} (compute capability {gpu.capability}, driver {gpu.driver})"
            if gpu
            else f"no GPU here: {missing}"
        )
        err.print(f"{flavour.runs}; {on}", highlight=False, markup=False, soft_wrap=True)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=err, transient=True) as progress:
        bar = progress.add_task("starting", total=None)
        for line in exporting.export(
            wish, flavour, gpu,
            lambda what, done, total: progress.update(bar, description=what, completed=done, total=total or None),
        ):  # fmt: skip
            out.print(escape(line), highlight=False, soft_wrap=True)


def there() -> tuple[Gpu | None, str]:
    """The GPU, or None and why."""
    from engine.backends.tensorrt import Gpu
    from kernels.cuda import Device
    from kernels.nvrtc import CudaError

    try:
        return Gpu.of(Device()), ""
    except CudaError as error:
        return None, str(error)


def parse_size(text: str) -> tuple[int, int]:
    """``N`` or ``WIDTHxHEIGHT`` -> (H, W). Raises ValueError with what was expected."""
    found = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text.strip().lower())
    if found is None:
        raise ValueError(f'--size is N or WIDTHxHEIGHT, e.g. 512 or 512x768, got "{text}"')
    width = int(found[1])
    return int(found[2] or width), width
