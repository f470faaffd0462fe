"""The torch backend, without a GPU: an emulated device lends its memory and streams, the processor computes."""

import importlib
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from engine.backends import torch as backend
from engine.backends.torch import Net, TorchNet, TorchNetworks
from kernels import cuda
from kernels.emulator import build

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no g++ on this machine")
SIZE, BATCH = (32, 64), 3


class Adds(torch.nn.Module):
    """y = 2 x + b of each row, and how large it is."""

    def __init__(self):
        super().__init__()
        self.b = torch.nn.Parameter(torch.arange(4.0))

    def forward(self, x, times):
        y = 2 * x + self.b
        return y, (y.abs().amax(1) * times).to(torch.int32)


ADDS = Net(Adds(), {"x": ((4,), np.float32), "times": ((), np.int32)}, ["y", "size"])


class Bound:
    """A network's context on an emulated device, with all its buffers."""

    def __init__(self, net, batch, mode="eager"):
        self.device = cuda.emulated()
        self.net = TorchNet(net, self.device, mode)
        self.stream, self.context = self.device.stream(), self.net.context(batch)
        shapes = self.net.inputs | self.net.outputs
        self.buffers = {name: self.device.empty((batch, *row), dtype) for name, (row, dtype) in shapes.items()}
        for name, buffer in self.buffers.items():
            self.context.bind(name, buffer.pointer, buffer.shape)

    def run(self, **given):
        for name, value in given.items():
            self.buffers[name].put(value)
        self.context.enqueue(self.stream.handle)
        self.stream.wait()
        return {name: self.buffers[name].get() for name in self.net.outputs}


def numbers(seed=0):
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal((BATCH, 4)).astype(np.float32), "times": np.array([1, 2, 3], np.int32)}


def answer(given):
    y = 2 * given["x"] + np.arange(4, dtype=np.float32)
    return {"y": y, "size": (np.abs(y).max(1) * given["times"]).astype(np.int32)}


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-6, err_msg=name)


def test_a_network_reads_and_writes_the_buffers_it_is_bound_to():
    bound = Bound(ADDS, BATCH)
    assert bound.net.outputs == {"y": ((4,), np.float32), "size": ((), np.int32)}
    for seed in (0, 1):
        same(bound.run(**numbers(seed)), answer(numbers(seed)))


def test_a_run_takes_place_when_its_stream_gets_there():
    bound, given = Bound(ADDS, BATCH), numbers()
    bound.context.enqueue(bound.stream.handle)
    for name, value in given.items():
        bound.buffers[name].put(value)
    assert np.isnan(bound.buffers["y"].get()).all()
    bound.stream.wait()
    same({name: bound.buffers[name].get() for name in ("y", "size")}, answer(given))


def test_what_is_bound_wrongly_or_not_at_all_is_said():
    context = TorchNet(ADDS, cuda.emulated()).context(2)
    with pytest.raises(ValueError, match="not bound: x, times"):
        context.enqueue(1)
    with pytest.raises(ValueError, match="there is no 'z'; the network has x, times, y, size"):
        context.bind("z", 0, (2, 4))
    with pytest.raises(ValueError, match=r"x must be \(2, 4\), got \(3, 4\)"):
        context.bind("x", 0, (3, 4))
    with pytest.raises(ValueError, match="mode must be one of eager, compile"):
        TorchNet(ADDS, cuda.emulated(), "fast")
    with pytest.raises(ValueError, match="2 outputs, not the 1 called y"):
        TorchNet(replace(ADDS, outputs=["y"]), cuda.emulated())


