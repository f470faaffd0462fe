"""OpenVINO: says what ONNX Runtime says, keeps its buffers, and steps aside where it cannot run."""

from __future__ import annotations

import numpy as np
import pytest

from engine.backends import openvino, ort
from tests.engine.render import toy

SIZE = (64, 48)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return toy.save(tmp_path_factory.mktemp("toy"), SIZE)


def filled(program, batch=1, seed=0):
    draws = np.random.default_rng(seed)
    for buffer in program.inputs(batch).values():
        values = draws.integers(0, 256, buffer.shape) if buffer.dtype == np.uint8 else draws.normal(size=buffer.shape)
        buffer[...] = values
    return program


@pytest.mark.parametrize(("precision", "most"), [("f32", 1e-5), ("bf16", 0.03)])
def test_says_what_onnx_runtime_says_within_the_precision(path, precision, most):
    pytest.importorskip("openvino")
    program = filled(openvino.load(path, (1,), precision=precision))
    if precision not in program.runs:
        pytest.skip("this processor has no bfloat16")
    theirs = filled(ort.load(path, (1,))).run(1)
    mine = program.run(1)
    assert mine.keys() == theirs.keys()
    for name, values in theirs.items():
        assert mine[name].dtype == values.dtype
        np.testing.assert_allclose(mine[name].astype(float), values, atol=most * (values.dtype != np.uint8))


def test_the_buffers_are_bound_once_and_each_programs_own(path):
    pytest.importorskip("openvino")
    program, other = openvino.load(path, (1,)), openvino.load(path, (1,))
    first = {name: array.ctypes.data for name, array in filled(program).run(1).items()}
    filled(program, seed=1)
    assert {name: array.ctypes.data for name, array in program.run(1).items()} == first
    gain = program.run(1)["gain"].copy()
    filled(other, seed=2).run(1)
    np.testing.assert_array_equal(program.run(1)["gain"], gain)
    with pytest.raises(ValueError, match="loaded for batches of"):
        program.run(2)


def test_inputs_and_outputs_are_called_what_the_file_calls_them(path):
    program = openvino.load(path.with_stem("toy_identity"), (1, 3))
    assert program.inputs(3)["planes"].shape == (3, 8, 128, 128)
    program.inputs(3)["planes"][:] = 1
    assert program.run(3)["code"].shape == (128,) and program.run(3)["code"][0] == pytest.approx(0.01, rel=0.01)


def test_without_openvino_the_same_file_runs_on_onnx_runtime(path, monkeypatch, caplog):
    monkeypatch.setattr(openvino, "find_spec", lambda name: None)
    program = openvino.load(path, (1,), threads=1)
    assert program.runs == "ONNX Runtime, f32, 1 thread" and "pip install openvino" in caplog.text


def test_where_nothing_may_be_written_it_compiles_every_time(path, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert openvino.cache_folder() == tmp_path / "cache" / "visavis" / "openvino"
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert openvino.cache_folder() is None
    openvino._compiled.cache_clear()
    assert openvino.load(path, (1,)).runs.startswith("OpenVINO")


def test_what_cannot_be_loaded_is_refused_by_name(path, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(path.read_bytes()[:400])
    with pytest.raises(ValueError, match="broken.onnx: not a network"):
        openvino.load(broken, (1,))
    with pytest.raises(ValueError, match=r"none.onnx: there is no such network"):
        openvino.load(tmp_path / "none.onnx", (1,))
    with pytest.raises(ValueError, match="precision must be one of auto, bf16, f32"):
        openvino.load(path, (1,), precision="int3")
    with pytest.raises(ValueError, match="threads must be at least 1"):
        openvino.load(path, (1,), threads=0)
