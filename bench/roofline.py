"""The roof over a kernel: the fewest microseconds a card needs for the bytes it moves and what it computes.

The roofline of Williams, Waterman and Patterson (2009). A roof is measured on the GPU that is there, or taken from a
card's data sheet; a time is only ever measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from kernels.cuda import Device, DeviceArray, Stream, blocks

SOURCE: Final = "../bench/ceilings"  # of kernels/: Device finds CUDA sources by folder
WARM, TIMED = 5, 20  # launches
COPY_BYTES: Final = 1 << 31  # far beyond any second-level cache
MATRIX: Final = 8192  # a side
UNITS: Final = {"bones": "fp64", "experts": "fp16"}  # what computes in something else than fp32


@dataclass(frozen=True, slots=True)
class Roof:
    """``copy``: bytes a second, those read and those written both counted; the rest: operations a second, a product and
    its sum being two, None where unknown. Matrices (tf32, fp16) with float32 sums, dense."""

    name: str
    copy: float
    fp32: float
    fp64: float | None
    tf32: float | None
    fp16: float | None
    source: str

    def peak(self, unit: str) -> float:
        """Operations a second of ``unit``; of float32 where that one is unknown."""
        return getattr(self, unit) or self.fp32

    def json(self) -> dict[str, Any]:
        """For the figures' file."""
        return asdict(self)


