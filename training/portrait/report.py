"""The quality report of an enrolment: the photograph beside the avatar from three sides and in six mouth shapes, the
warnings in words, and what was measured. One PNG, and one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import html
import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine import image
from engine.avatar import Avatar
from engine.motion.frame import ACTION_INDEX, Motion
from engine.render import camera, network
from engine.render.neural import NeuralRenderer
from engine.viewpoint import Viewpoint
from training.bake.identities import both
from training.bake.sheet import SHAPES
from training.portrait.enrol import Enrolment

U8 = NDArray[np.uint8]
Array = NDArray[Any]
TILE: Final = 288  # pixels a side of one picture
COLUMNS: Final = 4
ROOM: Final = 26  # pixels under it for its name
SIZE: Final = 512
VIEWS: Final = (0, -25, 25)  # degrees
SETTLE: Final = 4  # frames until a picture is taken
INK, PAPER = (40, 42, 48), (255, 255, 255)
MOUTHS: Final[dict[str, dict[str, float]]] = {
    **{name: shape for name, shape in SHAPES.items() if name != "sil"},
    "CH": {"jawOpen": 0.06, "mouthFunnel": 0.42, "mouthPucker": 0.38, **both(mouthUpperUp=0.12, mouthLowerDown=0.12)},
}
SAID: Final = {"PP": "p, b, m", "FF": "f, v", "AA": "ah", "EE": "ee", "OO": "oo", "CH": "ch, sh"}


def files(enrolment: Enrolment) -> dict[str, bytes]:
    """report.png and report.html."""
    sheet = image.encode_png(draw(enrolment))
    return {"report.png": sheet, "report.html": _page(enrolment, sheet).encode()}


def draw(enrolment: Enrolment) -> U8:
    """The report as one picture: photograph, front, sides, closed eyes; then the mouth shapes."""
    painted = dict(_pictures(enrolment.avatar))
    tiles = [("the photograph", before(enrolment)), *painted.items()]
    rows = math.ceil(len(tiles) / COLUMNS)
    out = np.full((rows * (TILE + ROOM), COLUMNS * TILE, 3), PAPER, np.uint8)
    for number, (name, picture) in enumerate(tiles):
        y, x = number // COLUMNS * (TILE + ROOM), number % COLUMNS * TILE
        out[y : y + TILE, x : x + TILE] = _shrunk(picture)
        out[y + TILE : y + TILE + ROOM, x : x + TILE] = _label(name)
    return out


def before(enrolment: Enrolment) -> U8:
    """(SIZE, SIZE, 3) the photograph, cut as the avatar's head is framed."""
    from PIL import Image

    frame, lens = camera.framing("head"), enrolment.fit.lens
    side = 2 * frame.distance * math.tan(0.5 * frame.field) * lens.scale
    x, y = lens.origin - 0.5 * side
    cut = Image.fromarray(enrolment.photo.rgb).transform(
        (SIZE, SIZE), Image.Transform.EXTENT, (x, y, x + side, y + side), Image.Resampling.BICUBIC
    )
    return np.asarray(cut, np.uint8)


def pose(shape: dict[str, float]) -> Motion:
    """A face that does nothing but ``shape``."""
    motion = Motion.rest()
    for name, weight in shape.items():
        motion.face[ACTION_INDEX[name]] = weight
    return motion


def _pictures(avatar: Avatar) -> list[tuple[str, U8]]:
    """Pictures (SIZE, SIZE, 3) by name, as a session would paint them."""
    renderer = NeuralRenderer(avatar, network.find("lite"), (SIZE, SIZE), "head")

    def take(motion: Motion, yaw: float) -> U8:
        state, view = renderer.initial_state(), Viewpoint(math.radians(yaw), 0.0, renderer.framing.distance)
        for _ in range(SETTLE):
            picture, state = renderer.step(motion, view, state)
        return np.array(picture.rgb)

    rest = Motion.rest()
    out = [("front" if yaw == 0 else f"{yaw:+d}°", take(rest, yaw)) for yaw in VIEWS]
    out.append(("eyes closed", take(pose(both(eyeBlink=1.0)), 0)))
    return out + [(SAID[name], take(pose(shape), 0)) for name, shape in MOUTHS.items()]


def _shrunk(picture: U8) -> U8:
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((TILE, TILE), Image.Resampling.LANCZOS), np.uint8)


def _label(text: str) -> U8:
    from PIL import Image, ImageDraw, ImageFont

    strip = Image.new("RGB", (TILE, ROOM), PAPER)
    font: Any = ImageFont.load_default(15)
    ImageDraw.Draw(strip).text((TILE // 2, ROOM // 2), text, INK, font, "mm")
    return np.asarray(strip, np.uint8)


def _page(enrolment: Enrolment, sheet: bytes) -> str:
    meta, fit = enrolment.avatar.meta, enrolment.fit
    facts = {
        "consent": meta.consent, "made from": meta.provenance, "licence": meta.licence,
        "features of the face off by": f"{100 * float(np.median(fit.errors)):.2f} % of the eyes' distance (median)",
        "eyes apart": f"{enrolment.found.apart:.0f} pixels", "head turned by": f"{math.degrees(fit.lens.yaw):.0f}°",
        "photographed from": f"{fit.lens.distance:.1f} m (estimated)", "seconds": _seconds(enrolment.seconds),
    }  # fmt: skip
    rows = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in facts.items())
    notes = "".join(f"<li>{html.escape(text)}</li>" for text in enrolment.warnings)
    said = (
        f'<h2>What may be better</h2><ul class="warnings">{notes}</ul>' if notes else "<p>Nothing to complain of.</p>"
    )
    picture = base64.b64encode(sheet).decode()
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(meta.name)}: quality</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#282a30}}
img{{width:100%;height:auto}}th{{text-align:left;padding-right:1.5rem;vertical-align:top;white-space:nowrap}}</style>
<h1>{html.escape(meta.name)}</h1><img src="data:image/png;base64,{picture}" alt="The photograph beside the avatar:
from the front, from both sides, with closed eyes, and in six mouth shapes">{said}<table>{rows}</table></html>
"""


def _seconds(seconds: dict[str, float]) -> str:
    return ", ".join(f"{step} {value:.1f}" for step, value in seconds.items()) + f"; in all {sum(seconds.values()):.1f}"
