"""python -m training.studio make | contact-sheet | stats | check: photographs synthetic people for the renderer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from training.bake.prior import BakeError
from training.studio.clips import SPEECH, TRAIN
from training.studio.plan import Plan
from training.studio.shards import StudioError

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
console = Console()
DATA = Path("data/studio")
Folder = Annotated[Path, typer.Option("--out", help="Folder of the data set.")]
Speech = Annotated[Path, typer.Option(help="Folder of training.speech: what people say.")]


@app.command()
def make(
    clips: Annotated[int, typer.Option(min=1, help="How many clips the data set shall hold.")],
    size: Annotated[int, typer.Option(help="Pixels a side: 256 or 512.")] = 256,
    out: Folder = DATA / "train256",
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same clips.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = os.cpu_count() or 1,
    split: Annotated[str, typer.Option(help=f"{' or '.join(SPEECH)}: which people, and what they say.")] = TRAIN,
    speech: Speech = Path("data/speech"),
) -> None:
    """Photographs clips. Stop it at will, or kill it: the same command goes on, and nothing is lost or made twice.

    More --clips than the folder holds makes it longer. At 256 a clip (about 38 frames) takes some 2 MB.
    """
    if size not in (256, 512):
        raise typer.BadParameter(f"must be 256 or 512, got {size}", param_hint="--size")
    with _complaining():
        from training.studio.make import Progress as Done
        from training.studio.make import make as make_all
        from training.studio.take import Studio

        plan = Plan.of(seed, split, size, clips, speech)
        columns = (TextColumn("clips"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"),
                   TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())  # fmt: skip
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("clips", total=clips, speed="")

            def report(done: Done) -> None:
                seconds = progress.tasks[task].elapsed or 1.0
                speed = f"{done.frames} frames, {done.frames / seconds:.1f}/s" if done.frames else "starting"
                progress.update(task, completed=done.clips, total=done.total, speed=speed)

            try:
                make_all(out, plan, speech, workers, Studio, report)
            except KeyboardInterrupt:
                console.print("stopped; the same command goes on")
                raise typer.Exit(130) from None
    console.print(f"{out}: whole. Look at it: python -m training.studio stats --out {out}")


@app.command()
def contact_sheet(
    kind: Annotated[str, typer.Argument(help="identities, views, visemes or gestures")],
    png: Annotated[Path | None, typer.Option(help="Picture to write; docs/images/studio_KIND.png if left out.")] = None,
    person: Annotated[int, typer.Option(help="Who; for identities, the first of 48.")] = 7,
    tile: Annotated[int, typer.Option(help="Pixels a side of each picture; 0: as suits the sheet.")] = 0,
) -> None:
    """Photographs a sheet to look at: 48 people, or one person's 9 views, 15 visemes or 8 gestures."""
    with _complaining():
        from PIL import Image

        from training.studio.sheet import contact_sheet as sheet

        with _bar(kind) as report:
            picture = sheet(kind, person, tile, report)
        target = png or Path("docs/images") / f"studio_{kind}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        Image.fromarray(picture).save(partial, "PNG", optimize=True)
        partial.replace(target)
        console.print(f"{target}: {picture.shape[1]} x {picture.shape[0]}, {target.stat().st_size / 1e6:.1f} MB")


@app.command()
def stats(out: Folder = DATA / "train256") -> None:
    """Prints who and what a data set shows, from where, in which light, and what it cost."""
    with _complaining():
        from training.studio.stats import facts

        found = facts(out)
        for title, rows in found.tables.items():
            table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
            for name, share in rows:
                table.add_row(f"{name:<16}", f"{100 * share:5.1f} %", "█" * round(40 * share))
            console.print(table)
        for name, text in found.cost.items():
            console.print(f"{name:<10}{text}")


