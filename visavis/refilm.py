"""A film read and written again with changed pictures and another sound: same size, same times, same planes elsewhere.

Pictures are handed out upright, as they are shown, and written so: what a phone says in the margin is done, not said.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Final, cast

import av
import numpy as np
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from engine.clock import VOICE_RATE
from engine.watermark.mark import Mark
from visavis.provenance import Provenance
from visavis.video import Format, format_of

U8 = NDArray[np.uint8]

BLOCK: Final = 48  # pictures held at once where a film runs backwards
LARGEST: Final = 4096  # pixels a side
LEAST: Final = 64
X264: Final = {"crf": "16", "preset": "medium"}  # what is not changed should look as it did
FITS: Final = ("loop", "freeze", "cut")


class FilmError(ValueError):
    """A film that cannot be read or written again; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture: its number and its planes, I420 (H * 3 / 2, W), upright; H and W are even."""

    number: int
    i420: U8
    colours: tuple[int, int]  # colour space and range, FFmpeg's numbers

    def rgb(self) -> U8:
        """(H, W, 3) sRGB."""
        frame = av.VideoFrame.from_ndarray(self.i420, format="yuv420p")
        frame.colorspace, frame.color_range = self.colours
        return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)

    def changed(self, before: U8, after: U8) -> U8:
        """The planes with those places anew at which pictures (H, W, 3) differ; a copy."""
        out = self.i420.copy()
        touched = (before != after).any(-1)
        if not touched.any():
            return out
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(after), format="rgb24")
        space, kind = self.colours
        new = frame.reformat(format="yuv420p", dst_colorspace=space, dst_color_range=kind).to_ndarray()
        height, width = touched.shape
        out[:height][touched] = new[:height][touched]
        coarse = touched.reshape(height // 2, 2, width // 2, 2).any((1, 3)).ravel()
        for plane in range(2):
            size = height * width // 4
            low = height * width + plane * size
            part = out.reshape(-1)[low : low + size]
            part[coarse] = new.reshape(-1)[low : low + size][coarse]
        return out


class Film:
    """A film file, looked through once: how many pictures it has, when they are shown, how large they are.

    Raises FilmError for a file without pictures, a broken one, or one longer than ``max_seconds``.
    """

    def __init__(self, path: Path, max_seconds: float) -> None:
        if not path.is_file():
            raise FilmError(f"{path}: no such file")
        self.path = path
        try:
            with av.open(str(path)) as container:
                if not container.streams.video:
                    raise FilmError(f"{path}: there is no picture in it; give a video with a face")
                stream = container.streams.video[0]
                self.base = cast(Fraction, stream.time_base or Fraction(1, 25))
                ticks = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
                self.rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        except (av.FFmpegError, OSError) as error:
            raise FilmError(f"{path}: not a video that can be read ({error})") from error
        step = max(round(1 / (self.rate * self.base)), 1)
        if not ticks:
            raise FilmError(f"{path}: there is no picture in it; give a video with a face")
        self.ticks = np.unique(np.array(ticks, np.int64))
        self._step = step
        if self.seconds > max_seconds:
            raise FilmError(f"{path}: longer than {max_seconds / 60:.0f} minutes; cut it, or raise --max-minutes")

    @property
    def seconds(self) -> float:
        """How long it is shown."""
        return float((self.ticks[-1] - self.ticks[0] + self._step) * self.base)

    def __len__(self) -> int:
        return len(self.ticks)

    def shots(self, first: int = 0) -> Iterator[Shot]:
        """Its pictures in order, from number ``first`` on. Raises FilmError where it breaks off before the first."""
        number = -1
        try:
            with av.open(str(self.path)) as container:
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                if first:
                    container.seek(int(self.ticks[first]), stream=stream, backward=True)
                for frame in container.decode(stream):
                    if frame.pts is None:
                        continue
                    number = int(np.searchsorted(self.ticks, frame.pts))
                    if first <= number < len(self):
                        yield _shot(number, frame)
        except (av.FFmpegError, OSError) as error:
            if number < 0:
                raise FilmError(f"{self.path}: not a video that can be read ({error})") from error

    def along(self, order: Sequence[int]) -> Iterator[Shot]:
        """Its pictures by numbers that go up or down by one, or stay. One that is missing is the one before it."""
        for part in _stretches(order):
            if part[-1] > part[0]:
                yield from self._filled(part[0], part[-1])
            else:
                low = min(part)
                held = list(self._filled(low, max(part)))
                yield from (held[number - low] for number in part)

    def _filled(self, first: int, last: int) -> Iterator[Shot]:
        due, held = first, None
        for shot in self.shots(first):
            while due < min(shot.number, last + 1):
                yield replace(held or shot, number=due)
                due += 1
            if due > last:
                return
            held = shot
            if shot.number == due:
                yield shot
                due += 1
        if held is None:
            raise FilmError(f"{self.path}: picture {first} of {len(self)} cannot be read; the file is broken")
        for number in range(due, last + 1):
            yield replace(held, number=number)

    def unrolled(self, seconds: float, fit: str) -> tuple[list[int], NDArray[np.int64]]:
        """Which pictures are shown, and at which ticks from 0, for a sound of so many seconds: all of them, and if the
        sound goes on, back and forth ("loop"), the last one ("freeze"), or no more ("cut")."""
        if fit not in FITS:
            raise FilmError(f"--fit is one of {', '.join(FITS)}; got {fit!r}")
        shown = np.append(np.diff(self.ticks), self._step)
        order, at = list(range(len(self))), (self.ticks - self.ticks[0]).tolist()
        place, way = len(self) - 1, -1
        end = seconds / float(self.base)
        while fit != "cut" and at[-1] + shown[place] < end - 0.5 * self._step:
            if fit == "freeze" or len(self) == 1:
                following = place
            else:
                way = -1 if place == len(self) - 1 else 1 if place == 0 else way
                following = place + way
            at.append(at[-1] + int(shown[min(place, following)]))
            order.append(following)
            place = following
        return order, np.array(at, np.int64)


def _stretches(order: Sequence[int]) -> Iterator[Sequence[int]]:
    """Parts of ``order`` that only go up by one, or, at most BLOCK long, that never go up."""
    first = 0
    while first < len(order):
        end = first + 1
        while end < len(order) and order[end] == order[end - 1] + 1:
            end += 1
        if end == first + 1:
            while end < min(len(order), first + BLOCK) and order[end] <= order[end - 1]:
                end += 1
        yield order[first:end]
        first = end


def _shot(number: int, frame: av.VideoFrame) -> Shot:
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    space, kind = int(frame.colorspace), int(frame.color_range)
    wide, high = frame.width - frame.width % 2, frame.height - frame.height % 2
    if frame.format.name != "yuv420p" or (wide, high) != (frame.width, frame.height):
        frame = frame.reformat(width=wide, height=high, format="yuv420p")
    planes = np.asarray(frame.to_ndarray(), np.uint8)
    if turns:
        planes = _turned(planes, turns)
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    if not LEAST <= min(height, width) <= max(height, width) <= LARGEST:
        raise FilmError(f"pictures of {width} x {height} pixels; from {LEAST} to {LARGEST} a side can be dubbed")
    return Shot(number, np.ascontiguousarray(planes), (space, kind))


def _turned(planes: U8, turns: int) -> U8:
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    flat = planes.reshape(-1)
    size = height * width
    parts = [flat[:size].reshape(height, width)]
    parts += [flat[size + k * size // 4 : size + (k + 1) * size // 4].reshape(height // 2, width // 2) for k in (0, 1)]
    turned = [np.ascontiguousarray(np.rot90(part, turns)) for part in parts]
    return np.concatenate([part.reshape(-1) for part in turned]).reshape(-1, turned[0].shape[1])


class FilmWriter:
    """Writes pictures at a film's own times with another file's sound, mono or stereo as it is and ``seconds`` of it at
    most, to a temporary file beside ``path`` that is moved there on success. ``note`` is kept beside ``provenance``.

    Raises ValueError for a place or an ending that cannot be written.
    """

    def __init__(
        self, path: Path, film: Film, first: Shot, sound: Path, seconds: float | None, mark: Mark | None,
        provenance: Provenance, note: dict[str, str],
    ) -> None:  # fmt: skip
        kind = check_output(path, film)
        self._path, self._partial = path, path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
        self._mark, self._provenance, self._base, self._kind = mark, provenance, film.base, kind
        self._signed = kind.container in ("mp4", "mov")
        options = {"movflags": "+faststart+use_metadata_tags"} if self._signed else {}
        self._container = av.open(str(self._partial), "w", format=kind.container, options=options)
        self._container.metadata.update({**provenance.tags(), **note})
        self._video = cast(av.VideoStream, self._container.add_stream(kind.video, rate=film.rate))
        height, width = first.i420.shape[0] * 2 // 3, first.i420.shape[1]
        self._video.width, self._video.height, self._video.pix_fmt = width, height, kind.opaque
        self._video.options = {**(X264 if kind.video == "h264" else kind.options)}
        self._video.codec_context.time_base = film.base
        self._colours = first.colours
        self._video.codec_context.colorspace, self._video.codec_context.color_range = first.colours
        with av.open(str(sound)) as source:
            layout = "stereo" if source.streams.audio[0].channels > 1 else "mono"
        self._sound = cast(av.AudioStream, self._container.add_stream(kind.sound, rate=VOICE_RATE, layout=layout))
        if kind.sound in ("aac", "libopus"):
            self._sound.bit_rate = 160_000
        self._pieces, self._heard = _pieces(sound, layout, seconds), 0.0

    def write(self, planes: U8, tick: int) -> None:
        """One picture, I420 (H * 3 / 2, W), shown at ``tick`` of the film's time base; marked in place."""
        self._add_sound(float(tick * self._base) + 0.5)
        if self._mark is not None:
            self._mark(planes)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.colorspace, frame.color_range = self._colours
        if self._kind.opaque != "yuv420p":
            frame = frame.reformat(format=self._kind.opaque)
        frame.pts, frame.time_base = tick, self._base
        self._container.mux(self._video.encode(frame))

    def _add_sound(self, until: float) -> None:
        while self._heard < until and (piece := next(self._pieces, None)) is not None:
            self._container.mux(self._sound.encode(piece))
            self._heard += piece.samples / VOICE_RATE

    def __enter__(self) -> FilmWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                self._add_sound(math.inf)
                self._container.mux(self._video.encode(None))
                self._container.mux(self._sound.encode(None))
            self._container.close()
            if kind is None:
                if self._signed:
                    self._provenance.complete(self._partial, self._path.name)
                os.replace(self._partial, self._path)
        finally:
            with suppress(FileNotFoundError):
                self._partial.unlink()


