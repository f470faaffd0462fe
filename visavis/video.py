"""Frames with their voice -> an MP4 file (H.264 + AAC), written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import av
import numpy as np

from engine.clock import FPS, FRAME, VOICE_FRAME, VOICE_RATE
from engine.session import Frame, Moved, Session

T = TypeVar("T")


class Mp4Writer:
    """Writes to a temporary file beside ``path`` and moves it there on success; on error nothing is left.

    Picture and sound carry the pts of the frames they came with, so they stay as far apart as the engine put them.
    """

    def __init__(self, path: Path, height: int, width: int, crf: int = 18) -> None:
        if not path.parent.is_dir():
            raise ValueError(f"{path}: the folder {path.parent} does not exist; make it first")
        self._path, self._partial = path, path.with_name(f".{path.stem}.{os.getpid()}.part.mp4")
        self._container = av.open(str(self._partial), "w", format="mp4", options={"movflags": "+faststart"})
        self._video = self._container.add_stream("h264", rate=FPS)
        self._video.width, self._video.height, self._video.pix_fmt = width, height, "yuv420p"
        # With threads, x264 under load gives other bits for the same pictures; one keeps up with the engine.
        one = "threads=1:lookahead-threads=1"
        self._video.options = {"crf": str(crf), "preset": "veryfast", "x264-params": one}
        self._video.codec_context.time_base = Fraction(1, FPS)
        self._sound = self._container.add_stream("aac", rate=VOICE_RATE, layout="mono")
        self._sound.bit_rate = 128_000

    def write(self, frame: Frame, samples: int = VOICE_FRAME) -> None:
        """Adds one frame and the first ``samples`` of its voice."""
        picture = av.VideoFrame.from_ndarray(frame.i420, format="yuv420p")
        picture.pts, picture.time_base = frame.pts // FRAME, Fraction(1, FPS)
        self._container.mux(self._video.encode(picture))
        if samples:
            voice = np.ascontiguousarray(frame.voice[None, :samples])
            sound = av.AudioFrame.from_ndarray(voice, format="fltp", layout="mono")
            sound.sample_rate, sound.pts = VOICE_RATE, frame.pts * (VOICE_FRAME // FRAME)
            sound.time_base = Fraction(1, VOICE_RATE)
            self._container.mux(self._sound.encode(sound))

    def __enter__(self) -> Mp4Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                self._container.mux(self._video.encode(None))
                self._container.mux(self._sound.encode(None))
            self._container.close()
            if kind is None:
                os.replace(self._partial, self._path)
        finally:
            with suppress(FileNotFoundError):
                self._partial.unlink()


def frames_of(session: Session, voice: Iterable[np.ndarray]) -> Iterator[tuple[Frame, int]]:
    """Drives ``session`` with a whole voice; yields each frame and how many of its samples are voice.

    The last frame is filled up, and the lookahead flushed, with silence: no word is cut off.
    """
    yield from _drive(session, voice, session.step)


def moves_of(session: Session, voice: Iterable[np.ndarray]) -> Iterator[Moved]:
    """The same without painting."""
    for moved, _ in _drive(session, voice, session.move):
        yield moved


def _drive(session: Session, voice: Iterable[np.ndarray], step: Callable[[], T | None]) -> Iterator[tuple[T, int]]:
    given = painted = 0
    for piece in voice:
        for start in range(0, len(piece), VOICE_FRAME):
            part = piece[start : start + VOICE_FRAME]
            session.push_voice(part)
            given += len(part)
            while (frame := step()) is not None:
                painted += 1
                yield frame, VOICE_FRAME
    session.push_voice(np.zeros(-given % VOICE_FRAME + session.parts.lookahead * VOICE_FRAME, np.float32))
    while (frame := step()) is not None:
        yield frame, min(VOICE_FRAME, given - painted * VOICE_FRAME)
        painted += 1
