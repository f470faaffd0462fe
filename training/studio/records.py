"""One frame of the data set as bytes: pictures, motion, voice, and a line of JSON that says how it was made.

    {clip:08d}_{frame:03d}.rgb.webp     (H, W, 3) sRGB, over its place
    ....alpha.png                       (H, W) of the person
    ....region.png                      (H, W) index into engine.avatar.REGIONS
    ....plate.webp                      (H, W, 3) sRGB, the place without the person
    ....motion.npy                      (SIZE,) float32, Motion.pack()
    ....pcm.npy                         (640,) int16 at 16 kHz, the frame's voice
    ....json                            the rest, see Record.meta

Every picture is lossless but the plate, whose film grain is not worth its bytes (47 dB and more). The same record
gives the same bytes: keys are sorted, nothing is stamped with a time.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.avatar import REGIONS
from engine.clock import FRAME
from engine.motion.frame import SIZE, Motion
from engine.viewpoint import Viewpoint

FORMAT: Final = 1
U8 = NDArray[np.uint8]
PICTURES: Final = {"rgb": "rgb.webp", "alpha": "alpha.png", "region": "region.png", "plate": "plate.webp"}
MEMBERS: Final = (*PICTURES.values(), "motion.npy", "pcm.npy", "json")
# Measured on 24 photographs of 256 x 256, one core: lossless WebP method 0 47 KB in 3 ms, method 2 44 KB in 11 ms;
# PNG about 71 KB in 6 ms.
SAVED: Final[dict[str, dict[str, Any]]] = {
    "rgb": {"format": "WEBP", "lossless": True, "quality": 20, "method": 0},
    "alpha": {"format": "PNG"},
    "region": {"format": "PNG"},
    "plate": {"format": "WEBP", "quality": 92, "method": 0},
}


@dataclass(frozen=True, slots=True)
class Record:
    """One photographed frame. rgb and plate (H,W,3), alpha and region (H,W) uint8; pcm (640,) int16.

    meta is JSON: format, seed, split, clip, frame, frames, kind, person, framing, size, camera, speech, expressions,
    viewpoint {yaw, pitch, distance, pan_x, pan_y}, light and place (as their classes' own tables), guidance (CRC-32).
    """

    rgb: U8
    alpha: U8
    region: U8
    plate: U8
    motion: Motion
    pcm: NDArray[np.int16]
    meta: dict[str, Any]

    @property
    def viewpoint(self) -> Viewpoint:
        """Where the frame is seen from."""
        return Viewpoint(**self.meta["viewpoint"])


def key(clip: int, frame: int) -> str:
    """Name of a record: what comes before the first dot of its members."""
    return f"{clip:08d}_{frame:03d}"


def encode(record: Record) -> Iterator[tuple[str, bytes]]:
    """(member name without its key, bytes) of a record, in the order of MEMBERS. Raises ValueError when malformed."""
    height, width = record.alpha.shape
    for name in PICTURES:
        picture, shape = getattr(record, name), _shape(name, height, width)
        if picture.shape != shape or picture.dtype != np.uint8:
            raise ValueError(f"a record's {name} must be {shape} uint8, got {picture.shape} {picture.dtype}")
        yield PICTURES[name], _packed(picture, name)
    yield "motion.npy", _npy(record.motion.pack())
    yield "pcm.npy", _npy(record.pcm)
    yield "json", json.dumps(record.meta, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def decode(members: Mapping[str, bytes]) -> Record:
    """The inverse of :func:`encode`. Raises ValueError that names what is missing or broken."""
    missing = [name for name in MEMBERS if name not in members]
    if missing:
        raise ValueError(f"missing {', '.join(missing)}")
    try:
        meta = json.loads(members["json"])
    except ValueError as error:
        raise ValueError(f"json: {error}") from error
    if meta.get("format") != FORMAT:
        raise ValueError(f"json: format {meta.get('format')!r}, this version reads {FORMAT}")
    rgb, alpha, region, plate = (_picture(members, name, int(meta["size"])) for name in PICTURES)
    if int(region.max(initial=0)) >= len(REGIONS):
        raise ValueError(f"region.png: index {region.max()}, there are {len(REGIONS)} regions")
    motion = Motion.unpack(_array(members, "motion.npy", (SIZE,), "float32"))
    return Record(rgb, alpha, region, plate, motion, _array(members, "pcm.npy", (FRAME,), "int16"), meta)


def viewpoint_table(view: Viewpoint) -> dict[str, float]:
    """A Viewpoint as JSON: doubles survive the way there and back exactly."""
    return {field.name: float(getattr(view, field.name)) for field in fields(view)}


def _shape(name: str, height: int, width: int) -> tuple[int, ...]:
    return (height, width, 3) if name in ("rgb", "plate") else (height, width)


def _packed(picture: U8, name: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, **SAVED[name])
    return out.getvalue()


def _picture(members: Mapping[str, bytes], name: str, size: int) -> U8:
    try:
        picture = np.asarray(Image.open(io.BytesIO(members[PICTURES[name]])))
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for a broken picture
        raise ValueError(f"{PICTURES[name]}: {error}") from error
    shape = _shape(name, size, size)
    if picture.shape != shape:
        raise ValueError(f"{PICTURES[name]}: {picture.shape}, expected {shape}")
    return picture


def _npy(array: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, np.ascontiguousarray(array), allow_pickle=False)
    return out.getvalue()


def _array(members: Mapping[str, bytes], name: str, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    try:
        array = np.load(io.BytesIO(members[name]), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{name}: {error}") from error
    if array.shape != shape or array.dtype != np.dtype(dtype):
        raise ValueError(f"{name}: {array.shape} {array.dtype}, expected {shape} {dtype}")
    return array
