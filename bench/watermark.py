"""Suite ``watermark``: how often the mark is read after coding, how often where there is none, and what it costs.

Pictures are the shipped avatars', speaking and seen from several sides, and the studio's photographs where there are
any (data/studio/held512). A trial marks five seconds with a payload of their own, codes them, and asks for exactly it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from time import thread_time
from typing import Any, Final, NamedTuple, cast

import av
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from bench.report import Measured, Metrics, spread, value
from engine.clock import FPS
from engine.config import EngineConfig, RenderConfig, WatermarkConfig
from engine.engine import Engine
from engine.watermark import Detector, Mark, Payload
from engine.watermark.code import PATTERNS
from engine.watermark.detect import LISTED, SURE, Evidence
from kernels.yuv import to_i420
from streaming.encoders import Vp8Encoder
from visavis.sound import read_voice
from visavis.video import frames_of

U8 = NDArray[np.uint8]
VOICE: Final = Path(__file__).parent.parent / "streaming" / "web" / "sample.wav"
STUDIO: Final = Path("data/studio/held512")
FRAMES: Final = 5 * FPS
BACKDROPS: Final = ("avatar", "#808890", "#ffffff", "blur")


class Clip(NamedTuple):
    """Unmarked I420 pictures (T, H * 3 / 2, W) under a name."""

    name: str
    pictures: Sequence[U8]


class Change(NamedTuple):
    """What is done to marked pictures: coded by ``codec`` at ``rate`` bits a second, after ``crop`` (kept part of each
    side) and scaling to a shorter side of ``side`` (0: as it was)."""

    codec: str
    rate: int
    crop: float = 1.0
    side: int = 0


CHANGES: Final = {
    "h264_500k": Change("libx264", 500_000),
    "vp8_600k": Change("libvpx", 600_000),
    "vp8_2m": Change("libvpx", 2_000_000),
    "h264_500k_360": Change("libx264", 500_000, side=360),
    "h264_500k_720": Change("libx264", 500_000, side=720),
    "h264_500k_crop75": Change("libx264", 500_000, crop=0.75),
}


def run(*, quick: bool, log: Console) -> Measured:
    """Two clips (quick), or twelve."""
    avatars = 2 if quick else 8
    clips = chain(sessions(avatars), () if quick else photographs(4))
    changes = {"h264_500k": CHANGES["h264_500k"], "vp8_600k": CHANGES["vp8_600k"]} if quick else CHANGES
    return Measured(measure(clips, changes, 10 if quick else 200, log))


def measure(clips: Iterator[Clip], changes: dict[str, Change], keys: int, log: Console) -> Metrics:
    """``watermark_recall`` and that of every change, ``watermark_false_rate`` of ``keys`` wrong keys a clip,
    ``watermark_psnr`` (luma), ``watermark_ms`` and ``i420_ms`` of one core."""
    read: dict[str, list[bool]] = {name: [] for name in changes}
    odds: list[float] = []
    psnr, mark_ms, i420_ms, highest = [], [], [], []
    alarms = trials = high = 0
    for number, (name, pictures) in enumerate(track(clips, description="watermark", console=log, transient=True)):
        height, width = pictures[0].shape[0] * 2 // 3, pictures[0].shape[1]
        mark = Mark(Payload.of(name, 7919 * (number + 1)), height, width)
        marked = [picture.copy() for picture in pictures]
        mark_ms += [_milliseconds(mark, picture) for picture in marked]
        rgb = av.VideoFrame.from_ndarray(pictures[0], format="yuv420p").to_ndarray(format="rgb24")
        i420_ms += [_milliseconds(to_i420, rgb, marked[0].copy()) for _ in range(5)]
        both = zip(marked, pictures, strict=True)
        error = np.mean([np.mean((one[:height] - other[:height].astype(float)) ** 2) for one, other in both])
        psnr.append(10 * math.log10(255**2 / error))
        for change, how in changes.items():
            verdict = evidence(changed(marked, how)).decide()
            read[change].append(verdict.payload == mark.payload)
            odds.append(verdict.log10_chance)
            log.print(f"{name} {change}: {verdict.statistic:.1f} of {verdict.needed:.1f}, {verdict.payload}")
        bare = evidence(luma[:height] for luma in pictures)
        seen = [bare.decide(), *(bare.decide(f"{name} {k}") for k in range(keys))]
        alarms, trials = alarms + sum(verdict.found for verdict in seen), trials + len(seen)
        highest += [verdict.statistic for verdict in seen]
        high += sum(verdict.statistic >= verdict.needed for verdict in seen)
    counted = {f"watermark_recall.{name}": value(_mean(hits), "of clips") for name, hits in read.items()}
    # No look is an alarm whose statistic is too low. Of the others, wrong keys read messages at random, which the
    # checksum and the version let pass once in 2^18; so many are read of one look at most.
    most = _upper(high) / trials * (LISTED**PATTERNS / 2**18) if not alarms else _upper(alarms) / trials
    least = min(map(_mean, read.values()))
    return {
        "watermark_recall": value(_mean(read["h264_500k"]), "of clips"),
        "watermark_recall_least": value(least, "of clips"),
        **counted,
        "watermark_false_rate": {**value(alarms / trials, "of looks"), "low": 0.0, "high": most},
        "watermark_false_bound": value(SURE * 1e6, "of a million looks, by theory, at most"),
        "watermark_high_rate": {**value(high / trials, "of looks"), "low": 0.0, "high": _upper(high) / trials},
        "watermark_looks": value(trials, "unmarked, or of a wrong key"),
        "watermark_unmarked_statistic": spread(highest, "standard deviations"),
        "watermark_log10_chance": value(max(odds), "of a false alarm, at worst"),
        "watermark_psnr": value(min(psnr), "dB, at worst"),
        "watermark_ms": spread(mark_ms[5:], "ms"),
        "i420_ms": spread(i420_ms[5:] or i420_ms, "ms"),
    }


def sessions(count: int, renderer: str = "geometric", side: int = 512) -> Iterator[Clip]:
    """Avatars that speak, each before another backdrop; unmarked."""
    voice = np.resize(np.concatenate(list(read_voice(VOICE, max_seconds=600.0))), FRAMES * 1920)
    names = [meta.id for meta in Engine().avatars()]
    for k in range(count):
        picture = RenderConfig(side, side, renderer=renderer, background=BACKDROPS[k % len(BACKDROPS)])
        engine = Engine(EngineConfig(render=picture, watermark=WatermarkConfig(enabled=False)))
        session = engine.open(names[k % len(names)], seed=k)
        yield Clip(names[k % len(names)], [frame.i420.copy() for frame, _ in frames_of(session, [voice])])


def photographs(count: int) -> Iterator[Clip]:
    """The studio's held-out clips, played back and forth until they last as long."""
    from training.studio.shards import Clips

    if not STUDIO.is_dir():
        return
    found = Clips(STUDIO, ("clip",))
    for k in range(min(count, len(found))):
        shots = [to_i420(np.ascontiguousarray(picture)) for picture in found[k].rgb]
        there_and_back = [*shots, *shots[-2:0:-1]] if len(shots) > 2 else shots
        yield Clip(f"studio {k}", [there_and_back[t % len(there_and_back)] for t in range(FRAMES)])


