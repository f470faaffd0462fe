"""python -m training.choreography make | preview | sheet | basis: performance shards, and pictures of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from engine import avatar as packs
from engine.avatar import Avatar
from engine.motion.emotion import EMOTIONS

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
def preview(
    out: Annotated[Path, typer.Option(help="MP4 to write")],
    text: Annotated[str, typer.Option(help="what to say; with --wav, what is said there")] = "",
    wav: Annotated[Path | None, typer.Option(help="sound file to perform; any that PyAV reads")] = None,
    voice: Annotated[str, typer.Option(help="of training/speech/voices.py; empty: the first installed")] = "",
    emotion: Annotated[str, typer.Option(help=", ".join(EMOTIONS))] = "neutral",
    intensity: Annotated[float, typer.Option(help="0 to 1; mild .35, moderate .65, strong 1")] = 0.65,
    style: Annotated[str, typer.Option(help="energy,head,brows,gesture, each 0 to 1")] = "0.6,0.6,0.6,0.8",
    avatar: Annotated[str, typer.Option(help="pack in engine/assets/avatars, or a folder")] = "ada",
    framing: str = "presenter",
    size: Annotated[int, typer.Option(min=64, max=1024)] = 512,
    seed: int = 0,
) -> None:
    """Films a sentence or a sound file as the choreographer performs it."""
    from training.choreography.film import film, from_sound, from_text

    if not text and wav is None:
        raise ValueError("say what to perform: --text, --wav or both")
    manner = (emotion, intensity, _numbers(style))
    spoken = from_sound(wav, text, *manner) if wav else from_text(text, *manner, voice)
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("frames")
        film(spoken, _pack(avatar), out, seed=seed, size=size, framing=framing,
             report=lambda done, whole: bar.update(task, completed=done, total=whole))  # fmt: skip
    typer.echo(out)


@app.command()
def sheet(
    kind: Annotated[str, typer.Argument(help="emotions, signs, or the name of one sign")],
    out: Annotated[Path, typer.Option(help="PNG to write")],
    avatar: str = "ada",
    tile: Annotated[int, typer.Option(min=64, max=512)] = 250,
    seed: int = 0,
) -> None:
    """A picture of the emotions by intensity, of every sign at its stroke, or of one sign from start to end."""
    from engine import image
    from training.choreography import show

    pack = _pack(avatar)
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()) as bar:
        task = bar.add_task("pictures")

        def report(done: int, whole: int) -> None:
            bar.update(task, completed=done, total=whole)

        if kind == "emotions":
            picture = show.emotions(pack, tile, seed, report)
        elif kind == "signs":
            picture = show.signs(pack, tile, 7, seed, report)
        else:
            picture = show.sign_film(pack, kind, tile, 7, seed)
    out.write_bytes(image.encode_png(picture))
    typer.echo(out)


def _pack(name: str) -> Avatar:
    folder = Path(__file__).parents[2] / "engine" / "assets" / "avatars" / name
    return packs.load(folder if folder.exists() else Path(name))


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--style is four numbers with commas between, got {text!r}") from None


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
