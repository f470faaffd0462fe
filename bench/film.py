"""A film of people side by side: one voice, an orbiting camera, and if wanted both renderers of each of them.

    python -m bench.film --out film.mp4 --poster poster.jpg

Sessions go frame by frame together, and nothing in memory grows with the film. A file appears whole or not at all.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import av
import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.markup import escape

from engine import image
from engine.clock import FPS, VOICE_FRAME, VOICE_RATE
from engine.config import RENDERERS
from engine.engine import Engine
from engine.session import Frame, Session
from visavis import camera
from visavis.config import Config, load
from visavis.options import FramingOption, pictured
from visavis.paint import progress
from visavis.sound import read_voice
from visavis.video import VideoWriter, frames_of

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

SAMPLE: Final = Path(__file__).parents[1] / "streaming" / "web" / "sample.wav"
LONGEST: Final = 600.0  # seconds of a film
WIDEST: Final = 4096  # pixels: what every H.264 decoder takes
FADE: Final = VOICE_RATE // 4  # samples over which a voice that is cut goes out
HELD: Final = 24 * 3600.0  # seconds: no file of sound is too long to begin with
SOUND_BITS: Final = 140_000  # a second of sound and of what holds the file together, of VideoWriter
FEWEST_BITS: Final = 60_000  # a second of one picture: less is not worth looking at
MOMENTS: Final = 8  # pictures on a poster
OFF_BEAT: Final = 0.3  # of the way from one moment to the next: so that eight find an orbit of two turns on both sides
POSTER_WIDE: Final = 2048  # pixels
GAP: Final = 6  # pixels between moments


class Part(NamedTuple):
    """One picture of the film: what is written on it, and who paints it."""

    label: str
    session: Session


class Grid:
    """Pictures of one size side by side, as I420; ``columns`` of them, then the next row. Its buffer is its own."""

    def __init__(self, size: tuple[int, int], labels: Sequence[str], columns: int) -> None:
        height, width = size
        rows = -(-len(labels) // columns)
        self.size = rows * height, columns * width
        if max(self.size) > WIDEST:
            raise ValueError(
                f"the film would be {self.size[1]} x {self.size[0]} pixels, but players take {WIDEST} a side at most: "
                "fewer --avatars, or a smaller --size"
            )
        self.i420 = np.full((self.size[0] * 3 // 2, self.size[1]), 128, np.uint8)
        self.i420[: self.size[0]] = 16  # black where no picture is
        self._places = []
        for k, label in enumerate(labels):
            top, left = k // columns * height, k % columns * width
            here = [
                plane[top // s : (top + height) // s, left // s : (left + width) // s]
                for plane, s in zip(planes(self.i420), (1, 2, 2), strict=True)
            ]
            self._places.append((here, plate(label, height)))

    def lay(self, pictures: Iterable[U8]) -> U8:
        """The whole of ``pictures``, each (H*3/2, W), with their labels; valid until the next call."""
        for (here, (ground, text)), picture in zip(self._places, pictures, strict=True):
            for plane, given in zip(here, planes(picture), strict=True):
                plane[:] = given
            for plane, s, dark, light in zip(here, (1, 2, 2), (16, 128, 128), (235, 128, 128), strict=True):
                part = plane[-ground.shape[0] // s :, : ground.shape[1] // s]
                shade, ink = ground[::s, ::s], text[::s, ::s]
                part[:] = np.rint((part * (1 - shade) + dark * shade) * (1 - ink) + light * ink)
        return self.i420


def planes(i420: U8) -> tuple[U8, U8, U8]:
    """Y (H,W), U and V (H/2, W/2) of an I420 picture (H*3/2, W), as views."""
    height, width = i420.shape[0] * 2 // 3, i420.shape[1]
    chroma = i420.reshape(-1)[height * width :]
    first, second = chroma.reshape(2, height // 2, width // 2)
    return i420[:height], first, second


def plate(label: str, height: int) -> tuple[F32, F32]:
    """How dark the ground of a label is, and how much of its letters is where, in [0, 1]: both of even sides, for the
    lower left corner of a picture ``height`` pixels high."""
    letters = max(height // 20, 8)
    font, pad = ImageFont.load_default(letters), letters // 2
    left, _, right, _ = font.getbbox(label)
    size = (int(right - left) + 2 * pad + 1) // 2 * 2, (letters + pad + 1) // 2 * 2
    text = Image.new("L", size, 0)
    ImageDraw.Draw(text).text((pad, size[1] / 2), label, fill=255, font=font, anchor="lm")
    ink: F32 = np.asarray(text, np.float32) / np.float32(255)
    return np.full_like(ink, 0.55), ink


class Poster:
    """Moments of a film of ``count`` frames as one picture; ``size`` (H, W) is the film's."""

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        self._at = {int((k + OFF_BEAT) * count / MOMENTS): k for k in range(MOMENTS)}
        self._columns = min((1, 2, 4, 8), key=lambda n: abs(math.log(n * n * size[1] / (MOMENTS * size[0]) / 2)))
        width = min(POSTER_WIDE // self._columns, size[1]) // 2 * 2
        self._tile = round(size[0] * width / size[1] / 2) * 2, width
        rows = MOMENTS // self._columns
        self.picture = np.full(
            (rows * (self._tile[0] + GAP) - GAP, self._columns * (width + GAP) - GAP, 3), 255, np.uint8
        )

    def see(self, index: int, i420: U8) -> None:
        """Keeps frame ``index`` if it is one of the moments."""
        if (k := self._at.get(index)) is not None:
            height, width = self._tile
            top, left = k // self._columns * (height + GAP), k % self._columns * (width + GAP)
            frame = av.VideoFrame.from_ndarray(i420, format="yuv420p")
            small = frame.reformat(width, height, "rgb24", interpolation="AREA")
            self.picture[top : top + height, left : left + width] = small.to_ndarray()

    def save(self, path: Path) -> None:
        """Writes a JPEG."""
        partial = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            partial.write_bytes(image.encode_jpeg(self.picture, quality=3))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def speech(path: Path, seconds: float) -> Iterator[F32]:
    """``seconds`` of the voice in ``path``, 48 kHz: as often as it fits in whole, each time with the same pause after
    it, so that nobody is cut off; the beginning of one that is longer."""
    wanted = round(seconds * VOICE_RATE)
    length = 0
    for piece in read_voice(path, max_seconds=HELD):
        length += len(piece)
        if length >= wanted:
            break
    times, given = max(wanted // length, 1), 0
    for k in range(times):
        for piece in read_voice(path, max_seconds=HELD):
            left = wanted - given
            if left <= 0:
                break
            piece = piece[:left]
            if length > wanted - FADE:  # it is cut, or there is no pause to speak of
                piece = piece * np.clip((left - np.arange(len(piece))) / FADE, 0, 1).astype(np.float32)
            given += len(piece)
            yield piece
        while given < round((k + 1) * wanted / times):
            pause = np.zeros(min(VOICE_FRAME, round((k + 1) * wanted / times) - given), np.float32)
            given += len(pause)
            yield pause


def film(
    parts: Sequence[Part], voice: Path, seconds: float, degrees: float, columns: int
) -> Iterator[tuple[Frame, int]]:
    """Frames of the whole film, each with its samples of voice; its picture is valid until the next one."""
    painters = [part.session.parts.renderer for part in parts]
    grid = Grid(painters[0].size, [part.label for part in parts], columns)
    front = painters[0].default_viewpoint()
    seen = camera.orbit(front, degrees, seconds) if degrees else camera.still(front)
    runs = [frames_of(part.session, speech(voice, seconds), seen) for part in parts]
    for together in zip(*runs, strict=True):
        frame, samples = together[0]
        yield replace(frame, i420=grid.lay(one.i420 for one, _ in together)), samples


def columns_of(people: int, each: int) -> int:
    """Columns for ``people`` with ``each`` pictures next to one another, about as many rows as people in one."""
    return math.ceil(math.sqrt(people)) * each


def bits_of(megabytes: float, seconds: float, pictures: int) -> int:
    """Bits a second for the pictures of a film that shall be no larger. Raises ValueError when they are too few."""
    rate = int(megabytes * 8e6 / (seconds + 1.0)) - SOUND_BITS  # one second waits in the encoder's buffer
    if rate < FEWEST_BITS * pictures:
        least = math.ceil((FEWEST_BITS * pictures + SOUND_BITS) * (seconds + 1.0) / 8e5) / 10
        raise ValueError(
            f"{seconds:g} s of {pictures} pictures do not fit into {megabytes:g} MB: give --megabytes {least}"
        )
    return rate


def engines_of(settings: Config, renderer: str | None) -> dict[str, Engine]:
    """An engine a renderer: the one asked for or configured, or geometric and neural for "both"."""
    if renderer not in (None, *RENDERERS, "both"):
        raise ValueError(f'--renderer is neural, geometric or both, got "{renderer}"')
    kinds = RENDERERS if renderer == "both" else (renderer or settings.render.renderer,)
    engines = {kind: Engine(replace(settings, render=pictured(settings.render, kind, None)).engine) for kind in kinds}
    if any(engine.backdrop.transparent for engine in engines.values()):
        raise ValueError("a film has no transparency: choose another --background")
    return engines


def cast(avatars: str, engines: dict[str, Engine], framing: str | None, seed: int) -> list[Part]:
    """A session a picture. The two of one person move alike: same voice, same seed."""
    names = [name.strip() for name in avatars.split(",") if name.strip()]
    if not names:
        raise ValueError(f'--avatars wants ids with commas between them, as maya,omar; got "{avatars}"')
    parts = []
    for k, name in enumerate(names):
        for kind, engine in engines.items():
            known = engine.avatar(name).meta.name
            label = f"{known}, {kind}" if len(engines) > 1 else known
            parts.append(Part(label, engine.open(name, seed=seed + k, framing=framing)))
    return parts


def main(
    out: Annotated[Path, typer.Option(help="The .mp4 to write.")] = Path("film.mp4"),
    seconds: Annotated[float, typer.Option(help="How long it is.", min=0.4, max=LONGEST)] = 20.0,
    avatars: Annotated[str, typer.Option(help="Who is in it: ids or folders of packs.")] = "maya,omar,nora,kofi",
    renderer: Annotated[str | None, typer.Option(help="neural, geometric, or both; as configured without.")] = None,
    size: Annotated[int | None, typer.Option(help="Pixels of each picture's side; as configured without.")] = None,
    network: Annotated[str | None, typer.Option(help="The neural renderer's weights, an .onnx file.")] = None,
    background: Annotated[str | None, typer.Option(help="avatar, blur, a colour as #rrggbb, or an image.")] = None,
    framing: FramingOption = None,
    orbit: Annotated[float, typer.Option(help="How far the camera goes to either side, in degrees.")] = 40.0,
    audio: Annotated[Path, typer.Option(help="The voice; said again when it is shorter than the film.")] = SAMPLE,
    poster: Annotated[Path | None, typer.Option(help=f"Also write {MOMENTS} moments of it as this .jpg.")] = None,
    megabytes: Annotated[float, typer.Option(help="No larger than this.", min=0.05)] = 8.0,
    seed: Annotated[int, typer.Option(help="Blinks, gaze, head and gestures follow from it.", min=0)] = 0,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="A config.toml.")] = None,
) -> None:
    """Films people who say the same, from a camera that goes around them."""
    for path, ending in ((out, ".mp4"), (poster, ".jpg")):
        if path is not None and (path.suffix.lower() != ending or not path.parent.is_dir()):
            raise ValueError(f"{path}: it must end in {ending}, in a folder that exists")
    settings = load(config)
    given: dict[str, Any] = {"width": size, "height": size, "network": network}
    render = pictured(settings.render, None, background)
    render = replace(render, **{name: value for name, value in given.items() if value is not None})
    with Console(stderr=True).status("Loading people"):
        engines = engines_of(replace(settings, render=render), renderer)
        parts = cast(avatars, engines, framing, seed)
    columns = columns_of(len(parts) // len(engines), len(engines))
    count = math.ceil(seconds * FPS)
    rate = bits_of(megabytes, count / FPS, len(parts))
    whole = Grid(parts[0].session.parts.renderer.size, [part.label for part in parts], columns).size
    sheet = Poster(count, whole) if poster is not None else None
    with progress() as bar, VideoWriter(out, *whole, rate=rate) as video:
        task = bar.add_task("frames", total=count)
        for index, (frame, samples) in enumerate(film(parts, audio, seconds, orbit, columns)):
            video.write(frame, samples)
            if sheet is not None:
                sheet.see(index, frame.i420)
            bar.advance(task)
    if sheet is not None and poster is not None:
        sheet.save(poster)
    print(f"{out}: {count / FPS:g} s, {whole[1]} x {whole[0]}, {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    try:
        typer.run(main)
    except (ValueError, OSError) as error:
        Console(stderr=True).print(f"[red]film:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
