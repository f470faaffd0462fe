"""A whole frame in CUDA, from the G-buffer to the encoder's picture, in the order and with the grids of
kernels/guidance/device.py: what the CPU's own functions make of the same frames, one after another."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import cells, cuda, guidance, yuv
from kernels.compose import over
from kernels.guidance import device as told
from kernels.rasterize import Rasterizer
from kernels.warp import fade, warp
from kernels.watermark import mark
from tests.kernels.batch import batch, emulated
from tests.kernels.test_guidance import CLASSES, KINDS, lamp, noise_texture, scene, veiled
from tests.kernels.test_guidance_cuda import dense

pytestmark = emulated
SIZE = (48, 72)
FRAMES = 3


class Person:
    """One session on both sides: what the CPU makes of its frames, and its memory on the device."""

    def __init__(self, device, number):
        self.device, self.number, self.draws = device, number, np.random.default_rng(number)
        mesh = scene(size=SIZE)[0]
        self.raster = Rasterizer(mesh if number == 1 else veiled(mesh), SIZE, samples=1)
        self.planes, self.out = guidance.Planes(self.raster, CLASSES, KINDS), guidance.allocate(SIZE)
        self.texture = noise_texture(8 << number)
        self.pasts, self.place = [self.planes.past(), self.planes.past()], None
        self.previous, self.spare = (np.zeros((*SIZE, 4), np.uint8) for _ in range(2))
        self.background = self.draws.integers(0, 256, (*SIZE, 3)).astype(np.uint8)
        self.field = self.draws.integers(-79, 80, SIZE).astype(np.int8) if number != 2 else None
        half = (SIZE[0] // 2, SIZE[1] // 2)
        self.kept = {
            name: [device.empty(shape, kind) for _ in range(2)]
            for name, shape, kind in (
                ("z", half, np.float32), ("mask", half, np.uint8), ("picture", (*SIZE, 4), np.uint8)
            )
        }  # fmt: skip
        shapes = {"hi": (6, *SIZE), "lo": (7, *half), "seen": half, "cells": (SIZE[0] // 8, SIZE[1] // 8, 4, 220),
                  "alpha": SIZE, "out": (SIZE[0] * 3 // 2, SIZE[1])}  # fmt: skip
        self.room = {name: device.empty(shape, np.uint8) for name, shape in shapes.items()}
        self.room |= {"lead": device.empty((2, *half), np.float32), "before": device.empty(half, np.float32),
                      "nearest": device.empty(half, np.int16)}  # fmt: skip

    def on_the_cpu(self, frame):
        """Cells, I420 and alpha; ``answer`` is what the network would have said."""
        self.frame = frame
        _, points, normals, camera = scene(0.1 + 0.05 * frame + 0.2 * self.number, 0.02 * frame, SIZE)
        now = np.empty_like(points)
        self.g = self.raster.draw(points, normals, camera, self.place, now)
        self.planes.draw(self.texture, lamp(), camera, 1.0, self.pasts[1] if frame else None, self.pasts[0], self.out)
        self.look = told.look(lamp(), camera, 1.0, self.texture.side)
        warped = fade(
            warp(self.previous, self.out.flow, self.out.seen, np.empty((4, *SIZE), np.uint8)), self.out.hi[:3]
        )
        packed = cells.pack(self.out, warped, np.empty((SIZE[0] // 8, SIZE[1] // 8, 4, cells.PACKED), np.uint8))
        grid = (SIZE[0] // 4, SIZE[1] // 4)
        self.answer = {
            "residual": self.draws.normal(size=(*grid, cells.RESIDUAL)).astype(np.float32) * np.float32(0.1),
            "shares": self.draws.uniform(size=(*grid, cells.SHARES)).astype(np.float32),
            "gain": self.draws.uniform(0.8, 1.2, (grid[0] // 2, grid[1] // 2, 3)).astype(np.float32),
        }
        cells.paint(**self.answer, cells=packed, out=self.spare)
        if self.number == 1:
            cells.confine(self.spare, self.out.hi[:4])
        rgb, alpha = np.empty((*SIZE, 3), np.uint8), np.empty(SIZE, np.uint8)
        over(self.spare, self.background, rgb, alpha)
        i420 = yuv.to_i420(rgb)
        if self.field is not None:
            mark(i420[: SIZE[0]], self.field)
        self.place, self.pasts = now, self.pasts[::-1]
        self.previous, self.spare = self.spare, self.previous
        return packed, i420, alpha

    def rows(self):
        """Its record of every launch of this frame."""
        put, room, new = self.device.array, self.room, self.frame % 2
        before = {name: two[1 - new] if self.frame else None for name, two in self.kept.items()}
        raster, layer = self.raster, self.planes.blended
        slot = (raster.buffer.winner[..., 0] & ((1 << 23) - 1)).astype(np.uint32)
        now = {name: two[new] for name, two in self.kept.items()}
        sample = {
            **{name: put(getattr(self.g, name)) for name in ("face", "region", "depth", "normal", "uv", "flow")},
            "buffer": put((~slot).astype(np.uint64)), "plane": put(raster.plane), "detail": put(raster.detail),
            "layer": put(dense(layer, SIZE)) if layer.count else None, "texels": put(self.texture.texels),
            "start": put(self.texture.start), "levels": len(self.texture.start), "side": self.texture.side,
            "classes": put(CLASSES), "kinds": put(KINDS), "hair": self.planes.hair, "look": put(self.look.reshape(1)),
            "z": now["z"], "mask": now["mask"], **{name: room[name] for name in ("hi", "lo", "lead", "before")},
        }  # fmt: skip
        lead = {name: room[name] for name in ("nearest", "before", "lead", "seen")}
        lead |= {"mask": now["mask"], "old_depth": before["z"], "old_mask": before["mask"]}
        follow = {"previous": before["picture"], "flow": room["lead"], "out": room["cells"],
                  **{name: room[name] for name in ("hi", "lo", "seen")}}  # fmt: skip
        show = {
            **{name: put(value) for name, value in self.answer.items()}, "cells": room["cells"],
            "confine": int(self.number == 1), "background": put(self.background),
            "field": None if self.field is None else put(self.field), "picture": now["picture"],
            "alpha": room["alpha"], "out": room["out"],
        }  # fmt: skip
        columns = {"mask": now["mask"], "nearest": room["nearest"]}
        return {"sample": sample, "columns": columns, "lead": lead, "follow": follow, "show": show}


@pytest.mark.parametrize("captured", [False, True])
def test_frames_of_a_batch_equal_those_of_the_cpu(captured):
    device = cuda.emulated()
    people, stream = [Person(device, number) for number in range(3)], device.stream()
    for frame in range(FRAMES):
        expected = [person.on_the_cpu(frame) for person in people]
        rows = [person.rows() for person in people]
        calls = [*told.telling(SIZE), told.showing(SIZE)]
        tables = [batch(device, call.op, call.struct, [one[call.kernel] for one in (*rows, rows[0])]) for call in calls]

        def tick(calls=calls, tables=tables):
            for call, table in zip(calls, tables, strict=True):
                grid = (*call.grid, len(table))
                device.launch(call.op, call.kernel, grid, call.block, table, *call.shared, stream=stream)

        if captured:
            for call in calls:
                device.function(call.op, call.kernel)  # nothing may be loaded while a stream is captured
            with stream.capture() as kept:
                tick()
            kept[0].launch(stream)
        else:
            tick()
        stream.wait()
        for person, (packed, i420, alpha) in zip(people, expected, strict=True):
            apart = np.abs(person.room["cells"].get().astype(int) - packed)
            assert (apart > 0).mean() < 2e-3, (frame, person.number)
            apart = np.abs(person.room["out"].get().astype(int) - i420)
            assert (apart > 1).mean() < 1e-3 and (apart > 0).mean() < 0.01
            assert np.abs(person.room["alpha"].get().astype(int) - alpha).max() <= 1
            seen = person.room["seen"].get()
            assert (seen.any() and not seen.all()) if frame else not seen.any()
