import os
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.backends import ort


def write(path: Path, factor: float) -> Path:
    """A network that multiplies rows of three by ``factor``."""
    shape: list[str | int | None] = ["batch", 3]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.array([factor], np.float32), "factor")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    entry = model.metadata_props.add()
    entry.key, entry.value = "about", str(factor)
    onnx.save(model, str(path))
    return path


def test_programs_of_one_file_share_the_network_and_not_their_buffers(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", 2.0)
    first, second = ort.load(path, (1, 2)), ort.load(path, (1, 2))
    assert first._session is second._session
    for program, value in ((first, 1.0), (second, 10.0)):
        program.inputs(2)["x"][...] = value
    kept = first.run(2)["y"]
    assert (second.run(2)["y"] == 20.0).all() and (kept == 2.0).all()


def test_programs_of_one_file_may_run_at_the_same_time(tmp_path: Path) -> None:
    path, wrong = write(tmp_path / "net.onnx", 3.0), list[float]()

    def work(value: float) -> None:
        program = ort.load(path, (1,))
        program.inputs(1)["x"][...] = value
        wrong.extend(value for _ in range(500) if (program.run(1)["y"] != 3.0 * value).any())

    threads = [threading.Thread(target=work, args=(float(k),)) for k in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_file_that_changed_is_loaded_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "net.onnx", 2.0)
    before = ort.load(path, (1,))
    write(path, 5.0)
    os.utime(path, ns=(1, 1))
    after = ort.load(path, (1,))
    for program in (before, after):
        program.inputs(1)["x"][...] = 1.0
    assert (before.run(1)["y"] == 2.0).all() and (after.run(1)["y"] == 5.0).all()
    assert after.metadata["about"] == "5.0"


def test_a_missing_or_broken_file_and_an_unknown_batch_are_errors_that_say_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.onnx: cannot be read"):
        ort.load(tmp_path / "none.onnx", (1,))
    (tmp_path / "broken.onnx").write_bytes(b"nonsense")
    for _ in range(2):  # a failure is not remembered as a network
        with pytest.raises(ValueError, match=r"broken\.onnx: not a network"):
            ort.load(tmp_path / "broken.onnx", (1,))
    with pytest.raises(ValueError, match=r"batches of \[1\], got 3"):
        ort.load(write(tmp_path / "net.onnx", 1.0), (1,)).run(3)


def test_sides_that_are_told_make_the_shapes_fixed(tmp_path: Path) -> None:
    program = ort.load(write(tmp_path / "net.onnx", 2.0), (1,), sides={"batch": 1})
    assert program.inputs(1)["x"].shape == (1, 3)
    with pytest.raises(ValueError, match=r"batches of \[1\]"):
        program.inputs(2)
