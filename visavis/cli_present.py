"""``visavis present``: this machine's microphone moves the avatar, which other programs see as a camera and hear as a
microphone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from visavis.options import (
    BackgroundOption,
    EmotionOption,
    FramingOption,
    GazeOption,
    GestureOption,
    HeadOption,
    IntensityOption,
    RendererOption,
    TextOption,
    manner_of,
    parse_viewpoint,
    pictured,
    worn,
)

out, err = Console(), Console(stderr=True)


def present(
    avatar: Annotated[str | None, typer.Option(help="Who is seen: an avatar's id or a pack's folder.")] = None,
    mic: Annotated[
        str, typer.Option(help="Microphone by name, part of it or number (`visavis devices`), or none.")
    ] = "",
    camera: Annotated[
        str, typer.Option(help="Virtual camera (/dev/video10, OBS Virtual Camera), or none; the first without.")
    ] = "",
    speaker: Annotated[
        str, typer.Option(help="Where calls hear the voice: virtual (a microphone called Visavis), a device, or none.")
    ] = "virtual",
    monitor: Annotated[bool, typer.Option("--monitor", help="Hear it too, in the default headphones.")] = False,
    monitor_on: Annotated[str | None, typer.Option(help="Hear it too, on this device.")] = None,
    push_to_talk: Annotated[
        bool, typer.Option("--push-to-talk", "-p", help="Only while space is held, or between two taps of it.")
    ] = False,
    record: Annotated[Path | None, typer.Option(help="Also write a film here (.mp4, .mkv, .webm).")] = None,
    push: Annotated[
        list[str] | None,
        typer.Option(help="Also send it to a media server: rtmp(s)://, rtsp(s)://, or for WHIP http(s)://."),
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Also serve the page and a browser source.")] = False,
    port: Annotated[int | None, typer.Option(help="With --serve: TCP port of the page.", min=1, max=65535)] = None,
    viewpoint: Annotated[str | None, typer.Option(help="YAW,PITCH[,DISTANCE] in degrees and metres.")] = None,
    framing: FramingOption = None,
    renderer: RendererOption = None,
    background: BackgroundOption = None,
    seed: Annotated[int, typer.Option(help="Blinks, gaze, head and gestures follow from it.", min=0)] = 0,
    emotion: EmotionOption = None,
    intensity: IntensityOption = None,
    gaze: GazeOption = None,
    text: TextOption = None,
    head: HeadOption = None,
    gesture: GestureOption = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="A config.toml; the defaults without it.")
    ] = None,
) -> None:
    """Be seen as an avatar in any call: a virtual camera and a virtual microphone, moved by this machine's microphone.

    Needs the extra mic (elsewhere than on Linux camera too), and drivers of the system: docs/present.md says which.
    """
    from engine.render.camera import framing as framed
    from engine.render.composite import parse
    from streaming.listen import check_port
    from streaming.live import Options
    from visavis.config import load
    from visavis.gpu import open_engine
    from visavis.present import Wish, check
    from visavis.present import present as run
    from visavis.present_devices import Wanted
    from visavis.present_outputs import Outputs

    settings = load(config)
    settings = replace(
        settings, render=pictured(settings.render, renderer, background),
        server=replace(settings.server, port=port or settings.server.port),
        avatar=settings.avatar if avatar is None else worn(avatar, settings.avatar),
    )  # fmt: skip
    if parse(settings.render.background).transparent:
        raise ValueError(
            "a camera has no transparency: choose another background or a colour to key out, or --serve, "
            "whose browser source is transparent"
        )
    heard = "" if monitor and monitor_on is None else monitor_on
    devices = Wanted(mic, camera, speaker, heard)
    outputs = Outputs(record, tuple(push or ()), serve)
    framed(framing or settings.render.framing)
    if serve:
        check_port(settings.server)
    check(devices, outputs, settings)
    engine = open_engine(settings.engine, err, sessions=settings.server.max_sessions if serve else 1)
    manner = manner_of(engine, emotion, intensity, gaze, text, head, gesture)
    usual = engine.config.manner.manner()
    changes = {
        name: getattr(manner, name)
        for name in ("emotion", "intensity", "gaze", "meaning", "head", "gesture")
        if getattr(manner, name) != getattr(usual, name)
    }
    options = Options(engine.default_avatar, framing or settings.render.framing, seed)
    view = None
    if viewpoint is not None:
        front = engine.renderer(options.avatar, options.framing).default_viewpoint()
        view = parse_viewpoint(viewpoint, front)
    with err.status("Loading avatars and compiling kernels (about half a minute the first time, then seconds)"):
        engine.warm_up()
    try:
        run(engine, settings, Wish(options, devices, outputs, push_to_talk, changes, view))
    finally:
        engine.close()
