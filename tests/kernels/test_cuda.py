"""CUDA: every source compiles for sm_90 wherever a compiler is found; on a GPU the pictures equal the CPU's."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from engine.render import material
from engine.render.camera import FRAMINGS, camera
from engine.viewpoint import Viewpoint
from kernels import cuda, nvrtc
from kernels.rasterize import Rasterizer
from kernels.shade import Shader
from kernels.yuv import to_i420
from tests.synthetic import make_avatar

SIZE = (94, 78)
AIM = np.array([0, -0.1, -0.06], np.float32)


def needs_nvrtc():
    for name in ("cuda.bindings.nvrtc", "cuda.core"):
        pytest.importorskip(name, reason="the extra 'gpu' is not installed", exc_type=ImportError)


def test_there_is_a_source_for_every_kernel():
    assert {path.parent.name for path in nvrtc.sources()} == {
        "blend", "cells", "compose", "guidance", "rasterize", "shade", "skin", "warp", "watermark", "yuv",
    }  # fmt: skip


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
    assert len(nvrtc.compile_cubin(source)) > 1000


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


def gpu():
    try:
        return cuda.Device()
    except cuda.CudaError as error:
        pytest.skip(f"no GPU to run on: {error}")


def test_the_gpu_paints_what_the_cpu_paints():
    from kernels.device import PLANES, CudaRenderer

    device, avatar = gpu(), make_avatar()
    mesh, look = material.build(avatar)
    raster = Rasterizer(mesh, SIZE)
    shader = Shader(raster, look, np.full((*SIZE, 3), 90, np.uint8))
    view = camera(Viewpoint(0.4, 0.1, 1.05), FRAMINGS["head"], SIZE)
    normals, now = avatar.rest_normal.astype(np.float32), np.empty_like(avatar.rest)
    raster.draw(avatar.rest, normals, view, None, now)
    view = camera(Viewpoint(0.45, 0.1, 1.0), FRAMINGS["head"], SIZE)
    g = raster.draw(avatar.rest, normals, view, now.copy(), now.copy())
    rgb, alpha = np.empty((*SIZE, 3), np.uint8), np.empty(SIZE, np.uint8)
    shader.draw(avatar.rest, view, AIM, 1.0, rgb, alpha)
    painter = CudaRenderer(device, raster, shader)
    gpu_rgb, gpu_alpha = painter.draw(avatar.rest, normals, view, now, AIM, 1.0)
    same = painter.planes["face"].get() == g.face
    assert same.mean() > 0.998
    for name in PLANES:
        mine, theirs = getattr(g, name), painter.planes[name].get()
        np.testing.assert_allclose(theirs[..., same], mine[..., same], atol=1e-2, rtol=1e-3, err_msg=name)
    assert np.percentile(np.abs(gpu_rgb.astype(int) - rgb), 99) <= 2
    assert np.percentile(np.abs(gpu_alpha.astype(int) - alpha), 99) <= 2
    np.testing.assert_array_equal(painter.to_i420(), to_i420(gpu_rgb))
