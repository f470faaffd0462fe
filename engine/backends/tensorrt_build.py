"""TensorRT's two packages, and engines built by them: `tensorrt` (data centre GPUs), `tensorrt_rtx` (GeForce and RTX).

They have nearly the same interface; `Flavour` says where they differ. Types in the ONNX file are what is computed
(strong typing). TensorRT for RTX builds without a GPU; kernels are then chosen on the user's.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

PACKAGES: Final = ("tensorrt", "tensorrt_rtx")
INSTALL: Final = {
    "tensorrt": "pip install 'visavis[tensorrt]' --extra-index-url https://pypi.nvidia.com (NVIDIA's own index has its "
    "libraries; a package registry has none)",
    "tensorrt_rtx": "pip install 'visavis[trt-rtx]'",
}
# Compute capabilities that TensorRT for RTX supports; and 7.5, for which it cannot build lips and performer: they are
# single precision, of which Turing's tensor cores know nothing.
RTX: Final = ("8.6", "8.9", "12.0", "12.1")
MOST: Final = 64  # frames of a batch
Progress = Callable[[str, int, int], None]  # what is being done, steps done, steps in all
_log = logging.getLogger(__name__)


class Profile(NamedTuple):
    """Frames of a batch: fewest, those that kernels are chosen for, most."""

    least: int
    usual: int
    most: int


class Flavour:
    """One of the two packages, loaded. Raises ValueError, with what to install, when it does not load."""

    def __init__(self, name: str) -> None:
        if name not in PACKAGES:
            raise ValueError(f"TensorRT is one of the packages {' and '.join(PACKAGES)}; got {name!r}")
        try:
            self.trt = importlib.import_module(name)
        except (
            Exception
        ) as error:  # ImportError, OSError of a library that is missing, and what the package makes of it
            raise ValueError(f"{name} cannot be used ({brief(str(error))}): {INSTALL[name]}") from error
        self.name, self.version = name, str(self.trt.__version__)
        self.rtx = name == "tensorrt_rtx"
        self.said: list[str] = []  # errors of the runtime since the last call
        self.logger = _logger(self.trt, self.said)

    @property
    def runs(self) -> str:
        """It in words: "TensorRT 10.15.1"."""
        return f"TensorRT{' for RTX' * self.rtx} {self.version}"

    def profiles(self, most: int = MOST) -> tuple[Profile, ...]:
        """For batches of 1 to ``most``. TensorRT times kernels for the usual one of each; that for RTX compiles them
        on the user's GPU for the batches that it sees."""
        if self.rtx:
            return (Profile(1, min(8, most), most),)
        ranges = (Profile(1, 1, 1), Profile(2, 4, 8), Profile(9, 32, MOST))
        return tuple(Profile(a, min(b, most), min(c, most)) for a, b, c in ranges if a <= most)

    def why(self) -> str:
        """The last errors it has said, in one line."""
        told, self.said[:] = "; ".join(dict.fromkeys(map(brief, self.said))), []
        return told or "it gives no reason"


def find(name: str | None = None, capability: str | None = None) -> Flavour:
    """The package called ``name``, or without one the first that loads of the two that suit a GPU of ``capability``:
    TensorRT for RTX where it is supported, TensorRT otherwise.

    Raises ValueError, with what to install, when there is none.
    """
    if name is not None:
        flavour = Flavour(name)
        if flavour.rtx and capability is not None and capability not in RTX:
            _log.warning(
                "%s does not officially support GPUs of compute capability %s; should it fail: %s",
                flavour.runs, capability, INSTALL["tensorrt"],
            )  # fmt: skip
        return flavour
    order = PACKAGES[::-1] if capability is None or capability in RTX else PACKAGES[:1]
    missing = []
    for package in order:
        try:
            return Flavour(package)
        except ValueError as error:
            missing.append(str(error))
    raise ValueError("; or ".join(missing))


