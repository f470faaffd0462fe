"""Which backend an engine is opened on, what is said about it, and what happens when it does not work after all."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from engine.backends import choose
from engine.backends.choose import Choice
from engine.config import EngineConfig, RenderConfig
from kernels.cuda import CudaError, OutOfMemory
from visavis import gpu


class Stub:
    """A Gpu that was readied."""

    runs = "a card, TensorRT, up to 4 at a time"

    class tick:
        reduced = "room for 4 sessions at a time, not 16: full"


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=400)


def pick(monkeypatch, **by_name):
    """choose() answers with these, by what it is asked for."""
    monkeypatch.setattr(choose, "choose", lambda asked="auto", probes=None: by_name[asked.replace("-", "_")])


CPU = Choice("openvino", "OpenVINO on the processor", "there is no GPU to use")
CARD = Choice("tensorrt", "TensorRT 10, a card", "a card is there")


def test_without_a_gpu_the_processor_paints_and_the_reason_is_said(monkeypatch, console):
    pick(monkeypatch, auto=CPU)
    engine = gpu.open_engine(EngineConfig(), console)
    assert engine.gpu is None
    assert console.file.getvalue() == "painting on OpenVINO on the processor, because there is no GPU to use\n"
    engine.close()


def test_a_gpu_is_readied_for_no_more_sessions_than_there_may_be(monkeypatch, console):
    pick(monkeypatch, auto=CARD)
    seen = []
    monkeypatch.setattr(gpu, "_opened", lambda config, choice, console, sessions: seen.append(sessions) or Stub())
    assert isinstance(gpu.open_engine(EngineConfig(), console, sessions=4).gpu, Stub)
    gpu.open_engine(EngineConfig(), console, quiet=True)
    assert seen == [4, 16]
    said = console.file.getvalue().splitlines()
    assert said[0] == Stub.tick.reduced and said[1] == f"painting on {Stub.runs}, because a card is there"
    assert len(said) == 3, "quiet keeps what matters: that fewer fit"


@pytest.mark.parametrize("problem", [CudaError("no driver"), OutOfMemory("full"), ValueError("no engine")])
def test_a_gpu_that_does_not_work_after_all_leaves_the_processor_unless_it_was_asked_for(monkeypatch, console, problem):
    pick(monkeypatch, auto=CARD, tensorrt=CARD, openvino=CPU)

    def broken(*arguments):
        raise problem

    monkeypatch.setattr(gpu, "_opened", broken)
    assert gpu.open_engine(EngineConfig(), console, quiet=True).gpu is None
    said = console.file.getvalue()
    assert said == f"TensorRT 10, a card cannot paint ({problem}); going on with the processor\n"
    asked = replace(EngineConfig(), render=RenderConfig(backend="tensorrt"))
    with pytest.raises(ValueError, match=f"TensorRT 10, a card cannot paint: {problem}"):
        gpu.open_engine(asked, console)


def test_the_geometric_renderer_asks_for_no_backend(monkeypatch, console):
    monkeypatch.setattr(choose, "choose", lambda asked="auto", probes=None: pytest.fail("asked"))
    assert gpu.open_engine(EngineConfig(render=RenderConfig(renderer="geometric")), console).gpu is None


def test_weights_that_do_not_lie_beside_the_network_are_missed_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"mine\.safetensors: a GPU paints with a network's weights"):
        gpu.weights(tmp_path / "mine.onnx")


def test_a_network_on_the_other_runtimes_of_the_host_paints_the_same_or_says_what_is_missing():
    import numpy as np

    from engine.engine import Engine
    from engine.motion.frame import Motion

    render, pictures = RenderConfig(width=64, height=64, precision="f32", threads=1), []
    for backend in ("openvino", "onnxruntime"):
        renderer = Engine(EngineConfig(render=render), backend=backend).renderer("leo")
        picture, _ = renderer.step(Motion.rest(), renderer.default_viewpoint(), renderer.initial_state())
        pictures.append(picture.rgb.astype(int))
    assert np.abs(pictures[0] - pictures[1]).max() <= 2
    with pytest.raises(ValueError, match="pip install onnxruntime-gpu in place of onnxruntime"):
        Engine(EngineConfig(render=render), backend="onnxruntime-cuda").renderer("leo")
