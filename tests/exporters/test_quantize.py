from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from engine.render.denoiser import Renderer, pack
from exporters.quantize import quantize, widen
from exporters.render import INPUTS, FirstNoise, export_frame, halve, rounded
from tests.engine.render.test_denoiser import SIDE, known, noise, stirred


@pytest.fixture(scope="module")
def net() -> Renderer:
    return stirred()


@torch.no_grad()
def feed(net: Renderer, seed: int) -> dict[str, np.ndarray]:
    given, net = known(1, seed), rounded(net)
    heard = FirstNoise(net)(noise(1))
    return dict(
        zip(INPUTS, (x.numpy() for x in (pack(given.hi, given.lo), *heard, *given[2:])), strict=True)
    )  # fmt: skip


@pytest.fixture(scope="module")
def files(net: Renderer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    whole = tmp_path_factory.mktemp("int8") / "renderer.onnx"
    export_frame(net, whole)
    quantize(whole, whole.with_name("small.onnx"), [feed(net, seed) for seed in range(6)])
    assert sorted(p.name for p in whole.parent.iterdir()) == ["renderer.onnx", "renderer_noise.onnx", "small.onnx"]
    return whole, whole.with_name("small.onnx")


def run(path: Path, given: dict[str, np.ndarray]) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, given)


def test_a_quantised_frame_is_close_to_the_whole_one(net: Renderer, files: tuple[Path, Path]) -> None:
    given = feed(net, 9)
    for ours, theirs in zip(run(files[1], given)[:3], run(files[0], given)[:3], strict=True):
        assert np.sqrt(np.square(ours - theirs).mean()) < 0.03 * np.sqrt(np.square(theirs).mean())


def test_a_quantised_frame_is_smaller_and_says_the_same_of_itself(files: tuple[Path, Path]) -> None:
    whole, small = (onnx.load(str(path)) for path in files)
    assert files[1].stat().st_size < files[0].stat().st_size
    assert {e.key: e.value for e in whole.metadata_props}.items() <= {
        e.key: e.value for e in small.metadata_props
    }.items()
    assert [i.name for i in whole.graph.input] == [i.name for i in small.graph.input]
    assert [o.name for o in whole.graph.output] == [o.name for o in small.graph.output]


def test_bytes_go_in_as_bytes_and_weights_have_seven_bits(files: tuple[Path, Path]) -> None:
    graph = onnx.load(str(files[1])).graph
    assert [n.op_type for n in graph.node if "cells" in n.input] == ["DequantizeLinear", "Slice"]
    integers = [onnx.numpy_helper.to_array(w) for w in graph.initializer if w.data_type == onnx.TensorProto.INT8]
    large = [w for w in integers if w.size > 256]
    assert sum(w.ndim == 4 for w in large) == 9 and sum(w.ndim == 2 for w in large) == 2
    assert max(int(np.abs(w.astype(int)).max()) for w in large) <= 64


def test_halved_weights_come_back_wide(files: tuple[Path, Path]) -> None:
    model = onnx.load(str(files[0]))
    wide = widen(onnx.load(str(files[0])))
    assert not [n for n in wide.graph.node if n.op_type == "Cast" and n.input[0].endswith("_half")]
    halve(wide)
    kept = {w.name: w for w in wide.graph.initializer}
    for weight in model.graph.initializer:
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(weight), onnx.numpy_helper.to_array(kept[weight.name]))


def test_quantising_says_what_it_lacks_and_writes_nothing(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs samples"):
        quantize(files[0], tmp_path / "x.onnx", [])
    with pytest.raises(ValueError, match="does not read bytes"):
        quantize(files[0].with_stem("renderer_noise"), tmp_path / "x.onnx", [{"normal": np.zeros((1, 3, SIDE, SIDE))}])
    assert not list(tmp_path.iterdir())
