"""``python -m bench.peers list | install NAME... | predict NAME WAVS OUT | score TRUTH PREDICTIONS...``."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import av
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.cues import has_shapes, paint_cues, read_cues, write_cues
from bench.lipscore import cue_take, score
from bench.peers import PEERS, BrokenPeer, Heard, MissingPeer, Peer, ask, install, require
from engine.clock import SAMPLE_RATE

app = typer.Typer(add_completion=False, help="Other people's lip-sync on the same audio as ours.")
out, err = Console(), Console(stderr=True)


def _peer(name: str) -> Peer:
    if name not in PEERS:
        raise ValueError(f"peers are {', '.join(PEERS)}; got {name!r}")
    return PEERS[name]


@app.command("list")
def listed() -> None:
    """Who can be run, and what is missing here."""
    table = Table("name", "package", "version", "licence", "what it does", "here")
    for peer in PEERS.values():
        try:
            require(peer)
            here = "yes"
        except MissingPeer as error:
            here = f"[yellow]{error}[/]"
        table.add_row(peer.name, peer.package, peer.version, peer.licence, peer.about, here)
    out.print(table)


@app.command("install")
def fetch(names: Annotated[list[str], typer.Argument(help=f"{', '.join(PEERS)}, or all.")]) -> None:
    """Installs peers under data/peers."""
    for name in PEERS if names == ["all"] else names:
        install(_peer(name))
        err.print(f"installed {name} {PEERS[name].version}")


@app.command()
def predict(
    name: str,
    wavs: Annotated[Path, typer.Argument(help="A folder of sound files.")],
    to: Annotated[Path, typer.Argument(help="The folder for NAME.csv, rows time,viseme[,open].")],
    texts: Annotated[Path | None, typer.Option(help="A CSV with the columns name and text, for who reads.")] = None,
    lookahead: Annotated[int, typer.Option(help="Frames of 40 ms that ours waits for.")] = 1,
    painted: Annotated[bool, typer.Option("--painted", help="Ours: open is the gap that is painted, in mm.")] = False,
) -> None:
    """What a peer, or ``ours``, says of every file: time is when it is at the output, in seconds of sound heard."""
    files = sorted(p for p in wavs.iterdir() if p.suffix.lower() in (".wav", ".ogg", ".flac", ".mp3"))
    if not files:
        raise ValueError(f"{wavs}: no sound files")
    pcm = [read_sound(path) for path in files]
    if name == "ours":
        from bench.ours import Talker, cues_of_ours

        talker = Talker(lookahead)
        answers = [cues_of_ours(sound, lookahead, talker, painted) for sound in pcm]
    else:
        said = read_texts(texts) if texts else {}
        peer = _peer(name)
        if peer.reads and (lacking := [p.stem for p in files if p.stem not in said]):
            raise ValueError(f"{name} needs the transcript of {lacking[0]} (--texts CSV)")
        answers = ask(peer, [Heard(x, said.get(p.stem, "")) for x, p in zip(pcm, files, strict=True)])
    for path, cues in zip(files, answers, strict=True):
        write_cues(to / f"{path.stem}.csv", cues)
    err.print(f"wrote {len(files)} files to {to}")


@app.command("score")
def scored(truth: Path, predictions: list[Path]) -> None:
    """Scores folders of CSVs against a folder of true ones with the same names (a prompt ends 0.3 s after its last
    row)."""
    table = Table("folder", "files", "figure", "lag removed", "as it comes")
    for folder in predictions:
        names = sorted(p.name for p in folder.glob("*.csv") if (truth / p.name).is_file())
        says = [read_cues(folder / name) for name in names]
        takes = []
        for name, cues in zip(names, says, strict=True):
            true = read_cues(truth / name)
            hops = round(100 * max(c.time for c in true)) + 30
            takes.append(cue_take(paint_cues(true, hops), cues, has_shapes(says)))
        result = score(takes)
        table.add_row(folder.name, str(len(names)), "lag_ms", str(10 * result.lag), "")
        for figure, number in result.removed.items():
            table.add_row("", "", figure, f"{number:.4f}", f"{result.as_it_comes[figure]:.4f}")
    out.print(table)


def read_sound(path: Path) -> NDArray[np.float32]:
    """A sound file as mono float32 at 16 kHz. Raises ValueError for a file without sound."""
    try:
        with av.open(str(path)) as container:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
            frames = [*container.decode(audio=0), None]
            parts = [piece.to_ndarray().ravel() for frame in frames for piece in resampler.resample(frame)]
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"{path}: not a sound file: {error}") from None
    if not parts:
        raise ValueError(f"{path}: no sound in it")
    return np.concatenate(parts).astype(np.float32) / np.float32(32768)


def read_texts(path: Path) -> dict[str, str]:
    """Transcripts by name. Raises ValueError when a column is missing."""
    with open(path, newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    if not rows or not {"name", "text"} <= set(rows[0]):
        raise ValueError(f"{path}: expected the columns name and text")
    return {row["name"]: row["text"] for row in rows}


if __name__ == "__main__":
    try:
        app(standalone_mode=True)
    except (ValueError, OSError, MissingPeer, BrokenPeer, subprocess.CalledProcessError) as error:
        err.print(f"[red]peers:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
