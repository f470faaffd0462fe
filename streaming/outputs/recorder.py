"""A recording: a thread that encodes into a file which plays up to its last second, however it ends."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import struct
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Final

from streaming.live import Live, Voice
from streaming.outputs.feed import Feed, Item
from streaming.outputs.muxer import FORMATS, Muxer
from streaming.outputs.output import Output, OutputError, Spec
from streaming.provenance import Statement
from streaming.tracks import OutFrame

log = logging.getLogger(__name__)
SYNC_S: Final = 2.0  # what was written so long ago is on the disk, power cut or not
ENDINGS: Final = (".mp4", ".mkv", ".webm")
NAME: Final = re.compile(r"[^\W_][\w .()-]{0,120}")  # no separator, nothing hidden
RESERVED: Final = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}


class Recorder(Output):
    """Takes frames as they come; nothing it does keeps the session waiting, and it keeps no session alive."""

    holds: ClassVar[bool] = False

    def __init__(self, live: Live, spec: Spec, folder: Path, statement: Statement | None) -> None:
        super().__init__(live, spec)
        self.path = folder / (spec.name or _made_up(live.id))
        self._statement = statement
        self._ready, self._closing = threading.Event(), False
        self._feed = Feed(live.edge, self._ready.set)
        self._thread = threading.Thread(target=self._run, name=f"record-{self.id}", daemon=True)

    @property
    def where(self) -> str:
        return self.path.name

    def _begin(self) -> None:
        self._file = _File(self.path, self._statement)
        self._thread.start()

    def _finish(self) -> None:
        self._closing = True
        self._ready.set()

    def frame(self, frame: OutFrame) -> None:
        self._feed.put(frame)
        self.dropped = self._feed.dropped

    def voice(self, voice: Voice) -> None:
        self._feed.put_voice(voice)

    # The thread.

    def _run(self) -> None:
        state, error = "ended", ""
        try:
            with self._file:
                self._record()
                if (problem := self._file.problem) is not None:
                    state, error = "failed", f"{problem.strerror or problem}; {self.path.name} plays as far as it got"
        except Exception as problem:  # the edge of the thread: whatever it was, who asked must hear of it
            log.exception("recording %s", self.path.name)
            state, error = "failed", f"{self.path.name}: {type(problem).__name__}: {problem}"
        if not self.frames and not error:
            self.path.unlink(missing_ok=True)  # it ended before there was a picture
        self._hand_over(state, error)

    def _record(self) -> None:
        """Until it is told to end, or the file takes no more."""
        muxer: Muxer | None = None
        synced = time.monotonic()
        try:
            while self._file.problem is None:
                closing = self._closing
                while self._file.problem is None and (item := self._feed.take()) is not None:
                    muxer = muxer or self._open(item)
                    if muxer is not None:
                        muxer.write(item)
                        self.frames += item.picture is not None
                        self.bytes = self._file.size
                if closing:
                    break
                if time.monotonic() - synced > SYNC_S:
                    self._file.sync()
                    synced = time.monotonic()
                self._ready.wait()
                self._ready.clear()
        finally:
            if muxer is not None:
                muxer.close()
            self._file.finish()
            self.bytes = self._file.size

    def _open(self, item: Item) -> Muxer | None:
        """The file begins with the first picture, which says how large pictures are."""
        if item.picture is None:
            return None
        rows, columns = item.picture.shape
        tags = {} if self._statement is None else self._statement.tags()
        form = FORMATS[self.path.suffix.lower()]
        muxer = Muxer(self._file, form, (rows * 2 // 3, columns), self.spec.bitrate, tags)
        self._hand_over("running", "")
        return muxer

    def _hand_over(self, state: str, error: str) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(self._note, state, error)


class _File:
    """What PyAV writes into. Once the disk takes no more it swallows the rest, and ``problem`` says why."""

    def __init__(self, path: Path, statement: Statement | None) -> None:
        try:
            self._raw = path.open("xb", buffering=0)
        except FileExistsError:
            raise OutputError(f'there is already a recording "{path.name}"; choose another name') from None
        except OSError as problem:
            raise OutputError(
                f"no recording can be written: {problem.strerror or problem} (outputs.folder)"
            ) from problem
        self.problem: OSError | None = None
        self.size = 0
        self._mp4 = path.suffix.lower() == ".mp4"
        self._box = statement.box() if statement is not None and self._mp4 else b""
        if not self._mp4:  # a fragmented MP4 is never gone back in; the others note their length at the beginning
            self.seek, self.tell = self._raw.seek, self._raw.tell

    def write(self, data: bytes) -> int:
        """All of it, or none from the first failure on."""
        if self.problem is None:
            try:
                if (
                    self._box and data[4:8] == b"moof"
                ):  # the header is complete: what the file says of itself comes next
                    self._put(self._box)
                    self._box = b""
                self._put(data)
            except OSError as problem:
                self.problem = problem
        return len(data)

    def _put(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._raw.write(rest) :]
        self.size += len(data)

    def sync(self) -> None:
        """Waits until the disk has it."""
        try:
            os.fsync(self._raw.fileno())
        except OSError as problem:
            self.problem = self.problem or problem

    def finish(self) -> None:
        """On the disk; of an MP4 that the disk cut off, up to the last whole fragment."""
        if self.problem is not None and self._mp4:
            with contextlib.suppress(OSError):
                self._raw.truncate(_whole(self._raw.name))
        self.sync()

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()


def _whole(path: str) -> int:
    """Bytes of an MP4 file up to the end of its last complete fragment."""
    end = whole = 0
    with open(path, "rb") as file:
        length = file.seek(0, os.SEEK_END)
        while end + 8 <= length:
            file.seek(end)
            size, kind = struct.unpack(">I4s", file.read(8))
            if size < 8 or end + size > length:
                break
            end += size
            whole = end if kind != b"moof" else whole
    return whole


def file_name(name: str) -> str:
    """``name`` as that of a recording. Raises OutputError for one that could leave the folder, or hide in it."""
    if Path(name).suffix.lower() not in ENDINGS:
        raise OutputError(f"the name of a recording ends in {', '.join(ENDINGS)}")
    if not NAME.fullmatch(name) or Path(name).stem.rstrip(" .").upper() in RESERVED:
        raise OutputError(
            "the name of a recording is letters, digits, spaces and ._()-, and begins with one of the first two"
        )
    return name


def _made_up(session: str) -> str:
    """Of the time and the session, so that it sorts and is nobody else's."""
    tidy = re.sub(r"\W", "", session)[:6]
    return f"{datetime.now():%Y-%m-%d_%H%M%S}_{tidy}_{secrets.token_hex(2)}.mp4"