def check_output(path: Path, film: Film) -> Format:
    """How ``path`` is written. Raises ValueError where it cannot be."""
    kind = format_of(path, False)
    if not path.parent.is_dir():
        raise FilmError(f"{path}: the folder {path.parent} does not exist; make it first")
    if path.exists() and path.samefile(film.path):
        raise FilmError(f"{path}: this is the film that is read; write another file")
    return kind


def _pieces(path: Path, layout: str, seconds: float | None) -> Iterator[av.AudioFrame]:
    """The sound of a file at 48 kHz. Gaps in its stamps are no silence: lips do not wait for them either."""
    count, most = 0, math.inf if seconds is None else round(seconds * VOICE_RATE)
    with av.open(str(path)) as source:
        resampler = AudioResampler(format="fltp", layout=layout, rate=VOICE_RATE)
        for frame in chain(source.decode(audio=0), (None,)):
            if frame is not None:
                frame.pts = None
            for piece in resampler.resample(frame):
                values = np.nan_to_num(piece.to_ndarray().astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
                values = np.ascontiguousarray(values[:, : int(max(min(most - count, values.shape[1]), 0))])
                if values.shape[1]:
                    out = av.AudioFrame.from_ndarray(values, format="fltp", layout=layout)
                    out.sample_rate, out.pts, out.time_base = VOICE_RATE, count, Fraction(1, VOICE_RATE)
                    count += values.shape[1]
                    yield out
