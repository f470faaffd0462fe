"""``visavis enroll``: one photograph becomes an avatar pack, with a report to look at."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from visavis.options import agreed

out, err = Console(), Console(stderr=True)
EXTRA = "making an avatar of a photograph needs the extra 'portrait': pip install 'visavis[portrait]'"


def enroll(
    picture: Annotated[
        Path,
        typer.Argument(metavar="PHOTO", help="A photograph of one person from the front: jpg, png, webp, tiff or bmp."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The pack's folder to make; PHOTO's name + .avatar without it."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What the avatar is called; the pack's name without it.")] = None,
    consent: Annotated[
        bool, typer.Option("--consent", help="You are the person in the photograph, or they have agreed to this.")
    ] = False,
    statement: Annotated[
        str | None,
        typer.Option(help="Who has agreed, to what and when, in words: kept in the pack. Implies --consent."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a pack of that name.")] = False,
) -> None:
    """Make an avatar of the person in a photograph: it speaks, blinks, looks around and turns."""
    try:
        from training.bake.prior import BakeError
        from training.portrait import enrol
        from training.portrait.bake import About
    except ImportError as error:
        raise ValueError(f"{EXTRA} ({error.name} is missing)") from error
    folder = output or Path(picture.with_suffix(".avatar").name)
    enrol.check_place(folder, force)
    called = name or folder.name.removesuffix(".avatar")
    about = About(identifier(called), called, agreed(consent, statement, enrol.CONSENT), "")
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"), TimeElapsedColumn()
    with Progress(*columns, console=err, transient=True) as progress:
        bar = progress.add_task("starting", total=1.0)
        try:
            made = enrol.enrol(
                picture, about, lambda step, share: progress.update(bar, description=step, completed=share)
            )
            enrol.write(made, folder, force)
        except BakeError as error:
            raise ValueError(f"{error}") from error
    for warning in made.warnings:
        err.print(f"[yellow]note:[/] {escape(warning)}", highlight=False)
    seconds = sum(made.seconds.values())
    out.print(f"{escape(str(folder))} is ready ({seconds:.0f} s). Look at {escape(str(folder / 'report.html'))}, then:")
    out.print(f"  visavis serve --avatar {escape(str(folder))}", highlight=False)
    out.print(f"  visavis render speech.wav --avatar {escape(str(folder))} -o film.mp4", highlight=False)


def identifier(called: str) -> str:
    """An avatar's id from what people call it."""
    return re.sub(r"[^a-z0-9]+", "-", called.lower()).strip("-")[:40] or "me"
