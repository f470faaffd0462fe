from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from engine.motion.generator import LEARNED, GeneratorConfig, LipGenerator
from exporters.lips import LipStep
from exporters.onnx import LIP_OUTPUTS, TOLERANCE, export_lips, load_weights, save_weights
from exporters.steps import OPSET


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


def eager(net: LipGenerator, mel: torch.Tensor, state: torch.Tensor, gain: torch.Tensor) -> list[torch.Tensor]:
    """What the network that is trained makes of one frame, in the order of LIP_OUTPUTS."""
    mouths, state = net(mel, state)
    faces = [net.face(mouth, head, gain[:, None])[:, 0] for head, mouth in enumerate(mouths)]
    contacts = [net.contact(mouth, head)[:, 0] for head, mouth in enumerate(mouths)]
    hops = torch.stack([torch.softmax(mouth.viseme[:, 0], dim=2) for mouth in mouths], 1)
    return [torch.stack(faces, 1), torch.stack(contacts, 1), hops.mean(2), hops, state]


def loud(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """mel and gain of one frame; loud enough to move the front end's mean."""
    return torch.randn(batch, 4, 80) * 0.6 + 0.3, torch.rand(batch, len(LEARNED)) + 0.5


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_exported_equals_what_was_trained_over_a_stream(net: LipGenerator, exported: Path, batch: int) -> None:
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    state, mirror = net.initial_state(batch), np.zeros((batch, net.state_size), np.float32)
    torch.manual_seed(batch)
    for _ in range(25):  # longer than the receptive field of 15 frames
        mel, gain = loud(batch)
        with torch.no_grad():
            *expected, state = eager(net, mel, state, gain)
        *ours, mirror = session.run(LIP_OUTPUTS, {"mel": mel.numpy(), "state": mirror, "gain": gain.numpy()})
        assert mirror.shape == state.shape
        for name, wanted, got in zip(LIP_OUTPUTS, expected, ours, strict=False):
            assert got.shape == tuple(wanted.shape), name
            assert np.abs(got - wanted.numpy()).max() < TOLERANCE, name


def test_the_graph_stays_small(exported: Path, tmp_path: Path) -> None:
    """At batch 1 every operation costs about a microsecond before it computes anything."""
    import onnx

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "run.onnx"), 3
    onnxruntime.InferenceSession(str(exported), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(str(tmp_path / "run.onnx")).graph.node
    assert len(nodes) <= 140
    assert not [node.op_type for node in nodes if node.op_type in ("Shape", "Expand", "Conv")], "shapes are static"


def test_the_file_states_its_opset_and_sizes(net: LipGenerator, exported: Path) -> None:
    import onnx

    model = onnx.load(str(exported))
    assert [o.version for o in model.opset_import if o.domain == ""] == [OPSET]
    assert "visavis.motion" in {p.key for p in model.metadata_props}
    sizes = {o.name: tuple(d.dim_value for d in o.type.tensor_type.shape.dim[1:]) for o in model.graph.output}
    kinds = {"face": (2, 52), "contact": (2, 2), "viseme": (2, 15), "hop_viseme": (2, 4, 15)}
    assert sizes == kinds | {"next_state": (net.state_size,)} and sum(LipStep(net).sizes) == net.state_size


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
