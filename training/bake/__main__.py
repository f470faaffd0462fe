"""python -m training.bake make | all | sheet: bakes people into avatar packs and shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from engine import avatar as packs
from training.bake.identities import IDENTITIES
from training.bake.prior import BakeError

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
console = Console()
Seed = Annotated[int, typer.Option(help="The same seed gives the same person.")]


@app.command()
def make(
    identity: Annotated[str, typer.Option(help=f"Who to bake: {', '.join(IDENTITIES)}.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the pack; the shipped place when left out.")] = None,
    seed: Seed = 0,
) -> None:
    """Bakes one person (about ten seconds; the first bake ever builds the prior's cache, three minutes)."""
    if identity not in IDENTITIES:
        raise typer.BadParameter(f"unknown identity {identity!r}: choose one of {', '.join(IDENTITIES)}")
    from training.bake.make import STEPS, bake

    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(identity, total=STEPS)

        def report(step: str) -> None:
            progress.update(task, advance=1, description=f"{identity}: {step}")

        try:
            avatar = bake(IDENTITIES[identity], seed, report)
        except BakeError as error:
            console.print(f"[red]{escape(str(error))}[/red]")
            raise typer.Exit(1) from None
    folder = packs.save(avatar, out or packs.SHIPPED / identity)
    problems = packs.check(folder)
    for problem in problems:
        console.print(f"[red]{escape(str(problem))}[/red]")
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    console.print(f"{folder}: {len(avatar.rest)} vertices, {len(avatar.faces)} faces, {size:.1f} MB")
    if problems:
        raise typer.Exit(1)


@app.command(name="all")
def everyone(seed: Seed = 0) -> None:
    """Bakes every identity into the shipped packs."""
    for identity in IDENTITIES:
        make(identity=identity, out=None, seed=seed)


@app.command()
def sheet(
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("docs/images/contact_sheet.png"),
    tile: Annotated[int, typer.Option(help="Side of one picture in pixels.")] = 192,
) -> None:
    """Renders all shipped people, from five sides and in six mouth shapes, into one picture."""
    from training.bake.sheet import contact_sheet

    with Progress(console=console) as progress:
        task = progress.add_task("contact sheet", total=None)

        def report(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        data = contact_sheet([packs.load(packs.find(name)) for name in IDENTITIES], tile, report)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    partial.write_bytes(data)
    partial.replace(out)
    console.print(f"{out}: {len(data) / 1e6:.1f} MB")


if __name__ == "__main__":
    app()
