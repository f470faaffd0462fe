"""Suite ``gpu``: the renderer's CUDA kernels on this machine's GPU, checked against the CPU's picture first."""

from __future__ import annotations

from time import perf_counter
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import track

from bench.kernels import AIM, SIZE, scene
from bench.report import Measured, Metrics, spread
from engine import avatar as packs
from engine.body.body import Body
from engine.render import camera, material
from kernels.cuda import CudaError, Device
from kernels.device import CudaRenderer
from kernels.jit import F32
from kernels.rasterize import Camera, Rasterizer
from kernels.shade import Shader

WARM_UP: Final = 20  # frames: kernels are compiled and loaded in the first


def run(*, quick: bool, log: Console) -> Measured:
    """300 frames (quick: 60) of a talking, turning head at 512 x 512, one session, both framings.

    ``frame_ms`` is wall time from posed vertices in host memory to the I420 picture in host memory, copies included.
    Raises ValueError without a GPU, or when a frame differs from the CPU's.
    """
    try:
        device = Device()
    except CudaError as error:
        raise ValueError(f"suite gpu: {error}") from error
    person = packs.load(packs.find("ada"))
    metrics: Metrics = {}
    series: dict[str, list[float]] = {}
    for framing in camera.FRAMINGS:
        frame, body, (mesh, look) = camera.framing(framing), Body(person), material.build(person)
        raster = Rasterizer(mesh, SIZE)
        shader = Shader(raster, look, material.cover(person.background, SIZE))
        painter, pose, before = CudaRenderer(device, raster, shader), body.allocate(), np.empty_like(person.rest)
        times = []
        for number in track(range(-WARM_UP, 60 if quick else 300), description=framing, console=log, transient=True):
            motion, viewpoint = scene(number, frame.distance)
            body.pose(motion, pose)
            view = camera.camera(viewpoint, frame, SIZE)
            if number == -WARM_UP:
                check(painter, raster, shader, pose.vertices, pose.normals, view, viewpoint.distance)
                raster.draw(pose.vertices, pose.normals, view, None, before)
            start = perf_counter()
            painter.draw(pose.vertices, pose.normals, view, before, AIM, viewpoint.distance)
            painter.to_i420()
            if number >= 0:
                times.append(1e3 * (perf_counter() - start))
        metrics[f"{framing}.frame_ms"], series[framing] = spread(times, "ms"), times
    return Measured(metrics, series)


def check(
    painter: CudaRenderer,
    raster: Rasterizer,
    shader: Shader,
    vertices: F32,
    normals: F32,
    view: Camera,
    distance: float,
) -> None:
    """Raises ValueError unless the GPU's picture equals the CPU's within 2 of 255 at the 99th percentile."""
    place = np.empty_like(vertices)
    raster.draw(vertices, normals, view, None, place)
    rgb, alpha = np.empty((*SIZE, 3), np.uint8), np.empty(SIZE, np.uint8)
    shader.draw(vertices, view, AIM, distance, rgb, alpha)
    theirs, _ = painter.draw(vertices, normals, view, None, AIM, distance)
    worst = float(np.percentile(np.abs(theirs.astype(int) - rgb), 99))
    if worst > 2:
        raise ValueError(f"the GPU's picture differs from the CPU's by {worst:g} of 255 at p99: no speed without that")
