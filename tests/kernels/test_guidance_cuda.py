"""Guidance planes in CUDA: equal to their references, on the CPU rasterizer's own frames."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from kernels import cuda, guidance
from kernels.blend.cpu import CLEAR, ENTRY
from kernels.cuda import blocks
from kernels.guidance import cpu, reference
from kernels.guidance.device import look
from kernels.nvrtc import ARCHITECTURES
from kernels.rasterize import Rasterizer
from tests.kernels.batch import compiles, emulated, launch
from tests.kernels.test_guidance import CLASSES, KINDS, lamp, noise_texture, scene, veiled

pytestmark = emulated
SIZES = [(46, 62), (2, 40), (40, 2), (22, 70)]


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_compiles(arch):
    compiles("guidance", arch)


def frame(size, turn, blended=True, distance=1.0, previous=None):
    """A frame drawn on the CPU: rasterizer, planes, texture, camera, guidance, and where its points were."""
    mesh, points, normals, camera = scene(turn, 0.02 * turn, size, distance)
    raster = Rasterizer(veiled(mesh) if blended else mesh, size, samples=1)
    planes, out = guidance.Planes(raster, CLASSES, KINDS), guidance.allocate(size)
    texture, past, now = noise_texture(32 if turn < 0.3 else 8), planes.past(), np.empty_like(points)
    g = raster.draw(points, normals, camera, previous, now)
    planes.draw(texture, lamp(), camera, distance, None, past, out)
    told = look(lamp(), camera, distance, texture.side)
    return SimpleNamespace(size=size, raster=raster, planes=planes, texture=texture, camera=camera, g=g, out=out,
                           past=past, now=now, distance=distance, look=told)  # fmt: skip


def dense(layer, size):
    """The blended layer as a GPU has it: every pixel, and the logarithm of what gets through."""
    out = np.zeros((size[0] * size[1], ENTRY), np.float32)
    pixel, entry = layer.pixel[: layer.count], layer.layer[: layer.count].copy()
    with np.errstate(divide="ignore"):
        entry[:, CLEAR] = np.log2(entry[:, CLEAR])
    out[pixel] = entry
    return out.reshape(*size, ENTRY)


def sampled(f):
    """The row of kernel `sample` for a frame."""
    buffer, half = f.raster.buffer, (f.size[0] // 2, f.size[1] // 2)
    slot = (buffer.winner[..., 0] & ((1 << 23) - 1)).astype(np.uint32)
    word = buffer.nearness[..., 0].view(np.uint32).astype(np.uint64) << np.uint64(32) | ~slot
    nothing = np.float32(np.nan)
    return {
        **{name: getattr(f.g, name) for name in ("face", "region", "depth", "normal", "uv", "flow")},
        "buffer": np.where(f.g.face >= 0, word, 0).astype(np.uint64), "plane": f.raster.plane,
        "detail": f.raster.detail,
        "layer": dense(f.planes.blended, f.size) if f.planes.blended.count else None,
        "texels": f.texture.texels, "start": f.texture.start, "levels": len(f.texture.start), "side": f.texture.side,
        "classes": CLASSES, "kinds": KINDS, "hair": f.planes.hair, "look": f.look.reshape(1),
        "hi": np.full((6, *f.size), 77, np.uint8), "lo": np.full((7, *half), 77, np.uint8),
        "lead": np.full((2, *half), nothing), "z": np.full(half, nothing), "before": np.full(half, nothing),
        "mask": np.full(half, 77, np.uint8),
    }  # fmt: skip


def expected(f):
    return reference.sample(
        f.g, f.raster.buffer.winner[..., 0], f.raster.plane, f.raster.detail, f.planes.blended.slot,
        f.planes.blended.layer, f.planes.hair, f.texture, lamp(), KINDS, f.camera.rotation, f.distance, 0.5, CLASSES,
    )  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
def test_planes_equal_the_reference(size):
    before = frame(size, 0.05).now  # two of them have moved
    frames = [frame(size, 0.1, previous=before), frame(size, 0.4), frame(size, 0.2, blended=False, previous=before)]
    grid = (blocks(size[1] // 2, 32), blocks(size[0] // 2, 8))
    after = launch("guidance", "sample", "Sample", grid, (32, 8), [sampled(f) for f in frames], *size)
    for f, row in zip(frames, after, strict=True):
        hi, lo, flow, depth, mask, before = expected(f)
        apart = np.abs(row["hi"].astype(int) - hi)
        assert (apart > 1).mean() < 4e-3 and (apart > 0).mean() < 0.02  # sixteenths of a texel, rounded in f32
        assert np.abs(row["lo"].astype(int) - lo).max() <= 1 and (row["lo"] != lo).mean() < 0.01
        np.testing.assert_array_equal(row["lo"][6], mask)
        np.testing.assert_array_equal(row["mask"], mask)
        np.testing.assert_allclose(row["z"], depth, rtol=1e-6)
        np.testing.assert_allclose(row["before"], before, rtol=1e-4)
        np.testing.assert_allclose(row["lead"][:, mask > 0], flow[:, mask > 0], atol=1e-5)
        # The bytes a network was trained on are the processor's own, which rounds where this does.
        assert (row["hi"] != f.out.hi).mean() < 2e-3 and (row["lo"] != f.out.lo).mean() < 2e-3
    assert len({row["hi"].tobytes() for row in after}) == 3


def test_blended_faces_right_before_the_eye_whose_weights_are_enormous_have_a_normal():
    row = sampled(frame((46, 62), 0.1))
    near = {**row, "layer": row["layer"] * np.float32([1e19] * CLEAR + [1])}
    plain, near = launch("guidance", "sample", "Sample", (1, 3), (32, 8), [row, near], 46, 62)
    assert (row["layer"][..., CLEAR] < -1).any()
    for name in ("hi", "lo"):
        assert np.abs(plain[name].astype(int) - near[name]).max() <= 1
    np.testing.assert_allclose(plain["lead"], near["lead"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (5, 33), (23, 31), (70, 40), (3, 300)])
def test_flow_beside_the_surface_is_that_of_the_nearest_surface(size):
    draws, rows, wanted = np.random.default_rng(0), [], []
    for share in (0.0, 0.004, 0.3, 1.0):
        mask = (draws.uniform(size=size) < share).astype(np.uint8)
        flow = draws.normal(size=(2, *size)).astype(np.float32)
        rows.append({
            "mask": mask, "nearest": np.full(size, 77, np.int16), "before": np.ones(size, np.float32),
            "lead": np.where(mask > 0, flow, np.float32(np.nan)), "old_depth": None, "old_mask": None,
            "seen": np.full(size, 77, np.uint8),
        })  # fmt: skip
        wanted.append(reference.spread(mask, flow.astype(np.float64)).astype(np.float32))
    after = led(rows, size)
    for row, flow in zip(after, wanted, strict=True):
        np.testing.assert_array_equal(row["lead"], flow)
        assert not row["seen"].any()  # there is no previous frame


def led(rows, size):
    """``rows`` of kernel `lead` after kernels `columns` and `lead`."""
    height, width = size
    columns = [{name: row[name] for name in ("mask", "nearest")} for row in rows]
    columns = launch("guidance", "columns", "Columns", (blocks(width, 32),), (32, 8), columns, *size)
    rows = [{**row, "nearest": one["nearest"]} for row, one in zip(rows, columns, strict=True)]
    return launch("guidance", "lead", "Lead", (blocks(width, 256), height), (256,), rows, *size)


@pytest.mark.parametrize("size", [(46, 62), (2, 40), (40, 2)])
def test_what_the_previous_frame_showed_equals_the_reference(size):
    rows, wanted = [], []
    for turn in (0.1, 0.2):
        old = frame(size, turn)
        new = frame(size, turn + 0.06, previous=old.now)
        _, _, flow, _, mask, before = expected(new)
        lead = np.where(mask > 0, flow, np.nan).astype(np.float32)
        rows.append({
            "mask": mask, "nearest": np.full(mask.shape, 77, np.int16), "before": before.astype(np.float32),
            "lead": lead, "old_depth": old.past.depth, "old_mask": old.past.mask,
            "seen": np.full(mask.shape, 77, np.uint8),
        })  # fmt: skip
        flow = reference.spread(mask, lead.astype(np.float64))
        wanted.append(reference.trust(mask, before.astype(np.float32), flow, old.past.depth, old.past.mask))
    for row, seen in zip(led(rows, mask.shape), wanted, strict=True):
        assert (row["seen"] != seen).mean() < 2e-3
        assert min(size) == 2 or 0 < (seen > 0).mean() < 1


def test_blended_faces_move_as_on_the_cpu():
    rows, wanted, draws = [], [], np.random.default_rng(0)
    for faces in (1, 9, 200):
        place, record = (draws.uniform(0.5, 2, (3 * faces, n)).astype(np.float32) for n in (3, 12))
        record[:: max(faces // 3, 1), 8] = -1  # behind the previous eye
        triangle = draws.integers(0, 3 * faces, (2 * faces, 3)).astype(np.int32)
        owner = np.where(draws.uniform(size=2 * faces) < 0.6, np.arange(2 * faces) // 2, -1).astype(np.int32)
        owner[1::2] = np.where(owner[::2] < 0, -1, owner[1::2])  # a face that is drawn has a first triangle
        blended = np.flatnonzero(draws.uniform(size=faces) < 0.7).astype(np.int32)
        motion = np.full((faces, 3), 5, np.float32)
        rows.append({"blended": blended, "count": len(blended), "triangle": triangle, "owner": owner, "place": place,
                     "record": record, "motion": motion})  # fmt: skip
        drawn = np.flatnonzero((owner >= 0) & np.isin(owner, blended))
        one = motion.copy()
        cpu.drift(triangle[drawn], owner[drawn], len(drawn), place, record, one)
        wanted.append(one)
    after = launch("guidance", "drift", "Drift", (2, 1), (128,), rows)
    for row, motion in zip(after, wanted, strict=True):
        np.testing.assert_allclose(row["motion"], motion, rtol=1e-5, atol=1e-5)


def test_a_look_is_the_struct_that_the_source_declares():
    f = frame((22, 30), 0.1)
    assert f.look.dtype == cuda.layout.struct("guidance", "Look") and f.look.dtype.itemsize == 4 * (72 + 9 + 3)
    np.testing.assert_allclose(f.look["light"], f.planes.light)
    assert (f.look["bias"], f.look["near"], f.look["steps"]) == (5, 0.5, 254)
