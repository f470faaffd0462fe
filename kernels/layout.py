"""Memory layout of the CUDA sources' structs, as the sources declare them: NumPy fills them by name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ROOT: Final = Path(__file__).parent
Array = NDArray[Any]

_TYPES: Final[dict[str, Any]] = {
    "char": np.int8, "signed char": np.int8, "unsigned char": np.uint8, "short": np.int16, "unsigned short": np.uint16,
    "int": np.int32, "unsigned": np.uint32, "unsigned int": np.uint32, "float": np.float32, "double": np.float64,
    "long long": np.int64, "unsigned long long": np.uint64,
}  # fmt: skip
_STRUCT: Final = re.compile(r"struct\s+(\w+)\s*\{(.*?)\}\s*;", re.S)
_INCLUDE: Final = re.compile(r'#include\s+"([^"]+)"')
_COMMENT: Final = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
_DEFINE: Final = re.compile(r"#define\s+(\w+)\s+(\d+)\b")
_KIND: Final = re.compile("|".join(rf"{name}\b" for name in sorted(_TYPES, key=len, reverse=True)) + r"|\w+")
_PART: Final = re.compile(r"(\*?)\s*(?:__restrict__\s*)?(\w+)\s*((?:\[\w+\]\s*)*)$")


def struct(op: str, name: str) -> np.dtype[Any]:
    """The dtype of ``struct name`` in kernels/op/kernel.cu or a header it includes. Pointers are uint64.

    Raises ValueError when there is no such struct, or it has a field of a kind that is not known here.
    """
    return _dtype(ROOT / op / "kernel.cu", name)


def table(op: str, name: str, rows: Sequence[Mapping[str, Any]]) -> Array:
    """``rows`` as an array of ``struct name``. Values are numbers, arrays, records or mappings for structs, anything
    with a ``pointer``, or None for a null pointer. Raises ValueError for a row whose fields are not the struct's."""
    dtype = struct(op, name)
    out = np.zeros(len(rows), dtype)
    for row, values in zip(out, rows, strict=True):
        _fill(f"{op}: struct {name}", row, values)
    return out


def _fill(what: str, record: Any, values: Mapping[str, Any]) -> None:
    names = set(record.dtype.names)
    if values.keys() != names:
        raise ValueError(f"{what} and the row given differ in: {', '.join(sorted(values.keys() ^ names))}")
    for field, value in values.items():
        if isinstance(value, Mapping):
            _fill(f"{what}, {field},", record[field], value)
        elif record.dtype[field].subdtype and record.dtype[field].base.names and not isinstance(value, int):
            for one, values in zip(record[field], value, strict=True):  # an array of structs
                _fill(f"{what}, {field},", one, values)
        else:
            record[field] = plain(value)


def plain(value: Any) -> Any:
    """``value`` as NumPy stores it: a null pointer for None, its address for what has a ``pointer``."""
    return 0 if value is None else getattr(value, "pointer", value)


@lru_cache(None)
def _dtype(source: Path, name: str) -> np.dtype[Any]:
    text, constants = _read(source)
    bodies = dict(_STRUCT.findall(text))
    if name not in bodies:
        raise ValueError(f"{source.parent.name}/{source.name} has no struct {name}")
    fields = [field for line in bodies[name].split(";") if line.strip() for field in _fields(source, line, constants)]
    return np.dtype(fields, align=True)


def _fields(source: Path, line: str, constants: Mapping[str, int]) -> list[tuple[Any, ...]]:
    """The fields of one declaration: ``const float *a, *b`` or ``float r[9], focal``."""
    words = " ".join(line.replace("const ", " ").split())
    first, *more = [part.strip() for part in words.split(",")]
    head = _KIND.match(first)
    assert head is not None
    kind, own = head.group(), first[head.end() :]
    fields = []
    for part in (own, *more):
        found = _PART.match(part.strip())
        if found is None:
            raise ValueError(f"{source.parent.name}/{source.name}: cannot read the field {part!r} of {line.strip()!r}")
        star, name, sides = found.groups()
        shape = tuple(constants[side] if side in constants else int(side) for side in re.findall(r"\[(\w+)\]", sides))
        one = np.uint64 if star else _TYPES[kind] if kind in _TYPES else _dtype(source, kind)
        fields.append((name, one, shape) if shape else (name, one))
    return fields


@lru_cache(None)
def _read(source: Path) -> tuple[str, dict[str, int]]:
    """The text of ``source`` and of what it includes, without comments, and the numbers it defines."""
    text = source.read_text(encoding="utf-8")
    for name in _INCLUDE.findall(text):
        text = (ROOT / name).read_text(encoding="utf-8") + text
    text = _COMMENT.sub("", text)
    return text, {name: int(value) for name, value in _DEFINE.findall(text)}
