"""Suite ``kernels``: each kernel on a GPU, or on one core, on a real avatar at 512 x 512. ``python -m bench.kernels``.

Each kernel is first checked against its reference (the kernel tests); a figure is printed only when that passed.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from time import thread_time
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from bench.report import Measured, spread, value
from engine import avatar as packs
from engine.avatar import Avatar
from engine.body.body import Body
from engine.motion.frame import ACTION_INDEX, Motion
from engine.render import camera, material, reference
from engine.render.guidance import MASK_OF_REGION
from engine.render.relight import KINDS
from engine.viewpoint import Viewpoint
from kernels import cells, guidance
from kernels.compose import over
from kernels.rasterize import Rasterizer
from kernels.shade import Shader
from kernels.warp import fade, warp
from kernels.yuv import to_i420

SIZE: Final = (512, 512)
AIM: Final = np.array([0.0, -0.08, -0.06], np.float32)
TESTS: Final = tuple(f"test_{name}.py" for name in ("rasterize", "shade", "yuv", "skin", "guidance", "cells"))


def run(*, quick: bool, log: Console, rehearse: bool = False, card: str | None = None) -> Measured:
    """The CUDA kernels where there is a GPU or with ``rehearse`` (bench/kernels_gpu.py), the processor's else."""
    from bench import kernels_gpu
    from bench.gpu_rig import open_device

    if not rehearse:
        try:
            open_device(rehearse=False)
        except ValueError as error:
            log.print(f"the processor's kernels alone: {error}", markup=False)
            return on_cpu(quick=quick, log=log)
    return kernels_gpu.run(quick=quick, log=log, rehearse=rehearse, card=card)


def on_cpu(*, quick: bool, log: Console, avatar: str = "ada") -> Measured:
    """A talking, turning head for 300 frames (quick: 60), for both framings. Milliseconds of CPU time of one
    thread: what a core of its own would take, whatever else this machine is doing."""
    check_correct()
    person = packs.load(packs.find(avatar))
    metrics, series = {}, {}
    for framing in camera.FRAMINGS:
        # 1 sample a pixel is the guidance a network reads; 4 samples are the picture's.
        for samples in (1, 4):
            times, covered = measure(person, framing, samples, 60 if quick else 300, log)
            for name, taken in times.items():
                metrics[f"{framing}.{samples}.{name}_ms"] = spread(taken, "ms")
                series[f"{framing}.{samples}.{name}_ms"] = taken
            metrics[f"{framing}.{samples}.covered"] = value(covered, "part of the picture")
        for name, taken in measure_neural(person, framing, 60 if quick else 300, log).items():
            metrics[f"{framing}.neural.{name}_ms"] = spread(taken, "ms")
            series[f"{framing}.neural.{name}_ms"] = taken
    metrics["triangles"] = value(len(person.faces), "triangles")
    return Measured(metrics, series)


def check_correct() -> None:
    """Runs the kernel tests. Raises ValueError when one fails: no speed without correctness."""
    import pytest

    folder = Path(__file__).parent.parent / "tests" / "kernels"
    tests = [str(folder / name) for name in TESTS if (folder / name).exists()]
    if pytest.main(["-q", "--no-header", "-p", "no:cacheprovider", *tests]) != 0:
        raise ValueError("the kernel tests fail: a speed would not mean anything")


