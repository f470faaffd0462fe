from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.backends import kept, tensorrt, tensorrt_build
from engine.backends.tensorrt import ANY, Engine, Gpu, keep_compiled, key_of, load
from engine.backends.tensorrt_build import Flavour, Profile, build, find
from kernels.cuda import OutOfMemory
from kernels.nvrtc import CudaError
from tests.engine.backends import fake_trt

H200, L4 = Gpu("NVIDIA H200", "9.0", "580.82.07"), Gpu("NVIDIA L4", "8.9", "580.82.07")
SHAPES: Any = (
    {"cells": ((-1, 4, 220), np.uint8), "view": ((-1, 4), np.float32)},
    {"residual": ((-1, 8), np.float32)},
)


@pytest.fixture(params=["tensorrt", "tensorrt_rtx"])
def trt(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    fake = fake_trt.package(request.param, *SHAPES)
    monkeypatch.setitem(sys.modules, request.param, fake)
    yield fake


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "painter.onnx"
    path.write_bytes(b"onnx of a painter")
    return path


class Room:
    """Device memory that is only counted."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, size: int) -> int:
        self.asked.append(size)
        return 0x10000 * len(self.asked)


def gpu_of(trt: Any) -> Gpu:
    return L4 if trt.__name__ == "tensorrt_rtx" else H200


def built(trt: Any) -> list[Any]:
    return [call for call in trt.calls if call[0] == "build"]


def test_an_engine_is_built_once_and_then_loaded(trt: Any, network: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    ask: Any = {"flavour": Flavour(trt.__name__), "cache": tmp_path / "cache"}
    first = load(network, gpu_of(trt), Room(), progress=lambda *step: seen.append(step), **ask)
    assert seen == [("Building", 1, 3), ("Building", 2, 3), ("Building", 3, 3)]
    again = load(network, gpu_of(trt), Room(), **ask)
    assert len(built(trt)) == 1
    assert again.inputs == first.inputs == {
        "cells": tensorrt.Tensor((4, 220), np.dtype(np.uint8)), "view": tensorrt.Tensor((4,), np.dtype(np.float32))
    }  # fmt: skip
    assert first.outputs == {"residual": tensorrt.Tensor((8,), np.dtype(np.float32))}


def test_profiles_cover_every_batch_and_both_packages_ask_for_strong_types(
    trt: Any, network: Path, tmp_path: Path
) -> None:
    flavour = Flavour(trt.__name__)
    load(network, gpu_of(trt), Room(), flavour=flavour, cache=tmp_path / "cache")
    _, shapes, targets = built(trt)[0]
    assert shapes[0]["cells"][0] == [1, 4, 220] and shapes[-1]["cells"][-1] == [64, 4, 220]
    assert ("no", "TF32") in trt.calls
    if flavour.rtx:
        assert (len(shapes), targets) == (1, [89]) and ("flag", "REQUIRE_USER_ALLOCATION") in trt.calls
    else:
        assert (len(shapes), targets) == (3, [])
    for most in (1, 2, 5, 8, 9, 64):
        profiles = flavour.profiles(most)
        assert profiles[0].least == 1 and profiles[-1].most == most
        assert all(a.most + 1 == b.least for a, b in zip(profiles, profiles[1:], strict=False))
        assert all(p.least <= p.usual <= p.most for p in profiles)


@pytest.mark.parametrize("change", ["name", "capability", "driver", "version", "weights"])
def test_another_gpu_driver_version_or_network_is_another_engine(
    trt: Any, network: Path, tmp_path: Path, change: str
) -> None:
    gpu, cache = gpu_of(trt), tmp_path / "cache"
    load(network, gpu, Room(), flavour=Flavour(trt.__name__), cache=cache)
    if change == "version":
        trt.__version__ = "10.16"
    elif change == "weights":
        network.write_bytes(b"onnx of another painter")
    else:
        gpu = gpu._replace(**{change: "12.0"})
    load(network, gpu, Room(), flavour=Flavour(trt.__name__), cache=cache)
    assert len(built(trt)) == 2


def test_an_engine_for_larger_batches_will_do_and_one_for_smaller_will_not(
    trt: Any, network: Path, tmp_path: Path
) -> None:
    flavour, gpu, cache = Flavour(trt.__name__), gpu_of(trt), tmp_path / "cache"
    for most, times in ((8, 1), (64, 2), (16, 2), (8, 2)):
        load(network, gpu, Room(), flavour=flavour, most=most, cache=cache).program(most)
        assert len(built(trt)) == times


@pytest.mark.parametrize("harm", ["cut", "foreign", "refused"])
def test_a_kept_engine_that_is_broken_foreign_or_refused_is_built_again(
    trt: Any, network: Path, tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    flavour, gpu, cache = Flavour(trt.__name__), gpu_of(trt), tmp_path / "cache"
    load(network, gpu, Room(), flavour=flavour, cache=cache)
    (path,) = cache.glob("*.engine")
    key = key_of(flavour, gpu, flavour.profiles(), network.read_bytes())
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-7])
    else:
        trt.bad = b"plan of another machine"
        kept.write(path, key if harm == "refused" else {**key, "name": "NVIDIA A2"}, trt.bad)
    load(network, gpu, Room(), flavour=flavour, cache=cache)
    assert len(built(trt)) == 2 and "again" in caplog.text
    assert ("load", getattr(trt, "bad", b"")) not in trt.calls or harm == "refused"
    assert kept.read(path, key) not in (None, getattr(trt, "bad", None))


def test_contexts_share_one_piece_of_memory_and_take_the_profile_of_their_batch(trt: Any, network: Path) -> None:
    room, flavour = Room(), Flavour(trt.__name__)
    engine = Engine(flavour, build(flavour, b"onnx", flavour.profiles())[0], room)
    for batch in (64, 8, 1):
        engine.program(batch, stream=7)
    assert room.asked == [64000] and {call[1:] for call in trt.calls if call[0] == "memory"} == {(0x10000, 64000)}
    profiles = [call for call in trt.calls if call[0] == "profile"]
    assert profiles == ([] if flavour.rtx else [("profile", 2, 7), ("profile", 1, 7)])
    with pytest.raises(ValueError, match="batches of 1 to 64, not of 65"):
        engine.program(65)


def test_what_is_bound_is_checked_and_a_run_is_one_call(trt: Any) -> None:
    flavour = Flavour(trt.__name__)
    context = Engine(flavour, build(flavour, b"onnx", flavour.profiles())[0], Room()).program(8)
    with pytest.raises(ValueError, match="nothing is bound to cells, residual, view"):
        context.enqueue(7)
    with pytest.raises(ValueError, match="has cells, view, residual, but no noise"):
        context.bind("noise", 0x100, (8, 4))
    with pytest.raises(ValueError, match=r"view must be \(8, 4\), got \(4, 4\)"):
        context.bind("view", 0x100, (4, 4))
    with pytest.raises(ValueError, match="view cannot be at 0x101"):
        context.bind("view", 0x101, (8, 4))
    for name, shape in (("cells", (8, 4, 220)), ("view", (8, 4)), ("residual", (8, 8))):
        context.bind(name, 0x200, shape)
    before = len(trt.calls)
    context.enqueue(7)
    assert trt.calls[before:] == [("run", 7, dict.fromkeys(("cells", "view", "residual"), 0x200))]
    trt.refused.add("run")
    with pytest.raises(CudaError, match="could not run"):
        context.enqueue(7)


def test_outputs_that_nobody_wants_get_memory_before_the_first_run(trt: Any) -> None:
    flavour, room = Flavour(trt.__name__), Room()
    context = Engine(flavour, build(flavour, b"onnx", flavour.profiles())[0], room).program(2)
    with pytest.raises(ValueError, match="nothing is bound to cells, view$"):
        context.warm()
    context.bind("cells", 0x200, (2, 4, 220))
    context.bind("view", 0x200, (2, 4))
    context.warm(5)
    assert trt.calls[-1] == ("run", 5, {"cells": 0x200, "view": 0x200, "residual": 0x20000})
    assert room.asked == [2048, 256]


def test_no_room_for_a_batch_is_out_of_memory(trt: Any) -> None:
    flavour = Flavour(trt.__name__)
    engine = Engine(flavour, build(flavour, b"onnx", flavour.profiles())[0], Room())
    trt.full.add(8)
    with pytest.raises(OutOfMemory, match="batches of 8"):
        engine.program(8)


def test_without_a_driver_it_says_so(trt: Any, network: Path, tmp_path: Path) -> None:
    trt.driver = False
    with pytest.raises(ValueError, match="driver"):
        load(network, gpu_of(trt), Room(), flavour=Flavour(trt.__name__), cache=tmp_path)
    assert not list(tmp_path.glob("*.engine"))


def test_a_network_that_cannot_be_read_or_built_is_refused_by_name(trt: Any, network: Path, tmp_path: Path) -> None:
    flavour = Flavour(trt.__name__)
    network.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"painter.onnx: TensorRT.* cannot read this network: it is no ONNX file$"):
        load(network, gpu_of(trt), Room(), flavour=flavour, cache=tmp_path)
    trt.refused.add("build")
    with pytest.raises(ValueError, match="cannot build this network: no kernel for this"):
        build(flavour, b"onnx", flavour.profiles())
    with pytest.raises(ValueError, match="none.onnx: cannot be read"):
        load(tmp_path / "none.onnx", gpu_of(trt), Room(), flavour=flavour)


def test_what_progress_raises_stops_the_build(trt: Any) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(Flavour(trt.__name__), b"onnx", [Profile(1, 1, 1)], progress=stop)


def test_timings_of_kernels_serve_the_next_build_of_tensorrt(
    monkeypatch: pytest.MonkeyPatch, network: Path, tmp_path: Path
) -> None:
    trt = fake_trt.package("tensorrt", *SHAPES)
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    for most in (8, 16):
        load(network, H200, Room(), flavour=Flavour("tensorrt"), most=most, cache=tmp_path)
    assert [call[1] for call in trt.calls if call[0] == "timings"] == [b"", b"+"]


def test_compiled_kernels_serve_the_next_start_of_tensorrt_for_rtx(
    monkeypatch: pytest.MonkeyPatch, network: Path, tmp_path: Path
) -> None:
    trt = fake_trt.package("tensorrt_rtx", *SHAPES)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", trt)
    flavour = Flavour("tensorrt_rtx")
    keep_compiled(load(network, L4, Room(), flavour=flavour, cache=tmp_path), network, L4, cache=tmp_path)
    load(network, L4, Room(), flavour=flavour, cache=tmp_path)
    assert [call[1] for call in trt.calls if call[0] == "compiled"] == [b"kernels of 10.15.1"]


def test_an_engine_beside_the_network_for_several_gpus_will_do(
    monkeypatch: pytest.MonkeyPatch, network: Path, tmp_path: Path
) -> None:
    trt = fake_trt.package("tensorrt_rtx", *SHAPES)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", trt)
    flavour = Flavour("tensorrt_rtx")
    plan, _ = build(flavour, b"onnx", flavour.profiles(), targets=["8.6", "8.9", "12.0"])
    assert built(trt)[0][2] == [86, 89, 120]
    key = key_of(flavour, ANY, flavour.profiles(), network.read_bytes())
    kept.write(network.with_suffix(".engine"), key, plan)
    load(network, L4, Room(), flavour=flavour, cache=tmp_path / "cache")
    assert len(built(trt)) == 1
    trt.bad = plan  # of other GPUs than this
    with pytest.raises(ValueError, match="does not run this engine"):  # nor what is built again: it is the same here
        load(network, L4, Room(), flavour=flavour, cache=tmp_path / "cache")
    assert len(built(trt)) == 2


def test_the_package_is_chosen_by_what_supports_the_gpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, fake_trt.package(name, *SHAPES))
    assert find(None, "9.0").name == "tensorrt" and find(None, "8.9").name == "tensorrt_rtx"
    assert find(None, "7.5").name == "tensorrt"
    assert find("tensorrt", "8.9").runs == "TensorRT 10.15.1" and not caplog.text
    assert find("tensorrt_rtx", "9.0").rtx and "does not officially support" in caplog.text
    assert "pypi.nvidia.com" in caplog.text
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    assert find(None, "8.9").name == "tensorrt"


def test_a_package_that_is_missing_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=r"pypi\.nvidia\.com") as error:
        find(None, "9.0")
    assert "trt-rtx" not in str(error.value), "it would not help on this GPU"
    with pytest.raises(ValueError, match=r"visavis\[trt-rtx\].*; or .*visavis\[tensorrt\]"):
        find(None, "8.9")
    with pytest.raises(ValueError, match=r"pip install 'visavis\[trt-rtx\]'"):
        find("tensorrt_rtx")
    with pytest.raises(ValueError, match="packages tensorrt and tensorrt_rtx; got 'trt'"):
        find("trt")


def test_a_package_whose_library_is_broken_is_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise OSError("libnvinfer.so.11: cannot open shared object file")

    monkeypatch.setattr(tensorrt_build.importlib, "import_module", broken)
    with pytest.raises(ValueError, match=r"tensorrt cannot be used \(libnvinfer.so.11: cannot open"):
        Flavour("tensorrt")


def test_a_gpu_is_described_by_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "driver_version", lambda: None)
    device: Any = type("Device", (), {"name": "RTX 5090", "arch": "sm_120", "driver_version": lambda self: 13000})()
    assert Gpu.of(device) == Gpu("RTX 5090", "12.0", "CUDA 13000")
