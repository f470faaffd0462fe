"""Frames with their voice -> a video file: MP4, or with transparency WebM, MOV or MKV; written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, TypeVar, cast

import av
import numpy as np

from engine.clock import FPS, FRAME, FRAME_SECONDS, VOICE_FRAME, VOICE_RATE
from engine.session import Frame, Moved, Session
from visavis.camera import Camera
from visavis.provenance import Provenance

T = TypeVar("T")


class Format(NamedTuple):
    """How a kind of file is written: container, codecs, pixel formats without and with transparency ("": has none)."""

    container: str
    video: str
    sound: str
    opaque: str
    clear: str
    options: dict[str, str]


# With threads, x264 under load gives other bits for the same pictures; one keeps up with the engine.
_X264: Final = {"crf": "18", "preset": "veryfast", "x264-params": "threads=1:lookahead-threads=1"}
_VP9: Final = {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "6"}
FORMATS: Final = {
    ".mp4": Format("mp4", "h264", "aac", "yuv420p", "", _X264),
    ".webm": Format("webm", "libvpx-vp9", "libopus", "yuv420p", "yuva420p", _VP9),
    ".mov": Format("mov", "prores_ks", "pcm_s16le", "yuv422p10le", "yuva444p10le", {}),
    ".mkv": Format("matroska", "ffv1", "flac", "yuv420p", "bgra", {}),
}


def format_of(path: Path, transparent: bool) -> Format:
    """How ``path`` is written. Raises ValueError for an ending that is not known, or that has no transparency."""
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise ValueError(f"{path}: a video ends in {', '.join(FORMATS)}")
    if transparent and not found.clear:
        clear = ", ".join(ending for ending, kind in FORMATS.items() if kind.clear)
        raise ValueError(f"{path}: a {path.suffix} file has no transparency; write one that ends in {clear}")
    return found


class VideoWriter:
    """Writes to a temporary file beside ``path`` and moves it there on success; on error nothing is left.

    Picture and sound carry the pts of the frames they came with, so they stay as far apart as the engine put them.
    The ending of ``path`` says what is written (FORMATS); with ``transparent``, frames are written as their cutouts.
    ``provenance`` is what the file says of itself. ``rate``: at most so many bits a second of picture, counted over
    every second; for H.264 alone.
    """

    def __init__(
        self, path: Path, height: int, width: int, transparent: bool = False, *, rate: int | None = None,
        provenance: Provenance | None = None,
    ) -> None:  # fmt: skip
        kind = format_of(path, transparent)
        if rate is not None and kind.video != "h264":
            raise ValueError(f"{path}: the bits of a {path.suffix} file cannot be limited; write an .mp4")
        if not path.parent.is_dir():
            raise ValueError(f"{path}: the folder {path.parent} does not exist; make it first")
        self._path, self._partial = path, path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
        options = {"movflags": "+faststart"} if kind.container in ("mp4", "mov") else {}
        self._container = av.open(str(self._partial), "w", format=kind.container, options=options)
        self._provenance = provenance if kind.container in ("mp4", "mov") else None  # what the tags leave out
        if provenance is not None:
            self._container.metadata.update(provenance.tags())
        self._video = cast(av.VideoStream, self._container.add_stream(kind.video, rate=FPS))
        self._pixels = kind.clear if transparent else kind.opaque
        self._video.width, self._video.height, self._video.pix_fmt = width, height, self._pixels
        limits = {"maxrate": str(rate), "bufsize": str(rate)} if rate is not None else {}
        self._video.options = {**kind.options, **limits}
        self._video.codec_context.time_base = Fraction(1, FPS)
        self._sound = cast(av.AudioStream, self._container.add_stream(kind.sound, rate=VOICE_RATE, layout="mono"))
        if kind.sound in ("aac", "libopus"):
            self._sound.bit_rate = 128_000

    def write(self, frame: Frame, samples: int = VOICE_FRAME) -> None:
        """Adds one frame and the first ``samples`` of its voice."""
        if frame.cutout is not None and self._pixels not in ("yuv420p", "yuv422p10le"):
            picture = av.VideoFrame.from_ndarray(frame.cutout, format="rgba").reformat(format=self._pixels)
        else:
            picture = av.VideoFrame.from_ndarray(frame.i420, format="yuv420p")
            if self._pixels != "yuv420p":
                picture = picture.reformat(format=self._pixels)
        picture.pts, picture.time_base = frame.pts // FRAME, Fraction(1, FPS)
        self._container.mux(self._video.encode(picture))
        if samples:
            voice = np.ascontiguousarray(frame.voice[None, :samples])
            sound = av.AudioFrame.from_ndarray(voice, format="fltp", layout="mono")
            sound.sample_rate, sound.pts = VOICE_RATE, frame.pts * (VOICE_FRAME // FRAME)
            sound.time_base = Fraction(1, VOICE_RATE)
            self._container.mux(self._sound.encode(sound))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                self._container.mux(self._video.encode(None))
                self._container.mux(self._sound.encode(None))
            self._container.close()
            if kind is None:
                if self._provenance is not None:
                    self._provenance.complete(self._partial, self._path.name)
                os.replace(self._partial, self._path)
        finally:
            with suppress(FileNotFoundError):
                self._partial.unlink()


def frames_of(
    session: Session, voice: Iterable[np.ndarray], camera: Camera | None = None
) -> Iterator[tuple[Frame, int]]:
    """Drives ``session`` with a whole voice; yields each frame and how many of its samples are voice.

    The last frame is filled up, and the lookahead flushed, with silence: no word is cut off. Seen from where ``camera``
    is, or from where the session's controls say. Raises ValueError for a camera that is nowhere.
    """

    if camera is None:
        yield from _drive(session, voice, session.step)
        return

    def look() -> None:
        session.control(replace(session.controls, viewpoint=camera(session.state.painted * FRAME_SECONDS)))

    def step() -> Frame | None:
        look()
        return session.step()

    look()
    session.look_now()  # not by the spring's way from wherever it was
    yield from _drive(session, voice, step)


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
