"""What this machine offers: processors, inference runtimes, microphones, virtual cameras."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
from pathlib import Path

Section = tuple[str, list[tuple[str, ...]], str]


def report() -> list[Section]:
    """Sections of (title, rows, hint); a hint says what to install or do when something is missing."""
    return [_compute(), _runtimes(), _microphones(), _cameras()]


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
    title = "Microphones of this machine"
    if importlib.util.find_spec("pyaudio") is None:
        return (
            title,
            [],
            "The browser's microphone needs nothing. For this machine's: pip install 'visavis[mic]'",
        )
    import pyaudio

    audio = pyaudio.PyAudio()
    try:
        infos = [audio.get_device_info_by_index(i) for i in range(audio.get_device_count())]
    finally:
        audio.terminate()
    rows: list[tuple[str, ...]] = [
        (str(info["index"]), str(info["name"]), f"{int(info['defaultSampleRate'])} Hz")
        for info in infos
        if info["maxInputChannels"]
    ]
    return title, rows, ""


def _cameras() -> Section:
    title = "Virtual cameras"
    nodes = sorted(str(path) for path in Path("/dev").glob("video*"))
    if importlib.util.find_spec("pyvirtualcam") is None:
        return (
            title,
            [(node,) for node in nodes],
            "To show the avatar as a camera: pip install 'visavis[camera]'",
        )
    return title, [(node,) for node in nodes], ""
