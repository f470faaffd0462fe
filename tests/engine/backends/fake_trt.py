"""Stand-ins for `tensorrt` and `tensorrt_rtx` that keep their rules and note every call; a plan is JSON."""

from __future__ import annotations

import enum
import json
from types import ModuleType
from typing import Any

import numpy as np


class Severity(enum.IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2


class ILogger:
    Severity = Severity

    def __init__(self) -> None:
        self.made = True


class IProgressMonitor:
    def __init__(self) -> None:
        self.made = True


class Flag(enum.IntEnum):
    STRONGLY_TYPED = 1


def package(
    name: str, inputs: dict[str, tuple[tuple[int, ...], Any]], outputs: dict[str, tuple[tuple[int, ...], Any]]
) -> Any:
    """The module; ``calls`` is what was asked of it. ``driver`` False: no engine loads. ``room``: bytes of the GPU's
    memory that contexts need, by batch; ``full``: batches there is no room for."""
    fake: Any = ModuleType(name)
    fake.__version__, fake.calls, fake.driver, fake.full, fake.refused = "10.15.1", [], True, set(), set()
    fake.ILogger, fake.IProgressMonitor, fake.NetworkDefinitionCreationFlag = ILogger, IProgressMonitor, Flag
    fake.TensorIOMode = enum.Enum("TensorIOMode", "INPUT OUTPUT")
    fake.ExecutionContextAllocationStrategy = enum.Enum("Strategy", "STATIC USER_MANAGED")
    fake.nptype = np.dtype
    fake.BuilderFlag = enum.Enum("BuilderFlag", "TF32 REQUIRE_USER_ALLOCATION")
    rtx = name == "tensorrt_rtx"
    if rtx:
        fake.ComputeCapability = enum.IntEnum(
            "ComputeCapability", {"CURRENT": 1, "SM75": 75, "SM86": 86, "SM89": 89, "SM120": 120}
        )
        fake.DynamicShapesKernelSpecializationStrategy = enum.Enum("Specialization", "LAZY EAGER")
        fake.CudaGraphStrategy = enum.Enum("CudaGraphStrategy", "DISABLED WHOLE_GRAPH_CAPTURE")

    class Tensor:
        def __init__(self, name: str, shape: tuple[int, ...]) -> None:
            self.name, self.shape = name, shape

    class Network:
        num_inputs = len(inputs)

        def get_input(self, index: int) -> Tensor:
            name = list(inputs)[index]
            return Tensor(name, inputs[name][0])

    class Profile:
        def __init__(self) -> None:
            self.shapes: dict[str, list[Any]] = {}

        def set_shape(self, name: str, *shapes: Any) -> None:
            self.shapes[name] = [list(shape) for shape in shapes]

    class Memory(bytes):
        pass

    class Timings:
        def __init__(self, held: bytes) -> None:
            self.held = held

        def serialize(self) -> bytes:
            return self.held + b"+"

    class Config:
        num_compute_capabilities, progress_monitor = 0, None

        def __init__(self) -> None:
            self.profiles: list[Profile] = []
            self.targets: list[Any] = []

        def add_optimization_profile(self, profile: Profile) -> None:
            self.profiles.append(profile)

        def set_compute_capability(self, value: Any, index: int) -> None:
            assert index == len(self.targets) < self.num_compute_capabilities
            self.targets.append(int(value))

        def clear_flag(self, flag: Any) -> None:
            fake.calls.append(("no", flag.name))

        def set_flag(self, flag: Any) -> None:
            fake.calls.append(("flag", flag.name))

        def create_timing_cache(self, held: bytes) -> Timings:
            assert not rtx, "it times nothing at build"
            fake.calls.append(("timings", held))
            return Timings(held)

        def set_timing_cache(self, cache: Timings, mismatch: bool) -> None:
            assert not mismatch

    class Builder:
        def __init__(self, logger: ILogger) -> None:
            assert logger.made
            if not fake.driver and not rtx:
                raise TypeError("pybind11::init(): factory function returned nullptr")
            self.logger = logger

        def create_network(self, flags: int) -> Network:
            assert flags == 1 << Flag.STRONGLY_TYPED
            return Network()

        create_builder_config = staticmethod(Config)
        create_optimization_profile = staticmethod(Profile)

        def build_serialized_network(self, network: Network, config: Config) -> Memory | None:
            fake.calls.append(("build", [profile.shapes for profile in config.profiles], config.targets))
            monitor = config.progress_monitor
            if monitor is not None:
                assert monitor.made
                monitor.phase_start("Building", None, 3)
                going = all(monitor.step_complete("Building", step) for step in range(3))
                monitor.phase_finish("Building")
                if not going:
                    return None
            if "build" in fake.refused:
                self.logger.log(Severity.ERROR, "no kernel for this")  # type: ignore[attr-defined]
                return None
            return Memory(json.dumps([profile.shapes for profile in config.profiles]).encode())

    class OnnxParser:
        def __init__(self, network: Network, logger: ILogger) -> None:
            self.num_errors = 0

        def parse(self, source: bytes) -> bool:
            self.num_errors = 0 if source.startswith(b"onnx") else 1
            return not self.num_errors

        def get_error(self, index: int) -> Any:
            return type("Error", (), {"desc": lambda self: "it is no ONNX file\nat line 3"})()

    class RuntimeCache:
        held = b""

        def deserialize(self, held: bytes) -> bool:
            fake.calls.append(("compiled", held))
            self.held = held
            return held.startswith(b"kernels")

        def serialize(self) -> bytes:
            return b"kernels of " + fake.__version__.encode()

    class RuntimeConfig:
        strategy: Any = None
        cache: Any = None
        create_runtime_cache = staticmethod(RuntimeCache)

        def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
            self.strategy = strategy

        def set_runtime_cache(self, cache: RuntimeCache) -> None:
            self.cache = cache

    class Context:
        def __init__(self, profiles: list[dict[str, Any]]) -> None:
            self.profiles, self.profile, self.shapes, self.bound = profiles, 0, {}, {}  # type: ignore[var-annotated]
            self.memory = (0, 0)

        def set_optimization_profile_async(self, index: int, stream: int) -> bool:
            self.profile = index
            fake.calls.append(("profile", index, stream))
            return True

        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
            low, _, high = self.profiles[self.profile][name]
            self.shapes[name] = shape
            return all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))

        def update_device_memory_size_for_shapes(self) -> int:
            assert self.shapes.keys() == inputs.keys(), "every shape comes first"
            return 1000 * next(iter(self.shapes.values()))[0]

        def set_device_memory(self, pointer: int, size: int) -> None:
            assert pointer % 256 == 0 and size >= self.update_device_memory_size_for_shapes()
            self.memory = (pointer, size)
            fake.calls.append(("memory", pointer, size))

        def set_tensor_address(self, name: str, pointer: int) -> bool:
            self.bound[name] = pointer
            return pointer % 16 == 0

        def execute_async_v3(self, stream: int) -> bool:
            assert self.memory[0] and self.bound.keys() == {*inputs, *outputs}
            fake.calls.append(("run", stream, dict(self.bound)))
            return "run" not in fake.refused

    class Engine:
        num_io_tensors = len(inputs) + len(outputs)

        def __init__(self, profiles: list[dict[str, Any]]) -> None:
            self.profiles, self.num_optimization_profiles = profiles, len(profiles)

        def get_tensor_name(self, index: int) -> str:
            return [*inputs, *outputs][index]

        def get_tensor_dtype(self, name: str) -> Any:
            return {**inputs, **outputs}[name][1]

        def get_tensor_mode(self, name: str) -> Any:
            return fake.TensorIOMode.INPUT if name in inputs else fake.TensorIOMode.OUTPUT

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return {**inputs, **outputs}[name][0]

        def get_tensor_profile_shape(self, name: str, index: int) -> Any:
            return self.profiles[index][name]

        def create_runtime_config(self) -> RuntimeConfig:
            assert rtx
            return RuntimeConfig()

        def create_execution_context(self, how: Any) -> Context | None:
            strategy = how.strategy if rtx else how
            assert strategy is fake.ExecutionContextAllocationStrategy.USER_MANAGED
            if rtx:
                assert how.cuda_graph_strategy.name == "DISABLED" and how.cache is not None
                assert how.dynamic_shapes_kernel_specialization_strategy.name == "EAGER"
            return None if fake.full else Context(self.profiles)

    class Runtime:
        def __init__(self, logger: ILogger) -> None:
            self.logger = logger

        def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
            fake.calls.append(("load", bytes(plan)))
            if not fake.driver or plan == fake.__dict__.get("bad"):
                self.logger.log(Severity.ERROR, "CUDA driver version is insufficient")  # type: ignore[attr-defined]
                return None
            return Engine(json.loads(plan))

    fake.Builder, fake.OnnxParser, fake.Runtime = Builder, OnnxParser, Runtime
    return fake
