"""Engines are really built of our graphs by TensorRT for RTX, which needs no GPU for that."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from engine.backends import kept
from engine.backends.tensorrt import ANY, Engine, Gpu, key_of
from engine.backends.tensorrt_build import Flavour, Profile, build, targets_of
from engine.render.denoiser import Renderer
from engine.render.network import ASSETS
from engine.render.painter import Painter
from exporters.float8 import LARGEST, calibrate, in_eight, rewrite
from exporters.painter import inputs_of, parity, tolerance
from exporters.tensorrt import EIGHT, PORTABLE, export_engine
from tests.engine.backends import fake_trt
from tests.exporters import graphs
from tests.exporters.graphs import SIZE, WAYS, graph

L4 = Gpu("NVIDIA L4", "8.9", "580.82.07")
STEPS = dict(WAYS)["fp16"]


@pytest.fixture(scope="module")
def rtx() -> Flavour:
    pytest.importorskip("tensorrt_rtx", reason="pip install 'visavis[trt-rtx]'")
    return Flavour("tensorrt_rtx")


@pytest.fixture(scope="module")
def net() -> Renderer:
    return graphs.net()


@pytest.fixture
def half(tmp_path: Path) -> Path:
    return Path(shutil.copy(graph("fp16"), tmp_path))


@pytest.fixture(scope="module")
def feed(net: Renderer) -> dict[str, Any]:
    return {name: value.numpy() for name, value in inputs_of(Painter(net, STEPS), SIZE, 2).items()}


@pytest.fixture(scope="module")
def largest(net: Renderer, feed: dict[str, Any]) -> dict[str, float]:
    return calibrate(Painter(net, STEPS, torch.float16), [feed])


@pytest.fixture
def eight(half: Path, largest: dict[str, float]) -> Path:
    """As export_painter makes it of a graph in half precision."""
    model = onnx.load(str(half))
    rewrite(model, largest)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(half))
    return half


def test_an_engine_of_the_painter_is_built_without_a_gpu_and_kept_beside_it(rtx: Flavour, half: Path) -> None:
    seen: list[str] = []
    path = export_engine(half, rtx, None, progress=lambda what, done, total: seen.append(what))
    key = key_of(rtx, ANY, rtx.profiles(), half.read_bytes())
    plan = kept.read(path, key)
    assert path == half.with_suffix(".engine") and plan is not None and len(plan) > 100_000
    assert len(seen) > 10
    if not Path("/proc/driver/nvidia").exists():
        with pytest.raises(ValueError, match="TensorRT for RTX .* does not run this engine on this machine: .*driver"):
            Engine(rtx, plan, lambda size: 256)


def test_in_half_precision_it_builds_for_turing_too(rtx: Flavour, half: Path) -> None:
    assert "7.5" in targets_of(rtx)
    build(rtx, half.read_bytes(), [Profile(1, 1, 2)], targets=["7.5"])


@pytest.mark.parametrize("name", ["motion_v2.onnx", "performer_v1.onnx"])
def test_lips_and_performer_build_as_they_are_shipped(rtx: Flavour, name: str) -> None:
    plan, timings = build(rtx, (ASSETS / name).read_bytes(), rtx.profiles(), targets=["8.9"])
    assert len(plan) > 100_000 and timings == b""


def test_what_it_builds_for_is_said(rtx: Flavour, half: Path) -> None:
    with pytest.raises(ValueError, match=r"builds for 7.5, .*12.0.*; not for 9.0"):
        build(rtx, half.read_bytes(), rtx.profiles(), targets=["9.0"])
    with pytest.raises(ValueError, match="cannot read this network"):
        build(rtx, half.read_bytes()[:1000], rtx.profiles())


def test_eight_bit_floats_are_in_the_graph_as_they_are_in_torch(
    net: Renderer, eight: Path, largest: dict[str, float], feed: dict[str, Any]
) -> None:
    painter = in_eight(Painter(net, STEPS, torch.float16), largest)
    assert tolerance("fp8", parity(painter, eight, [feed])) == []
    weights = {value.name: value for value in onnx.load(str(eight)).graph.initializer}
    narrow = [value for value in weights.values() if value.data_type == onnx.TensorProto.FLOAT8E4M3FN and value.dims]
    assert len(narrow) == len(largest) == 6
    scale = onnx.numpy_helper.to_array(weights["net.head.weight_step"])
    assert float(scale) == pytest.approx(largest["net.head.weight"] / LARGEST, rel=1e-3)
    plain, given = Painter(net, STEPS, torch.float16), [torch.from_numpy(value) for value in feed.values()]
    with torch.no_grad():
        pairs = zip(painter(*given), plain(*given), strict=True)
    off = [float((one.float() - other.float()).abs().max()) for one, other in pairs]
    assert 0 < off[0] < 0.05 and 0 < off[1] < 0.3, "something is rounded, and not much is lost"


def test_eight_bit_floats_build_where_a_gpu_has_them(rtx: Flavour, eight: Path) -> None:
    assert export_engine(eight, rtx, None, targets=EIGHT).is_file()
    with pytest.raises(ValueError, match="painter.onnx: .* cannot build this network"):
        export_engine(eight, rtx, None, targets=PORTABLE)


def test_ranges_need_frames(net: Renderer) -> None:
    with pytest.raises(ValueError, match="need frames to look at"):
        calibrate(Painter(net), [])


def test_with_a_gpu_the_engine_lies_where_a_session_looks_for_it(
    monkeypatch: pytest.MonkeyPatch, half: Path, tmp_path: Path
) -> None:
    shapes: Any = ({"view": ((-1, 4), np.float32)}, {"gain": ((-1, 3), np.float32)})
    fake = fake_trt.package("tensorrt", *shapes)
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    (network := tmp_path / "painter.onnx").write_bytes(b"onnx")
    path = export_engine(network, Flavour("tensorrt"), L4, cache=tmp_path / "cache")
    assert path.parent == tmp_path / "cache"
    with pytest.raises(ValueError, match="builds engines on the GPU that will run them, and there is none here"):
        export_engine(network, Flavour("tensorrt"), None)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="could not be written"):
        export_engine(network, Flavour("tensorrt"), L4, cache=tmp_path / "file")
