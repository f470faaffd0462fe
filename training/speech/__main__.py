"""Makes the speech corpus:  python -m training.speech make --out data/speech"""

from __future__ import annotations

import json
import os
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from training.speech.corpus import Task, complete, make_shard, write_manifest
from training.speech.text import script, sentences
from training.speech.tools import MissingPackage
from training.speech.voices import FULL_HOURS, VOICES, Voice, require, voice_named

SECONDS_PER_SENTENCE = 3.0  # a low guess, so that the hours asked for are reached
VALIDATION_SHARE = 0.03  # of the hours of a long trained voice, in held-out sentences
VALIDATED_HOURS = 0.4

app = typer.Typer(add_completion=False, help=__doc__, no_args_is_help=True)


def plan(voices: list[Voice], hours: float, seed: int) -> list[Task]:
    """Every shard to make, voices interleaved so that an interrupted run is already balanced.

    Of the whole table, ``hours`` are in the train split; a part of the table gives its part of them.
    """
    pools = {language: sentences(language) for language in {voice.language for voice in voices}}
    placed: list[tuple[float, Task]] = []
    for voice in voices:
        splits = [(voice.split, 1.0)]
        if voice.split == "train" and voice.hours >= VALIDATED_HOURS and not voice.base:
            splits.append(("sentence", VALIDATION_SHARE))
        for split, part in splits:
            lines = script(voice.base or voice.name, split == "sentence", seed, pools[voice.language])
            seconds = 3600 * voice.hours * part * hours / FULL_HOURS
            count = max(1, round(seconds / SECONDS_PER_SENTENCE / voice.batch))
            for index in range(count):
                start = index * voice.batch
                batch = tuple(lines[i % len(lines)] for i in range(start, start + voice.batch))
                task = Task(voice.name, split, index, seed, batch)
                # Validation comes early, so that a first model can be judged before the corpus is whole; a persona
                # comes after the voice it is made of.
                early = (index + 0.5) / count * (1.0 if split == "train" else 0.3)
                placed.append((early + (0.02 if voice.base else 0.0), task))
    return [task for _, task in sorted(placed, key=lambda item: item[0])]


@app.command()
def make(
    out: Annotated[Path, typer.Option(help="folder of the corpus; an interrupted run continues in it")],
    hours: Annotated[
        float, typer.Option(min=0.01, max=200, help="hours to train on, all voices together")
    ] = FULL_HOURS,
    seed: Annotated[int, typer.Option(help="the same seed makes the same text and voice settings")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="processes")] = os.cpu_count() or 1,
    voices: Annotated[str, typer.Option(help="comma-separated voice names; default: all that are installed")] = "",
) -> None:
    """Speaks, aligns and stores the corpus. Stop it at will; the same command continues it."""
    console = Console()
    try:
        chosen = [voice_named(name) for name in voices.split(",")] if voices else _installed(console)
        require(chosen)
        tasks = plan(chosen, hours, seed)
    except (MissingPackage, ValueError) as error:
        console.print(f"[red]{escape(str(error))}")
        raise typer.Exit(2) from error
    out.mkdir(parents=True, exist_ok=True)
    try:
        _make_all(tasks, out, jobs, console)
    finally:
        _print_manifest(write_manifest(out, seed), console)


def _installed(console: Console) -> list[Voice]:
    """The voices this machine can speak; the others are named with what they lack."""
    absent = [voice for voice in VOICES if not voice.present()]
    for package in sorted({voice.package for voice in absent}):
        names = ", ".join(voice.name for voice in absent if voice.package == package)
        console.print(f"[yellow]without {names}: {package}")
    if len(absent) == len(VOICES):
        raise MissingPackage("no voice at all is installed; the first ones: Debian packages flite and espeak-ng")
    return [voice for voice in VOICES if voice.present()]


def _make_all(tasks: list[Task], out: Path, jobs: int, console: Console) -> None:
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    todo = [task for task in tasks if not complete(out / task.filename)]
    todo.sort(key=lambda task: (out / task.filename).exists())  # what only lacks new fields can wait
    with Progress(*columns, console=console) as progress, ProcessPoolExecutor(jobs) as pool:
        bar = progress.add_task("shards", total=len(tasks), completed=len(tasks) - len(todo))
        running: set[Future[Path]] = set()
        queue = iter(todo)
        try:
            while True:
                batch = islice(queue, 2 * jobs - len(running))
                running |= {pool.submit(make_shard, task, out) for task in batch}
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                    progress.advance(bar)
        except KeyboardInterrupt:
            console.print("stopping after the shards in hand; the same command continues")
            raise
        finally:
            for future in running:
                future.cancel()


def _print_manifest(manifest: dict[str, Any], console: Console) -> None:
    table = Table("voice", "speaker", "split", "sentences", "minutes", "dropped", "licence")
    for name, row in manifest["voices"].items():
        for split, part in row["splits"].items():
            table.add_row(name, row["speaker"], split, str(part["sentences"]), f"{part['seconds'] / 60:.1f}",
                          str(part["dropped"]), row["licence"])  # fmt: skip
    console.print(table)


@app.command()
def info(folder: Annotated[Path, typer.Argument(help="folder of a corpus")]) -> None:
    """Prints what a corpus holds."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        Console().print(f"[red]no readable manifest.json in {folder}: {escape(str(error))}")
        raise typer.Exit(2) from error
    _print_manifest(manifest, Console())


if __name__ == "__main__":
    app()
