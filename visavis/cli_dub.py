"""``visavis dub``: a filmed person's mouth says something else; everything else stays the film's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape

from visavis.options import agreed

out, err = Console(), Console(stderr=True)

EXTRA: Final = "dubbing a film needs the extra 'portrait': pip install 'visavis[portrait]'"
CONSENT: Final = "I am the person in this film, or that person has agreed to their mouth saying this."
NAME: Final = "dub"  # of what stands for an avatar in the watermark
TAIL: Final = 1.0  # seconds of silence after the voice, in which the mouth comes to rest


def dub(
    film: Annotated[Path, typer.Argument(metavar="VIDEO", help="A film of a person: mp4, mov, webm, mkv ...")],
    audio: Annotated[Path, typer.Option("--audio", "-a", help="What they will say: any file with sound.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .mp4, .webm, .mov or .mkv to write.")] = Path(
        "out.mp4"
    ),
    face: Annotated[str, typer.Option(help="Of several people: largest, left or right (in the picture).")] = "largest",
    fit: Annotated[
        str, typer.Option(help="A sound longer than the film: loop (back and forth), freeze, or cut the sound.")
    ] = "loop",
    consent: Annotated[
        bool, typer.Option("--consent", help="You are the person in the film, or they have agreed to this.")
    ] = False,
    statement: Annotated[
        str | None,
        typer.Option(help="Who has agreed, to what and when, in words: kept in the file. Implies --consent."),
    ] = None,
    watermark: Annotated[
        bool | None, typer.Option("--watermark/--no-watermark", help="The invisible mark; as configured without.")
    ] = None,
    max_minutes: Annotated[float, typer.Option(help="Longest film, and longest sound, to accept.", min=0.01)] = 10.0,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="A config.toml; the defaults without it.")
    ] = None,
) -> None:
    """Let a filmed person say something else: their mouth moves to another sound, the rest of the film stays."""
    try:
        from training.portrait.dubbing.dub import Dubber
        from training.portrait.dubbing.lips import at_times, mood
        from training.portrait.dubbing.track import Follower, track
    except ImportError as error:
        raise ValueError(f"{EXTRA} ({error.name} is missing)") from error
    from engine.watermark.code import Payload
    from engine.watermark.mark import Mark
    from visavis.config import load
    from visavis.credentials import Credentials
    from visavis.options import configured
    from visavis.paint import progress
    from visavis.provenance import Provenance
    from visavis.refilm import Film, FilmWriter, check_output
    from visavis.sound import read_voice

    promise, settings = agreed(consent, statement, CONSENT), load(config)
    limit, follower = 60 * max_minutes, Follower(face)
    source = Film(film, limit)
    check_output(output, source)
    voice = np.concatenate(list(read_voice(audio, max_seconds=limit)))
    seconds = len(voice) / 48_000
    order, ticks = source.unrolled(seconds, fit)
    with progress() as bar:
        task = bar.add_task("looking at the film", total=len(source))
        faces, first = [], None
        for shot in source.along(range(len(source))):
            first = first or shot
            faces.append(follower.step(shot.rgb()))
            bar.advance(task)
        assert first is not None
        size = (first.i420.shape[0] * 2 // 3, first.i420.shape[1])
        try:
            seen = track([faces[number] for number in order], size, follower.others)
        except ValueError as error:
            raise ValueError(f"{film}: {error}") from error
        times = ticks.astype(np.float64) * float(source.base)
        engine_config = configured(settings, "geometric", None, watermark)
        moves = spoken(engine_config, voice, mood(seen, times))
        dubber = Dubber(seen, at_times(moves, times))
        _keep(dubber, source, order, bar)
        marks = engine_config.watermark
        payload = Payload.of(NAME, int.from_bytes(hashlib.sha256(film.read_bytes()).digest()[:2], "big"))
        mark = Mark(payload, *size, marks.key) if marks.enabled else None
        signing = settings.provenance
        provenance = Provenance(
            NAME, "sha256:" + hashlib.sha256(promise.encode()).hexdigest(),
            f"{payload.avatar:04x}-{payload.session:04x}" if mark is not None else "none",
            Credentials(signing) if signing.certificate else None,
        )  # fmt: skip
        note = {"visavis_consent_statement": promise, "visavis_source": film.name}
        task = bar.add_task("dubbing", total=len(order))
        cut = source.seconds if fit == "cut" else None
        with FilmWriter(output, source, first, audio, cut, mark, provenance, note) as writer:
            for at, shot in enumerate(source.along(order)):
                picture = shot.rgb()
                changed = dubber.step(at, picture)
                writer.write(shot.i420.copy() if changed is picture else shot.changed(picture, changed), int(ticks[at]))
                bar.advance(task)
    _report(seen.seen[: len(source)], follower.others, face, dubber.openings)
    out.print(f"[green]{escape(str(output))}[/]: {float(times[-1]):.2f} s, {output.stat().st_size / 1e6:.1f} MB")


def spoken(config: Any, voice: NDArray[np.float32], tape: Any) -> NDArray[np.float32]:
    """(N, 52) facial actions at 25 Hz of a voice (samples,) at 48 kHz, spoken over the expression of a motion tape."""
    from engine.engine import Engine
    from engine.session import Source
    from visavis.video import moves_of

    session = Engine(config).open()
    session.source = Source(tape.at, False)
    quiet = np.zeros(round(48_000 * TAIL), np.float32)
    pieces = np.array_split(np.concatenate([voice, quiet]), max(len(voice) // 48_000, 1))
    return np.stack([moved.motion.face for moved in moves_of(session, pieces)])


def _keep(dubber: Any, source: Any, order: list[int], bar: Any) -> None:
    """Gives the dubber the pictures that it wants before it begins."""
    wanted: dict[int, list[int]] = {}
    for at in dubber.wanted:
        wanted.setdefault(order[at], []).append(at)
    last = max(wanted, default=-1)
    task = bar.add_task("looking for teeth", total=last + 1)
    for shot in source.along(range(last + 1)):
        for at in wanted.get(shot.number, ()):
            dubber.keep(at, shot.rgb())
        bar.advance(task)


def _report(seen: NDArray[np.bool_], others: int, face: str, openings: tuple[int, int]) -> None:
    for note in notes(seen, others, face, openings):
        err.print(f"[yellow]note:[/] {note}", highlight=False)


def notes(seen: NDArray[np.bool_], others: int, face: str, openings: tuple[int, int]) -> Iterator[str]:
    """What a viewer should know of a dubbed film. seen (T,): where the face was found; openings: see Dubber."""
    lost = int((~seen).sum())
    if lost:
        yield f"the face was not found in {lost} of {len(seen)} pictures, which stay as they were"
    if others:
        yield f"{others + 1} people were seen; the {face} one is dubbed (--face largest, left or right)"
    own, drawn = openings
    if drawn:
        yield f"the film does not show what is behind the lips in {drawn} of {own + drawn} words: its teeth are drawn"
