"""The process behind push.py: items on standard input, encoded and sent; what happens to it on standard output."""

from __future__ import annotations

import contextlib
import json
import struct
import sys
from typing import Any, BinaryIO, Final

import numpy as np

from engine.clock import SAMPLE_RATE
from streaming.outputs.feed import Item
from streaming.outputs.muxer import FORMATS, Muxer

HEAD: Final = struct.Struct("<qqII")  # pts, position of the voice, bytes of voice, bytes of picture


def main() -> None:
    """Until standard input ends, or the server."""
    pipe, size, told, muxer = sys.stdin.buffer, 0, 0, None
    asked = json.loads(pipe.readline())
    height, width = asked["size"]
    try:
        muxer = Muxer(asked["url"], FORMATS[asked["kind"]], (height, width), asked["bitrate"], asked["tags"])
        muxer.begin()
        _say(state="running")
        while (item := _read(pipe, width)) is not None:
            size += muxer.write(item)
            if item.pts - told >= SAMPLE_RATE:
                told = item.pts
                _say(state="running", bytes=size)
        muxer.close()
        _say(state="ended", bytes=size)
    except (OSError, ValueError) as problem:
        _say(state="failed", error=words(problem), bytes=size)
        with contextlib.suppress(Exception):
            if muxer is not None:
                muxer.close()


def words(problem: Exception) -> str:
    """What went wrong, without the address: it may hold the key of the stream."""
    what = problem.strerror if isinstance(problem, OSError) and problem.strerror else type(problem).__name__
    return {"Protocol not found": "this build of FFmpeg does not speak that protocol"}.get(what, what)


def _read(pipe: BinaryIO, width: int) -> Item | None:
    head = pipe.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    pts, position, spoken, painted = HEAD.unpack(head)
    voice, picture = pipe.read(spoken), pipe.read(painted)
    if len(picture) < painted:
        return None
    shown = np.frombuffer(picture, np.uint8).reshape(-1, width) if painted else None
    return Item(pts, shown, position, np.frombuffer(voice, np.float32))


def _say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    main()
