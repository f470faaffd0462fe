"""Which plots the report has, and of which figures: each is there when its result is, and says what it lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench import report_svg as svg
from bench.motion_report import TITLES
from bench.report_svg import Line, Point

Results = Mapping[str, Mapping[str, Any]]
STAGES: Final = {
    "motion_step_ms": "motion", "body_pose_ms": "body", "raster_ms": "raster", "shade_ms": "shade",
    "guide_ms": "guidance", "network_ms": "network", "composite_ms": "compositing", "yuv_ms": "I420",
    "watermark_ms": "watermark",
}  # fmt: skip
OVER_TIME: Final = ("latency.engine_ms", "stream.glass_to_glass_ms")


@dataclass(frozen=True, slots=True)
class Chart:
    """A plot, and under it what it shows, where from, and what to beware of."""

    drawing: str
    note: str


def charts(results: Results) -> Iterator[Chart]:
    """All that ``results`` (suite -> result) have the figures for."""
    for make in (_frame, _page, _over_time, _load, _quality, _lips, _precision, _speed):
        yield from make(results)


def _frame(results: Results) -> Iterator[Chart]:
    metrics = _metrics(results, "latency")
    stages = [(name, metrics[key]["p50"]) for key, name in STAGES.items() if key in metrics]
    if not stages:
        return
    whole = metrics["engine_ms"]["p50"]
    rest = whole - sum(value for _, value in stages)
    rows = [*stages, *([("between them, waking up", rest)] if rest > 0 else [])]
    yield Chart(
        svg.cascade("One frame in the engine: voice to picture", "ms", rows),
        f"Suite latency, medians of {metrics['engine_ms']['n']:,} frames; p99 of the whole is "
        f"{metrics['engine_ms']['p99']:.1f} ms. "
        "A frame's own 40 ms of voice, and 40 ms for each frame of lookahead, come before it.",
    )


def _page(results: Results) -> Iterator[Chart]:
    metrics = _metrics(results, "stream")
    if rows := [(_words(name[10:]), m["value"]) for name, m in metrics.items() if name.startswith("waterfall.")]:
        yield Chart(
            svg.cascade("From the microphone to the screen", "ms", rows),
            "Suite stream, means as the page's own waterfall tells them, browser and server on the same cores; no "
            "network between them. "
            "`wait` has the frame's own voice, the lookahead and the clock's next frame in it.",
        )


def _over_time(results: Results) -> Iterator[Chart]:
    for name in OVER_TIME:
        suite, _, metric = name.partition(".")
        told = results.get(suite, {}).get("over_time", {}).get(metric)
        if told:
            steps = [100 * (k + 0.5) / len(told["p50"]) for k in range(len(told["p50"]))]
            yield Chart(
                svg.lines(f"{suite}: {_words(metric)} over the run", "% of the run", told["unit"],
                          [Line("p99", steps, told["p99"], 2), Line("p50", steps, told["p50"], 1)]),
                f"Each point is {told['n']} samples in a row: of so few, p99 is nearly the largest.",
            )  # fmt: skip
    crowds: dict[str, list[Line]] = {}
    for name, told in results.get("load", {}).get("over_time", {}).items():  # PART.SIDE.nCOUNT
        part, _, count = name.rpartition(".n")
        lines = crowds.setdefault(part, [])
        steps = [100 * (k + 0.5) / len(told["p99"]) for k in range(len(told["p99"]))]
        lines.append(Line(f"{count} at once", steps, told["p99"], len(lines) + 1))
    for part, lines in crowds.items():
        yield Chart(
            svg.lines(f"load: p99 over the run, {_words(part)}", "% of the frames, session after session", "ms", lines),
            "Suite load: last voice of a frame → painted, fifty frames and more a point; 40 ms is the deadline.",
        )


def _load(results: Results) -> Iterator[Chart]:
    metrics = _metrics(results, "load")
    groups: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for name, metric in metrics.items():  # PREFIX.nCOUNT.FIGURE
        parts = name.split(".")
        count = next((part[1:] for part in parts if part[0] == "n" and part[1:].isdigit()), None)
        number = metric.get("value", metric.get("p95"))
        if count is not None and number is not None:
            prefix = ".".join(part for part in parts[:-1] if part != f"n{count}")
            groups.setdefault(parts[-1], {}).setdefault(prefix, []).append((int(count), float(number)))
    wanted = {
        "deadline_miss_pct": ("Sessions against missed deadlines", "% of frames"),
        "latency_ms": ("Sessions against latency, p95", "ms"), "p95_ms": ("Sessions against latency, p95", "ms"),
        "fps_min": ("Sessions against frames a second of the slowest", "frames/s"),
        "cpu_per_session": ("Processor time for each session", "cores"),
    }  # fmt: skip
    for figure, (title, unit) in wanted.items():
        lines = [
            Line(prefix or figure, [n for n, _ in sorted(rows)], [v for _, v in sorted(rows)], k + 1, dots=True)
            for k, (prefix, rows) in enumerate(groups.get(figure, {}).items()) if len(rows) > 1
        ]  # fmt: skip
        if lines:
            yield Chart(svg.lines(title, "sessions at once", unit, lines), f"Suite load, {_words(figure)}.")


def _quality(results: Results) -> Iterator[Chart]:
    metrics = _metrics(results, "render")
    if "frame_ms" not in metrics or "ours.psnr_db" not in metrics:
        return
    frame, network = metrics["frame_ms"]["p50"], metrics["network_ms"]["p50"]
    psnr = {name[:-8]: m["value"] for name, m in metrics.items() if name.endswith(".psnr_db")}
    shown = [Point("ours", frame, psnr["ours"], 2)]
    if "lit" in psnr:
        shown.append(Point("guidance alone", frame - network, psnr["lit"], 1, hollow=True))
    for steps in (2, 4):
        if f"step{steps}" in psnr:
            shown.append(Point(f"{steps} steps", frame + (steps - 1) * network, psnr[f"step{steps}"], 3, hollow=True))
    yield Chart(
        svg.points("Quality against speed", "ms a frame, 512 × 512, two threads", "PSNR, dB", shown),
        "Suite render. Filled: measured. Hollow: quality measured, time **derived** from ours: without the network, or "
        "with the network run so many times. Pictures of held-out people against photographs; PSNR has no interval (it "
        "is pooled over all pixels). More steps are not better here: the network was distilled to one.",
    )


def _lips(results: Results) -> Iterator[Chart]:
    metrics = _metrics(results, "motion")
    ending = ".asterisk.f1_6"
    found = {n[: -len(ending)]: m["value"] for n, m in metrics.items() if n.endswith(ending) and "lead_over" not in n}
    if found:
        order = sorted(found, key=lambda name: -found[name])
        rows = {TITLES.get(name, name): found[name] for name in order}
        yield Chart(
            svg.bars("Lips: F1 over six mouth shapes, 45 recordings", "", rows,
                     marked=[TITLES.get(name, name) for name in order if name.startswith("ours")]),
            "Suite motion, real speech that no training has heard; Rhubarb and openfacefx read the whole file or "
            "its transcript first.",
        )  # fmt: skip


def _precision(results: Results) -> Iterator[Chart]:
    metrics = _metrics(results, "precision")
    ways = [name[:-11] for name in metrics if name.endswith(".network_ms")]
    if shown := [
        Point(w, metrics[f"{w}.network_ms"]["p50"], metrics[f"{w}.error"]["value"], k + 1) for k, w in enumerate(ways)
    ]:
        yield Chart(
            svg.points("The network's precision: error against time", "ms, one thread", "error, of 255", shown),
            "Suite precision, medians; error is root mean square against float32 on ONNX Runtime.",
        )


def _speed(results: Results) -> Iterator[Chart]:
    by_runtime: dict[str, dict[str, float]] = {}
    for name, metric in _metrics(results, "speed").items():
        runtime, _, system = name.removesuffix(".ms_per_frame").partition(".")
        if name.endswith(".ms_per_frame") and system:
            by_runtime.setdefault(runtime, {})[_words(system)] = metric.get("p50", metric.get("value"))
    for runtime, found in by_runtime.items():
        rows = dict(sorted(found.items(), key=lambda row: row[1]))
        ours = [name for name in rows if name.startswith("ours")]
        yield Chart(
            svg.bars(
                f"Generators on the same cores, {_words(runtime)}, logarithmic",
                "ms a frame",
                rows,
                marked=ours,
                log=True,
            ),
            "Suite speed, medians. Peers are networks of the same shapes with random weights: they take as long, and "
            "paint nothing; what each paints, and what its figure leaves out, is in docs/benchmarks.md.",
        )


def _metrics(results: Results, suite: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = results.get(suite, {}).get("metrics", {})
    return found


def _words(name: str) -> str:
    return name.removesuffix("_ms").replace("_", " ").replace(".", " · ")
