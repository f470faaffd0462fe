"""Cooked clips on disk: one file a clip, in tiles, so that a crop reads no more than it shows.

A file is in safetensors' layout (length, JSON, arrays), so anything that reads those reads it:

    blocks   every tile of every frame, each compressed by itself (zstd), one after another
    index    (T, tiles, tiles, 2) where a tile's block begins in ``blocks``, and its bytes
    motion   (T, SIZE) float32        view  (T, 4) float32
    reference (K, 7, 128, 128) u8: red, green, blue over grey, world normal (127.5 + 127.5 n), alpha
    __metadata__ clip: a JSON table: number, kind, person, framing, light, frames, size, ...

Before compression a tile's planes are turned into differences from the row above, red and blue into differences from
green. Measured on held-out clips of 512 x 512 (1 core): 390 KB a frame; WebP-like prediction saves 3 % more and reads
half as fast, LZ4 takes 705 KB.
"""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import zstandard
from numpy.typing import NDArray

from kernels.jit import F32, U8, exact

FORMAT: Final = 1
SUFFIX: Final = ".clip"
TILE: Final = 64  # pixels a side
HALF: Final = TILE // 2
HI, TARGET, LO = 6, 4, 7  # planes
FULL: Final = HI + TARGET + 1  # planes at full size: hi, target, region
SMALL: Final = LO + 1 + 4  # at half size: lo, seen, and two bytes for each of the flow's two numbers
BYTES: Final = FULL * TILE * TILE + SMALL * HALF * HALF
STEP: Final = 32  # steps of the flow a pixel
LEVEL: Final = 6  # of zstd
_TYPES: Final = {"U8": np.uint8, "I64": np.int64, "F32": np.float32}


class ClipError(ValueError):
    """A cooked clip cannot be read. The message names the file and what to do."""


class Planes(NamedTuple):
    """One frame, or a part of it, (h,w): hi (6,h,w) and lo (7,h/2,w/2) u8, flow (2,h/2,w/2) f32 pixels and seen
    (h/2,w/2) u8 as engine/render/guidance.py draws them; target (4,h,w) u8 premultiplied; region (h,w) u8, class."""

    hi: U8
    lo: U8
    flow: F32
    seen: U8
    target: U8
    region: U8


