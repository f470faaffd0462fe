"""The torch backend's networks are those that the ONNX files hold."""

import numpy as np
import onnxruntime
import pytest

from engine.backends.torch import TorchNetworks
from engine.motion import lips, perform
from exporters.nets import nets
from kernels import cuda


def described(path):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session, {node.name: tuple(node.shape[1:]) for node in session.get_inputs()}


@pytest.fixture(scope="module")
def networks():
    return TorchNetworks(cuda.emulated(), nets(size=(64, 32), steps=(1, 2), precision="fp32"), "eager")


# The lips' file has weights in single precision, what is read here was rounded to half.
@pytest.mark.parametrize("name, path, tolerance", [("lips", lips.MODEL, 2e-3), ("performer", perform.MODEL, 2e-4)])
def test_shipped_weights_answer_as_the_shipped_file_does(networks, name, path, tolerance):
    session, inputs = described(path)
    assert {key: row for key, (row, _) in networks.inputs(name).items()} == inputs
    device, rng = cuda.emulated(), np.random.default_rng(1)
    given = {key: rng.uniform(0.1, 0.9, (2, *row)).astype(np.float32) for key, row in inputs.items()}
    given["mel"] -= 2
    kinds = networks.inputs(name) | networks.outputs(name)
    buffers = {key: device.zeros((2, *row), dtype) for key, (row, dtype) in kinds.items()}
    for key, value in given.items():
        buffers[key].put(value)
    stream = networks._device.stream()
    networks.bind(name, 2, 1, buffers)(stream)
    stream.wait()
    wanted = [node.name for node in session.get_outputs()]
    for key, value in zip(wanted, session.run(wanted, given), strict=True):
        np.testing.assert_allclose(buffers[key].get(), value, atol=tolerance, rtol=tolerance, err_msg=key)


def test_there_is_a_painter_for_every_number_of_steps(networks):
    assert networks.steps == (1, 2)
    assert networks.inputs("painter")["cells"] == ((8, 4, 4, 220), np.uint8)
    assert networks.inputs("painter")["wanted"] == ((), np.int32)
    assert networks.outputs("painter")["mask"] == ((8, 4), np.uint8)


def test_what_cannot_be_is_said(tmp_path):
    with pytest.raises(ValueError, match="precision must be one of fp32, fp16, bf16"):
        nets(precision="int4")
    with pytest.raises(ValueError, match="not 60 x 64"):
        nets(size=(64, 60))
    with pytest.raises(ValueError, match="nobody.safetensors"):
        nets(tmp_path / "nobody.safetensors", size=(64, 64))
