"""Command line options that several commands share: how the avatar behaves, how it is painted, and from where."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from engine.motion.emotion import EMOTIONS
from engine.motion.manner import GAZES, Manner
from engine.viewpoint import Viewpoint
from visavis import camera

if TYPE_CHECKING:
    from engine.config import AvatarConfig, EngineConfig, RenderConfig
    from engine.engine import Engine
    from visavis.config import Config

EmotionOption = Annotated[str | None, typer.Option(help=f"One of {', '.join(EMOTIONS)}.")]
IntensityOption = Annotated[float | None, typer.Option(help="Of the emotion: mild .35, moderate .65, strong 1.")]
GazeOption = Annotated[str | None, typer.Option(help="viewer, free, or YAW,PITCH in degrees.")]
TextOption = Annotated[str | None, typer.Option(help="What the voice says, so that gestures fit (extra: text).")]
HeadOption = Annotated[float | None, typer.Option(help="How far the head moves, 0 to 1.5.")]
RendererOption = Annotated[str | None, typer.Option(help="geometric or neural; as configured without.")]
BackgroundOption = Annotated[
    str | None, typer.Option(help="avatar, blur, a colour as #rrggbb, an image file, or (in files) transparent.")
]
WatermarkOption = Annotated[
    bool | None, typer.Option("--watermark/--no-watermark", help="The invisible mark; as configured without.")
]
GestureOption = Annotated[float | None, typer.Option(help="How far arms and hands move, 0 to 1.5.")]
FramingOption = Annotated[str | None, typer.Option(help="How much of the avatar: upper, head or presenter.")]
FRONT: Final = "0,0"  # what --viewpoint is when nobody says it
ViewpointOption = Annotated[str, typer.Option(help="YAW,PITCH[,DISTANCE] in degrees and metres; yaw +-75, pitch +-25.")]
OrbitOption = Annotated[
    float | None, typer.Option(help="The camera swings around that viewpoint, so many degrees to either side.")
]
CameraOption = Annotated[
    Path | None, typer.Option(help="The camera follows a CSV: seconds,yaw[,pitch][,distance] in degrees and metres.")
]


def manner_of(
    engine: Engine, emotion: str | None = None, intensity: float | None = None, gaze: str | None = None,
    text: str | None = None, head: float | None = None, gesture: float | None = None,
) -> Manner:  # fmt: skip
    """The configured manner with what was given on the command line. Raises ValueError naming what cannot be done."""
    given: dict[str, Any] = {"emotion": emotion, "intensity": intensity, "head": head, "gesture": gesture}
    if gaze is not None:
        given["gaze"] = parse_gaze(gaze)
    if text is not None:
        given["meaning"] = engine.meaning(text)
    return replace(engine.config.manner.manner(), **{name: value for name, value in given.items() if value is not None})


def configured(
    settings: Config, renderer: str | None, background: str | None, watermark: bool | None = None
) -> EngineConfig:
    """The engine's settings with the renderer, background and watermark of the command line, where they are given."""
    marked = settings.watermark if watermark is None else replace(settings.watermark, enabled=watermark)
    return replace(settings, render=pictured(settings.render, renderer, background), watermark=marked).engine


def pictured(render: RenderConfig, renderer: str | None, background: str | None) -> RenderConfig:
    """``render`` with the renderer and the background of the command line, where they are given."""
    return replace(render, renderer=renderer or render.renderer, background=background or render.background)


def agreed(consent: bool, statement: str | None, usual: str) -> str:
    """The statement of consent of ``--statement``, or with ``--consent`` the ``usual`` one, which somebody at a
    terminal is asked for. Raises ValueError without any."""
    if statement is not None:
        if not statement.strip():
            raise ValueError("--statement is empty: say who has agreed, and to what")
        return statement.strip()
    if not consent and sys.stdin.isatty() and sys.stdout.isatty():
        typer.echo(usual, err=True)
        consent = typer.confirm("Is that so?")
    if not consent:
        raise ValueError(f'nothing is made without consent: add --consent, which says "{usual}"')
    return usual


def worn(name: str, avatars: AvatarConfig) -> AvatarConfig:
    """``avatars`` with the one called ``name`` first: an id, or the folder of a pack, which joins the list.

    Raises engine.avatar.AvatarError for a pack that is none, and for an id that nobody has.
    """
    from engine import avatar as packs

    if (Path(name) / "avatar.toml").is_file():
        folder = Path(name).resolve()
        return replace(avatars, default=packs.describe(folder).id, folders=(*avatars.folders, str(folder.parent)))
    packs.find(name, avatars.folders)
    return replace(avatars, default=name)


def parse_gaze(text: str) -> str | tuple[float, float]:
    """``viewer``, ``free`` or ``YAW,PITCH`` in degrees. Raises ValueError with what was expected."""
    if text in GAZES:
        return text
    try:
        yaw, pitch = (math.radians(float(part)) for part in text.split(","))
    except ValueError:
        raise ValueError(f'--gaze is viewer, free or YAW,PITCH in degrees, e.g. "20,-5", got "{text}"') from None
    return yaw, pitch


def parse_viewpoint(text: str, default: Viewpoint) -> Viewpoint:
    """``YAW,PITCH[,DISTANCE]`` in degrees and metres -> Viewpoint. Raises ValueError with what was expected."""
    try:
        numbers = [float(part) for part in text.split(",")]
        yaw, pitch, distance = (*numbers, default.distance)[:3]
        if not 2 <= len(numbers) <= 3:
            raise ValueError
    except ValueError:
        raise ValueError(f'--viewpoint is YAW,PITCH or YAW,PITCH,DISTANCE, e.g. "30,-5", got "{text}"') from None
    return Viewpoint(math.radians(yaw), math.radians(pitch), distance).clamped()


def camera_of(
    viewpoint: str, orbit: float | None, path: Path | None, default: Viewpoint, seconds: float | None
) -> camera.Camera:
    """What --viewpoint, --orbit and --camera say of where a film of ``seconds`` (None: not known) is seen from.

    Raises ValueError when they contradict each other, or one of them cannot be done.
    """
    if path is not None:
        if orbit is not None or viewpoint != FRONT:
            raise ValueError("--camera says where the film is seen from; leave out --viewpoint and --orbit")
        return camera.read(path, default.distance)
    view = parse_viewpoint(viewpoint, default)
    return camera.still(view) if orbit is None else camera.orbit(view, orbit, seconds)
