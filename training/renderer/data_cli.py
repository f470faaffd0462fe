"""Commands about packs and training data: references, previews, check-data, sheet-data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

app = typer.Typer(add_completion=False)
console = Console()
Folder = Annotated[Path, typer.Option(help="Folder of the cooked clips.")]


@app.command()
def references(
    who: Annotated[list[str] | None, typer.Argument(help="Shipped avatars; all when left out.")] = None,
) -> None:
    """Photographs the shipped avatars for their packs: half a minute each."""
    from training.bake.identities import IDENTITIES
    from training.renderer.references import SIDE, ship
    from training.studio.take import Studio

    names, studio = _shipped(who), Studio(SIDE)
    _each(names, lambda name: ship(IDENTITIES[name], studio))


@app.command()
def previews(
    who: Annotated[list[str] | None, typer.Argument(help="Shipped avatars; all when left out.")] = None,
    network: Annotated[str, typer.Option(help="Shipped size or ONNX file that paints them.")] = "lite",
) -> None:
    """Paints the pictures by which the shipped avatars are chosen, as the network shows them: seconds."""
    from engine.render.network import find
    from training.renderer.previews import ship

    paints = find(network)
    _each(_shipped(who), lambda name: ship(name, paints))


def _shipped(who: list[str] | None) -> list[str]:
    from training.bake.identities import IDENTITIES

    names = who or list(IDENTITIES)
    unknown = [name for name in names if name not in IDENTITIES]
    if unknown:
        raise typer.BadParameter(f"no shipped avatar is called {unknown[0]!r}: {', '.join(IDENTITIES)}")
    return names


def _each(names: list[str], ship: Callable[[str], int]) -> None:
    for name in names:
        try:
            console.print(f"{name}: {ship(name) / 1000:.0f} kB")
        except ValueError as error:
            console.print(f"[red]{escape(str(error))}[/red]", highlight=False)
            raise typer.Exit(1) from None


@app.command("check-data")
def check_data(data: Folder) -> None:
    """Opens every cooked clip and reads its last frame; exit code 1 when one is broken."""
    from training.renderer.cook import check

    problems = list(check(data))
    for text in problems:
        console.print(f"[red]{escape(text)}[/red]", highlight=False)
    console.print(f"{data}: {len(problems)} problems" if problems else f"{data}: whole")
    raise typer.Exit(1 if problems else 0)


@app.command("sheet-data")
def sheet_data(
    data: Folder,
    png: Annotated[Path, typer.Option(help="Picture to write; a second one, NAME_reference, goes beside it.")],
    count: Annotated[int, typer.Option(min=1, help="Samples.")] = 6,
    frames: Annotated[int, typer.Option(min=1, max=8, help="Frames of each.")] = 2,
    seed: Annotated[int, typer.Option(help="Of the samples.")] = 0,
    crop: Annotated[int, typer.Option(help="Pixels a side; 0: whole pictures.")] = 256,
    tile: Annotated[int, typer.Option(help="Pixels a side of each picture of the sheet.")] = 160,
) -> None:
    """Draws all planes of a few samples, to look at."""
    from engine import image
    from training.renderer.data import NoClips, Samples
    from training.renderer.data_sheet import photographs, sheet

    try:
        samples = Samples(data, frames, seed, crop=crop or None)
    except (NoClips, ValueError) as error:
        console.print(f"[red]{escape(str(error))}[/red]", highlight=False)
        raise typer.Exit(1) from None
    taken = [samples.sample(n) for n in range(count)]
    for path, picture in (
        (png, sheet(taken, tile)),
        (png.with_stem(f"{png.stem}_reference"), photographs(taken, tile)),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image.encode_png(picture))
        console.print(f"{path}: {picture.shape[1]} x {picture.shape[0]}")
