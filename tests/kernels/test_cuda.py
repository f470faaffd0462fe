"""CUDA: every source compiles for the oldest and the newest architecture wherever a compiler is found; the pictures
equal the CPU's, on the emulated device always and on a GPU where there is one."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from engine.render import material
from engine.render.camera import FRAMINGS, camera
from engine.viewpoint import Viewpoint
from kernels import cuda, nvrtc
from kernels.device import PLANES, Batch, CudaRenderer
from kernels.rasterize import Rasterizer
from kernels.shade import Shader
from kernels.yuv import to_i420
from tests.synthetic import make_avatar

SIZE = (94, 78)
AIM = np.array([0, -0.1, -0.06], np.float32)


def needs_nvrtc():
    for name in ("cuda.bindings.nvrtc", "cuda.core"):
        pytest.importorskip(name, reason="the extra 'gpu' is not installed", exc_type=ImportError)


def test_every_source_has_a_reference_beside_it():
    assert len(nvrtc.sources()) >= 10
    for source in nvrtc.sources():
        assert source.with_name("reference.py").is_file(), source.parent.name


@pytest.mark.parametrize("source", nvrtc.sources(), ids=lambda path: path.parent.name)
def test_compiles_with_nvcc(source, tmp_path):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc on this machine")
    command = [nvcc, "-cubin", "-arch=sm_90", "-Werror", "all-warnings", f"-I{nvrtc.ROOT}"]
    done = subprocess.run([*command, "-o", tmp_path / "out.cubin", source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.cubin").stat().st_size > 1000


@pytest.mark.parametrize("source", nvrtc.sources(), ids=lambda path: path.parent.name)
def test_compiles_with_nvrtc(source):
    needs_nvrtc()
    for arch in (nvrtc.ARCHITECTURES[0], nvrtc.ARCHITECTURES[-1]):  # each kernel's own test: for all
        assert len(nvrtc.compile_kept(source, arch)) > 1000, arch


def test_a_source_that_does_not_compile_is_named(tmp_path):
    needs_nvrtc()
    (tmp_path / "broken").mkdir()
    source = tmp_path / "broken" / "kernel.cu"
    source.write_text('extern "C" __global__ void f() { nonsense; }')
    with pytest.raises(cuda.CudaError, match="broken/kernel.cu does not compile for sm_90"):
        nvrtc.compile_cubin(source)


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(nvrtc.importlib, "import_module", missing)
    with pytest.raises(cuda.CudaError, match=r"visavis\[gpu\]"):
        nvrtc.compile_cubin(nvrtc.sources()[0])
    with pytest.raises(cuda.CudaError, match=r"visavis\[gpu\]"):
        cuda.Device()


def test_a_record_has_the_layout_of_a_c_struct():
    struct = cuda.record(count=3, pointer=None, values=np.arange(3, dtype=np.float32), inner=cuda.record(a=1, b=None))
    assert [struct.dtype.fields[name][1] for name in struct.dtype.names] == [0, 8, 16, 32]
    assert struct.dtype.itemsize == 48
    assert struct["values"].tolist() == [0, 1, 2]


def painted(avatar, samples, first, second):
    """The CPU's second frame: (rasterizer, shader, its camera, where vertices were, picture, alpha)."""
    mesh, look = material.build(avatar)
    raster = Rasterizer(mesh, SIZE, samples)
    shader = Shader(raster, look, np.full((*SIZE, 3), 90, np.uint8))
    normals, now = avatar.rest_normal.astype(np.float32), np.empty_like(avatar.rest)
    raster.draw(avatar.rest, normals, camera(first, FRAMINGS["head"], SIZE), None, now)
    before, view = now.copy(), camera(second, FRAMINGS["head"], SIZE)
    raster.draw(avatar.rest, normals, view, before, now)
    rgb, alpha = np.empty((*SIZE, 3), np.uint8), np.empty(SIZE, np.uint8)
    shader.draw(avatar.rest, view, AIM, second.distance, rgb, alpha)
    return raster, shader, view, before, rgb, alpha


@pytest.mark.parametrize("samples", [1, 4])
def test_the_gpu_paints_what_the_cpu_paints(device, samples):
    avatar = make_avatar()
    raster, shader, view, before, rgb, alpha = painted(
        avatar, samples, Viewpoint(0.4, 0.1, 1.05), Viewpoint(0.45, 0.1, 1.0)
    )
    painter = CudaRenderer(device, raster, shader)
    normals = avatar.rest_normal.astype(np.float32)
    gpu_rgb, gpu_alpha = painter.draw(avatar.rest, normals, view, before, AIM, 1.0)
    g, same = raster.gbuffer, painter.planes["face"].get() == raster.gbuffer.face
    assert same.mean() > 0.998
    for name in PLANES:
        mine, theirs = getattr(g, name), painter.planes[name].get()
        np.testing.assert_allclose(theirs[..., same], mine[..., same], atol=1e-2, rtol=1e-3, err_msg=name)
    assert np.percentile(np.abs(gpu_rgb.astype(int) - rgb), 99) <= 2
    assert np.percentile(np.abs(gpu_alpha.astype(int) - alpha), 99) <= 2
    np.testing.assert_array_equal(painter.to_i420(), to_i420(gpu_rgb))


def test_a_batch_of_different_people_and_cameras_paints_what_each_alone_does(device):
    painters, alone = [], []
    normals_of = [make_avatar(seed).rest_normal.astype(np.float32) for seed in range(3)]
    for seed, views in enumerate([(0.4, 1.0), (-0.7, 0.8), (0.0, 1.3)]):
        avatar, second = make_avatar(seed), Viewpoint(views[0], 0.05 * seed, views[1])
        raster, shader, view, before, *_ = painted(avatar, 4, Viewpoint(views[0] + 0.05, 0.0, views[1]), second)
        painter = CudaRenderer(device, raster, shader)
        alone.append(painter.draw(avatar.rest, normals_of[seed], view, before, AIM, second.distance))
        painter.rgb.put(np.zeros_like(alone[-1][0]))
        painter.put(avatar.rest, normals_of[seed], view, before, AIM, second.distance)
        painters.append(painter)
    Batch(painters, moved=True).paint()
    for painter, (rgb, alpha) in zip(painters, alone, strict=True):
        # The blended layer is summed in any order on a GPU: a last bit may tip a byte.
        assert np.abs(painter.rgb.get().astype(int) - rgb).max() <= 1
        assert np.abs(painter.alpha.get().astype(int) - alpha).max() <= 1


def test_a_batch_of_different_sizes_is_refused(device):
    avatar = make_avatar()
    mesh, look = material.build(avatar)
    painters = []
    for size in (SIZE, (40, 40)):
        raster = Rasterizer(mesh, size)
        painters.append(CudaRenderer(device, raster, Shader(raster, look, np.full((*size, 3), 90, np.uint8))))
    with pytest.raises(ValueError, match="one batch is of one size"):
        Batch(painters, moved=False)
