"""CUDA sources compiled for the processor by g++: every kernel becomes a C function that runs its whole grid."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
SHIM: Final = Path(__file__).with_name("cuda.h")
_KERNEL: Final = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(")
_WAITS: Final = re.compile(r"__sync(?:threads|warp)|_sync\s*\(")
FLAGS: Final = ("-std=c++17", "-O2", "-fPIC", "-shared", "-ffp-contract=off", "-fno-strict-aliasing", "-w")
FUSED: Final = ("-ffp-contract=fast", "-mfma")  # products and sums in one rounding, as nvcc makes them


def compiler() -> str | None:
    """The path of g++, or None where there is none."""
    return shutil.which("g++")


def library(source: Path) -> ctypes.CDLL:
    """The kernels of ``source``, each as ``emulate_NAME(grid, block, arguments) -> trouble or null``. Compiled once,
    then found on disk; with ``fused`` in VISAVIS_EMULATE with fused multiply-adds. Raises RuntimeError with the
    compiler's words."""
    text, found = _host_source(source), compiler()
    flags = (*FLAGS, *(FUSED if "fused" in os.environ.get("VISAVIS_EMULATE", "") else ()))
    if found is None:
        raise RuntimeError("emulating CUDA needs g++ (Debian: apt install g++)")
    headers = [SHIM, *sorted(ROOT.glob("*.cuh"))]
    known = hashlib.sha256("".join([text, *(path.read_text("utf-8") for path in headers), *flags]).encode())
    folder = Path(tempfile.gettempdir()) / f"visavis-emulator-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    built = folder / f"{source.parent.name}-{known.hexdigest()[:20]}.so"
    if not built.is_file():
        fresh = built.with_suffix(f".{os.getpid()}")
        command = [found, *flags, f"-I{ROOT}", "-include", str(SHIM), "-x", "c++", "-", "-o", str(fresh)]
        done = subprocess.run(command, input=text, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{source.parent.name}/{source.name} does not compile for the processor: {done.stderr}")
        os.replace(fresh, built)
    return ctypes.CDLL(str(built))


def kernels(source: Path) -> dict[str, bool]:
    """The kernels of ``source``, and whether their threads wait for each other."""
    text = source.read_text(encoding="utf-8")
    starts = [(found.start(), found.group(1)) for found in _KERNEL.finditer(text)]
    shared = text[: starts[0][0]] if starts else ""
    helpers = "".join(re.findall(r"\n(?:static\s+)?(?:template[^\n]*\n)?__device__.*?\n}", text, re.S))
    waits_anywhere = bool(_WAITS.search(helpers) or _WAITS.search(shared))
    ends = [start for start, _ in starts[1:]] + [len(text)]
    return {
        name: waits_anywhere or bool(_WAITS.search(text[start:end]))
        for (start, name), end in zip(starts, ends, strict=True)
    }


def _host_source(source: Path) -> str:
    """The source in a namespace of its own (``fill`` and ``rows`` are other people's names), and its entries."""
    text = source.read_text(encoding="utf-8")
    text = re.sub(r'extern\s+"C"\s*\{', "namespace device_code {", text)
    text = re.sub(r'extern\s+"C"\s+__global__', "__global__", text)
    inside = "device_code::" if "namespace device_code {" in text else ""
    entries = [
        f'extern "C" const char* emulate_{name}(const unsigned* g, const unsigned* b, void** p) {{ '
        f"emulate::run(emulate::call<&{inside}{name}>, {str(waits).lower()}, {{g[0], g[1], g[2]}}, "
        "{b[0], b[1], b[2]}, p); return emulate::trouble; }"
        f'extern "C" int sizes_{name}(int* out) {{ return emulate::sizes(&{inside}{name}, out); }}'
        for name, waits in kernels(source).items()
    ]
    return "\n".join([f'#line 1 "{source.parent.name}/{source.name}"', text, *entries, ""])