def empty(height: int, width: int) -> Planes:
    """Uninitialised planes of (height, width), both even."""
    small = (height // 2, width // 2)
    return Planes(
        np.empty((HI, height, width), np.uint8), np.empty((LO, *small), np.uint8), np.empty((2, *small), np.float32),
        np.empty(small, np.uint8), np.empty((TARGET, height, width), np.uint8), np.empty((height, width), np.uint8),
    )  # fmt: skip


class Writer:
    """Compresses frame after frame; ``save`` writes the file, whole or not at all."""

    def __init__(self, size: int) -> None:
        if size % TILE:
            raise ValueError(f"size must be a multiple of {TILE}, got {size}")
        self.tiles = size // TILE
        self._press = zstandard.ZstdCompressor(LEVEL)
        self._blocks: list[bytes] = []

    def add(self, planes: Planes) -> None:
        """Takes the next frame."""
        self._blocks += [self._press.compress(tile.data) for tile in _packed(planes).reshape(-1, BYTES)]

    def save(self, path: Path, motion: F32, view: F32, reference: U8, about: dict[str, Any]) -> int:
        """Writes all frames to ``path`` with a line of each of ``motion`` and ``view`` a frame; returns its bytes."""
        shape = (-1, self.tiles, self.tiles)
        sizes = np.array([len(block) for block in self._blocks], np.int64)
        index = np.stack([np.cumsum(sizes) - sizes, sizes], axis=1).reshape(*shape, 2)
        if not len(motion) == len(view) == len(index):
            raise ValueError(f"{len(index)} frames, {len(motion)} motions, {len(view)} views")
        arrays: dict[str, NDArray[Any]] = {"index": index, "motion": motion, "view": view, "reference": reference}
        arrays["blocks"] = np.frombuffer(b"".join(self._blocks), np.uint8)
        names = {np.dtype(kind): name for name, kind in _TYPES.items()}
        header: dict[str, Any] = {"__metadata__": {"clip": json.dumps({**about, "format": FORMAT}, sort_keys=True)}}
        start = 0
        for name, array in arrays.items():
            header[name] = {"dtype": names[array.dtype], "shape": list(array.shape),
                            "data_offsets": [start, start + array.nbytes]}  # fmt: skip
            start += array.nbytes
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        partial = path.with_name(f".{path.name}.partial")
        try:
            with open(partial, "wb") as file:
                file.write(len(text).to_bytes(8, "little") + text)
                for array in arrays.values():
                    file.write(np.ascontiguousarray(array).data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        return start + len(text) + 8


class Clip:
    """A cooked clip, read as it is asked for. ``motion`` (T,SIZE), ``view`` (T,4), ``reference`` (K,7,128,128) u8.

    Raises ClipError when the file is no whole clip of this version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            data = np.memmap(path, np.uint8, "r")
            length = int.from_bytes(data[:8].tobytes(), "little")
            header: dict[str, Any] = json.loads(data[8 : 8 + length].tobytes())
            self.about: dict[str, Any] = json.loads(header["__metadata__"]["clip"])
            if self.about["format"] != FORMAT:
                raise ClipError(f"{path}: format {self.about['format']}, this version reads {FORMAT}; cook it again")
            arrays = {name: _view(data[8 + length :], entry) for name, entry in header.items() if name[0] != "_"}
            self._index, self._blocks = np.array(arrays["index"]), arrays["blocks"]
            self.motion, self.view = np.array(arrays["motion"]), np.array(arrays["view"])
            self.reference = np.array(arrays["reference"])
            if self._index.size and int(self._index[-1, -1, -1].sum()) != len(self._blocks):
                raise ClipError(f"{path}: {len(self._blocks)} bytes of pictures are not what its index says")
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            if isinstance(error, ClipError):
                raise
            raise ClipError(f"{path}: not a whole cooked clip ({error}); remove it, then cook again") from error
        self._open = zstandard.ZstdDecompressor()
        self._canvas: Planes | None = None
        self._classes: dict[int, U8] = {}

    def __len__(self) -> int:
        return len(self._index)

    def classes(self, frame: int, step: int) -> U8:
        """Classes of every ``step``-th pixel of a frame; ``step`` divides TILE."""
        if frame not in self._classes:
            n, tiles = TILE // step, range(self.size // TILE)
            out = np.empty((len(tiles) * n, len(tiles) * n), np.uint8)
            for row in tiles:
                for column in tiles:
                    raw = np.frombuffer(self._tile(frame, row, column), np.uint8)
                    last = FULL * TILE * TILE
                    plane = np.cumsum(raw[last - TILE * TILE : last].reshape(TILE, TILE), axis=0, dtype=np.uint8)
                    out[row * n : row * n + n, column * n : column * n + n] = plane[
                        step // 2 :: step, step // 2 :: step
                    ]
            self._classes[frame] = out
        return self._classes[frame]

    def _tile(self, frame: int, row: int, column: int) -> bytes:
        start, size = self._index[frame, row, column].tolist()
        return self._open.decompress(self._blocks[start : start + size].data, max_output_size=BYTES)

    @property
    def size(self) -> int:
        """Side of the pictures."""
        return int(self._index.shape[1]) * TILE

    def read(self, frame: int, top: int, left: int, side: int, out: Planes) -> Planes:
        """Fills ``out`` with the square of ``side`` pixels at (top, left) of a frame; all three even. Raises ValueError
        when it does not lie in the picture."""
        if not (0 <= top <= self.size - side and 0 <= left <= self.size - side and 0 <= frame < len(self)):
            raise ValueError(
                f"no square of {side} at ({top}, {left}) in frame {frame} of {len(self)}, {self.size} wide"
            )
        if (top | left | side) % 2:
            raise ValueError(f"a crop must lie on even pixels, got {side} at ({top}, {left})")
        rows, columns = (range(low // TILE, (low + side - 1) // TILE + 1) for low in (top, left))
        height, width = len(rows) * TILE, len(columns) * TILE
        if self._canvas is None or self._canvas.region.shape != (height, width):
            self._canvas = empty(height, width)
        canvas = self._canvas
        for row in rows:
            for column in columns:
                raw = np.frombuffer(self._tile(frame, row, column), np.uint8)
                place = row - rows[0], column - columns[0]
                _unpack(
                    raw, *place, canvas.hi, canvas.target, canvas.region, canvas.lo, canvas.seen, canvas.flow
                )  # fmt: skip
        y, x = top - rows[0] * TILE, left - columns[0] * TILE
        for name in Planes._fields:
            scale = 2 if name in ("lo", "flow", "seen") else 1
            a, b, n = y // scale, x // scale, side // scale
            getattr(out, name)[...] = getattr(canvas, name)[..., a : a + n, b : b + n]
        return out


def _view(data: U8, entry: dict[str, Any]) -> NDArray[Any]:
    start, stop = entry["data_offsets"]
    if stop > len(data):
        raise ValueError(f"the file ends {stop - len(data)} bytes early")
    return np.frombuffer(data[start:stop], _TYPES[entry["dtype"]]).reshape(entry["shape"])


def _tiles(planes: NDArray[Any], side: int) -> NDArray[Any]:
    """(C,H,W) as (rows, columns, C, side, side), each tile's rows as differences from the row above."""
    count, height, width = planes.shape
    tiles = planes.reshape(count, height // side, side, width // side, side).transpose(1, 3, 0, 2, 4)
    out = np.ascontiguousarray(tiles)
    out[..., 1:, :] -= tiles[..., :-1, :]
    return out


def _packed(planes: Planes) -> U8:
    """A frame's tiles as differences, (rows, columns, BYTES)."""
    hi, target = planes.hi.copy(), planes.target.copy()
    for picture in (hi, target):
        picture[[0, 2]] -= picture[1]
    full = _tiles(np.concatenate([hi, target, planes.region[None]]), TILE)
    small = _tiles(np.concatenate([planes.lo, planes.seen[None]]), HALF)
    steps = np.clip(np.rint(np.nan_to_num(planes.flow) * STEP), -32768, 32767).astype(np.int16)
    steps = _tiles(steps, HALF)
    steps[..., 0, 1:] -= steps[..., 0, :-1].copy()
    code = (steps.astype(np.int32) << 1) ^ (steps.astype(np.int32) >> 31)  # small steps of either sign: small numbers
    pair = np.stack([code & 255, code >> 8 & 255], axis=3).astype(np.uint8)
    shape = full.shape[:2]
    return np.concatenate([part.reshape(*shape, -1) for part in (full, small, pair)], axis=2)


@exact
def _unpack(raw: U8, row: int, column: int, hi: U8, target: U8, region: U8, lo: U8, seen: U8, flow: F32) -> None:
    """The inverse of _pack: a tile to its place (row, column) among the tiles of a canvas. flow in pixels."""
    top, left, half, area = row * TILE, column * TILE, HALF, TILE * TILE
    for p in range(FULL):
        plane = hi[p] if p < HI else (target[p - HI] if p < HI + TARGET else region)
        place = p * area
        for x in range(TILE):
            plane[top, left + x] = raw[place + x]
        for y in range(1, TILE):
            for x in range(TILE):
                plane[top + y, left + x] = plane[top + y - 1, left + x] + raw[place + y * TILE + x]
    for planes in (hi, target):
        for c in (0, 2):
            for y in range(top, top + TILE):
                for x in range(left, left + TILE):
                    planes[c, y, x] += planes[1, y, x]
    top, left, area = row * half, column * half, half * half
    for p in range(LO + 1):
        plane = lo[p] if p < LO else seen
        place = FULL * TILE * TILE + p * area
        for x in range(half):
            plane[top, left + x] = raw[place + x]
        for y in range(1, half):
            for x in range(half):
                plane[top + y, left + x] = plane[top + y - 1, left + x] + raw[place + y * half + x]
    for c in range(2):
        place = FULL * TILE * TILE + (LO + 1 + 2 * c) * area
        for y in range(half):
            for x in range(half):
                code = np.uint16(raw[place + y * half + x]) | np.uint16(raw[place + area + y * half + x]) << np.uint16(
                    8
                )
                step = np.int32(code >> np.uint16(1)) ^ -np.int32(code & np.uint16(1))
                if y > 0:
                    before = np.int32(np.rint(flow[c, top + y - 1, left + x] * STEP))
                elif x > 0:
                    before = np.int32(np.rint(flow[c, top, left + x - 1] * STEP))
                else:
                    before = np.int32(0)
                flow[c, top + y, left + x] = np.float32(np.int16(before + step)) / np.float32(STEP)
