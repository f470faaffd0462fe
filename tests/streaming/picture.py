"""Pictures for doubles, made without any library."""

import struct
import zlib


def png(level: int) -> bytes:
    """A 64 x 64 picture of one colour."""
    rows = b"".join(b"\0" + bytes((level, level // 2, 140)) * 64 for _ in range(64))
    parts = ((b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
