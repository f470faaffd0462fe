"""python -m training.portrait fit PHOTO --out DIR: fits a head to a photograph and shows how well it sits."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from engine import image
from engine.motion.frame import ACTIONS
from training.portrait import face, overlay, photo
from training.portrait.fit import Fit
from training.portrait.fit import fit as fit_head

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
console = Console()


@app.command()
def fit(
    picture: Annotated[Path, typer.Argument(help="A photograph of one person, from the front.")],
    out: Annotated[Path, typer.Option(help="Folder for overlay.png and fit.json.")],
) -> None:
    """Writes overlay.png (mesh and landmarks over the photograph) and fit.json (who, pose, face, camera, errors)."""
    began = time.perf_counter()
    seconds = {}
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("reading", total=None)
            taken = photo.read(picture)
            seconds["read"] = time.perf_counter() - began
            progress.update(task, description="looking for a face")
            found = face.find(taken.rgb)
            seconds["find"] = time.perf_counter() - began - seconds["read"]
            progress.update(task, description="fitting")
            now = time.perf_counter()
            size = taken.rgb.shape[:2]
            done = fit_head(
                found, (size[0], size[1]), taken.focal, lambda at, of: progress.update(task, completed=at, total=of)
            )
            seconds["fit"] = time.perf_counter() - now
        picture_of = image.encode_png(overlay.draw(taken.rgb, done))
    except ValueError as error:  # of ours, all of them: PhotoError, FaceError, no fit
        console.print(f"[red]{picture}: {escape(str(error))}[/red]")
        raise typer.Exit(1) from None
    about = described(done, found, seconds)
    out.mkdir(parents=True, exist_ok=True)
    for name, data in (("overlay.png", picture_of), ("fit.json", json.dumps(about, indent=1).encode())):
        partial = out / f".{name}.{os.getpid()}.partial"
        partial.write_bytes(data)
        partial.replace(out / name)
    for warning in found.warnings:
        console.print(f"[yellow]{escape(warning)}[/yellow]")
    console.print(
        f"{out}: median error {about['reprojection_iod_pct']:.2f} % of the eyes' distance, "
        f"{seconds['find'] + seconds['fit']:.1f} s"
    )


def described(done: Fit, found: face.Found, seconds: dict[str, float]) -> dict[str, object]:
    """A fit as JSON."""
    phenotype, local = done.identity()
    lens = done.lens
    return {
        "reprojection_iod_pct": round(100 * float(np.median(done.errors)), 3),
        "reprojection_iod_pct_mean": round(100 * float(done.errors.mean()), 3),
        "eyes_apart_px": round(found.apart, 2), "score": round(found.score, 4), "warnings": list(found.warnings),
        "camera": {
            "distance_m": round(lens.distance, 3), "focal_px": round(lens.focal, 1),
            "yaw_degrees": round(float(np.degrees(lens.yaw)), 2), "turn": lens.turn.round(5).tolist(),
            "origin_px": lens.origin.round(2).tolist(),
        },
        "phenotype": phenotype, "local": local, "gaze_radians": done.gaze.round(4).tolist(),
        "actions": {name: round(float(w), 3) for name, w in zip(ACTIONS, done.actions, strict=True) if w > 0.02},
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
    }  # fmt: skip


@app.callback()
def _root() -> None:
    pass


if __name__ == "__main__":
    app()
