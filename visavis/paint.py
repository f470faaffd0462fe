"""Painted frames into a video file, with a bar that says how far it is."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from engine.motion.tape import Recorder
    from engine.render.picture import Renderer
    from engine.session import Frame
    from visavis.provenance import Provenance

err: Final = Console(stderr=True)


def progress() -> Progress:
    """The bar of a command that makes frames."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=err)


def paint(
    frames: Iterable[tuple[Frame, int]], renderer: Renderer, output: Path, total: int | None,
    record: Recorder | None = None, provenance: Provenance | None = None,
) -> None:  # fmt: skip
    """Writes ``frames`` of a session that ``renderer`` paints, each with its samples of voice, to the video
    ``output``, and their motion to ``record``. ``provenance`` is what the video says of itself. ``total``: how many
    there will be, about; None: nobody knows.

    Says so when motion had to be clamped. Raises ValueError for an ``output`` that cannot be; on error no file is left.
    """
    from visavis.credentials import KINDS
    from visavis.video import VideoWriter

    with ExitStack() as files:
        bar = files.enter_context(progress())
        video = files.enter_context(VideoWriter(output, *renderer.size, renderer.transparent, provenance=provenance))
        tape = files.enter_context(record) if record is not None else None
        task = bar.add_task("frames", total=total)
        for frame, samples in frames:
            video.write(frame, samples)
            if tape is not None:
                tape.write(frame.pts, frame.motion)
            bar.advance(task)
    if provenance is not None and provenance.credentials is not None and output.suffix.lower() not in KINDS:
        err.print(f"[yellow]note:[/] a {output.suffix} file cannot be signed; {', '.join(KINDS)} can", highlight=False)
    if renderer.clamped:
        err.print(
            f"[yellow]note:[/] motion out of range in {renderer.clamped} frames, painted clamped", highlight=False
        )
