"""Frames with their voice -> one stream or file: H.264 and AAC (VP8 and Opus in .webm), through PyAV. Blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, Final, NamedTuple, cast

import av
import numpy as np
from numpy.typing import NDArray

from engine.clock import FPS, FRAME, VOICE_FRAME, VOICE_RATE, VOICE_RATIO
from streaming.outputs.feed import Item

VOICE_BITS: Final = 128_000  # bit/s
GAP_S: Final = 60  # silence put in for voice that is missing, at most; more is a mistake in the times


class Format(NamedTuple):
    """How one kind of place is written: container, codecs, samples an audio frame, frames between key frames."""

    container: str
    video: str
    sound: str
    block: int
    keys: int
    options: dict[str, str]


# A fragment a second, each whole in itself: what is cut off, by a kill or a full disk, is the last of them. The header
# comes with the first, when it is known by how much AAC is late (without that, the first picture stays too long).
_FRAGMENTED: Final = {"movflags": "frag_keyframe+delay_moov+default_base_moof+skip_trailer", "flush_packets": "1"}
FORMATS: Final = {
    ".mp4": Format("mp4", "libx264", "aac", 1024, FPS, _FRAGMENTED),
    ".mkv": Format("matroska", "libx264", "aac", 1024, FPS, {"flush_packets": "1", "cluster_time_limit": "1000"}),
    ".webm": Format("webm", "libvpx", "libopus", 960, FPS, {"flush_packets": "1", "cluster_time_limit": "1000"}),
    "rtmp": Format("flv", "libx264", "aac", 1024, 2 * FPS, {"flvflags": "no_duration_filesize"}),
    "rtsp": Format("rtsp", "libx264", "aac", 1024, 2 * FPS, {"rtsp_transport": "tcp"}),
}


class Muxer:
    """Writes items in order, from the first picture on, which is its time zero.

    ``target`` is an address, or a file open for writing. ``size`` is (height, width); pictures of another size are
    scaled to it. ``bitrate``: bit/s of video, held to over every second; 0: as much as a good picture takes.
    """

    def __init__(
        self, target: Any, form: Format, size: tuple[int, int], bitrate: int, tags: Mapping[str, str]
    ) -> None:  # fmt: skip
        self._container = av.open(target, "w", format=form.container, options=form.options)
        cast(dict[str, str], self._container.metadata).update(tags)
        self._video = cast(av.VideoStream, self._container.add_stream(form.video, rate=FPS))
        self._video.height, self._video.width = size
        self._video.pix_fmt = "yuv420p"
        self._video.codec_context.time_base = Fraction(1, FPS)
        self._video.codec_context.gop_size = form.keys
        self._video.codec_context.options = _video_options(form.video, bitrate)
        self._sound = cast(av.AudioStream, self._container.add_stream(form.sound, rate=VOICE_RATE, layout="mono"))
        self._sound.bit_rate = VOICE_BITS
        self._kind = "flt" if form.sound == "libopus" else "fltp"
        self._block = form.block
        self._first: int | None = None  # pts of time zero
        self._last = -1  # frame number of the last picture
        self._rest = np.zeros(0, np.float32)  # voice that does not fill a block yet
        self._spoken = 0  # samples of voice since time zero

    def begin(self) -> None:
        """Connects, or writes what a file begins with. Raises OSError."""
        self._container.start_encoding()

    def write(self, item: Item) -> int:
        """One more item; bytes it made. Raises OSError when the place takes no more."""
        if self._first is None:
            if item.picture is None:
                return 0
            self._first = item.pts
        size = 0
        number = (item.pts - self._first) // FRAME
        if item.picture is not None and number > self._last:
            size += self._mux(self._video.encode(self._picture(item.picture, number)))
            self._last = number
        for block in self._blocks(item.position - self._first * VOICE_RATIO, item.voice, number):
            size += self._mux(self._sound.encode(self._sounding(block)))
        return size

    def close(self) -> None:
        """Writes what encoders still hold, and ends the file. Raises OSError."""
        try:
            if self._first is not None:
                if len(self._rest):
                    self._mux(
                        self._sound.encode(self._sounding(np.pad(self._rest, (0, self._block - len(self._rest)))))
                    )
                self._mux(self._video.encode(None))
                self._mux(self._sound.encode(None))
        finally:
            self._container.close()

    def _mux(self, packets: list[Any]) -> int:
        size = sum(packet.size for packet in packets)
        self._container.mux(packets)
        return size

    def _picture(self, i420: NDArray[np.uint8], number: int) -> av.VideoFrame:
        picture = av.VideoFrame.from_ndarray(i420, format="yuv420p")
        if (picture.height, picture.width) != (self._video.height, self._video.width):
            picture = picture.reformat(width=self._video.width, height=self._video.height)
        picture.pts, picture.time_base = number, Fraction(1, FPS)
        return picture

    def _blocks(self, start: int, voice: NDArray[np.float32], number: int) -> Iterator[NDArray[np.float32]]:
        """Whole blocks of what there is to hear up to the end of frame ``number``; silence where voice is missing."""
        here = self._spoken + len(self._rest)
        end = min((number + 1) * VOICE_FRAME, here + GAP_S * VOICE_RATE)
        heard = np.zeros(max(end - here, 0), np.float32)
        place, known = max(start - here, 0), voice[max(here - start, 0) :]
        known = known[: max(len(heard) - place, 0)]
        heard[place : place + len(known)] = known
        waiting = np.concatenate([self._rest, heard])
        whole = len(waiting) // self._block * self._block
        self._rest = waiting[whole:]
        for first in range(0, whole, self._block):
            yield waiting[first : first + self._block]

    def _sounding(self, block: NDArray[np.float32]) -> av.AudioFrame:
        samples = np.clip(block, -1, 1, dtype=np.float32)
        sound = av.AudioFrame.from_ndarray(samples[None], format=self._kind, layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = VOICE_RATE, self._spoken, Fraction(1, VOICE_RATE)
        self._spoken += len(block)
        return sound


def _video_options(codec: str, bitrate: int) -> dict[str, str]:
    """One thread, no frame held back: what was handed over is in the file."""
    if codec == "libvpx":
        rate = str(bitrate or 2_000_000)
        return {"deadline": "realtime", "cpu-used": "-8", "lag-in-frames": "0", "b": rate, "threads": "1"}
    calm = {"preset": "veryfast", "tune": "zerolatency", "threads": "1", "sc_threshold": "0"}
    if not bitrate:
        return {**calm, "crf": "20"}
    return {**calm, "b": str(bitrate), "maxrate": str(bitrate), "bufsize": str(bitrate)}
