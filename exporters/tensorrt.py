"""ONNX -> TensorRT engine, kept where a session looks for it (engine/backends/tensorrt).

With a GPU: an engine for that GPU. Without one TensorRT for RTX builds for the GPUs that it supports, and the engine
lies beside the graph.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from engine.backends import kept
from engine.backends.tensorrt import ANY, Gpu, built, key_of, read_network
from engine.backends.tensorrt_build import MOST, Flavour, Progress

PORTABLE: Final = ("8.6", "8.9", "12.0")  # compute capabilities of an engine that is built without a GPU
EIGHT: Final = ("8.9", "12.0")  # those of them that compute with eight-bit floats


def export_engine(
    onnx: Path, flavour: Flavour, gpu: Gpu | None, *, targets: tuple[str, ...] = PORTABLE, most: int = MOST,
    cache: Path | None = None, progress: Progress | None = None,
) -> Path:  # fmt: skip
    """Builds the engine of ``onnx`` and returns its file: in ``cache`` (by default this user's) for ``gpu`` and batches
    of 1 to ``most``, or without a GPU beside ``onnx`` for ``targets`` and any batch.

    Raises ValueError when the graph cannot be read or built, for full TensorRT without a GPU, and OSError when the
    engine cannot be written.
    """
    source, profiles = read_network(onnx), flavour.profiles(most if gpu is not None else MOST)
    if gpu is None:
        if not flavour.rtx:
            raise ValueError(
                f"{flavour.runs} builds engines on the GPU that will run them, and there is none here; take the ONNX "
                "file there (--backend onnx), or build for GeForce and RTX GPUs: pip install 'visavis[trt-rtx]'"
            )
        path, key = onnx.with_suffix(".engine"), key_of(flavour, ANY, profiles, source)
        plan = built(flavour, onnx.name, source, ANY, profiles, None, progress, targets)
    else:
        folder = cache or kept.folder("tensorrt")
        if folder is None:
            raise OSError("engines are kept under $XDG_CACHE_HOME or ~/.cache, and neither can be written")
        key = key_of(flavour, gpu, profiles, source)
        path = kept.place(folder, key, ".engine")
        plan = built(flavour, onnx.name, source, gpu, profiles, folder, progress)
    kept.write(path, key, plan)
    if kept.read(path, key) is None:
        raise OSError(f"{path} could not be written")
    return path
