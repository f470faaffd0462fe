"""``visavis motion``: record, look into, play, export and import motion files."""

from __future__ import annotations

from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from visavis.gpu import open_engine
from visavis.options import (
    FRONT,
    BackgroundOption,
    CameraOption,
    EmotionOption,
    FramingOption,
    GazeOption,
    GestureOption,
    HeadOption,
    IntensityOption,
    OrbitOption,
    RendererOption,
    TextOption,
    ViewpointOption,
    WatermarkOption,
    camera_of,
    configured,
    manner_of,
)
from visavis.paint import paint, progress

if TYPE_CHECKING:
    from engine.motion.tape import Tape
    from engine.session import Session
    from visavis.camera import Camera
    from visavis.provenance import Provenance

app = typer.Typer(help="Record, play, export and import motion (docs/motion_format.md).", no_args_is_help=True)
out, err = Console(), Console(stderr=True)

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="A config.toml; the defaults without it.")]
TapeArgument = Annotated[Path, typer.Argument(help="A motion file (.vmotion).")]


@app.command()
def record(
    voice: Annotated[Path, typer.Argument(help="Any file with sound.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The motion file to write.")] = Path("out.vmotion"),
    seed: Annotated[int, typer.Option(help="Blinks, gaze, head and gestures follow from it.", min=0)] = 0,
    emotion: EmotionOption = None,
    intensity: IntensityOption = None,
    gaze: GazeOption = None,
    text: TextOption = None,
    head: HeadOption = None,
    gesture: GestureOption = None,
    max_minutes: Annotated[float, typer.Option(help="Longest voice to accept.", min=0.01)] = 60.0,
    config: ConfigOption = None,
) -> None:
    """Turn a voice file into motion, without painting it."""
    from engine.clock import FPS
    from engine.engine import Engine
    from engine.motion.tape import Recorder
    from visavis.config import load
    from visavis.sound import probe, read_voice
    from visavis.video import moves_of

    info = probe(voice)
    settings = load(config)
    # Nothing is painted: the renderer that is there soonest will do.
    engine = Engine(configured(settings, "geometric", None))
    manner = manner_of(engine, emotion, intensity, gaze, text, head, gesture)
    session = engine.open(seed=seed, manner=manner)
    with progress() as bar, Recorder(output, {"source": voice.name, "seed": str(seed)}) as tape:
        task = bar.add_task("frames", total=None if info.seconds is None else round(info.seconds * FPS))
        for moved in moves_of(session, read_voice(voice, max_seconds=60 * max_minutes)):
            tape.write(moved.pts, moved.motion)
            bar.advance(task)
    out.print(f"[green]{output}[/]: {session.state.painted / FPS:.2f} s, {output.stat().st_size / 1e6:.2f} MB")


@app.command()
def info(path: TapeArgument) -> None:
    """Say what is in a motion file."""
    from engine.motion.frame import ACTIONS, CHANNELS
    from engine.motion.tape import read

    tape = read(path)
    out.print(f"{path}: {len(tape)} frames, {tape.seconds:.2f} s", highlight=False)
    for name, value in tape.notes.items():
        out.print(f"  {name}: {value}", highlight=False, markup=False)
    table, start = Table("channel", "unit", "least", "most", "moves (std)"), 0
    for channel in CHANNELS:
        part = tape.motion[:, start : start + int(np.prod(channel.shape))]
        start += part.shape[1]
        table.add_row(channel.name, channel.unit, *(f"{v:.3f}" for v in (part.min(), part.max(), part.std(0).max())))
    out.print(table)
    busy = np.argsort(-tape.motion[:, : len(ACTIONS)].std(0))[:6]
    out.print("busiest actions: " + ", ".join(ACTIONS[k] for k in busy), highlight=False)


@app.command()
def play(
    path: TapeArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .mp4, .webm, .mov or .mkv to write.")] = Path(
        "out.mp4"
    ),
    voice: Annotated[Path | None, typer.Option(help="A file whose sound is heard with it; silence without.")] = None,
    avatar: Annotated[str | None, typer.Option(help="Avatar id or a pack's folder.")] = None,
    viewpoint: ViewpointOption = FRONT,
    orbit: OrbitOption = None,
    camera: CameraOption = None,
    framing: FramingOption = None,
    renderer: RendererOption = None,
    background: BackgroundOption = None,
    watermark: WatermarkOption = None,
    config: ConfigOption = None,
) -> None:
    """Paint a motion file into a video file."""
    from engine.clock import FPS
    from engine.motion.tape import read
    from visavis.config import load
    from visavis.provenance import Provenance

    tape = read(path)
    settings = load(config)
    engine = open_engine(configured(settings, renderer, background, watermark), err, sessions=1, quiet=True)
    session = engine.open(avatar, framing=framing)
    seen = camera_of(viewpoint, orbit, camera, session.parts.renderer.default_viewpoint(), tape.seconds)
    provenance = Provenance.of(engine, avatar, 0, settings.provenance)
    play_back(session, tape, output, voice, seen, True, tape.seconds + 3600.0, provenance)
    out.print(f"[green]{output}[/]: {session.state.painted / FPS:.2f} s")


def play_back(
    session: Session, tape: Tape, output: Path, voice: Path | None, camera: Camera, lips: bool, max_seconds: float,
    provenance: Provenance,
) -> None:  # fmt: skip
    """Writes ``tape`` as a video, as long as it is, with the sound of ``voice`` or with silence. ``lips``: the tape's;
    without, they follow the voice. ``provenance``: what the video says of itself."""
    from engine.clock import FPS, VOICE_FRAME
    from engine.session import Source
    from visavis.sound import read_voice
    from visavis.video import frames_of

    count = round(tape.seconds * FPS)
    session.source = Source(tape.at, lips)
    silence = (np.zeros(VOICE_FRAME, np.float32) for _ in range(count))
    sound = () if voice is None else read_voice(voice, max_seconds=max_seconds)
    frames = islice(frames_of(session, chain(sound, silence), camera), count)
    paint(frames, session.parts.renderer, output, count, provenance=provenance)


@app.command()
def export(
    path: TapeArgument,
    output: Annotated[Path, typer.Argument(help="The CSV to write.")],
    fps: Annotated[int, typer.Option(help="Rows a second.", min=1, max=120)] = 60,
) -> None:
    """Write an ARKit-style CSV (the columns of Live Link Face): face, head and eyes; arms are not in it."""
    from engine.motion.tape import read
    from visavis import livelink

    livelink.write(output, read(path), fps)
    out.print(f"[green]{output}[/]")


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="A CSV as Live Link Face writes it.")],
    output: Annotated[Path, typer.Argument(help="The motion file to write.")],
    fps: Annotated[float | None, typer.Option(help="Frames a second of its timecode; guessed without it.")] = None,
    flip: Annotated[str, typer.Option(help="Angles of another convention: any of yaw,pitch,roll.")] = "",
) -> None:
    """Read an ARKit-style CSV into a motion file, at 25 frames a second."""
    from engine.motion.tape import save
    from visavis import livelink

    found = livelink.read(path, fps, tuple(part.strip() for part in flip.split(",") if part.strip()))
    for remark in found.remarks:
        err.print(f"[yellow]note:[/] {remark}", highlight=False)
    save(output, found.tape)
    out.print(f"[green]{output}[/]: {found.tape.seconds:.2f} s")