@app.command()
def check(
    out: Folder = DATA / "train256",
    speech: Speech = Path("data/speech"),
    derive: Annotated[int, typer.Option(min=0, help="Clips to derive again from their seed, guidance included.")] = 2,
    discard: Annotated[bool, typer.Option(help="Remove broken shards, so that make makes them again.")] = False,
    judges: Annotated[int, typer.Option(min=0, help="Frames to show to the independent judges; 0: none.")] = 0,
    python: Annotated[Path, typer.Option(help="python of the judges' own environment.")] = Path(
        "data/judge/bin/python"
    ),
) -> None:
    """Is the data set whole and right? Files, records, and a sample made again; exit code 1 when something is wrong.

    --judges 500 asks mediapipe, which knows nothing of us, whether it sees faces, mouths, blinks and people as we do.
    """
    with _complaining():
        problems = list(_problems(out, speech, derive, discard))
        for text in problems[:50]:
            console.print(f"[red]{escape(str(text))}[/red]", highlight=False)
        if len(problems) > 50:
            console.print(f"[red]... and {len(problems) - 50} more[/red]")
        if judges:
            problems += _judged(out, judges, python)
    console.print(f"{out}: " + (f"{len(problems)} problems" if problems else "whole and right"))
    if problems:
        raise typer.Exit(1)


def _problems(out: Path, speech: Path, derive: int, discard: bool) -> Iterator[str]:
    from training.studio import check as checks
    from training.studio.shards import discard as remove
    from training.studio.shards import manifests

    plan = checks.plan_of(out)
    total = len(plan.sittings())
    with _bar("files", total) as report:
        for text in checks.files(out, plan, lambda: report(-1, total)):
            yield text
            name = text.partition(":")[0].partition(".")[0]
            if discard and name in plan.sittings():
                remove(out, name)
    shards = list(manifests(out))
    with _bar("records", len(shards)) as report:
        for number, shard in enumerate(shards):
            yield from checks.records(out, shard)
            report(number + 1, len(shards))
    yield from _derived(out, speech, derive, shards)


def _derived(out: Path, speech: Path, count: int, shards: list[dict[str, Any]]) -> Iterator[str]:
    from training.studio import check as checks
    from training.studio.person import build

    plan = checks.plan_of(out)
    dice = np.random.default_rng(plan.clips)
    for index in dice.permutation(len(shards))[:count]:
        shard = shards[index]
        if why := checks.comparable(plan, shard):
            console.print(f"[yellow]not derived again: {why}[/yellow]")
            return
        row = shard["clips"][int(dice.integers(len(shard["clips"])))]
        console.print(f"deriving clip {row['clip']} again: {row['frames']} frames of person {row['person']}")
        yield from checks.derived(out, {**row, "shard": shard["name"]}, plan, speech, build(row["person"]))


def _judged(out: Path, frames: int, python: Path) -> list[str]:
    from training.studio.judges import judge, sampled

    with _bar("judges", frames) as report:
        verdict = judge(sampled(out, frames), python, report)
    table = Table("judged", "found", "wanted", "frames")
    for row in verdict:
        colour = "green" if row.good else "red"
        wanted = "" if row.wanted is None else f">= {row.wanted}"
        table.add_row(row.name, f"[{colour}]{row.value:.3f}[/{colour}]", wanted, str(row.frames))
    console.print(table)
    return [f"{row.name}: {row.value:.3f}, wanted {row.wanted}" for row in verdict if not row.good]


@contextmanager
def _bar(title: str, total: int | None = None) -> Iterator[Callable[[int, int], None]]:
    """A progress bar; report(done, total), or report(-1, total) for one more."""
    columns = SpinnerColumn(), TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=total)

        def report(done: int, of: int) -> None:
            if done < 0:
                progress.update(task, advance=1, total=of)
            else:
                progress.update(task, completed=done, total=of)

        yield report


@contextmanager
def _complaining() -> Iterator[None]:
    """What a person can do something about is said in a sentence, without a traceback."""
    from training.studio.gl import GlError

    try:
        yield
    except (StudioError, BakeError, GlError, ValueError, OSError) as error:
        console.print(f"[red]{escape(str(error))}[/red]", highlight=False)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