# As published, boost clock; measured copies reach some 90 % of the memory's rate.
CARDS: Final = {
    "h200": Roof("H200 SXM", 4.8e12, 67e12, 34e12, 494.7e12, 989.5e12,
                 "NVIDIA H200 Tensor Core GPU data sheet, 2024; matrix figures halved, which it gives with sparsity"),
    "rtx4090": Roof("GeForce RTX 4090", 1.008e12, 82.6e12, 1.29e12, 82.6e12, 165.2e12,
                    "NVIDIA Ada GPU architecture white paper v2.02, appendix A"),
    "l4": Roof("L4", 0.3e12, 30.3e12, 0.473e12, 60e12, 121e12,
               "NVIDIA L4 Tensor Core GPU data sheet, 2023; matrix figures halved, which it gives with sparsity"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bound:
    """Fewest seconds, and what keeps a kernel there: "memory" or "arithmetic"."""

    seconds: float
    by: str


def card(name: str) -> Roof:
    """A published roof. Raises ValueError for a card that is not in the list."""
    if name not in CARDS:
        raise ValueError(f"--card knows {', '.join(CARDS)}; got {name!r}")
    return CARDS[name]


def bound(roof: Roof, moved: int, operations: int, unit: str = "fp32") -> Bound:
    """The fewest seconds for ``moved`` bytes and ``operations``, whichever takes longer."""
    memory, arithmetic = moved / roof.copy, operations / roof.peak(unit)
    return Bound(memory, "memory") if memory >= arithmetic else Bound(arithmetic, "arithmetic")


def unit(kernel: str) -> str:
    """Which arithmetic ``op.kernel`` is bound by."""
    return UNITS.get(kernel.partition(".")[0], "fp32")


def measure(device: Device) -> tuple[Roof, dict[str, float]]:
    """The roof of the GPU that is there, and more of it: the driver's own copy (bytes/s), an empty kernel (ms).

    Matrices are multiplied by torch where a CUDA build of it is installed; else their figures are None.
    """
    stream = device.stream()
    drivers, ours = copies(device, stream)
    threads, rounds = 256 * 32 * device.processors, 4096
    out = device.empty(threads, np.float32)
    taken = best(device, stream, lambda: multiply(device, stream, out, rounds))
    fp32 = threads * rounds * 16 / (1e-3 * taken)
    empty = best(device, stream, lambda: device.launch(SOURCE, "nothing", (1,), (1,), stream=stream))
    tf32, fp16 = matrices()
    roof = Roof(device.name, max(drivers, ours), fp32, None, tf32, fp16, "measured in this run")
    return roof, {"driver_copy": drivers, "kernel_copy": ours, "empty_kernel_ms": empty}


def copies(device: Device, stream: Stream) -> tuple[float, float]:
    """Bytes a second of the driver's copy and of a kernel's, those read and those written counted."""
    words = COPY_BYTES // 2 // 16
    source, target = (device.empty(words * 4, np.uint32) for _ in range(2))
    stream.clear(source, 0x5A)
    driver, grid, count = device.driver, (blocks(words, 1024),), np.array(words)
    work: tuple[Callable[[], object], ...] = (
        lambda: device.check(driver.cuMemcpyDtoDAsync(target.pointer, source.pointer, source.nbytes, stream.handle)),
        lambda: device.launch(SOURCE, "copy", grid, (256,), source, target, count, stream=stream),
    )
    drivers, ours = (2 * source.nbytes / (1e-3 * best(device, stream, one)) for one in work)
    return drivers, ours


def multiply(device: Device, stream: Stream, out: DeviceArray, rounds: int) -> None:
    """Products in float32 that fill the GPU."""
    device.launch(SOURCE, "multiply", (out.shape[0] // 256,), (256,), out, rounds, 0.999, stream=stream)


def best(device: Device, stream: Stream, work: Callable[[], object]) -> float:
    """Median milliseconds of ``work``, by events."""
    times = []
    for number in range(WARM + TIMED):
        start, end = device.event(), device.event()
        start.record(stream)
        work()
        end.record(stream)
        end.wait()
        if number >= WARM:
            times.append(end.since(start))
    return float(np.median(times))


def matrices() -> tuple[float | None, float | None]:
    """Operations a second of torch's matrix product in TF32 and in half precision, on random data."""
    try:
        import torch

        if not torch.cuda.is_available():
            return None, None
    except Exception:  # a broken CUDA build raises many types
        return None, None
    found = []
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    for dtype in (torch.float32, torch.float16):
        a, b = (torch.randn(MATRIX, MATRIX, device="cuda", dtype=dtype) for _ in range(2))
        times = []
        for number in range(WARM + TIMED):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            torch.matmul(a, b)
            end.record()
            end.synchronize()
            if number >= WARM:
                times.append(start.elapsed_time(end))
        found.append(2 * MATRIX**3 / (1e-3 * float(np.median(times))))
    torch.backends.cuda.matmul.allow_tf32 = before
    return found[0], found[1]


def plot(folder: Path, name: str, roof: Roof, points: Sequence[tuple[str, int, int, float | None]]) -> Path:
    """A roofline as PNG: ``points`` of (kernel, bytes, operations, seconds). One that was not timed stands as a tick on
    the roof, hollow. Raises ValueError when matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("--plot needs matplotlib: pip install 'visavis[train]'") from None
    drawn = [point for point in points if point[1] and point[2]]
    figure = Figure(figsize=(10, 6), layout="constrained")
    axes = figure.subplots()
    intensity = np.geomspace(0.01, 1e4, 200)
    for label, style in (("fp32", "-"), ("tf32", "--"), ("fp16", ":")):
        peak = getattr(roof, label)
        if peak:
            axes.plot(intensity, np.minimum(intensity * roof.copy, peak) / 1e9, "k" + style, lw=1, label=label)
    for number, (label, moved, operations, seconds) in enumerate(drawn):
        at = operations / moved
        rate = operations / (seconds or bound(roof, moved, operations, unit(label)).seconds) / 1e9
        face = f"C{number % 10}" if seconds else "none"
        style = "os^v"[number % 4]
        axes.plot(at, rate, style, color=f"C{number % 10}", ms=6, label=label, markerfacecolor=face)
    told = "" if any(point[3] for point in drawn) else ": not timed, as far as the roof allows"
    axes.set(xscale="log", yscale="log", xlabel="operations a byte", ylabel="GFLOP/s", title=f"{roof.name}{told}")
    axes.legend(fontsize=6, ncols=2, loc="lower right")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    figure.savefig(path, dpi=110)
    return path
