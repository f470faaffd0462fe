"""The performer network at run time, on a small network with the contract's inputs and outputs."""

from pathlib import Path

import numpy as np
import pytest

from engine.motion.condition import CONDITION
from engine.motion.perform import MODEL, SILENT, Heard, LearnedPerformer
from engine.motion.performance import PERFORMANCE

onnx = pytest.importorskip("onnx")
Q, V, S = 3, 16, 7


def network(path: Path, frames: int = 2) -> Path:
    """motion = mean mel + mean noise * temperature + condition[0], everywhere; next state = state + 1."""
    from onnx import TensorProto, helper

    def info(name: str, *shape: object) -> object:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])

    nodes = [
        helper.make_node("ReduceMean", ["mel", "axes12"], ["level"], keepdims=1),
        helper.make_node("ReduceMean", ["noise", "axes12"], ["luck"], keepdims=1),
        helper.make_node("Reshape", ["temperature", "column"], ["heat"]),
        helper.make_node("Mul", ["luck", "heat"], ["chance"]),
        helper.make_node("Slice", ["condition", "zero", "one", "axis1"], ["first"]),
        helper.make_node("Reshape", ["first", "column"], ["mood"]),
        helper.make_node("Sum", ["level", "chance", "mood"], ["value"]),
        helper.make_node("Add", ["value", "rows"], ["motion"]),
        helper.make_node("Add", ["state", "unit"], ["next_state"]),
    ]
    rows = np.zeros((1, frames, PERFORMANCE), np.float32) + np.arange(frames, dtype=np.float32)[None, :, None] * 0.001
    constants = {
        "axes12": np.array([1, 2], np.int64), "column": np.array([-1, 1, 1], np.int64), "rows": rows,
        "zero": np.array([0], np.int64), "one": np.array([1], np.int64), "axis1": np.array([1], np.int64),
        "unit": np.ones(1, np.float32),
    }  # fmt: skip
    graph = helper.make_graph(
        nodes, "performer",
        [info("mel", 8, 80), info("condition", CONDITION), info("noise", Q, V), info("temperature", 1),
         info("state", S)],
        [info("motion", frames, PERFORMANCE), info("next_state", S)],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(path))
    return path


def heard(level: float = 0.0, temperature: float = 1.0) -> Heard:
    return Heard(np.full((4, 80), level, np.float32), 0.9, np.zeros(CONDITION, np.float32), np.zeros(8), temperature)


def test_it_runs_on_every_second_frame_with_the_mel_of_both(tmp_path: Path) -> None:
    performer = LearnedPerformer(network(tmp_path / "p.onnx"))
    state, rows = performer.initial_state(0), []
    for level in (1.0, 3.0, 5.0, 7.0):
        row, state = performer.step(heard(level, temperature=0.0), state)
        rows.append(row[0])
    first, second = (float(SILENT) + 1.0) / 2, (3.0 + 5.0) / 2
    np.testing.assert_allclose(rows, [first, first + 0.001, second, second + 0.001], atol=1e-5)
    assert (state.memory == 2.0).all() and row.shape == (PERFORMANCE,)


def test_its_randomness_is_the_seed_alone(tmp_path: Path) -> None:
    performer = LearnedPerformer(network(tmp_path / "p.onnx"))

    def play(seed: int, other: bool = False) -> list[float]:
        state, aside = performer.initial_state(seed), performer.initial_state(99)
        rows = []
        for _ in range(8):
            row, state = performer.step(heard(), state)
            rows.append(float(row[0]))
            if other:
                performer.step(heard(), aside)
        return rows

    assert play(4) == play(4) == play(4, other=True)
    assert play(4) != play(5)


def test_a_state_is_small() -> None:
    if not MODEL.is_file():
        pytest.skip(f"{MODEL.name} is not there")
    state = LearnedPerformer().initial_state(0)
    assert state.memory.nbytes + state.before.nbytes + state.made.nbytes <= 1_048_576


def test_another_network_is_refused_with_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rules"):
        LearnedPerformer(tmp_path / "nowhere.onnx")
    with pytest.raises(ValueError, match="motion"):
        LearnedPerformer(network(tmp_path / "p.onnx", frames=3))
    lips = Path(__file__).parents[3] / "engine" / "assets" / "silero_vad_16k.onnx"
    with pytest.raises(ValueError, match="not a performer"):
        LearnedPerformer(lips)