def measure(
    person: Avatar, framing: str, samples: int, frames: int, log: Console
) -> tuple[dict[str, list[float]], float]:
    """Samples in milliseconds by kernel name, and the mean part of the picture that is covered."""
    body, frame = Body(person), camera.framing(framing)
    pose, (mesh, look) = body.allocate(), material.build(person)
    raster = Rasterizer(mesh, SIZE, samples)
    shader = Shader(raster, look, material.cover(person.background, SIZE))
    rgb, alpha = np.zeros((*SIZE, 3), np.uint8), np.zeros(SIZE, np.uint8)
    i420 = np.zeros((SIZE[0] * 3 // 2, SIZE[1]), np.uint8)
    before, now = np.zeros_like(pose.vertices), np.zeros_like(pose.vertices)
    times: dict[str, list[float]] = defaultdict(list)
    covered = 0.0
    for number in track(range(-3, frames), description=f"{framing}, {samples} samples", console=log, transient=True):
        motion, viewpoint = scene(number, frame.distance)
        view = camera.camera(viewpoint, frame, SIZE)

        def timed(name: str, work: Callable[..., Any], *arguments: Any, kept: bool = number >= 0) -> Any:
            start = thread_time()
            answer = work(*arguments)
            if kept:  # the first frames compile and warm the caches
                times[name].append(1e3 * (thread_time() - start))
            return answer

        timed("skin", body.pose, motion, pose)
        gbuffer = timed("rasterize", raster.draw, pose.vertices, pose.normals, view, before, now)
        timed("shade", shader.draw, pose.vertices, view, AIM, viewpoint.distance, rgb, alpha)
        timed("yuv", to_i420, rgb, i420)
        before, now = now, before
        covered += float(gbuffer.coverage.mean()) / frames if number >= 0 else 0.0
    times["frame"] = [sum(parts) for parts in zip(*times.values(), strict=True)]
    return dict(times), covered


def measure_neural(person: Avatar, framing: str, frames: int, log: Console) -> dict[str, list[float]]:
    """Samples in milliseconds of what stands around the neural renderer's network: the guidance planes (the drawing
    under them is ``rasterize`` above, with one sample), the previous picture moved and faded, cells in and out, the
    background. The network's answer is noise: time does not depend on it."""
    body, frame, (mesh, _) = Body(person), camera.framing(framing), material.build(person)
    raster, pose = Rasterizer(mesh, SIZE, samples=1), body.allocate()
    surface = reference.lit_surface(person, reference.lit_atlas(person, reference.of(person)))
    planes = guidance.Planes(raster, MASK_OF_REGION, KINDS)
    known, pasts = guidance.allocate(SIZE), [planes.past(), planes.past()]
    rng = np.random.default_rng(0)
    previous, warped = rng.integers(0, 256, (*SIZE, 4), np.uint8), np.zeros((4, *SIZE), np.uint8)
    packed = np.zeros((SIZE[0] // 8, SIZE[1] // 8, 4, cells.PACKED), np.uint8)
    grid = (SIZE[0] // 4, SIZE[1] // 4)
    residual = rng.normal(0, 0.05, (*grid, cells.RESIDUAL)).astype(np.float32)
    shares = rng.normal(0, 3, (*grid, cells.SHARES)).astype(np.float32)
    gain = np.ones((SIZE[0] // 8, SIZE[1] // 8, 3), np.float32)
    behind = material.cover(person.background, SIZE)
    rgb, alpha = np.zeros((*SIZE, 3), np.uint8), np.zeros(SIZE, np.uint8)
    before, now = np.zeros_like(pose.vertices), np.zeros_like(pose.vertices)
    times: dict[str, list[float]] = defaultdict(list)
    for number in track(range(-3, frames), description=f"{framing}, neural", console=log, transient=True):
        motion, viewpoint = scene(number, frame.distance)
        view, old = camera.camera(viewpoint, frame, SIZE), pasts[0] if number > -3 else None
        body.pose(motion, pose)
        raster.draw(pose.vertices, pose.normals, view, before, now)
        start = [thread_time()]
        planes.draw(*surface, view, viewpoint.distance, old, pasts[1], known)
        start.append(thread_time())
        fade(warp(previous, known.flow, known.seen, warped), known.hi[:3])
        start.append(thread_time())
        cells.pack(known, warped, packed)
        start.append(thread_time())
        cells.paint(residual, shares, gain, packed, previous)
        start.append(thread_time())
        over(previous, behind, rgb, alpha)
        start.append(thread_time())
        before, now, pasts = now, before, pasts[::-1]
        if number >= 0:
            for name, taken in zip(("guidance", "warp", "pack", "paint", "over"), np.diff(start), strict=True):
                times[name].append(1e3 * float(taken))
    return dict(times)


def scene(number: int, distance: float) -> tuple[Motion, Viewpoint]:
    """Frame ``number`` of a head that talks and turns while the camera swings from side to side."""
    motion, t = Motion.rest(), number / 25
    motion.face[ACTION_INDEX["jawOpen"]] = 0.25 + 0.25 * np.sin(9 * t)
    motion.face[ACTION_INDEX["mouthPucker"]] = 0.3 + 0.3 * np.sin(5 * t)
    motion.head[:3] = 0.05 * np.sin(t), 0.1 * np.sin(0.7 * t), 0.03 * np.sin(1.3 * t)
    return motion, Viewpoint(yaw=0.9 * np.sin(0.5 * t), pitch=0.2 * np.sin(0.3 * t), distance=distance)


def main() -> None:
    """Command line: checks, measures, prints p50, p95, p99 per kernel."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="60 frames a framing instead of 300")
    parser.add_argument("--avatar", default="ada", help="avatar to draw (default: ada)")
    arguments, log = parser.parse_args(), Console()
    try:
        measured = on_cpu(quick=arguments.quick, log=log, avatar=arguments.avatar)
    except ValueError as error:
        log.print(f"[red]{escape(str(error))}")
        sys.exit(1)
    table = Table("framing.samples.kernel", "p50", "p95", "p99", title=f"{arguments.avatar}, 512 x 512, one core, ms")
    for name, metric in measured.metrics.items():
        if "p50" in metric:
            table.add_row(name.removesuffix("_ms"), *(f"{metric[key]:.2f}" for key in ("p50", "p95", "p99")))
    log.print(table)


if __name__ == "__main__":
    main()
