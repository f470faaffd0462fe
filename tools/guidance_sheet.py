"""What the neural renderer is told of one frame, and what it makes of it, side by side, for docs/concepts.md.

`python tools/guidance_sheet.py docs/images/guidance.jpg` (extra `portrait`, for Pillow) makes it of a shipped avatar.
"""

from __future__ import annotations

import argparse
import colorsys
import sys
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

ROOT: Final = Path(__file__).parents[1]
SPEECH: Final = ROOT / "streaming/web/sample.wav"
AVATAR, YAW, PITCH, FRAME = "ada", 0.38, -0.04, 55
TILE, COLUMNS = 288, 4

Image8 = NDArray[np.uint8]


def shades(labels: NDArray[np.integer]) -> Image8:
    """A colour for every class; black where there is none (class 0)."""
    wheel = [(0.0, 0.0, 0.0), *(colorsys.hls_to_rgb(k * 0.618 % 1, 0.58, 0.6) for k in range(1, 32))]
    return (255 * np.array(wheel))[labels].astype(np.uint8)


def motion_of(flow: NDArray[np.float32]) -> Image8:
    """Pixels as colours: hue where to, lightness how far (3 pixels are full)."""
    angle = np.arctan2(flow[1], flow[0]) / (2 * np.pi) + 0.5
    far = np.clip(np.hypot(*flow) / 3.0, 0.0, 1.0)
    wheel = np.array([colorsys.hsv_to_rgb(k / 256, 0.75, 1.0) for k in range(257)])
    return (255 * wheel[(angle * 256).astype(int)] * far[..., None]).astype(np.uint8)


def tiles() -> list[tuple[str, Image8]]:
    """The planes of one frame with what each is called, (H,W,3) or (h,w,3) each."""
    from engine.engine import Engine
    from engine.render.neural import NeuralRenderer, NeuralState
    from engine.session import Controls
    from engine.viewpoint import Viewpoint
    from visavis.sound import read_voice

    session = Engine().open(AVATAR, seed=4)
    renderer = session.parts.renderer
    assert isinstance(renderer, NeuralRenderer)
    front = renderer.default_viewpoint()
    for samples in read_voice(SPEECH, max_seconds=60.0):
        for start in range(0, len(samples), 1920):
            session.push_voice(samples[start : start + 1920])
            turn = YAW * session.state.painted / FRAME  # an orbit, so that there is flow
            session.control(Controls(Viewpoint(turn, PITCH, front.distance)))
            moved = session.move()
            if moved is None:
                continue
            state = session.state.render
            assert isinstance(state, NeuralState)
            picture, session.state.render = renderer.step(moved.motion, moved.viewpoint, state)
            if session.state.painted < FRAME:
                continue
            known, warped = renderer._known, renderer._warped
            hi, lo = known.hi.transpose(1, 2, 0), known.lo.transpose(1, 2, 0)
            return [
                ("lit surface, from photographs", hi[..., :3]),
                ("normals", lo[..., :3]),
                ("depth", lo[..., 4:5].repeat(3, -1)),
                ("classes", shades(lo[..., 6])),
                ("flow to the frame before", motion_of(known.flow)),
                ("last picture, moved along it", warped[:3].transpose(1, 2, 0)),
                ("classes the network sees", shades(picture.mask)),
                ("the picture", picture.rgb),
            ]
    raise ValueError(f"{SPEECH} is too short")


def sheet(out: Path) -> None:
    """Draws them in two rows and writes them as a picture."""
    from PIL import Image, ImageDraw, ImageFont

    shown, font = tiles(), ImageFont.load_default(15)
    rows = -(-len(shown) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * (TILE + 8) + 8, rows * (TILE + 34) + 8), "#101216")
    pen = ImageDraw.Draw(page)
    for index, (name, plane) in enumerate(shown):
        x, y = 8 + index % COLUMNS * (TILE + 8), 8 + index // COLUMNS * (TILE + 34)
        smooth = Image.Resampling.NEAREST if "classes" in name else Image.Resampling.LANCZOS
        page.paste(Image.fromarray(np.ascontiguousarray(plane)).resize((TILE, TILE), smooth), (x, y))
        pen.text((x + 2, y + TILE + 6), name, fill="#a2a9b6", font=font)
    page.save(out, quality=86)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the picture to write")
    sheet(parser.parse_args().out)
