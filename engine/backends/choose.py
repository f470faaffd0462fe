"""Which backend paints: the best that this machine has, or the one that is asked for, with the reason in words.

What is there is asked of `Probes`, one after another and no more than needed, since some load half a gigabyte.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

from engine.backends import openvino
from engine.backends.tensorrt import Gpu
from engine.backends.tensorrt_build import find
from kernels.cuda import Device
from kernels.nvrtc import CudaError

ON_GPU: Final = ("tensorrt", "torch", "onnxruntime-cuda")  # best first
ON_CPU: Final = ("openvino", "onnxruntime")
NAMES: Final = (*ON_GPU, *ON_CPU)
AUTO: Final = "auto"
NVIDIA: Final = ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/dxg", "C:/Windows/System32/nvcuda.dll")  # of its driver


class Choice(NamedTuple):
    """A backend of NAMES, what it runs on in words, and why it is this one."""

    name: str
    runs: str
    because: str

    def __str__(self) -> str:
        return f"painting on {self.runs}, because {self.because}"


def _gpu() -> Gpu:
    try:
        return Gpu.of(Device())
    except CudaError as error:
        if find_spec("cuda") is None and not any(Path(sign).exists() for sign in NVIDIA):
            raise ValueError("no NVIDIA driver is here") from error  # then what to install for one is no news
        raise ValueError(str(error)) from error


def _torch(gpu: Gpu) -> str:
    torch = _load("torch", "pip install 'visavis[gpu]'")
    if not torch.cuda.is_available():
        raise ValueError(
            f"torch {torch.__version__} finds no GPU that it can use; a build for CUDA does: pip install 'visavis[gpu]'"
        )
    return f"torch {torch.__version__}"


def _onnxruntime_cuda(gpu: Gpu) -> str:
    runtime = _load("onnxruntime", "pip install onnxruntime-gpu")
    if "CUDAExecutionProvider" not in runtime.get_available_providers():
        raise ValueError(
            "the onnxruntime here has no CUDA: pip uninstall onnxruntime && pip install onnxruntime-gpu (both lie in "
            "the same folder, so one has to go)"
        )
    return f"ONNX Runtime {runtime.__version__} with CUDA"


def _openvino() -> str:
    if find_spec("openvino") is None:
        raise ValueError("openvino is not installed: pip install openvino")
    return f"OpenVINO on the processor, {'bf16' if openvino.has_bf16() else 'f32'}"


def _onnxruntime() -> str:
    return f"ONNX Runtime {_load('onnxruntime', 'pip install onnxruntime').__version__} on the processor"


@dataclass(frozen=True, slots=True)
class Probes:
    """What is there: each says in words what would run, or raises ValueError with what is missing and how to get it."""

    gpu: Callable[[], Gpu] = _gpu
    tensorrt: Callable[[Gpu], str] = lambda gpu: find(None, gpu.capability).runs
    torch: Callable[[Gpu], str] = _torch
    onnxruntime_cuda: Callable[[Gpu], str] = _onnxruntime_cuda
    openvino: Callable[[], str] = _openvino
    onnxruntime: Callable[[], str] = _onnxruntime


def choose(asked: str = AUTO, probes: Probes | None = None) -> Choice:
    """The backend called ``asked``, one of NAMES, or with "auto" the first of them that can be had.

    Raises ValueError for another name, for one that cannot be had, with what to do, and when nothing can.
    """
    probes = probes or Probes()
    if asked != AUTO:
        if asked not in NAMES:
            raise ValueError(f'backend must be "auto" or one of {", ".join(NAMES)}; got "{asked}"')
        try:
            return Choice(asked, _runs(asked, probes, probes.gpu() if asked in ON_GPU else None), "it is asked for")
        except ValueError as error:
            raise ValueError(f'backend "{asked}" cannot be had: {error}') from error
    missing: list[str] = []
    try:
        gpu = probes.gpu()
    except ValueError as error:
        missing.append(f"there is no GPU to use ({error})")
    else:
        for name in ON_GPU:
            try:
                runs = _runs(name, probes, gpu)
            except ValueError as error:
                missing.append(f"{name} cannot be had ({error})")
            else:
                return Choice(name, runs, "; ".join(missing) or f"{gpu.name} is there")
    for name in ON_CPU:
        try:
            return Choice(name, _runs(name, probes, None), "; ".join(missing))
        except ValueError as error:
            missing.append(f"{name} cannot be had ({error})")
    raise ValueError(f"nothing here can paint: {'; '.join(missing)}")


def _runs(name: str, probes: Probes, gpu: Gpu | None) -> str:
    probe: Any = getattr(probes, name.replace("-", "_"))
    return str(probe()) if gpu is None else f"{probe(gpu)}, {gpu.name}"


def _load(name: str, install: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:  # ImportError, and OSError of a library that is missing
        raise ValueError(f"{name} does not load ({str(error).splitlines()[0]}): {install}") from error
