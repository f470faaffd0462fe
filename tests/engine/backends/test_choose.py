from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.backends import choose as module
from engine.backends.choose import NAMES, Choice, Probes, choose
from engine.backends.tensorrt import Gpu

H200 = Gpu("NVIDIA H200", "9.0", "580.82.07")


def probes(asked: list[str], *there: str, gpu: bool = True) -> Probes:
    """A machine that has what is ``there``; ``asked`` collects what it was asked for."""

    def probe(name: str) -> Callable[..., Any]:
        def answer(*given: Gpu) -> Any:
            asked.append(name)
            if name == "gpu" and gpu:
                return H200
            if name == "gpu" or name not in there:
                raise ValueError(f"no {name}: pip install {name}")
            assert given == ((H200,) if name in module.ON_GPU else ())
            return name.upper()

        return answer

    return Probes(*(probe(name) for name in ("gpu", *NAMES)))


def test_the_best_that_is_there_paints_and_nothing_else_is_loaded() -> None:
    asked: list[str] = []
    chosen = choose("auto", probes(asked, *NAMES))
    assert chosen == Choice("tensorrt", "TENSORRT, NVIDIA H200", "NVIDIA H200 is there")
    assert str(chosen) == "painting on TENSORRT, NVIDIA H200, because NVIDIA H200 is there"
    assert asked == ["gpu", "tensorrt"]


@pytest.mark.parametrize("name", NAMES)
def test_each_is_chosen_where_all_before_it_are_missing_and_says_what_they_lack(name: str) -> None:
    there = NAMES[NAMES.index(name) :]
    chosen = choose("auto", probes([], *there))
    assert chosen.name == name
    for other in NAMES[: NAMES.index(name)]:
        assert f"{other} cannot be had (no {other}: pip install {other})" in chosen.because


def test_without_a_gpu_the_processor_paints_and_no_gpu_runtime_is_loaded() -> None:
    asked: list[str] = []
    chosen = choose("auto", probes(asked, *NAMES, gpu=False))
    assert chosen.name == "openvino" and chosen.because == "there is no GPU to use (no gpu: pip install gpu)"
    assert asked == ["gpu", "openvino"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_asked_for_is_taken_or_refused_with_what_to_do(name: str) -> None:
    chosen = choose(name, probes([], *NAMES))
    assert (chosen.name, chosen.because) == (name, "it is asked for")
    with pytest.raises(ValueError, match=f'backend "{name}" cannot be had: no {name}: pip install {name}'):
        choose(name, probes([], gpu=True))
    if name in module.ON_GPU:
        with pytest.raises(ValueError, match=f'backend "{name}" cannot be had: no gpu'):
            choose(name, probes([], *NAMES, gpu=False))


def test_another_name_and_a_machine_that_has_nothing_are_errors() -> None:
    with pytest.raises(ValueError, match='backend must be "auto" or one of tensorrt, torch, .*; got "cuda"'):
        choose("cuda", probes([]))
    with pytest.raises(ValueError, match="nothing here can paint: tensorrt cannot be had .*onnxruntime cannot be had"):
        choose("auto", probes([]))


def test_on_this_machine_something_is_chosen() -> None:
    chosen = choose()
    assert chosen.name in NAMES and chosen.runs and chosen.because


def test_probes_say_what_their_package_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    for probe in (lambda: module._torch(H200), lambda: module._onnxruntime_cuda(H200), module._openvino):
        with pytest.raises(ValueError, match="pip install"):
            probe()
    cpu: Any = type(
        "Torch", (), {"__version__": "2.13.0+cpu", "cuda": type("Cuda", (), {"is_available": lambda: False})}
    )
    monkeypatch.setitem(sys.modules, "torch", cpu)
    with pytest.raises(ValueError, match=r"torch 2.13.0\+cpu finds no GPU"):
        module._torch(H200)
    plain: Any = type("Ort", (), {"__version__": "1.31.1", "get_available_providers": lambda: ["CPUExecutionProvider"]})
    monkeypatch.setitem(sys.modules, "onnxruntime", plain)
    with pytest.raises(ValueError, match="pip uninstall onnxruntime && pip install onnxruntime-gpu"):
        module._onnxruntime_cuda(H200)


def test_choosing_on_a_processor_loads_no_gpu_runtime() -> None:
    code = "import sys; from engine.backends.choose import choose; choose('onnxruntime'); " \
           "sys.exit(bool({'torch', 'tensorrt', 'tensorrt_rtx'} & set(sys.modules)))"  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False).returncode == 0


def test_without_a_driver_nobody_is_told_what_to_install_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_device() -> None:
        raise module.CudaError("the CUDA kernels need the extra 'gpu'")

    monkeypatch.setattr(module, "Device", no_device)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    monkeypatch.setattr(module, "NVIDIA", ("/no/such/place",))
    with pytest.raises(ValueError, match="^no NVIDIA driver is here$"):
        module.Probes().gpu()
    monkeypatch.setattr(module, "NVIDIA", ("/",))
    with pytest.raises(ValueError, match="extra 'gpu'"):
        module.Probes().gpu()
