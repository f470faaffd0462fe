"""Benchmarks: ``python bench/run.py SUITE [--quick] [--json FILE] [--plot DIR]``, and ``all``, ``compare``, ``report``.

A speed is printed only after the correctness check that belongs to it has passed in the same run.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
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
    "load": "many sessions at once: how many, what the next one costs, overload, killed processes, the scheduler alone",
    "processes": "painting in a process of its own: what it costs, and how soon sessions are back when it is killed",
    "speed": "our network and generators of eight public systems, on the same cores and runtimes, in turns",
    "soak": "hours of talk, a thousand viewers, bad lines, junk: what grows, drifts or breaks",
    "faults": "lossy lines, slow viewers, killed servers, full disks, clock steps: what each does to a session",
    "fuzz": "inputs that nobody would send, to 16 ways in: how many, and how many were not answered",
    "precision": "the renderer's network in float32, bfloat16 and eight bits, on both runtimes: time and error",
    "watermark": "how often the mark is read after coding, and where there is none; what it costs",
    "portrait": "one photograph to an avatar: identity, error from other sides, closures, watermark, time",
    "kernels": "each kernel against its reference, then its time: CUDA's on a GPU, else the processor's",
    "gpu": "the whole tick on this machine's GPU: stages, batches, streams, backends, power, start-up",
}
QUICK_HELP: Final = "Fewer samples; a minute or so."

app = typer.Typer(add_completion=False, no_args_is_help=True, help=(__doc__ or "").partition("\n")[0].replace("``", ""))


def measure(suite: str, quick: bool, json: Path | None, plot: Path | None, told: dict[str, Any]) -> None:
    """Measures one suite on this machine, shows its figures, and keeps them. ``told``: the suite's own options."""
    err = Console(stderr=True)
    out = Console() if sys.stdout.isatty() else Console(width=140)  # tables fold where nobody's window is known
    measured = importlib.import_module(f"bench.{suite}").run(quick=quick, log=err, **given(suite, told))
    result = report.document(suite, measured.metrics, measured.series, measured.unit)
    if measured.tables:
        out.print(report.heading(result), *measured.tables, sep="\n")
    else:
        report.show(result, out)
    if json is not None:
        result = report.merged(json, result) if told.get("parts") else result
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


def command(suite: str) -> Callable[..., None]:
    """The command line of one suite."""

    def of_a_suite(
        quick: Annotated[bool, typer.Option("--quick", help=QUICK_HELP)] = False,
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
            str | None,
            typer.Option("--parts", help="Suites of parts: only these, with commas; the rest of --json stays."),
        ] = None,
        until: Annotated[
            float | None, typer.Option("--until", help="gpu: begin nothing more after so many seconds.")
        ] = None,
        processes: Annotated[
            str | None, typer.Option("--processes", help="load: server.processes of its servers.")
        ] = None,
    ) -> None:
        told: dict[str, Any] = {
            "rehearse": rehearse or None,
            "card": card,
            "network": network,
            "backend": backend,
            "hours": hours,
            "parts": parts,
            "until": until,
            "processes": processes,
        }
        measure(suite, quick, json, plot, told)

    return of_a_suite


for _name, _about in SUITES.items():
    app.command(_name, help=_about, rich_help_panel="Suites")(command(_name))


@app.command("all", rich_help_panel="Results")
def every(
    quick: Annotated[bool, typer.Option("--quick", help="All suites within ten minutes.")] = False,
    json: Annotated[Path, typer.Option("--json", help="The folder for the figures and logs.")] = Path("runs/bench"),
    html: Annotated[Path | None, typer.Option("--html", help="Write a page to read as well.")] = None,
    only: Annotated[str | None, typer.Option("--only", help="Only these suites, with commas.")] = None,
) -> None:
    """Every suite that this machine can run, one after the other, each in a process of its own."""
    from bench import all as everything

    chosen = only.split(",") if only else list(SUITES)
    if unknown := sorted(set(chosen) - set(SUITES)):
        raise ValueError(f"suites are {', '.join(SUITES)}; got {', '.join(unknown)}")
    failed = everything.run({name: SUITES[name] for name in chosen}, json, quick=quick, log=Console(stderr=True))
    if html is not None:
        page(json, html)
    raise typer.Exit(bool(failed))


@app.command("compare", rich_help_panel="Results")
def compare_two(
    a: Annotated[Path, typer.Argument(help="A result, or a folder of them: before.")],
    b: Annotated[Path, typer.Argument(help="After.")],
    noise: Annotated[float, typer.Option("--noise", help="A change of fewer percent is none.")] = 3.0,
    every_row: Annotated[bool, typer.Option("--all", help="Also the figures that did not change.")] = False,
    fail_on_worse: Annotated[
        float | None, typer.Option("--fail-on-worse", help="Exit with 1 when a figure is worse by more than so many %.")
    ] = None,
) -> None:
    """Two results side by side: which figures changed, by more than their spread, and to the better or the worse."""
    from bench import compare

    found = compare.folders(a, b, noise / 100)
    compare.show(found, Console() if sys.stdout.isatty() else Console(width=140), every_row=every_row)
    raise typer.Exit(fail_on_worse is not None and bool(compare.worse(found, fail_on_worse / 100)))


@app.command("report", rich_help_panel="Results")
def page(
    results: Annotated[Path, typer.Argument(help="The folder with the results, or one result.")],
    html: Annotated[Path, typer.Option("--html", help="The page to write.")] = Path("report.html"),
) -> None:
    """Kept results as one page to read: tables, what they mean, plots; nothing else is needed to open it."""
    from bench import report_html

    report_html.write(results, html, SUITES)
    Console(stderr=True).print(f"wrote {html}", soft_wrap=True)


if __name__ == "__main__":
    try:
        app()
    except (ValueError, OSError) as error:
        Console(stderr=True).print(f"[red]bench:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
