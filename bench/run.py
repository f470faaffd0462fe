"""Benchmarks: ``python bench/run.py SUITE [--quick] [--json FILE] [--plot DIR]``.

A speed is printed only after the correctness check that belongs to it has passed in the same run.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import Annotated, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import typer
from rich.console import Console
from rich.markup import escape

from bench import report

SUITES: Final = {
    "latency": "stage by stage, one session, 512 x 512 at 25 fps in real time",
    "stream": "a real headless Chromium: first frame, fps, glass to glass, A/V skew, control to photon",
    "present": "`visavis present` on a real sound server: microphone to camera, A/V skew as a call sees and hears it",
    "agents": "an agent speaks, is interrupted, speaks again: how soon it is heard, and silent, at a viewer",
    "outputs": "what a viewer, a recording, WHIP and RTMP cost a server, in ms of a core a frame",
    "motion": "visemes, lip closures and lag on real speech, next to six other systems",
    "render": "pictures of held-out people against photographs of them: parts, views, flicker, identity, ablations",
    "soak": "hours of talk, a thousand viewers, bad lines, junk: what grows, drifts or breaks",
    "faults": "lossy lines, slow viewers, killed servers, full disks, clock steps: what each does to a session",
    "fuzz": "inputs that nobody would send, to 16 ways in: how many, and how many were not answered",
    "precision": "the renderer's network in float32, bfloat16 and eight bits, on both runtimes: time and error",
    "watermark": "how often the mark is read after coding, and where there is none; what it costs",
    "portrait": "one photograph to an avatar: identity, error from other sides, closures, watermark, time",
    "kernels": "each kernel against its reference, then its time: CUDA's on a GPU, else the processor's",
    "gpu": "the whole tick on this machine's GPU: stages, batches, streams, backends, power, start-up",
}


def main(
    suite: Annotated[str, typer.Argument(help="; ".join(f"{name}: {about}" for name, about in SUITES.items()))],
    quick: Annotated[bool, typer.Option("--quick", help="Fewer samples; done within 60 s.")] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures here as well.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw the samples into this folder.")] = None,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="gpu, kernels: all of it once without a GPU, no times.")
    ] = False,
    card: Annotated[
        str | None, typer.Option("--card", help="kernels, rehearsed: whose roof; h200, rtx4090 or l4.")
    ] = None,
    network: Annotated[Path | None, typer.Option("--network", help="gpu: the painter's .safetensors.")] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", help="gpu: only tensorrt, torch-compile or torch-eager.")
    ] = None,
    hours: Annotated[float | None, typer.Option("--hours", help="soak: how long it talks in real time; 1.")] = None,
    parts: Annotated[
        str | None, typer.Option("--parts", help="soak, faults: only these, with commas; the rest of --json stays.")
    ] = None,
    until: Annotated[
        float | None, typer.Option("--until", help="gpu: begin nothing more after so many seconds.")
    ] = None,
) -> None:
    """Measures one suite on this machine."""
    err = Console(stderr=True)
    out = Console() if sys.stdout.isatty() else Console(width=140)  # tables fold where nobody's window is known
    if suite not in SUITES:
        raise ValueError(f"suites are {', '.join(SUITES)}; got {suite!r}")
    told: dict[str, Any] = {
        "rehearse": rehearse or None,
        "card": card,
        "network": network,
        "backend": backend,
        "hours": hours,
        "parts": parts,
        "until": until,
    }
    measured = importlib.import_module(f"bench.{suite}").run(quick=quick, log=err, **given(suite, told))
    result = report.document(suite, measured.metrics)
    if measured.tables:
        out.print(report.heading(result), *measured.tables, sep="\n")
    else:
        report.show(result, out)
    if json is not None:
        result = report.merged(json, result) if parts else result
        report.save(json, result)
        err.print(f"wrote {json}")
    if plot is not None:
        drawn = measured.draw(plot) if measured.draw else report.plot(plot, suite, measured.series, measured.unit)
        err.print(f"wrote {drawn}")


def given(suite: str, told: dict[str, Any]) -> dict[str, Any]:
    """Those of ``told`` that were given. Raises ValueError for one that the suite does not take."""
    options = {name: value for name, value in told.items() if value is not None}
    taken = inspect.signature(importlib.import_module(f"bench.{suite}").run).parameters
    for name in options:
        if name not in taken:
            raise ValueError(f"suite {suite} takes no --{name}")
    return options


if __name__ == "__main__":
    try:
        typer.run(main)
    except (ValueError, OSError) as error:
        Console(stderr=True).print(f"[red]bench:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
