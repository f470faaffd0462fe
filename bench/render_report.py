"""What suite ``render`` shows: tables of its metrics, pictures side by side, films.

python -m bench.render_report bench/results/render.json docs/bench.md     # that page's tables again
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.table import Table

from bench.imagescore import PARTS, VIEWS
from engine.clock import FPS, SAMPLE_RATE

if TYPE_CHECKING:
    from bench.render import Kept

U8 = NDArray[np.uint8]
OVERALL: Final = ("psnr_db", "ssim", "gradient", "perceptual", "flicker_ratio", "flicker_ratio.hair", "alpha",
                  "mask_iou", "mask_iou.hair", "identity_sim", "identity_distance", "sync_confidence",
                  "sync_offset_ms")  # fmt: skip
BEGIN: Final = "<!-- figures of bench/run.py render: begin -->"
END: Final = "<!-- figures of bench/run.py render: end -->"
TILE: Final = 384  # pixels of a picture on the sheet
FILM: Final = ("truth", "ours", "step1", "lit", "geometric")  # the first three that are there
APART: Final = 4  # differences are shown this much larger


def tables(metrics: Mapping[str, Any], about: Mapping[str, str]) -> list[Table]:
    """Overall, by part and by view; a row a system."""
    groups = [f"view{v}" for v in VIEWS]
    wanted = {
        "overall": OVERALL,
        "PSNR in dB and perceptual distance by part": tuple(
            f"{m}.{p}" for m in ("psnr_db", "perceptual") for p in PARTS
        ),
        "by view (degrees of yaw)": tuple(f"{m}.{g}" for m in ("psnr_db", "perceptual") for g in groups),
        "the first frames of every clip, which slow systems paint too": tuple(f"{m}.short" for m in OVERALL[:4]),
    }
    out = []
    for title, names in wanted.items():
        shown = [name for name in names if any(f"{system}.{name}" in metrics for system in about)]
        table = Table("system", *(_head(name) for name in shown), title=title, title_justify="left")
        for system in about:
            table.add_row(system, *(_cell(metrics.get(f"{system}.{name}")) for name in shown))
        out.append(table)
    rest = Table("figure", "value", "unit", title="besides", title_justify="left")
    for name, metric in metrics.items():
        if name.partition(".")[0] not in about:
            rest.add_row(name, _cell(metric), metric["unit"])
    return [*out, rest]


def markdown(metrics: Mapping[str, Any], about: Mapping[str, str]) -> str:
    """The same tables for docs/bench.md."""
    lines = []
    for table in tables(metrics, about):
        rows = list(zip(*(column.cells for column in table.columns), strict=True))
        lines += [f"### {table.title}", "", "| " + " | ".join(str(c.header) for c in table.columns) + " |",
                  "|" + "|".join(["---", *["---:"] * (len(table.columns) - 1)]) + "|"]  # fmt: skip
        lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows] + [""]
    return "\n".join(lines)


def reach(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str, float, bool]]:
    """What the renderer's issue promises of what was measured: (figure, promised, measured, met). Errors are root mean
    squares."""

    def number(name: str, key: str = "value") -> float:
        return float(metrics[name][key]) if name in metrics else float("nan")

    def ratio(mine: str, theirs: str, group: str) -> float:
        """How many times larger the other's error is."""
        ending = f".psnr_db{group}"
        return float(10 ** ((number(mine + ending) - number(theirs + ending)) / 20))

    for part in ("", *(f".{name}" for name in PARTS)):
        found = ratio("ours", "geometric", part)
        yield f"error of geometric over ours{part and ', ' + part[1:]}", ">= 2", found, found >= 2
    found = number("step1.perceptual.short") / number("teacher50.perceptual.short")
    yield "perceptual distance, 1 step over 50", "<= 1.05", found, found <= 1.05
    whole = "both_moe" if "both_moe.psnr_db" in metrics else "step1"  # trained as long as those without
    for other, groups in (("no_view_moe", ("view45", "view60")), ("no_mask_moe", ("mouth", "hands", "hair"))):
        for group in groups:
            found = 100 * (ratio(whole, other, f".{group}") - 1)
            yield f"error of {other} above {whole}, {group}, %", ">= 3", found, found >= 3
    for name, promised, key in (
        ("ours.flicker_ratio", 1.1, "value"), ("drift_pct", 1.0, "value"), ("network_ms", 20.0, "p95"),
    ):  # fmt: skip
        found = number(name, key)
        yield name, f"<= {promised:g}", found, found <= promised
    for name, promised in (("ours.mask_iou", 0.95), ("ours.mask_iou.hair", 0.85)):
        found = number(name)
        yield name, f">= {promised:g}", found, found >= promised


