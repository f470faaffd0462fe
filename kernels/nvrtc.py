"""The CUDA sources as machine code, by NVRTC: no GPU needed. Compiled once a machine, then found on disk."""

from __future__ import annotations

import hashlib
import importlib
import os
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent
ARCHITECTURES: Final = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")  # Turing to Blackwell


class CudaError(RuntimeError):
    """CUDA cannot be used. The message says what is missing or what the driver answered."""


def sources() -> list[Path]:
    """Every CUDA source of the package."""
    return sorted(ROOT.glob("*/kernel.cu"))


def compile_cubin(source: Path, arch: str = "sm_90") -> bytes:
    """Machine code of ``source`` for ``arch``, through NVRTC, without a GPU. Raises CudaError with its log."""
    core = load("cuda.core")
    options = core.ProgramOptions(arch=arch, include_path=[str(ROOT)])
    try:
        program = core.Program(source.read_text(encoding="utf-8"), code_type="c++", options=options)
        return bytes(program.compile("cubin").code)
    except Exception as error:  # NVRTC's own exception types differ between releases of cuda-core
        raise CudaError(f"{source.parent.name}/{source.name} does not compile for {arch}: {error}") from error


def compile_kept(source: Path, arch: str = "sm_90") -> bytes:
    """As `compile_cubin`, from this user's cache where it was compiled before: of the same text for the same ``arch``
    by the same compiler. A file that is not whole is compiled again."""
    folder = cache_folder()
    if folder is None:
        return compile_cubin(source, arch)
    version = ".".join(map(str, load("cuda.bindings.nvrtc").nvrtcVersion()[1:]))
    text = b"".join(path.read_bytes() for path in (source, *sorted(ROOT.glob("*.cuh"))))
    name = hashlib.sha256(f"{arch} {version} ".encode() + text).hexdigest()
    kept = folder / f"{source.parent.name}-{arch}-{name[:24]}.cubin"
    if kept.is_file():
        stored = kept.read_bytes()
        if hashlib.sha256(stored[32:]).digest() == stored[:32]:
            return stored[32:]
    cubin = compile_cubin(source, arch)
    fresh = kept.with_suffix(f".{os.getpid()}")
    fresh.write_bytes(hashlib.sha256(cubin).digest() + cubin)
    os.replace(fresh, kept)
    return cubin


def cache_folder() -> Path | None:
    """Where compiled kernels are kept: $XDG_CACHE_HOME/visavis/cuda, by default under ~/.cache; None where nothing may
    be written."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "visavis" / "cuda"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a user without a home
        return None
    return folder if os.access(folder, os.W_OK) else None


def load(name: str) -> Any:
    """The module ``name`` of the extra ``gpu``. Raises CudaError, which says how to install it."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # a broken driver makes cuda-bindings raise more than ImportError
        raise CudaError(f"the CUDA kernels need the extra 'gpu' (pip install 'visavis[gpu]'): {error}") from error
