"""Dubbing against the truth: an avatar's film dubbed, held against the same avatar speaking those words itself.

    python -m bench.dub [--avatar ada --avatar omar] [--json FILE] [--sheet FILE]

Both films have the same head, eyes and smile (a motion tape); only the lips differ, so every pixel's truth is known.
The landmark detector says how far apart the lips are; closures are those of the spoken phones.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from bench.ours import at_48k
from bench.prompts import Prompt, tts
from bench.report import Measured, document, save, show, value
from engine import image
from engine.clock import FPS, HOPS_PER_FRAME
from engine.config import EngineConfig, RenderConfig, WatermarkConfig
from engine.engine import Engine
from engine.motion.frame import Motion
from engine.motion.tape import Tape
from engine.session import Source
from training.portrait.dubbing.dub import Dubber
from training.portrait.dubbing.lips import at_times, mood
from training.portrait.dubbing.track import Follower, Track, track
from training.speech.phones import CLOSED_PHONES, PHONES
from visavis.cli_dub import spoken
from visavis.video import frames_of

U8 = NDArray[np.uint8]
MET: Final = 0.030  # gap over the distance of the eyes below which lips are seen shut
SENTENCES: Final = 3

app = typer.Typer(add_completion=False, help=__doc__)


def film(avatar: str, size: int, pcm: NDArray[np.float32], tape: Tape | None) -> tuple[list[U8], list[Motion]]:
    """Pictures (size, size, 3) and motion of an avatar that says pcm (samples,) at 16 kHz, moved by a tape if given."""
    config = EngineConfig(
        render=RenderConfig(size, size, "head", "geometric"), watermark=WatermarkConfig(enabled=False)
    )
    session = Engine(config).open(avatar)
    session.source = None if tape is None else Source(tape.at, False)
    pictures, motion = [], []
    for frame, _ in frames_of(session, [at_48k(pcm)]):
        pictures.append(_rgb(frame.i420))
        motion.append(frame.motion)
    return pictures, motion


def _rgb(planes: U8) -> U8:
    import av

    return np.asarray(av.VideoFrame.from_ndarray(planes, format="yuv420p").to_ndarray(format="rgb24"), np.uint8)


def dubbed(pictures: list[U8], pcm: NDArray[np.float32]) -> tuple[list[U8], Track, dict[str, float]]:
    """The same pictures with the mouth of other words; frames a second of looking and of painting."""
    began, follower = time.perf_counter(), Follower()
    faces = [follower.step(picture) for picture in pictures]
    looked = time.perf_counter() - began
    height, width = pictures[0].shape[:2]
    seen = track(faces, (height, width))
    times = np.arange(len(pictures)) / FPS
    config = EngineConfig(render=RenderConfig(64, 64, renderer="geometric"))
    dubber = Dubber(seen, at_times(spoken(config, at_48k(pcm), mood(seen, times)), times))
    for at in dubber.wanted:
        dubber.keep(at, pictures[at])
    dubber.step(0, pictures[0])
    began = time.perf_counter()
    out = [dubber.step(at, picture) for at, picture in enumerate(pictures)]
    speed = {"look": len(pictures) / looked, "paint": len(pictures) / (time.perf_counter() - began)}
    return out, seen, speed


def gaps(pictures: list[U8]) -> NDArray[np.float64]:
    """(T,) gap between the lips over the distance of the eyes, as the detector sees it; NaN without a face."""
    follower, out = Follower(), []
    for picture in pictures:
        face = follower.step(picture)
        if face is None:
            out.append(np.nan)
        else:
            apart = np.linalg.norm(face.points[33, :2] - face.points[263, :2])
            out.append(float(np.linalg.norm(face.points[13, :2] - face.points[14, :2]) / apart))
    return np.array(out)


def closures(prompts: list[Prompt], count: int) -> NDArray[np.bool_]:
    """(T,) video frames in the middle of a /p/, /b/ or /m/."""
    out, start = np.zeros(count, bool), 0
    for prompt in prompts:
        for span in prompt.spans:
            if PHONES[span.phone] in CLOSED_PHONES:
                at = round((start + 0.5 * (span.start + span.stop)) / HOPS_PER_FRAME - 0.5)
                if at < count:
                    out[at] = True
        start += len(prompt.pcm) // 160
    return out


def error(ours: list[U8], truth: list[U8], seen: Track) -> float:
    """Mean squared error of the lower face, 0 to 1."""
    total = []
    for at, (a, b) in enumerate(zip(ours, truth, strict=True)):
        points = seen.pixels[at]
        x, y = points[[13, 14]].mean(0).astype(int)
        reach = int(0.4 * np.linalg.norm(points[33] - points[263]))
        part = np.s_[y - reach : y + reach, x - reach : x + reach]
        total.append(float(np.square((a[part].astype(np.float32) - b[part]) / 255).mean()))
    return float(np.mean(total))


def measure(avatars: list[str], size: int, sheet: Path | None) -> Measured:
    """All figures; ``sheet``: a picture of the film, the dubbed film and the truth."""
    prompts = list(tts())
    said, other = prompts[:SENTENCES], prompts[-SENTENCES:]
    first, second = (np.concatenate([prompt.pcm for prompt in group]) for group in (said, other))
    rows: dict[str, list[float]] = {}
    strips = []
    for name in avatars:
        pictures, motion = film(name, size, first, None)
        tape = Tape(np.stack([m.pack() for m in motion]), np.arange(len(motion), dtype=np.int64) * 640, {})
        truth, _ = film(name, size, second, tape)
        out, seen, speed = dubbed(pictures, second)
        count = min(len(out), len(truth))
        out, truth, pictures = out[:count], truth[:count], pictures[:count]
        shut = closures(other, count)
        opening = {which: gaps(shots) for which, shots in (("ours", out), ("truth", truth), ("film", pictures))}
        told = shut & (_near(opening["truth"]) < MET)
        found = {
            "psnr": -10 * np.log10(error(out, truth, seen)),
            "psnr_undubbed": -10 * np.log10(error(pictures, truth, seen)),
            "gap_correlation": _alike(opening["ours"], opening["truth"]),
            "gap_correlation_undubbed": _alike(opening["film"], opening["truth"]),
            "gap_error": float(np.nanmean(np.abs(opening["ours"] - opening["truth"]))),
            "closed": float((_near(opening["ours"])[told] < MET).mean()),
            "closed_undubbed": float((_near(opening["film"])[told] < MET).mean()),
            "look_fps": speed["look"], "paint_fps": speed["paint"],
        }  # fmt: skip
        for key, number in found.items():
            rows.setdefault(key, []).append(float(number))
        at = [int(k) for k in np.linspace(10, count - 5, 8)]
        strips += [np.concatenate([shots[k] for k in at], 1) for shots in (pictures, out, truth)]
    if sheet is not None:
        sheet.write_bytes(image.encode_png(np.ascontiguousarray(np.concatenate(strips)[::2, ::2])))
    units = {"psnr": "dB", "psnr_undubbed": "dB", "look_fps": "1/s", "paint_fps": "1/s"}
    return Measured({key: value(float(np.mean(found)), units.get(key, "1")) for key, found in rows.items()})


def _near(gap: NDArray[np.float64]) -> NDArray[np.float64]:
    """The least of each frame and its two neighbours: an alignment is not surer than that."""
    wide = np.pad(np.nan_to_num(gap, nan=1.0), 1, mode="edge")
    return np.asarray(np.minimum(np.minimum(wide[:-2], wide[1:-1]), wide[2:]))


def _alike(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    known = np.isfinite(a) & np.isfinite(b)
    return float(np.corrcoef(a[known], b[known])[0, 1])


@app.command()
def main(
    avatar: Annotated[list[str] | None, typer.Option(help="Whose film is dubbed; again for more.")] = None,
    size: Annotated[int, typer.Option(help="Pixels a side.")] = 512,
    json: Annotated[Path | None, typer.Option(help="Also write the figures here.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Also write a picture: film, dubbed, truth.")] = None,
) -> None:
    """Measures dubbing on avatars."""
    result = document("dub", measure(avatar or ["ada", "omar"], size, sheet).metrics)
    show(result, Console())
    if json is not None:
        save(json, result)


if __name__ == "__main__":
    app()
