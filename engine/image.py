"""Still pictures through PyAV: JPEG for colour, PNG for what must be exact. No other image library at run time."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Final, cast

import av
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
MAX_SIDE: Final = 4096  # pixels: a picture that claims more is refused before it is decoded
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8"
# JPEG start-of-frame markers; C4, C8 and CC are tables, not frames (ITU-T T.81, table B.1).
_FRAME_MARKERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def size_of(data: bytes) -> tuple[int, int]:
    """(height, width) from the header of a PNG or JPEG, without decoding. Raises ValueError otherwise."""
    if data[:8] == _PNG and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return height, width
    if data[:2] == _JPEG:
        place = 2
        while place + 9 <= len(data) and data[place] == 0xFF:
            marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
            if marker in _FRAME_MARKERS:
                height, width = struct.unpack(">HH", data[place + 5 : place + 9])
                return height, width
            place += 2 + length
    raise ValueError(f"a picture must be PNG or JPEG, got {len(data)} bytes starting {data[:8]!r}")


def decode(data: bytes, channels: int) -> Picture:
    """PNG or JPEG bytes -> (H, W, channels) uint8, with 1 (gray), 3 (RGB) or 4 (RGBA) channels."""
    height, width = size_of(data)
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise ValueError(f"a picture may be {MAX_SIDE} pixels a side, got {width}x{height}")
    name = "png" if data[:8] == _PNG else "mjpeg"
    try:
        context = cast(av.VideoCodecContext, av.CodecContext.create(name, "r"))
        frames = context.decode(av.Packet(data)) or context.decode(None)
        array = frames[0].to_ndarray(format={1: "gray", 3: "rgb24", 4: "rgba"}[channels])
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"a {name} picture of {width}x{height} could not be decoded: {error}") from error
    return cast(Picture, array).reshape(height, width, channels)


def encode_png(picture: Picture) -> bytes:
    """(H, W, 1 | 3 | 4) uint8 -> PNG bytes."""
    formats = {1: ("gray", "gray"), 3: ("rgb24", "rgb24"), 4: ("rgba", "rgba")}
    return _encode("png", picture, *formats[picture.shape[2]], {})


def encode_jpeg(picture: Picture, quality: int = 2) -> bytes:
    """(H, W, 3) uint8 -> JPEG bytes, 4:4:4. ``quality`` is FFmpeg's scale: 1 best .. 31 worst."""
    options = {"qmin": str(quality), "qmax": str(quality)}
    return _encode("mjpeg", picture, "rgb24", "yuvj444p", options)


def _encode(codec: str, picture: Picture, source: str, target: str, options: dict[str, str]) -> bytes:
    context = cast(av.VideoCodecContext, av.CodecContext.create(codec, "w"))
    context.width, context.height, context.pix_fmt = picture.shape[1], picture.shape[0], target
    context.time_base, context.options = Fraction(1, 25), options
    plane = np.ascontiguousarray(picture[..., 0] if source == "gray" else picture)
    frame = av.VideoFrame.from_ndarray(plane, format=source).reformat(format=target, dst_color_range="JPEG")
    frame.pts = 0
    packets = [*context.encode(frame), *context.encode(None)]
    return b"".join(bytes(packet) for packet in packets)
