"""TensorRT's engines as the networks of a tick, with a stand-in for the package."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from engine.backends import tensorrt
from engine.gpu.engines import EngineNetworks
from engine.gpu.networks import Buffer
from kernels import cuda
from kernels.emulator import build
from tests.engine.backends import fake_trt

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no g++ on this machine")


@pytest.fixture
def made(tmp_path, monkeypatch):
    fake = fake_trt.package(
        "tensorrt", {"cells": ((-1, 4), np.uint8)}, {"residual": ((-1, 8), np.float32), "mask": ((-1, 2), np.uint8)}
    )
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = {}
    for name in ("lips", "performer", "painter1", "painter4"):
        files[name] = tmp_path / f"{name}.onnx"
        files[name].write_bytes(b"onnx of " + name.encode())
    device, heard = cuda.emulated(), []
    networks = EngineNetworks(device, files, most=8, progress=lambda *said: heard.append(said))
    return fake, device, networks, heard


def test_every_network_is_an_engine_that_is_built_and_said_so(made):
    fake, _, networks, heard = made
    assert len([call for call in fake.calls if call[0] == "build"]) == 4 and networks.steps == (1, 4)
    assert networks.runs == "TensorRT 10.15.1"
    assert {said[0].split(":")[0] for said in heard} == {
        f"TensorRT, {name}" for name in ("lips", "performer", "painter1", "painter4")
    }
    assert networks.inputs("painter") == {"cells": ((4,), np.uint8)}
    assert networks.outputs("lips") == {"residual": ((8,), np.float32), "mask": ((2,), np.uint8)}


def test_a_bound_network_runs_on_its_buffers_and_on_the_stream_it_is_put_on(made):
    fake, device, networks, _ = made
    cells, residual = device.zeros((2, 4), np.uint8), device.empty((2, 8), np.float32)
    buffers = {
        "cells": Buffer(cells.pointer, (2, 4), cells.dtype),
        "residual": Buffer(residual.pointer, (2, 8), residual.dtype),
    }
    enqueue = networks.bind("painter", 2, 4, buffers)
    warmed = [call for call in fake.calls if call[0] == "run"]
    assert len(warmed) == 1, "once before it may be captured"
    stream = device.stream()
    with networks.capture(stream) as kept:
        enqueue(stream)
    assert len(kept) == 1
    _, handle, places = [call for call in fake.calls if call[0] == "run"][-1]
    assert handle == stream.handle
    assert (places["cells"], places["residual"]) == (cells.pointer, residual.pointer)
    assert places["mask"], "an output that nobody wants has a place all the same"


def test_a_shape_that_is_not_the_engine_s_is_refused(made):
    _, device, networks, _ = made
    wrong = device.zeros((2, 5), np.uint8)
    with pytest.raises(ValueError, match=r"cells must be \(2, 4\), got \(2, 5\)"):
        networks.bind("lips", 2, 1, {"cells": Buffer(wrong.pointer, (2, 5), wrong.dtype)})


def test_a_gpu_without_room_for_a_batch_says_so(made):
    fake, device, networks, _ = made
    fake.full.add(8)
    with pytest.raises(cuda.OutOfMemory):
        networks.bind("lips", 8, 1, {})


def test_an_engine_is_made_for_the_gpu_that_is_there(made):
    assert tensorrt.Gpu.of(made[1]).name == "emulated" and tensorrt.Gpu.of(made[1]).capability == "9.0"
