"""What this machine offers: processors, inference runtimes, microphones, sound outputs, virtual cameras."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visavis.portaudio import Device, Direction

Section = tuple[str, list[tuple[str, ...]], str]


def report() -> list[Section]:
    """Sections of (title, rows, hint); a hint says what to install or do when something is missing."""
    sections = {
        "Compute": _compute,
        "Inference": _runtimes,
        "Microphones of this machine": _microphones,
        "Sound outputs of this machine": _speakers,
        "Virtual cameras": _cameras,
    }
    return [_section(title, find) for title, find in sections.items()]


def _section(title: str, find: Callable[[], Section]) -> Section:
    """What ``find`` finds; what fails in one section never hides the others."""
    try:
        return find()
    except Exception as problem:  # drivers and packages of others: whatever they raise, the rest is still of use
        return title, [], f"{problem}" if isinstance(problem, ValueError) else f"{type(problem).__name__}: {problem}"


def cpu_name() -> str:
    """The processor's marketing name, or the architecture when the system does not tell."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def gpu_names() -> list[str]:
    """NVIDIA GPUs that the driver lists, e.g. "NVIDIA H200, 141 GB"; empty without a driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=False)
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def _compute() -> Section:
    rows: list[tuple[str, ...]] = [("CPU", f"{cpu_name()}, {os.cpu_count()} threads")]
    rows += [("GPU", name) for name in gpu_names()]
    hint = "" if len(rows) > 1 else "No NVIDIA GPU found: the engine paints on the CPU."
    return "Compute", rows, hint


def _runtimes() -> Section:
    import onnxruntime

    rows: list[tuple[str, ...]] = [
        ("onnxruntime", onnxruntime.__version__, ", ".join(onnxruntime.get_available_providers()))
    ]
    for module in ("openvino", "tensorrt", "torch"):
        if importlib.util.find_spec(module) is not None:
            rows.append((module, "installed", ""))
    return "Inference", rows, ""


def _microphones() -> Section:
    from visavis import portaudio

    rows = _rows(portaudio.devices(), "input")
    hint = "" if rows else "None is plugged in. The browser's microphone needs nothing here."
    return "Microphones of this machine", rows, hint or "`visavis present --mic NAME` takes any part of a name."


def _speakers() -> Section:
    from visavis import portaudio, pulse

    rows = _rows(portaudio.devices(), "output")
    if sys.platform == "linux":
        made = "`visavis present` makes a microphone for calls of its own"
        hint = made if pulse.available() else f"With PulseAudio or PipeWire {made}; neither answers here"
        return "Sound outputs of this machine", rows, f"{hint}."
    return "Sound outputs of this machine", rows, "" if rows else "None is plugged in."


def _rows(found: list[Device], direction: Direction) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for device in found:
        channels = device.channels(direction)
        if channels:
            sound = f"{int(device.rate)} Hz, {channels} channel{'s' * (channels > 1)}"
            number = "" if device.node else str(device.index)
            rows.append((number, device.name, device.api, sound, "default" if device.default(direction) else ""))
    return rows


def _cameras() -> Section:
    from visavis import virtualcam

    title, rows = "Virtual cameras", [(str(path), name) for path, name in virtualcam.nodes()]
    try:
        virtualcam.library()
    except virtualcam.CameraError as problem:
        return title, list[tuple[str, ...]](rows), str(problem)
    return title, list[tuple[str, ...]](rows), "" if rows or sys.platform != "linux" else virtualcam.DRIVER["linux"]