def into(document: str, result: Mapping[str, Any]) -> str:
    """``document`` with the tables of ``result`` between its marks. Raises ValueError when it has none."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no place for tables: it needs the lines {BEGIN} and {END}")
    machine, metrics = result["machine"], result["metrics"]
    made = f"Measured {result['date'][:10]} at {result['commit']} on {machine['cpu']}, {machine['threads']} threads."
    about = {name.partition(".")[0]: "" for name in metrics if name.endswith(".psnr_db")}
    rows = [
        f"| {name} | {promised} | {found:.3f} | {'yes' if met else 'NO'} |"
        for name, promised, found, met in reach(metrics)
        if not np.isnan(found)
    ]
    promises = "\n".join(["### Reach", "", "| figure | promised | measured | met |", "|---|---:|---:|---:|", *rows])
    return f"{before}{BEGIN}\n{made}\n\n{markdown(metrics, about)}\n{promises}\n{END}{after}"


def draw(folder: Path, kept: Sequence[Kept]) -> Path:
    """Writes render.png (a row a scene: photograph, systems, their difference) and render_CLIP.mp4; returns the PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row(one, len(one.scene.shots) // 2) for one in kept]
    width = max(r.shape[1] for r in rows)
    sheet = np.concatenate([np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0))) for r in rows])
    path = folder / "render.png"
    Image.fromarray(sheet).save(path, optimize=True)
    for one in kept:
        if len(one.scene.shots) > 1:
            film(folder / f"render_{one.scene.clip:04d}.mp4", one)
    return path


def row(one: Kept, frame: int) -> U8:
    """One frame of a scene as each system paints it, with the difference from the photograph under it."""
    shot = one.scene.shots[frame]
    above, below = [_tile(shot.truth.rgb, f"photograph, person {one.scene.person}")], [_tile(shot.plate, "")]
    for name, looks in one.looks.items():
        if frame < len(looks):
            apart = np.clip(128 + APART * (looks[frame].rgb.astype(np.int16) - shot.truth.rgb), 0, 255)
            above.append(_tile(looks[frame].rgb, name))
            below.append(_tile(apart.astype(np.uint8), f"difference x {APART}"))
    return np.concatenate([np.concatenate(above, 1), np.concatenate(below, 1)])


def film(path: Path, one: Kept) -> None:
    """Photographs and two systems side by side, with the voice, forth once. H.264 and AAC, whole or not at all."""
    names = [name for name in FILM if name == "truth" or name in one.looks][:3]
    partial = path.with_name(f".{path.stem}.part.mp4")
    with av.open(str(partial), "w", format="mp4") as container:
        video = container.add_stream("h264", rate=FPS)
        video.width, video.height, video.pix_fmt = TILE * len(names), TILE, "yuv420p"
        video.options = {"crf": "18", "preset": "veryfast"}
        sound = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for t, shot in enumerate(one.scene.shots):
            looks = [
                shot.truth if name == "truth" else one.looks[name][min(t, len(one.looks[name]) - 1)] for name in names
            ]
            tiles = [_tile(look.rgb, name) for look, name in zip(looks, names, strict=True)]
            picture = av.VideoFrame.from_ndarray(np.concatenate(tiles, 1), format="rgb24")
            picture.pts, picture.time_base = t, Fraction(1, FPS)
            container.mux(video.encode(picture))
            voice = np.ascontiguousarray(one.scene.pcm[t][None].astype(np.float32) / 32768)
            heard = av.AudioFrame.from_ndarray(voice, format="fltp", layout="mono")
            heard.sample_rate, heard.pts, heard.time_base = SAMPLE_RATE, t * voice.shape[1], Fraction(1, SAMPLE_RATE)
            container.mux(sound.encode(heard))
        for stream in (video, sound):
            container.mux(stream.encode(None))
    partial.replace(path)


def _tile(picture: U8, text: str) -> U8:
    image = Image.fromarray(picture).resize((TILE, TILE), Image.Resampling.LANCZOS)
    if text:
        pen = ImageDraw.Draw(image)
        pen.rectangle((0, 0, 7 * len(text) + 6, 16), fill=(0, 0, 0))
        pen.text((3, 2), text, fill=(255, 255, 255))
    return np.asarray(image)


def _head(name: str) -> str:
    return (
        name.replace("psnr_db", "PSNR").replace("flicker_ratio", "flicker").replace("identity", "id").replace("_", " ")
    )


def _cell(metric: Mapping[str, Any] | None) -> str:
    if metric is None:
        return "-"
    number = metric["value"] if "value" in metric else metric["p50"]
    return f"{number:.2f}" if abs(number) >= 10 else f"{number:.3f}"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m bench.render_report RESULT.json DOCUMENT.md")
    page = Path(sys.argv[2])
    kept = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    page.write_text(into(page.read_text(encoding="utf-8"), kept), encoding="utf-8")
