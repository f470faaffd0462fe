"""The command line: ``visavis serve | enroll | render | drive | dub | motion | avatars | detect-watermark`` ..."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from visavis import (
    __version__,
    cli_cluster,
    cli_doctor,
    cli_dub,
    cli_export,
    cli_motion,
    cli_portrait,
    cli_present,
    cli_say,
)
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
    pictured,
    worn,
)
from visavis.paint import paint, progress

if TYPE_CHECKING:
    from visavis.config import Config

app = typer.Typer(
    name="visavis",
    help="Real-time streaming avatars: a voice moves a face, from any viewpoint.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
avatar_app = typer.Typer(help="Look into avatar packs.", no_args_is_help=True)
app.add_typer(avatar_app, name="avatar")
app.add_typer(cli_motion.app, name="motion")
app.add_typer(cli_cluster.app, name="cluster")
app.command()(cli_portrait.enroll)
app.command()(cli_doctor.doctor)
app.command()(cli_dub.dub)
app.command()(cli_export.export)
app.command()(cli_present.present)
app.command()(cli_say.say)
out, err = Console(), Console(stderr=True)

PREPARING: Final = "Loading avatars and compiling kernels (about half a minute the first time, then seconds)"
ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="A config.toml; the defaults without it.")]


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"visavis {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 unless configured.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port of the page.", min=1, max=65535)] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    avatar: Annotated[str | None, typer.Option(help="Who is there first: an avatar's id or a pack's folder.")] = None,
    renderer: RendererOption = None,
    background: BackgroundOption = None,
    record: Annotated[Path | None, typer.Option(help="A folder: every session is recorded into it.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say when sessions come and go.")] = False,
    log_format: Annotated[str | None, typer.Option(help="Lines of the log: text or json.")] = None,
) -> None:
    """Serve the page: talk in the browser, and the avatar talks with you."""
    from engine.render.composite import parse
    from streaming import logs
    from streaming.guard import with_secrets
    from streaming.listen import check_port
    from streaming.place import cores
    from streaming.split import splits
    from visavis.config import load

    settings = load(config)
    observe = replace(settings.observe, log=log_format or settings.observe.log)
    lines = observe.log, "info" if verbose else observe.log_level, tuple(logs.secrets_of(with_secrets(settings.server)))
    logs.setup(*lines)
    server = replace(settings.server, host=host or settings.server.host, port=port or settings.server.port)
    settings = replace(
        settings, server=server, render=pictured(settings.render, renderer, background),
        avatar=settings.avatar if avatar is None else worn(avatar, settings.avatar),
    )  # fmt: skip
    if record is not None:
        if not record.is_dir():
            raise ValueError(f"--record: there is no folder {record}; make it first")
        settings = replace(settings, outputs=replace(settings.outputs, folder=str(record), every=True))
    check_port(settings.server)
    if parse(settings.render.background).transparent:
        raise ValueError("a video call has no transparency: choose another background, or a colour to key out")
    if splits(settings.server.processes, len(cores())):
        _serve_split(settings, lines, open_page)
        return
    from streaming.server import serve as run

    engine = open_engine(settings.engine, err, sessions=settings.server.max_sessions)
    with err.status(PREPARING):
        engine.warm_up()
        if settings.server.max_sessions > 1:
            engine.warm_up_company()
    try:
        run(settings, engine, open_browser=open_page)
    finally:
        engine.close()


def _serve_split(settings: Config, lines: tuple[str, str, tuple[str, ...]], open_page: bool) -> None:
    """The same by several processes."""
    from streaming import split
    from streaming.listen import announce
    from visavis.gpu import engine_for, on_gpu

    server = settings.server
    if on_gpu(settings.engine):  # a second process would take its memory twice
        settings = replace(settings, server=replace(server, standby=False))
    make = partial(engine_for, settings.engine, server.max_sessions)
    with err.status(PREPARING) as status:

        def ready(address: str) -> None:
            status.stop()
            announce(address)

        split.serve(settings, settings.engine, make, logs=lines, open_browser=open_page, ready=ready)


@app.command()
def render(
    voice: Annotated[Path, typer.Argument(help="Any file with sound: wav, mp3, flac, ogg, m4a, mp4 ...")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .mp4, .webm, .mov or .mkv to write.")] = Path(
        "out.mp4"
    ),
    avatar: Annotated[str | None, typer.Option(help="Avatar id (see `visavis avatars`) or a pack's folder.")] = None,
    viewpoint: ViewpointOption = FRONT,
    orbit: OrbitOption = None,
    camera: CameraOption = None,
    framing: FramingOption = None,
    renderer: RendererOption = None,
    background: BackgroundOption = None,
    watermark: WatermarkOption = None,
    seed: Annotated[int, typer.Option(help="Blinks, gaze, head and gestures follow from it.", min=0)] = 0,
    emotion: EmotionOption = None,
    intensity: IntensityOption = None,
    gaze: GazeOption = None,
    text: TextOption = None,
    head: HeadOption = None,
    gesture: GestureOption = None,
    motion: Annotated[Path | None, typer.Option(help="Also write its motion here (.vmotion).")] = None,
    motion_in: Annotated[Path | None, typer.Option(help="Move by this motion file instead of by the voice.")] = None,
    lips: Annotated[str, typer.Option(help="With --motion-in: lips from the file, or from the voice.")] = "file",
    max_minutes: Annotated[float, typer.Option(help="Longest voice to accept.", min=0.01)] = 60.0,
    config: ConfigOption = None,
) -> None:
    """Paint a voice file into a video file."""
    from engine.clock import FPS
    from engine.motion import tape
    from engine.session import Source
    from visavis.config import load
    from visavis.provenance import Provenance
    from visavis.sound import probe, read_voice
    from visavis.video import format_of, frames_of

    if lips not in ("file", "voice"):
        raise ValueError(f'--lips is file or voice, got "{lips}"')
    info = probe(voice)
    settings = load(config)
    engine = open_engine(configured(settings, renderer, background, watermark), err, sessions=1, quiet=True)
    format_of(output, engine.backdrop.transparent)
    manner = manner_of(engine, emotion, intensity, gaze, text, head, gesture)
    session = engine.open(avatar, seed=seed, framing=framing, manner=manner)
    if motion_in is not None:
        session.source = Source(tape.read(motion_in).at, lips == "file")
    seen = camera_of(viewpoint, orbit, camera, session.parts.renderer.default_viewpoint(), info.seconds)
    provenance = Provenance.of(engine, avatar, seed, settings.provenance)
    frames = frames_of(session, read_voice(voice, max_seconds=60 * max_minutes), seen)
    record = tape.Recorder(motion, {"source": voice.name, "seed": str(seed)}) if motion is not None else None
    total = None if info.seconds is None else math.ceil(info.seconds * FPS)
    paint(frames, session.parts.renderer, output, total, record, provenance)
    out.print(f"[green]{output}[/]: {session.state.painted / FPS:.2f} s, {output.stat().st_size / 1e6:.1f} MB")


@app.command()
def drive(
    video: Annotated[Path | None, typer.Argument(help="A video with one face: mp4, mov, webm ...")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .mp4, .webm, .mov or .mkv to write.")] = Path(
        "out.mp4"
    ),
    avatar: Annotated[str | None, typer.Option(help="Avatar id (see `visavis avatars`) or a pack's folder.")] = None,
    lips: Annotated[str, typer.Option(help="Lips from the video, or from the voice in it.")] = "video",
    webcam: Annotated[int | None, typer.Option(help="Instead of a file: record this camera first.", min=0)] = None,
    seconds: Annotated[float, typer.Option(help="How long to record the camera.", min=0.5, max=600.0)] = 10.0,
    motion: Annotated[Path | None, typer.Option(help="Also write the motion here (.vmotion).")] = None,
    viewpoint: ViewpointOption = FRONT,
    orbit: OrbitOption = None,
    camera: CameraOption = None,
    framing: FramingOption = None,
    renderer: RendererOption = None,
    background: BackgroundOption = None,
    watermark: WatermarkOption = None,
    max_minutes: Annotated[float, typer.Option(help="Longest video to accept.", min=0.01)] = 10.0,
    config: ConfigOption = None,
) -> None:
    """Let the face in a video, or before a camera, move an avatar: head, eyes, expression, and the lips if wanted.

    The calmest pictures of it are taken for its neutral face, so an expression that never changes does not show.
    """
    from engine.clock import FPS
    from engine.motion import tape
    from visavis import drive as driving
    from visavis.config import load
    from visavis.provenance import Provenance
    from visavis.sound import has_sound
    from visavis.video import format_of

    if lips not in ("video", "voice"):
        raise ValueError(f'--lips is video or voice, got "{lips}"')
    if (video is None) == (webcam is None):
        raise ValueError("give a video, or --webcam N")
    if lips == "voice" and webcam is not None:
        raise ValueError("a camera has no voice; use --lips video")
    limit, settings = 60 * max_minutes, load(config)
    engine = open_engine(configured(settings, renderer, background, watermark), err, sessions=1, quiet=True)
    format_of(output, engine.backdrop.transparent)
    provenance = Provenance.of(engine, avatar, 0, settings.provenance)
    session = engine.open(avatar, framing=framing)
    front = session.parts.renderer.default_viewpoint()
    camera_of(viewpoint, orbit, camera, front, None)  # a mistake is said before the long look
    source = driving.camera(webcam or 0, seconds) if video is None else driving.pictures(video, limit)
    with progress() as bar:
        task, sights = bar.add_task("looking", total=None), []
        for sight in driving.look(source):
            sights.append(sight)
            bar.advance(task)
    found = driving.motion_of(sights, {"source": "camera" if video is None else video.name, "lips": lips})
    faces = sum(sight.face is not None for sight in sights)
    err.print(f"a face in {faces} of {len(sights)} pictures, {found.seconds:.1f} s of motion", highlight=False)
    voice = video if video is not None and has_sound(video) else None
    if voice is None and lips == "voice":
        raise ValueError(f"{video}: there is no sound in it; use --lips video")
    seen = camera_of(viewpoint, orbit, camera, front, found.seconds)
    cli_motion.play_back(session, found, output, voice, seen, lips == "video", limit + 60.0, provenance)
    if motion is not None:
        tape.save(motion, found)
    out.print(f"[green]{output}[/]: {session.state.painted / FPS:.2f} s")


@app.command()
def avatars(config: ConfigOption = None) -> None:
    """List the avatars that can be worn."""
    from engine.engine import Engine
    from visavis.config import load

    table = Table("id", "name", "licence", "about", "path")
    for meta in Engine(load(config).engine).avatars():
        table.add_row(meta.id, meta.name, meta.licence, meta.description, str(meta.path))
    out.print(table)


@avatar_app.command("check")
def avatar_check(path: Annotated[Path, typer.Argument(help="The folder of an avatar pack.")]) -> None:
    """Say everything that is wrong with an avatar pack."""
    from engine import avatar as packs

    problems = packs.check(path)
    for problem in problems:
        err.print(f"[red]x[/] {escape(str(problem))}", highlight=False)
    if problems:
        raise typer.Exit(1)
    meta = packs.load(path).meta
    out.print(f"[green]ok[/] {meta.name} ({meta.id}), {meta.licence}, {path}")


@app.command("detect-watermark")
def detect_watermark(
    path: Annotated[Path, typer.Argument(help="A video, a picture, or a folder of pictures.", metavar="FILE")],
    key: Annotated[str | None, typer.Option(help="The mark's key; as configured without.")] = None,
    config: ConfigOption = None,
) -> None:
    """Say whether a film was made by Visavis, and by which session. Exit status: 0 found, 1 not found, 2 an error."""
    from engine import avatar as packs
    from engine.watermark.code import avatar_tag
    from visavis import watermark
    from visavis.config import load

    settings, expected = load(config), watermark.length(path)
    with progress() as bar:
        task = bar.add_task("looking", total=expected)
        verdict, count = watermark.detect(
            path, key or settings.watermark.key, lambda seen: bar.update(task, completed=seen)
        )
    about = f"statistic {verdict.statistic:.1f}, {verdict.needed:.1f} is needed; {count} pictures"
    if verdict.payload is None:
        out.print(f"[yellow]not found[/]: no mark of this key ({about})", highlight=False, soft_wrap=True)
        if expected is not None and count < 0.9 * expected:
            err.print(f"[yellow]note:[/] the file breaks off after {count} of {expected} pictures", highlight=False)
        raise typer.Exit(1)
    told, folders = verdict.payload, tuple(Path(folder) for folder in settings.avatar.folders)
    names = [meta.id for meta in packs.available(folders) if avatar_tag(meta.id) == told.avatar]
    who = " or ".join(names) or "one that is not installed here"
    out.print(f"[green]found[/]: avatar {told.avatar:04x} ({who}), session {told.session:04x}", highlight=False)
    chance = f"chance of a false alarm below 1e{math.ceil(verdict.log10_chance)}"
    out.print(f"  {about}; {chance}", highlight=False, soft_wrap=True)


@app.command()
def devices() -> None:
    """List what this machine can listen, compute and show with."""
    from visavis.devices import report

    for title, rows, hint in report():
        table = Table(title=title, title_justify="left", show_header=False)
        for row in rows:
            table.add_row(*row)
        out.print(table if rows else f"[bold]{title}[/]: none found")
        if hint:
            out.print(f"  {hint}", highlight=False, markup=False, soft_wrap=True)  # holds commands to copy


def main() -> None:
    """Entry point: a known error is one line and exit status 2; VISAVIS_DEBUG=1 shows the traceback."""
    try:
        app()
    except (ValueError, OSError) as error:
        if os.environ.get("VISAVIS_DEBUG"):
            raise
        err.print(f"[red]visavis:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
