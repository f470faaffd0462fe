"""python -m training.choreography make | basis: performance shards, and the directions of meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


@app.command()
def make(
    speech: Annotated[Path, typer.Option(help="folder of the speech corpus")] = Path("data/speech"),
    out: Annotated[Path, typer.Option(help="folder to write; what is there already is kept")] = Path(
        "data/performance"
    ),
    hours: Annotated[float, typer.Option(help="of streams, all splits together")] = 10.0,
    seed: int = 0,
) -> None:
    """Makes performance shards: speakers who talk, listen and idle, with what a performer should do."""
    from training.choreography.make import make as shards

    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("streams")
        for path in shards(speech, out, hours, seed, lambda done, whole, name: bar.update(
            task, completed=done, total=whole, description=name)):  # fmt: skip
            bar.log(f"{path} {path.stat().st_size / 1e6:.0f} MB")


@app.command()
def basis(
    out: Annotated[Path, typer.Option(help="file to write")] = Path("engine/assets/semantics.safetensors"),
    seed: int = 0,
) -> None:
    """Finds the 32 directions of meaning in the sentences of training/speech/text.py."""
    from engine.motion.semantics import SentenceEncoder
    from training.choreography.basis import make_basis
    from training.speech.text import sentences

    kept = make_basis(sentences(), out, SentenceEncoder().embed, seed)
    typer.echo(f"{out}: 32 directions keep {kept:.1%} of the variance")


if __name__ == "__main__":
    try:
        app()
    except ValueError as error:
        raise SystemExit(str(error)) from error
