from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from engine.render.denoiser import Renderer
from engine.render.network import SIDE
from exporters.painter import (
    KINDS,
    META,
    OPSET,
    Painter,
    digest,
    export_painter,
    inputs_of,
    parity,
    program,
    tolerance,
)
from exporters.render import INPUTS, OUTPUTS
from tests.exporters import graphs
from tests.exporters.graphs import SIZE, WAYS, graph


@pytest.fixture(scope="module")
def net() -> Renderer:
    return graphs.net()


@pytest.fixture(scope="module")
def files() -> dict[str, Path]:
    return {precision: graph(precision) for precision, _ in WAYS}


@pytest.mark.parametrize(("precision", "steps"), WAYS)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_graph_equals_eager_at_any_batch(
    net: Renderer, files: dict[str, Path], precision: str, steps: int, batch: int
) -> None:
    painter = Painter(net, steps, KINDS[precision])
    feed = {name: value.numpy() for name, value in inputs_of(painter, SIZE, batch).items()}
    if steps > 1:
        feed["wanted"][0] = 1
    found = parity(painter, files[precision], [feed])
    assert found.keys() == set(OUTPUTS) and tolerance(precision, found) == []


def test_what_is_beyond_its_tolerance_is_said() -> None:
    found = {"residual": 0.5, "shares": 0.0, "gain": float("nan"), "mask": 0.5}
    said = tolerance("fp32", found)
    assert len(said) == 3 and said[0].startswith("residual is off by 0.5") and "mask: 0.500" in said[2]


def test_what_is_not_a_number_is_beyond_every_tolerance(net: Renderer, files: dict[str, Path]) -> None:
    painter = Painter(net)
    feed = {name: value.numpy() for name, value in inputs_of(painter, SIZE, 1).items()}
    broken = {**feed, "code": np.full_like(feed["code"], np.nan)}
    assert len(tolerance("fp32", parity(painter, files["fp32"], [broken, feed]))) >= 3


@pytest.mark.parametrize(("precision", "kind"), [("fp16", "FLOAT16"), ("bf16", "BFLOAT16")])
def test_half_precision_means_every_convolution_and_every_large_weight(
    files: dict[str, Path], precision: str, kind: str
) -> None:
    model = onnx.shape_inference.infer_shapes(onnx.load(str(files[precision])))
    wanted = onnx.TensorProto.DataType.Value(kind)
    weights = {weight.name: weight.data_type for weight in model.graph.initializer}
    convolutions = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) > 10 and {weights[name] for name in convolutions} == {wanted}
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    for node in model.graph.node:
        if node.op_type in ("Exp", "Softmax"):
            assert types[node.input[0]] == onnx.TensorProto.FLOAT


def test_the_file_says_what_it_is_and_nothing_of_the_machine_it_was_made_on(
    net: Renderer, files: dict[str, Path]
) -> None:
    model = onnx.load(str(files["fp16"]))
    about = json.loads({entry.key: entry.value for entry in model.metadata_props}[META])
    assert about["steps"] == 2 and about["precision"] == "fp16" and tuple(about["size"]) == SIZE
    assert about["weights"] == digest(net) and about["widths"] == list(net.denoiser.config.widths)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert not [node for node in model.graph.node if node.op_type == "Shape"], "all sides but the batch are known"
    assert str(Path(__file__).parents[2]).encode() not in files["fp16"].read_bytes()
    assert all(value.type.tensor_type.shape.dim[0].dim_param == "batch" for value in model.graph.input)
    assert [value.name for value in model.graph.input] == [*INPUTS, "normal", "wanted"]
    sides = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim[1:]] for value in model.graph.output}
    assert sides == {"residual": [16, 24, 48], "shares": [16, 24, 32], "gain": [8, 12, 3], "mask": [8, 12]}


def test_bytes_go_through_types_that_tensorrt_can_turn_them_into(files: dict[str, Path]) -> None:
    for path in files.values():
        graph = onnx.load(str(path)).graph
        casts = {node.input[0]: node.attribute[0].i for node in graph.node if node.op_type == "Cast"}
        assert casts["cells"] in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


@torch.no_grad()
@pytest.mark.parametrize("steps", [1, 2])
def test_the_same_program_runs_any_batch_in_torch(net: Renderer, steps: int) -> None:
    painter = Painter(net, steps)
    run = program(painter, (SIDE, SIDE)).module()
    for batch in (1, 5):
        given = tuple(inputs_of(painter, (SIDE, SIDE), batch).values())
        for one, other in zip(run(*given), painter(*given), strict=True):
            assert np.abs(one.float().numpy() - other.float().numpy()).max() < 1e-5


def test_what_cannot_be_exported_is_refused_by_name(net: Renderer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"precision must be one of fp32, fp16, bf16, fp8; got 'int4'"):
        export_painter(net, tmp_path / "x.onnx", precision="int4")
    with pytest.raises(ValueError, match="multiples of 32 pixels, not 100 x 64"):
        export_painter(net, tmp_path / "x.onnx", size=(64, 100))
    with pytest.raises(ValueError, match="steps must be one of"):
        export_painter(net, tmp_path / "x.onnx", steps=3)
    assert not list(tmp_path.iterdir())