def changed(pictures: Sequence[U8], how: Change) -> Iterator[U8]:
    """Luma of what arrives of I420 ``pictures``."""
    height, width = pictures[0].shape[0] * 2 // 3, pictures[0].shape[1]
    kept = int(height * how.crop) // 2 * 2, int(width * how.crop) // 2 * 2
    top, left = (height - kept[0]) // 3, (width - kept[1]) // 2
    scale = how.side / min(kept) if how.side else 1.0
    size = round(kept[1] * scale / 2) * 2, round(kept[0] * scale / 2) * 2
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream(how.codec, rate=FPS)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = *size, "yuv420p", how.rate
        stream.codec_context.gop_size = 250
        limit = {"maxrate": str(how.rate), "bufsize": str(how.rate)}
        options = Vp8Encoder(how.rate)._options() if how.codec == "libvpx" else {"preset": "veryfast", **limit}
        cast(Any, stream).options = options
        for index, picture in enumerate(pictures):
            frame: Any = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            if how.crop < 1 or how.side:
                cut = frame.to_ndarray(format="rgb24")[top : top + kept[0], left : left + kept[1]]
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(cut), format="rgb24")
                frame = frame.reformat(*size, "yuv420p", interpolation="BICUBIC")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as arrived:
        for frame in cast(Any, arrived).decode(video=0):
            yield frame.to_ndarray()[: frame.height]


def evidence(lumas: Iterator[U8]) -> Evidence:
    """What a detector gathers of ``lumas``, scaled as it wishes."""
    detector: Detector | None = None
    for luma in lumas:
        size = Detector.size_for(*luma.shape)
        detector = detector or Detector(*size)
        grey = av.VideoFrame.from_ndarray(np.ascontiguousarray(luma), format="gray")
        scaled = grey.reformat(size[1], size[0], "gray", interpolation="BICUBIC").to_ndarray()
        detector.step(np.ascontiguousarray(scaled))
    assert detector is not None
    return detector.evidence()


def _upper(count: int) -> float:
    """95% upper limit of a Poisson mean of which ``count`` was seen, within a hundredth."""
    return count + 1.645 * math.sqrt(count + 1) + 1.36


def _mean(hits: list[bool]) -> float:
    return sum(hits) / len(hits)


def _milliseconds(work: Callable[..., Any], *arguments: Any) -> float:
    start = thread_time()
    work(*arguments)
    return 1e3 * (thread_time() - start)
