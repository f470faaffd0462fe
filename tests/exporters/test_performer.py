from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from engine.motion.codec import CodecConfig
from engine.motion.performer import HOPS, Performer, PerformerConfig
from exporters.performer import (
    INPUTS,
    OUTPUTS,
    TOLERANCE,
    export_performer,
    load_performer,
    rounded,
    save_performer,
)
from exporters.steps import OPSET

SIZES = CodecConfig(codes=32, latent=8, encoder=12, decoder=24)


@pytest.fixture(scope="module")
def net() -> Performer:
    torch.manual_seed(0)
    net = Performer(PerformerConfig(SIZES, stem=24, width=32, ear=20, memory=40, embedding=16, hidden=24)).eval()
    for parameter in net.parameters():  # no output may be trivially constant
        torch.nn.init.normal_(parameter, std=0.15)
    net.codec.quantizer.books.normal_(std=0.3)
    net.codec.scale.uniform_(0.05, 1.0)
    net.codec.offset.normal_()
    return net


@pytest.fixture(scope="module")
def exported(net: Performer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "performer.onnx"
    export_performer(net, path)
    assert [p.name for p in path.parent.iterdir()] == ["performer.onnx"]
    return path


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_exported_equals_what_was_trained_over_a_stream(net: Performer, exported: Path, batch: int) -> None:
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    eager = rounded(net)
    state, mirror = eager.initial_state(batch), eager.initial_state(batch).numpy()
    torch.manual_seed(batch)
    for _ in range(12):
        given = (torch.randn(batch, HOPS, 80), torch.rand(batch, 48), torch.rand(batch, 8, 32), torch.ones(batch, 1))
        with torch.no_grad():
            *outputs, state = eager.step(*given, state)
        feed = dict(zip(INPUTS, [*(x.numpy() for x in given), mirror], strict=True))
        *ours, mirror = session.run(OUTPUTS, feed)
        for name, expected, got in zip(OUTPUTS, outputs, ours, strict=False):
            assert got.shape == tuple(expected.shape), name
            assert np.abs(got - expected.numpy()).max() < TOLERANCE, name
    assert ours[1].dtype == np.int64


def test_the_file_states_its_opset_and_sizes(net: Performer, exported: Path) -> None:
    import onnx

    model = onnx.load(str(exported))
    assert [o.version for o in model.opset_import if o.domain == ""] == [OPSET]
    assert "visavis.performer" in {p.key for p in model.metadata_props}
    sizes = {o.name: [d.dim_value for d in o.type.tensor_type.shape.dim[1:]] for o in model.graph.output}
    assert sizes == {"motion": [2, 96], "codes": [8], "semantic": [32], "next_state": [net.state_size]}
    big = [w.name for w in model.graph.initializer if w.data_type == onnx.TensorProto.FLOAT and np.prod(w.dims) > 1024]
    assert not big, "weights should be half precision"


def test_half_precision_weights_read_back(net: Performer, tmp_path: Path) -> None:
    path = tmp_path / "performer.safetensors"
    save_performer(net, path)
    loaded = load_performer(path)
    assert loaded.config == net.config
    for name, value in rounded(net).state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_broken_weight_file_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "performer.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="does not hold a performer"):
        load_performer(path)