def build(
    flavour: Flavour, onnx: bytes, profiles: Sequence[Profile], *, targets: Sequence[str] = (),
    timings: bytes = b"", progress: Progress | None = None,
) -> tuple[bytes, bytes]:  # fmt: skip
    """An engine of the ONNX file ``onnx``, and the timings of kernels that make the next build faster (TensorRT only).

    ``targets``: compute capabilities ("8.9") to build for without such a GPU at hand (TensorRT for RTX only). What
    ``progress`` raises stops the build. Raises ValueError for a network that cannot be read, has free sides other than
    the batch, or cannot be built, and for targets that the package does not know.
    """
    trt, known = flavour.trt, targets_of(flavour)
    unknown = [target for target in targets if target not in known]
    if unknown:
        raise ValueError(f"{flavour.runs} builds for no GPU but the one here" if not known else
                         f"{flavour.runs} builds for {', '.join(known)}; not for {', '.join(unknown)}")  # fmt: skip
    try:
        builder = trt.Builder(flavour.logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    except Exception as error:  # a builder that finds no GPU is a null pointer, which the bindings raise as TypeError
        raise ValueError(f"{flavour.runs} cannot build here ({flavour.why()}); is there an NVIDIA driver?") from error
    parser = trt.OnnxParser(network, flavour.logger)
    if not parser.parse(onnx):
        told = [brief(str(parser.get_error(i).desc())) for i in range(parser.num_errors)]
        raise ValueError(f"{flavour.runs} cannot read this network: {'; '.join(told) or flavour.why()}")
    config = builder.create_builder_config()
    for least, usual, most in profiles:
        profile = builder.create_optimization_profile()
        for index in range(network.num_inputs):
            tensor = network.get_input(index)
            first, *row = tensor.shape
            if -1 in row:
                raise ValueError(f"input {tensor.name} has free sides besides the batch: {tuple(tensor.shape)}")
            if first == -1:
                profile.set_shape(tensor.name, *((count, *row) for count in (least, usual, most)))
        config.add_optimization_profile(profile)
    if targets:
        config.num_compute_capabilities = len(targets)
        for index, target in enumerate(targets):
            config.set_compute_capability(known[target], index)
    config.clear_flag(trt.BuilderFlag.TF32)  # float32 is what the file says and what parity is measured against
    if flavour.rtx:  # or its memory could be its own, and nothing captured
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    times = None if flavour.rtx else config.create_timing_cache(timings)
    if times is not None:
        config.set_timing_cache(times, False)
    monitor = _monitor(trt, progress) if progress is not None else None
    if monitor is not None:
        config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if monitor is not None and monitor.stopped is not None:
        raise monitor.stopped
    if plan is None:
        raise ValueError(f"{flavour.runs} cannot build this network: {flavour.why()}")
    return bytes(plan), b"" if times is None else bytes(times.serialize())


def targets_of(flavour: Flavour) -> dict[str, Any]:
    """Compute capabilities that it builds for without such a GPU."""
    members = getattr(getattr(flavour.trt, "ComputeCapability", None), "__members__", {})
    return {f"{name[2:-1]}.{name[-1]}": value for name, value in members.items() if name.startswith("SM")}


def _logger(trt: Any, said: list[str]) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]
        """The runtime's messages, among ours. Errors are kept: the calls themselves only answer None or False."""

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                said.append(message)
            elif severity == trt.ILogger.Severity.WARNING:
                _log.info("%s", message)

    return Logger()


def _monitor(trt: Any, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Tells how far phases of several steps have come."""

        def __init__(self) -> None:
            super().__init__()
            self.sizes: dict[str, int] = {}
            self.stopped: BaseException | None = None

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.sizes[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if self.sizes.get(phase_name, 0) > 1 and self.stopped is None:
                try:
                    progress(phase_name, step + 1, self.sizes[phase_name])
                except BaseException as error:  # through C++ it would end the process
                    self.stopped = error
            return self.stopped is None

        def phase_finish(self, phase_name: str) -> None:
            self.sizes.pop(phase_name, None)

    return Monitor()


def brief(message: str) -> str:
    """The first line of a message, without where in the runtime's sources it comes from."""
    line = message.strip().splitlines()[0] if message.strip() else message
    return line if len(line) <= 200 else line[:197] + "..."
