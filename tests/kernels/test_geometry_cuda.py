"""Guidance in CUDA on frames that are rasterized and blended in CUDA too: what the CPU makes of the same poses."""

from __future__ import annotations

import numpy as np

from kernels import cuda, guidance
from kernels.device import Drawn, blend, lens, rasterize
from kernels.guidance import device as told
from kernels.rasterize import Rasterizer
from tests.kernels.batch import batch, emulated
from tests.kernels.test_guidance import CLASSES, KINDS, lamp, noise_texture, scene, veiled

pytestmark = emulated
SIZE = (48, 72)


class Side:
    """A person with two frames, on both sides. ``number`` 1 has no blended faces, 2 is cut by the near plane."""

    def __init__(self, device, number):
        self.device, self.number = device, number
        # Far less than the middle's own distance: or else the CPU's weights of what is very near exceed a float.
        self.distance, self.away = (0.1, 0.31) if number == 2 else (1.0, 1.0)
        mesh = scene(size=SIZE)[0]
        self.raster = Rasterizer(mesh if number == 1 else veiled(mesh), SIZE, samples=1)
        self.out, self.texture = guidance.allocate(SIZE), noise_texture(8 << number)
        self.planes = guidance.Planes(self.raster, CLASSES, KINDS)
        self.pasts, self.place, self.frames = [self.planes.past(), self.planes.past()], None, []
        half, count = (SIZE[0] // 2, SIZE[1] // 2), len(mesh.faces)
        shapes = {"hi": (6, *SIZE), "lo": (7, *half), "seen": half}
        self.room = {name: device.empty(shape, np.uint8) for name, shape in shapes.items()}
        self.room |= {
            "lead": device.empty((2, *half), np.float32), "before": device.empty(half, np.float32),
            "nearest": device.empty(half, np.int16), "motion": device.empty((count, 3), np.float32),
        }  # fmt: skip
        self.kept = [{"z": device.empty(half, np.float32), "mask": device.empty(half, np.uint8)} for _ in range(2)]
        texture = {"texels": self.texture.texels, "start": self.texture.start}
        self.paint = {name: device.array(value) for name, value in texture.items()}
        self.paint |= {"levels": len(self.texture.start), "side": self.texture.side}
        self.tables = {name: device.array(value) for name, value in (("classes", CLASSES), ("kinds", KINDS))}

    def next(self, number):
        """Draws frame ``number`` on the CPU and readies it on the device."""
        _, points, normals, camera = scene(0.1 + 0.05 * number + 0.2 * self.number, 0.02 * number, SIZE, self.away)
        now = np.empty_like(points)
        self.raster.draw(points, normals, camera, self.place, now)
        self.planes.draw(
            self.texture, lamp(), camera, self.distance, self.pasts[1] if number else None, self.pasts[0], self.out
        )
        self.place, self.pasts, there = now, self.pasts[::-1], Drawn(self.device, self.raster)
        look = told.look(lamp(), camera, self.distance, self.texture.side)
        self.look = self.device.array(look.reshape(1))
        for array, values in (
            (there.posed, points),
            (there.normals, normals),
            (there.lens, lens(camera, self.distance)),
        ):
            array.put(values)
        self.frames.append(there)

    def rows(self, number):
        """Its records of every launch of frame ``number``."""
        there, room, old = self.frames[number], self.room, self.kept[1 - number % 2] if number else {}
        now, scratch = self.kept[number % 2], there.scratch
        raster = there.raster_row(None, self.frames[number - 1].scratch["place"] if number else None)
        drift = {"blended": self.device.array(self.raster.blended), "count": len(self.raster.blended),
                 **{name: scratch[name] for name in ("triangle", "owner", "place", "record")},
                 "motion": room["motion"]}  # fmt: skip
        sample = {
            **{name: there.planes[name] for name in ("face", "region", "depth", "normal", "uv", "flow")},
            **{name: scratch[name] for name in ("buffer", "plane", "detail")},
            "layer": there.layer if drift["count"] else None, **self.paint, **self.tables, "hair": self.planes.hair,
            "look": self.look, **now, **{name: room[name] for name in ("hi", "lo", "lead", "before")},
        }  # fmt: skip
        lead = {**{name: room[name] for name in ("nearest", "before", "lead", "seen")}, "mask": now["mask"],
                "old_depth": old.get("z"), "old_mask": old.get("mask")}  # fmt: skip
        bias = float(np.log2(self.texture.side))
        return {
            "rasterize": raster, "drift": drift, "blend": there.blend_row(self.paint, bias, room["motion"]),
            "sample": sample, "columns": {"mask": now["mask"], "nearest": room["nearest"]}, "lead": lead,
        }  # fmt: skip


def draw(device, rows, vertices, faces):
    """The launches of a frame up to the guidance."""
    table = {name: [one[name] for one in (*rows, rows[0])] for name in rows[0]}
    rasterize(device, batch(device, "rasterize", "Raster", table["rasterize"]), vertices, faces, 1, SIZE)
    calls = [told.drifting(faces), *told.telling(SIZE)[:3]]
    for call in calls:
        there = batch(device, call.op, call.struct, table[call.kernel])
        device.launch(call.op, call.kernel, (*call.grid, len(there)), call.block, there, *call.shared)
        if call.kernel == "drift":
            blend(device, batch(device, "blend", "Blend", table["blend"]), faces, 1, SIZE)


def test_guidance_of_drawn_frames_equals_the_cpus():
    device = cuda.emulated()
    people = [Side(device, number) for number in range(3)]
    for number in range(3):
        for one in people:
            one.next(number)
        mesh = people[0].raster.mesh
        draw(device, [one.rows(number) for one in people], len(mesh.uv), len(mesh.faces))
        for one in people:
            for name, slack in (("hi", 1e-3), ("lo", 1e-3), ("seen", 2e-3)):
                mine, theirs = one.room[name].get(), getattr(one.out, name)
                assert (np.abs(mine.astype(int) - theirs) > 1).mean() < slack, (number, one.number, name)
            apart = np.abs(one.room["lead"].get() - one.out.flow)
            assert np.isfinite(apart).all() and (apart > 0.02).mean() < 1e-3
            assert not number or 0 < (one.out.seen > 0).mean() < 1
