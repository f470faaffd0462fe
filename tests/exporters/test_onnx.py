from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from engine.motion.generator import LEARNED, GeneratorConfig, LipGenerator
from exporters.onnx import OPSET, TOLERANCE, LipStep, export_lips, lip_names, load_weights, save_weights


@pytest.fixture(scope="module")
def net() -> LipGenerator:
    torch.manual_seed(0)
    net = LipGenerator(GeneratorConfig(stem=24, width=40, dilations=(1, 2, 4), lookaheads=(0, 1))).eval()
    for parameter in net.parameters():  # no output may be trivially constant
        torch.nn.init.normal_(parameter, std=0.15)
    net.contact_gain.fill_(3.0)
    net.pose_gain.uniform_(0.8, 1.5)
    net.contact_threshold.normal_()
    acoustic = net.acoustic
    acoustic.filters.uniform_(0.1, 1.0)
    acoustic.transform.normal_()
    acoustic.linear.normal_(std=0.02)
    acoustic.linear[:, 13:].uniform_(-0.02, -0.005)
    acoustic.constant.normal_()
    acoustic.mixture.uniform_(0.001, 0.02)
    return net


@pytest.fixture(scope="module")
def exported(net: LipGenerator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "lips.onnx"
    export_lips(net, path)
    assert [p.name for p in path.parent.iterdir()] == ["lips.onnx"]
    return path


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_exported_equals_eager_over_a_stream(net: LipGenerator, exported: Path, batch: int) -> None:
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    names, eager = lip_names(net.config), LipStep(net)
    state, mirror = net.initial_state(batch), net.initial_state(batch).numpy()
    torch.manual_seed(batch)
    for _ in range(12):
        mel, gain = torch.randn(batch, 4, 80), torch.rand(batch, len(LEARNED)) + 0.5
        with torch.no_grad():
            *outputs, state = eager(mel, state, gain)
        *ours, mirror = session.run(names, {"mel": mel.numpy(), "state": mirror, "gain": gain.numpy()})
        assert len(ours) == len(outputs) == len(names) - 1
        for name, expected, got in zip(names, outputs, ours, strict=False):
            assert got.shape == tuple(expected.shape), name
            assert np.abs(got - expected.numpy()).max() < TOLERANCE, name


def test_the_file_states_its_opset_and_sizes(net: LipGenerator, exported: Path) -> None:
    import onnx

    model = onnx.load(str(exported))
    assert [o.version for o in model.opset_import if o.domain == ""] == [OPSET]
    assert "visavis.motion" in {p.key for p in model.metadata_props}
    sizes = {o.name: tuple(d.dim_value for d in o.type.tensor_type.shape.dim[1:]) for o in model.graph.output}
    kinds = {"face": (52,), "contact": (2,), "viseme": (15,), "hop_viseme": (4, 15)}
    assert sizes == {f"{k}_{head}": v for k, v in kinds.items() for head in (0, 1)} | {"next_state": (net.state_size,)}


def test_half_precision_weights_read_back(net: LipGenerator, tmp_path: Path) -> None:
    path = tmp_path / "lips.safetensors"
    save_weights(net, path)
    loaded = load_weights(path)
    assert loaded.config == net.config
    for name, value in net.state_dict().items():
        assert torch.allclose(loaded.state_dict()[name], value, atol=1e-3, rtol=1e-3), name


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_broken_weight_file_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lips.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="does not hold lip weights"):
        load_weights(path)