def test_kernels_and_networks_are_captured_into_one_graph():
    device, given = cuda.emulated(), numbers()
    nets = TorchNetworks(device, {"painter1": ADDS, "painter2": ADDS}, "eager")
    assert nets.steps == (1, 2) and nets.runs.endswith("eager, emulated") and "x" in nets.inputs("painter")
    shapes = nets.inputs("painter") | nets.outputs("painter")
    buffers = {name: device.zeros((BATCH, *row), dtype) for name, (row, dtype) in shapes.items()}
    kept = buffers.pop("size")  # nobody reads it
    source, stream = device.pinned((BATCH, 4), np.float32), device.stream()
    buffers["times"].put(given["times"])
    enqueue = nets.bind("painter", BATCH, 2, buffers)
    before = buffers["y"].get()
    with nets.capture(stream) as graphs:
        stream.upload(buffers["x"], source)
        enqueue(stream)
        stream.clear(buffers["x"])
    np.testing.assert_array_equal(buffers["y"].get(), before)
    for seed in (3, 4):
        source[:] = numbers(seed)["x"]
        graphs[0].launch(stream)
        stream.wait()
        np.testing.assert_allclose(
            buffers["y"].get(), answer(numbers(seed) | {"times": given["times"]})["y"], rtol=1e-6
        )
        assert (buffers["x"].get() == 0).all() and (kept.get() == 0).all()


def test_a_program_on_the_host_runs_the_batches_it_was_loaded_for():
    program = backend.load(ADDS, (1, BATCH), cuda.emulated())
    given = numbers(5)
    for batch in (1, BATCH):
        for name, value in given.items():
            program.inputs(batch)[name][:] = value[:batch]
        same(program.run(batch), {name: value[:batch] for name, value in answer(given).items()})
    with pytest.raises(ValueError, match=r"batches of \[1, 3\], got 2"):
        program.run(2)


def test_the_painter_equals_its_exported_file(tmp_path):
    pytest.importorskip("onnx", reason="the extra 'train' is not installed")
    import onnxruntime

    from engine.render.painter import Painter
    from exporters.painter import inputs_of
    from exporters.render import OUTPUTS, export_frame, rounded
    from tests.engine.render.test_denoiser import SMALL, stirred

    net = stirred(replace(SMALL, depths=(1, 1, 1)))
    export_frame(net, tmp_path / "frame.onnx")
    painter, rng = Painter(rounded(net)), np.random.default_rng(6)
    bound = Bound(Net.of(painter, inputs_of(painter, SIZE, 1), OUTPUTS), BATCH)
    given = {
        name: rng.integers(0, 256, (BATCH, *row), dtype=dtype) if dtype == np.uint8
        else rng.standard_normal((BATCH, *row)).astype(dtype)
        for name, (row, dtype) in bound.net.inputs.items()
    }  # fmt: skip
    session = onnxruntime.InferenceSession(str(tmp_path / "frame.onnx"), providers=["CPUExecutionProvider"])
    rows = [session.run(OUTPUTS, {name: value[row : row + 1] for name, value in given.items()}) for row in range(BATCH)]
    for (name, found), *wanted in zip(bound.run(**given).items(), *rows, strict=True):
        assert found.dtype == wanted[0].dtype
        np.testing.assert_allclose(found, np.concatenate(wanted), atol=1e-4, err_msg=name)


def steps():
    from engine.motion.generator import GeneratorConfig, LipGenerator
    from engine.motion.performer import Performer, PerformerConfig
    from exporters.acting import PerformerStep
    from exporters.lips import LipStep

    lips, performer = LipGenerator(GeneratorConfig()), Performer(PerformerConfig())
    return {"lips": LipStep(lips.eval()).eval(), "performer": PerformerStep(performer.eval()).eval()}


def test_the_step_networks_of_lips_and_performer_run():
    from exporters import onnx, performer

    lips, acts = steps().values()
    for step, names, results in (
        (lips, onnx.LIP_INPUTS, onnx.LIP_OUTPUTS), (acts, performer.INPUTS, performer.OUTPUTS),
    ):  # fmt: skip
        given = step.example()
        with torch.no_grad():
            wanted = [value.numpy() for value in step(*given)]
        bound = Bound(Net.of(step, dict(zip(names, given, strict=True)), results), 2)
        found = bound.run(**{name: value.numpy() for name, value in zip(names, given, strict=True)})
        for name, value in zip(results, wanted, strict=True):
            np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)


