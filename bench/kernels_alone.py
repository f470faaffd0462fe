"""The CUDA kernels that a tick does not launch: the geometric renderer's, the unfused ones, the experts'."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np

from bench.kernels import AIM, scene
from engine import avatar as packs
from engine.audio.resample import TAPS, Decimator
from engine.body.body import Body
from engine.render import camera, material
from kernels import experts
from kernels.cells import PACKED, RESIDUAL, SHARES
from kernels.cuda import Device, Stream, blocks
from kernels.device import Batch, CudaRenderer
from kernels.rasterize import Rasterizer
from kernels.shade import Shader

Facts = Mapping[str, Mapping[str, Any]]
Case = tuple[str, Callable[[Stream], object], Facts]
PEOPLE: Final = ("ada", "omar", "mei", "leo")
# Of `base` at 512 x 512: pixels and channels of its three grids, and how many Blocks each has.
GRIDS: Final = ((64 * 64, 192, 4), (32 * 32, 320, 6), (16 * 16, 448, 3))
INNER, EXPERTS = 128, 6


def cases(device: Device, batch: int, size: tuple[int, int]) -> Iterator[Case]:
    """Name, work for a stream, and what its cost functions are told (bench/kernels_gpu.py)."""
    yield geometric(device, batch, size)
    yield picture(device, batch, size)
    yield mixtures(device, batch)


def geometric(device: Device, batch: int, size: tuple[int, int]) -> Case:
    """Rasterized with four samples a pixel, blended, lit and converted: talking people, turned."""
    painters = []
    for row in range(batch):
        person = packs.load(packs.find(PEOPLE[row % len(PEOPLE)]))
        frame, body, (mesh, look) = camera.framing("upper"), Body(person), material.build(person)
        raster = Rasterizer(mesh, size, samples=4)
        shader, pose = Shader(raster, look, material.cover(person.background, size)), body.allocate()
        motion, viewpoint = scene(20 * row, frame.distance)
        body.pose(motion, pose)
        view = camera.camera(viewpoint, frame, size)
        painters.append(CudaRenderer(device, raster, shader))
        place = np.empty_like(pose.vertices)
        painters[-1].put(pose.vertices, pose.normals, view, place * 0, AIM, viewpoint.distance)
    whole = Batch(painters, moved=False)
    convert = device.rows("yuv", "Convert", [{"rgb": one.rgb, "out": one.i420} for one in painters])
    height, width = size

    def work(stream: Stream) -> None:
        whole.paint(stream)
        device.launch("yuv", "convert", (blocks(width // 2, 32), blocks(height // 2, 8), batch), (32, 8), convert, 0,
                      height, width, stream=stream)  # fmt: skip

    drawn = [one.drawn for one in painters]
    bodies, shadow = [(one.vertices, one.faces) for one in drawn], painters[0].shader.shadow
    return "geometric", work, {
        "": {"rows": batch, "height": height, "width": width, "size": size, "samples": 4, "sizes": bodies,
             "side": shadow.size, "radius": shadow.radius, "vertices": [v for v, _ in bodies],
             "casters": [len(one.shader.shadow.casters) for one in painters], "kept": painters},
        "blend.accumulate": {"counts": [one.chosen for one in drawn],
                             "fragments": int(0.3 * 4 * height * width * batch)},
    }  # fmt: skip


def picture(device: Device, batch: int, size: tuple[int, int]) -> Case:
    """What a tick does fused, kernel by kernel, on random planes; and decimation."""
    (height, width), rng = size, np.random.default_rng(0)
    half, cells = (height // 2, width // 2), (height // 8, width // 8)

    def bytes_of(*shape: int) -> Any:
        return device.array(rng.integers(0, 256, shape, np.uint8))

    def floats(scale: float, *shape: int) -> Any:
        return device.array(rng.normal(0, scale, shape).astype(np.float32))

    rows = [
        {"previous": bytes_of(height, width, 4), "flow": floats(2, 2, *half), "seen": bytes_of(*half),
         "warped": bytes_of(4, height, width), "hi": bytes_of(6, height, width), "lo": bytes_of(7, *half),
         "cells": bytes_of(*cells, 4, PACKED), "residual": floats(0.05, height // 4, width // 4, RESIDUAL),
         "shares": floats(3, height // 4, width // 4, SHARES), "gain": floats(0.1, *cells, 3),
         "picture": bytes_of(height, width, 4), "background": bytes_of(height, width, 3),
         "rgb": bytes_of(height, width, 3), "alpha": bytes_of(height, width), "i420": bytes_of(height * 3 // 2, width),
         "field": device.array(rng.integers(-32, 33, size).astype(np.int8)), "voice": floats(0.1, 1920),
         "tail": floats(0.1, 96), "sound": floats(0.1, 640)}
        for _ in range(batch)
    ]  # fmt: skip

    def table(op: str, struct: str, fields: Mapping[str, str], **plain: Any) -> Any:
        return device.rows(op, struct, [{**{name: row[of] for name, of in fields.items()}, **plain} for row in rows])

    def own(*names: str) -> dict[str, str]:
        return {name: name for name in names}

    answer = own("residual", "shares", "gain", "cells", "picture")
    warp = table("warp", "Warp", {**own("previous", "flow", "seen"), "out": "warped"})
    fade = table("warp", "Fade", {"warped": "warped", "lit": "hi"})
    pack = table("cells", "Pack", {**own("hi", "warped", "lo", "seen"), "out": "cells"})
    paint = table("cells", "Paint", answer, confine=0)
    over = table("compose", "Over", own("picture", "background", "rgb", "alpha"))
    finish = table("compose", "Finish", {**own("picture", "background", "field"), "out": "i420"}, alpha=None)
    mark = table("watermark", "Mark", {"luma": "i420", "field": "field"})
    decimate = table("logmel", "Decimate", own("voice", "tail", "sound"))
    taps = device.array(np.ascontiguousarray(Decimator()._matrix[2 : 2 + TAPS, 0]))

    def work(stream: Stream) -> None:
        def launch(op: str, kernel: str, x: int, y: int, block: tuple[int, ...], *arguments: Any) -> None:
            device.launch(op, kernel, (x, y, batch), block, *arguments, stream=stream)

        launch("warp", "warp", blocks(width // 2, 32), blocks(height // 2, 8), (32, 8), warp, height, width)
        launch("warp", "fade", blocks(height * width // 4, 256), 1, (256,), fade, height * width)
        launch("cells", "pack", blocks(width, 128), height // 8, (64, 4), pack, height, width)
        launch("cells", "paint", blocks(width, 64), height // 8, (512,), paint, height, width)
        launch("compose", "over", blocks(height * width // 4, 256), 1, (256,), over, height * width)
        launch("compose", "finish", blocks(width, 64), blocks(height, 16), (32, 8), finish, 0, height, width)
        launch("watermark", "mark", blocks(width, 64), blocks(height, 8), (64, 4), mark, height, width)
        launch("logmel", "decimate", 1, 1, (256,), decimate, taps)

    kept = {"rows": batch, "height": height, "width": width, "pixels": height * width}
    return "alone", work, {"": {**kept, "kept": rows}}


def mixtures(device: Device, batch: int) -> Case:
    """`base`'s experts in half precision: masks, second halves of a Block on each grid, all kernels of views."""
    rng = np.random.default_rng(1)

    def half(scale: float, *shape: int) -> Any:
        return device.array(rng.normal(0, scale, shape).astype(np.float16))

    layers: list[dict[str, Any]] = []
    facts: dict[str, dict[str, Any]] = {}
    for pixels, channels, _ in GRIDS:
        layers.append({
            "x": half(1, batch, pixels, channels), "y": half(1, batch, pixels, channels),
            "out": half(1, batch, pixels, channels), "scale": half(0.3, batch, channels),
            "kernel": half(channels**-0.5, batch, channels, channels), "inward": half(channels**-0.5, INNER, channels),
            "outward": half(INNER**-0.5, channels, INNER),
            "gate": device.array(np.full((batch, pixels, 8), 0.125, np.float16)),
        })  # fmt: skip
        told = {"rows": batch, "pixels": pixels, "channels": channels, "inner": INNER}
        facts |= {f"experts.masked_f16_{channels}": told, f"experts.finish_f16_{channels}": told}
    values = sum(channels**2 * count for _, channels, count in GRIDS)
    gate, stock = device.array(np.full((batch, EXPERTS), 1 / EXPERTS, np.float32)), half(0.05, EXPERTS, values)
    own = device.empty((batch, values), np.float16)
    facts["experts.mix_f16"] = {"rows": batch, "experts": EXPERTS, "values": values, "size": 2}

    def work(stream: Stream) -> None:
        shape = batch, EXPERTS, values
        experts.mix(device, "fp16", gate.pointer, stock.pointer, own.pointer, shape, stream=stream)
        for (pixels, channels, _), arrays in zip(GRIDS, layers, strict=True):
            addresses = {name: array.pointer for name, array in arrays.items()}
            common = {"pixels": pixels, "channels": channels, "inner": INNER, "level": 8**0.5, "gate_step": 8 * pixels}
            masked = {name: addresses[name] for name in ("x", "inward", "outward", "gate", "out")}
            experts.masked(device, "fp16", batch, stream, **common, **masked)
            experts.finish(device, "fp16", batch, stream, **common, **addresses, kernel_step=channels**2, gain=1.7,
                           keep=0.92, take=0.39)  # fmt: skip

    return "experts", work, facts
