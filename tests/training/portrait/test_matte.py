"""The matte: people are found, edges follow the picture, what does not hang together with the person is left out."""

from __future__ import annotations

from functools import cache

import numpy as np

from engine import avatar as packs
from engine.motion.frame import Motion
from engine.render.geometric import GeometricRenderer
from training.portrait.matte import matte


@cache
def portrait() -> tuple[np.ndarray, np.ndarray]:
    """Somebody (384, 320, 3) before a wall with a bright window, and their true alpha."""
    y, x = np.mgrid[:384, :320]
    wall = np.stack([150 + 20 * np.sin(x / 40), 140 + y / 12, np.full(x.shape, 120)], -1).astype(np.uint8)
    wall[40:150, 10:70] = (225, 235, 250)
    renderer = GeometricRenderer(packs.load(packs.find("ada")), (384, 320), "upper", background=wall)
    picture, _ = renderer.step(Motion.rest(), renderer.default_viewpoint(), renderer.initial_state())
    return picture.rgb.copy(), picture.alpha.copy()


def test_a_person_is_told_from_the_wall() -> None:
    photo, truth = portrait()
    alpha = matte(photo)
    assert alpha.shape == truth.shape and alpha.dtype == np.uint8
    ours, theirs = alpha > 127, truth > 127
    assert (ours & theirs).sum() > 0.95 * (ours | theirs).sum()


def test_only_what_hangs_together_with_the_asked_pixel_stays() -> None:
    photo, truth = portrait()
    wide = np.concatenate([photo, photo[:, :60] // 4, photo[:, ::-1]], axis=1)  # two people
    row, column = (int(v) for v in np.argwhere(truth > 250).mean(0))
    alone = matte(wide, inside=(row, column))
    assert alone[row, column] > 200 and alone[:, 400:].max() < 30
    assert matte(wide)[:, 400:].max() > 200