class Hosts(TorchDispatchMode):
    """Writes down what touches the host's memory: a copy from there would end a capture, or not be in the graph."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **kwargs or {})
        tensors = [x for x in tree_flatten((args, kwargs, out))[0] if isinstance(x, torch.Tensor)]
        if any(x.device.type != "meta" for x in tensors):
            self.found.append(str(func))
        return out


@pytest.mark.parametrize("name", ["painter", "fused", "lips", "performer"])
def test_a_run_touches_nothing_that_is_not_on_the_device(name):
    from engine.render.fused import fused
    from engine.render.painter import Painter
    from exporters.painter import inputs_of
    from tests.engine.render.test_denoiser import SMALL, stirred

    if name in ("lips", "performer"):
        module = steps()[name]
        given = module.example()
    else:
        net = stirred(replace(SMALL, widths=(16, 32, 48), depths=(1, 1, 1)))
        module = Painter(net, 4, torch.float16)
        given = inputs_of(module, SIZE, 2).values()
        module = fused(module, "sm_90") if name == "fused" else module
    there, hosts = module.to("meta"), Hosts()
    given = [value.to("meta") for value in given]
    with torch.no_grad(), hosts:
        answers = there(*given)
    assert len(answers) > 3 and hosts.found == []


@pytest.mark.slow  # torch's compiler takes its time to start
def test_a_compiled_network_equals_eager():
    bound = Bound(ADDS, BATCH, "compile")
    for name, value in numbers().items():
        bound.buffers[name].put(value)
    bound.context.warm()
    assert bound.net.mode == "compile"
    same(bound.run(**numbers(7)), answer(numbers(7)))


def test_what_cannot_be_compiled_runs_eagerly_and_says_so(caplog, monkeypatch):
    def broken(module, **options):
        def call(*inputs):
            raise RuntimeError("no compiler here\nmuch more")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    bound = Bound(ADDS, BATCH, "max-autotune")
    for name, value in numbers().items():
        bound.buffers[name].put(value)
    bound.context.warm()
    assert "torch.compile failed (no compiler here): running eagerly" in caplog.text
    assert "eager" in bound.net.runs
    same(bound.run(**numbers(8)), answer(numbers(8)))


def test_kernels_that_cannot_run_or_answer_otherwise_are_not_used(caplog, monkeypatch):
    from engine.render.painter import Painter
    from exporters.painter import inputs_of
    from exporters.render import OUTPUTS
    from kernels import experts
    from tests.engine.render.test_denoiser import SMALL, stirred

    device, net = cuda.emulated(), stirred(replace(SMALL, widths=(16, 32, 48), depths=(1, 1, 1)))
    assert backend.own_kernels(ADDS, device) is ADDS
    single = Net.of(Painter(net), inputs_of(Painter(net), (32, 32), 1), OUTPUTS)
    assert backend.own_kernels(single, device) is single and "fp16 and bf16, not fp32" in caplog.text
    half = replace(single, module=Painter(net, 1, torch.float16))
    assert backend.own_kernels(half, device) is not half
    true = experts.finish
    monkeypatch.setattr(experts, "finish", lambda *a, **layer: true(*a, **layer | {"take": 0.0}))
    assert backend.own_kernels(half, device) is half and "away from torch's layers in block 0" in caplog.text


class Fills(torch.nn.Module):
    """Has no room for more than one row."""

    def forward(self, x):
        if len(x) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return (x,)


def test_memory_that_is_full_is_our_error_and_names_the_batch():
    net = Net(Fills(), {"x": ((2,), np.float32)}, ["y"])
    assert backend.load(net, (1,), cuda.emulated()).run(1)["y"].shape == (1, 2)
    with pytest.raises(cuda.OutOfMemory, match="a batch of 4 does not fit"):
        backend.load(net, (1, 4), cuda.emulated())


def real(version):
    """A device that is not emulated, as far as the backend looks."""
    return SimpleNamespace(driver=None, name="RTX 4090", arch="sm_89", driver_version=lambda: version)


def test_a_torch_that_cannot_serve_says_what_to_install(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(cuda.CudaError, match=r"for the processor alone: pip install --force-reinstall torch"):
        TorchNet(ADDS, real(13000))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(cuda.CudaError, match=r"driver for CUDA 13.0, and RTX 4090's is for CUDA 12.4"):
        TorchNet(ADDS, real(12040))

    def missing(name):
        raise ImportError("No module named 'torch'")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(cuda.CudaError, match=r"pip install 'visavis\[gpu\]'"):
        TorchNet(ADDS, real(13000))


def test_on_a_gpu_torch_is_given_our_stream_and_our_memory(monkeypatch):
    """What the CUDA path calls, in order, by a torch that only writes it down."""
    done, device = [], real(13000)
    device.check, device.driver = lambda value: value, SimpleNamespace(cuGraphLaunch=lambda *a: done.append(a))

    class Context:
        def __init__(self, *what, **more):
            self.what = what, more

        def __enter__(self):
            done.append(self.what)

        def __exit__(self, *_):
            done.append("end")

    fake = SimpleNamespace(
        version=SimpleNamespace(cuda="13.0"), OutOfMemoryError=torch.OutOfMemoryError,
        cuda=SimpleNamespace(
            is_available=lambda: True, ExternalStream=lambda pointer: ("stream", pointer), graph=Context,
            graph_pool_handle=lambda: "pool", CUDAGraph=lambda: SimpleNamespace(raw_cuda_graph_exec=lambda: 77),
        ),
    )  # fmt: skip
    monkeypatch.setattr(importlib, "import_module", lambda name: fake)
    stream, pool = SimpleNamespace(handle=5), []
    for _ in range(2):
        with backend.captured(device, stream, pool) as kept:
            done.append("work")
        kept[0].launch(stream)
    (graph,), more = done[0]
    assert more == {"pool": "pool", "stream": ("stream", 5), "capture_error_mode": "thread_local"}
    assert graph is not None and done[1:4] == ["work", "end", (77, 5)] and pool == ["pool"]
    place = backend._Place(64, (2, 3), np.dtype(np.float32)).__cuda_array_interface__
    assert place == {"shape": (2, 3), "typestr": "<f4", "data": (64, False), "version": 3}


@pytest.mark.parametrize("kind", ["emulated", "real"])
def test_a_captured_painter_equals_eager_float32(kind):
    try:
        device = cuda.emulated() if kind == "emulated" else cuda.Device()
        backend.torch_for(device)
    except cuda.CudaError as error:
        pytest.skip(f"no GPU to run on: {error}")
    from engine.render.fused import MixedGate
    from engine.render.painter import Painter
    from exporters.painter import inputs_of
    from exporters.render import OUTPUTS
    from tests.engine.render.test_denoiser import SMALL, stirred

    net = stirred(replace(SMALL, widths=(16, 32, 48), depths=(1, 1, 1)))
    given = inputs_of(Painter(net, 2), SIZE, BATCH)
    with torch.no_grad():
        wanted = Painter(net, 2)(*given.values())
    for precision, own in ((torch.float32, False), (torch.float16, False), (torch.float16, True)):
        painter = Painter(net, 2, precision)
        nets = TorchNetworks(device, {"painter2": Net.of(painter, given, OUTPUTS)}, "eager", own)
        assert isinstance(nets._nets["painter2"]._module.net.gate, MixedGate) == own
        stream = device.stream()
        shapes = nets.inputs("painter") | nets.outputs("painter")
        buffers = {name: device.zeros((BATCH, *row), dtype) for name, (row, dtype) in shapes.items()}
        enqueue = nets.bind("painter", BATCH, 2, buffers)
        with nets.capture(stream) as graphs:
            enqueue(stream)
        for name, value in given.items():
            buffers[name].put(value.numpy())
        graphs[0].launch(stream)
        stream.wait()
        for name, value in zip(OUTPUTS[:3], wanted, strict=False):
            np.testing.assert_allclose(buffers[name].get(), value.numpy(), atol=2e-2, err_msg=name)


def test_importing_the_backend_does_not_import_torch():
    code = "import sys, engine.backends.torch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
