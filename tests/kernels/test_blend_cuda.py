"""The blended layer in CUDA equals its reference, and the CPU's, row by row."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from kernels import cuda
from kernels.blend import BlendedLayer, cost, reference
from kernels.device import Drawn, blend, lens, rasterize
from kernels.nvrtc import ARCHITECTURES
from kernels.rasterize import Rasterizer
from kernels.texture import Paint
from tests.kernels.batch import batch, compiles, emulated
from tests.kernels.test_guidance import noise_texture, scene, veiled

SIZE = (45, 37)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_compiles(arch):
    compiles("blend", arch)


def drawn(device, number, samples):
    """A frame on the CPU and ready on the device; of one the see-through ball reaches behind the near plane."""
    near = 0.26 if number == 1 else 1.0
    mesh, points, normals, camera = scene(0.2 * number, 0.15 if number == 1 else -0.05, SIZE, near)
    mesh = veiled(mesh)
    if number == 2:  # both balls see-through: nothing is behind
        mesh = mesh._replace(layer=np.ones(len(mesh.faces), np.uint8))
    raster, look, count = Rasterizer(mesh, SIZE, samples), noise_texture(32 >> number), len(mesh.faces)
    raster.draw(points, normals, camera, None, np.empty_like(points))
    tangent = np.random.default_rng(number).normal(0, 1, (count, 3)).astype(np.float32)
    bias, none = np.float32(np.log2(look.side) + 0.3), np.zeros(8, np.float32)
    paint = Paint(look, tangent, raster.detail, bias, mesh.region, np.zeros(256, np.uint8), none, none)
    cpu = BlendedLayer(SIZE)
    cpu.draw(raster, paint, near)
    there = Drawn(device, raster)
    for array, values in ((there.posed, points), (there.normals, normals), (there.lens, lens(camera, near))):
        array.put(values)
    kept = device.array(tangent), device.array(look.texels), device.array(look.start)
    texture = {"texels": kept[1], "start": kept[2], "levels": len(look.start), "side": look.side}
    row = there.blend_row(texture, float(bias), kept[0])
    return SimpleNamespace(raster=raster, paint=paint, cpu=cpu, there=there, row=row, distance=near, kept=kept)


@emulated
@pytest.mark.parametrize("samples", [1, 4])
def test_rows_of_different_meshes_textures_and_cameras_equal_the_reference(samples):
    device = cuda.emulated()
    frames = [drawn(device, number, samples) for number in range(3)]
    padding = drawn(device, 0, samples)
    table = device.rows("rasterize", "Raster", [frame.there.raster_row(None, None) for frame in frames])
    faces = frames[0].there.faces
    rasterize(device, table, frames[0].there.vertices, faces, samples, SIZE)
    rows = [*(frame.row for frame in frames), padding.row]
    blend(device, batch(device, "blend", "Blend", rows), faces, samples, SIZE)
    for frame in frames:
        layer = frame.there.layer.get()
        entries, touched = reference.accumulate(frame.raster, frame.paint, frame.distance)
        touched &= entries[..., 13] > 0
        assert touched.sum() > 60
        same_layer(layer, entries, touched, 0.02, 0.03)
        cpu, slot = frame.cpu.layer[: frame.cpu.count], frame.cpu.slot
        same_layer(layer, cpu[np.maximum(slot, 0)], slot >= 0, 2e-3, 2e-3)
        empty = layer[layer[..., 13] == 0]
        assert (empty == 0).all()
    assert np.isnan(padding.there.layer.get()).all()


def same_layer(layer, entries, touched, slack, clear_slack):
    mine = layer[..., 13] > 0
    assert (mine != touched).sum() <= 3  # alpha within rounding of the threshold
    got, wanted = layer[mine & touched], entries[mine & touched]
    clear = np.abs(np.exp2(got[:, 15]) - wanted[:, 15])
    mean = np.abs(got[:, :15] / got[:, 13:14] - wanted[:, :15] / wanted[:, 13:14])
    weight = np.abs(got[:, 13] / wanted[:, 13] - 1)
    assert np.percentile(clear, 99) < clear_slack
    assert np.percentile(mean, 99) < slack
    assert np.percentile(weight, 95) < 0.05


@emulated
def test_without_see_through_faces_the_layer_is_empty():
    device = cuda.emulated()
    frame = drawn(device, 0, 1)
    blend(device, device.rows("blend", "Blend", [frame.row | {"chosen": None, "chosen_count": 0}]), 0, 1, SIZE)
    assert (frame.there.layer.get() == 0).all()


def test_cost_grows_with_what_is_drawn():
    assert cost.forget(2, (8, 8)) == (2 * 64 * 64, 0)
    assert cost.accumulate([10, 10], 1, 5) == (10 * 216 + 5 * 168, 650)
