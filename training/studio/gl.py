"""OpenGL without a window: a context on EGL (Mesa's software rasteriser or an NVIDIA GPU), programs, targets.

It knows nothing of people or light. Needs moderngl (extra `train`) and EGL from the system.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SHADERS: Final = Path(__file__).parent / "shaders"
ADVICE: Final = (
    "The studio draws with OpenGL 3.3 on EGL. On Debian or Ubuntu: apt-get install libegl1 libgl1 libgl1-mesa-dri "
    "(software rendering), or the NVIDIA driver with its EGL library (libnvidia-gl-*)."
)


class GlError(RuntimeError):
    """OpenGL cannot be used here. The message says what is missing and how to install it."""


def open_context(device: int = 0) -> Any:
    """A moderngl context on EGL device number ``device``. Raises GlError with the remedy when there is none."""
    try:
        import moderngl
    except ImportError as error:
        raise GlError("moderngl is not installed: pip install 'visavis[train]'") from error
    try:
        options: dict[str, Any] = {"backend": "egl", "device_index": device}
        return moderngl.create_context(require=330, standalone=True, **options)
    except Exception as error:  # moderngl and glcontext raise bare Exception, OSError, ImportError by the cause
        raise GlError(f"no OpenGL context on EGL device {device} ({error}). {ADVICE}") from error


def source(name: str, defines: dict[str, float | int | str] | None = None) -> str:
    """Text of a shader file with its `#include "file"` lines replaced and ``defines`` put after `#version`."""
    lines = "".join(f"#define {key} {value}\n" for key, value in (defines or {}).items())
    return f"#version 330\n{lines}{_included(name)}"


def _included(name: str) -> str:
    text = (SHADERS / name).read_text(encoding="utf-8")
    return re.sub(r'^#include "(.+)"$', lambda line: _included(line[1]), text, flags=re.M)


class Program:
    """A vertex and a fragment shader. ``set`` ignores uniforms that the compiler found unused."""

    def __init__(self, context: Any, vertex: str, fragment: str, **defines: float | int | str) -> None:
        self.name = fragment
        self.program = context.program(vertex_shader=source(vertex, defines), fragment_shader=source(fragment, defines))
        self._members = {name: self.program[name] for name in self.program}

    def set(self, **values: Any) -> None:
        """Sets uniforms: floats, ints and tuples as they are, arrays as float32, matrices as NumPy writes them."""
        for name, value in values.items():
            member = self._members.get(name)
            if member is None:
                continue
            if isinstance(value, np.ndarray):
                member.write(_bytes(value, member))
            else:
                member.value = value


def _bytes(value: NDArray[Any], member: Any) -> bytes:
    """GLSL keeps matrices column by column. An array that the compiler found half used is cut to what it kept."""
    matrix = member.dimension in (9, 16)
    value = np.swapaxes(value, -1, -2) if matrix else value[: member.array_length]
    return np.ascontiguousarray(value, np.float32).tobytes()


class Target:
    """A framebuffer and its textures, ``formats`` of (components, dtype) each, with a depth texture if asked."""

    def __init__(
        self, context: Any, size: tuple[int, int], formats: list[tuple[int, str]], depth: bool = False
    ) -> None:
        import moderngl

        height, width = size
        self.size = size
        self.colours = [context.texture((width, height), components, dtype=dtype) for components, dtype in formats]
        for texture, (_, dtype) in zip(self.colours, formats, strict=True):
            smooth = dtype in ("f1", "f2")
            texture.filter = (moderngl.LINEAR, moderngl.LINEAR) if smooth else (moderngl.NEAREST, moderngl.NEAREST)
            texture.repeat_x = texture.repeat_y = False
        self.depth = context.depth_texture((width, height)) if depth else None
        if self.depth is not None:
            self.depth.compare_func = ""  # read as numbers
            self.depth.filter = (moderngl.NEAREST, moderngl.NEAREST)
            self.depth.repeat_x = self.depth.repeat_y = False
        self.framebuffer = context.framebuffer(self.colours, self.depth)

    def read(self, attachment: int, dtype: Any, components: int) -> NDArray[Any]:
        """One colour texture as (H, W, components), row 0 first as it was drawn."""
        names = {np.dtype(np.uint8): "f1", np.dtype(np.float32): "f4"}
        kind = "u1" if self.colours[attachment].dtype == "u1" else names[np.dtype(dtype)]
        data = self.framebuffer.read(components=components, attachment=attachment, dtype=kind, alignment=1)
        return np.frombuffer(data, dtype).reshape(*self.size, components)


def picture(
    context: Any, array: NDArray[Any], *, mipmaps: bool = False, repeat: bool = False
) -> Any:  # fmt: skip
    """A texture of (h, w, C) uint8 (read as 0..1), float16 or float32, filtered linearly."""
    import moderngl

    kinds = {np.dtype(np.uint8): "f1", np.dtype(np.float16): "f2", np.dtype(np.float32): "f4"}
    array = np.ascontiguousarray(array if array.ndim == 3 else array[..., None])
    height, width, components = array.shape
    texture = context.texture((width, height), components, array.tobytes(), dtype=kinds[array.dtype], alignment=1)
    texture.filter = (moderngl.LINEAR, moderngl.LINEAR)
    if mipmaps:
        texture.build_mipmaps()
        texture.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
    texture.repeat_x = texture.repeat_y = repeat
    return texture
