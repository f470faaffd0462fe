"""Collars, lapels, plackets, hoods and what hangs from them: each makes the sheets of one cut."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from training.bake import trims
from training.bake.atlas import Rect
from training.bake.brush import ease, noise
from training.bake.pattern import HEM, Cut
from training.bake.trims import Sheet, about_neck, before, outward

Array = NDArray[Any]
BUTTON: Final = ((1.0, 0.0012), (0.97, 0.0036), (0.80, 0.0042), (0.0, 0.0036))  # (share of its radius, lift)
# A hood lying on the back, from its seam up, over and down: metres (outward from the neck, up).
HOOD: Final = ((0.000, -0.006), (-0.003, 0.014), (-0.005, 0.036), (0.003, 0.052), (0.022, 0.060), (0.044, 0.052),
               (0.060, 0.030), (0.066, 0.000), (0.064, -0.035), (0.052, -0.068), (0.030, -0.088), (0.008, -0.080)
)  # fmt: skip


def shirt_collar(cut: Cut) -> list[Sheet]:
    """A stand and pointed leaves."""
    return [_leaf(cut, _gap(cut), stand=0.028, fall=0.012, point=0.036, rect=trims.PLAIN)]


def soft_collar(cut: Cut) -> list[Sheet]:
    """A knitted polo collar: low, with blunt leaves."""
    return [_leaf(cut, _gap(cut), stand=0.020, fall=0.014, point=0.030, rect=trims.PLAIN)]


def inner_collar(cut: Cut) -> list[Sheet]:
    """The collar of a shirt below a jacket."""
    return [_leaf(cut, _gap(cut), stand=0.030, fall=0.008, point=0.040, rect=trims.SECOND, lift=0.8)]


def jacket_collar(cut: Cut) -> list[Sheet]:
    """Runs round the neck and ends in the notch of the lapels."""
    return [_leaf(cut, np.radians(36.0), stand=0.020, fall=0.024, point=0.020, rect=trims.PLAIN, lift=1.15, lean=0.10)]


def _gap(cut: Cut) -> float:
    """Angle from the front at which the neckline meets the V."""
    rise = max(-0.185 - (cut.vee if cut.vee is not None else -0.185), 0.0)
    return float(np.arctan2(cut.open * rise + 0.002, 0.068))


def _leaf(
    cut: Cut, gap: float, stand: float, fall: float, point: float, rect: Rect, lift: float = 1.0, lean: float = 0.30
) -> Sheet:
    """A collar: up inside, over the fold, down outside. Metres: height of the ``stand``, how far the leaf falls
    below the seam at the nape, and how much further at its points; ``lean`` (rad) draws the points outward."""
    angle = np.linspace(gap, 2 * np.pi - gap, 39)
    side = np.where(angle > np.pi, -1.0, 1.0)
    away = np.minimum(angle, 2 * np.pi - angle)
    front = 1.0 - ease(away, gap, gap + 1.15)
    seam = np.where(np.cos(angle) > 0, cut.front, cut.back) * np.cos(angle) ** 2 + cut.side * np.sin(angle) ** 2
    fold = seam - stand * (1.0 - 0.25 * front)
    edge = seam + fall + point * front**1.5
    rows = [(seam + 0.006, 0.0, -0.0045), (fold + 0.008, 0.0, -0.0025), (fold + 0.001, 0.0, 0.0005),
            (fold, 0.0, 0.0040), (fold + 0.001, 0.02, 0.0062)]  # fmt: skip
    for t, height in ((0.2, 0.0072), (0.45, 0.0074), (0.7, 0.0066), (0.92, 0.0056), (1.0, 0.0048)):
        rows.append((fold + t * (edge - fold), t, height))
    rows += [(edge, 1.0, 0.0020), (fold + 0.8 * (edge - fold), 0.8, 0.0006)]
    places = [about_neck(angle + side * lean * t * front, reach) for reach, t, _ in rows]
    lifts = np.stack([np.full(len(angle), height * (lift if height > 0 else 1.0)) for *_, height in rows])
    lifts[-2:, [0, -1]] = lifts[[-3, -5]][:, [0, -1]]  # both ends are closed
    return outward(
        Sheet(
            "collar",
            (len(rows), len(angle)),
            sparse.vstack(places).tocsr(),
            lifts.ravel(),
            rect,
            bridge=(4, 9),
            even=(0, 3),
        ),
        6,
    )


def _strip(
    x: Array, y: Array, lift: Array, rect: Rect, name: str = "placket", span: float = 0.065, even: int = 0
) -> Sheet:
    """A sheet over the front at template x, y (R, C), lifted by ``lift`` (R, C)."""
    made = Sheet(
        name, (x.shape[0], x.shape[1]), before(x.ravel(), y.ravel()), lift.ravel(), rect, even=(even, 0), span=span
    )
    return outward(made, max(x.shape[0] // 2 - 1, 0))


def placket(cut: Cut) -> list[Sheet]:
    """The doubled strip that holds the buttons, from the V's tip to the hem."""
    return [_placket(cut, HEM, trims.PLAIN, 30)]


def inner_placket(cut: Cut) -> list[Sheet]:
    """The placket of a shirt below a jacket."""
    return [_placket(cut, cut.below, trims.SECOND, 14)]


def short_placket(cut: Cut) -> list[Sheet]:
    """A polo's placket with its two buttons."""
    tip = cut.vee or 0.0
    return [_placket(cut, tip - 0.075, trims.PLAIN, 8), *_buttons([tip - 0.012, tip - 0.055])]


def _placket(cut: Cut, low: float, rect: Rect, count: int) -> Sheet:
    across = np.array([-0.0145, -0.0140, -0.0110, 0.0, 0.0110, 0.0140, 0.0145])
    lift = np.array([-0.0005, 0.0018, 0.0024, 0.0026, 0.0024, 0.0018, -0.0005])
    y = np.linspace((cut.vee or 0.0) + 0.006, low, count)
    high = np.where(np.arange(count) == 0, 0.0, 1.0)[:, None]
    return _strip(np.tile(across, (count, 1)), np.tile(y[:, None], (1, 7)), lift * high, rect)


def buttons(cut: Cut) -> list[Sheet]:
    """Down the placket of a shirt."""
    return _buttons(list(np.arange((cut.vee or 0.0) - 0.010, HEM + 0.03, -0.085)))


def inner_buttons(cut: Cut) -> list[Sheet]:
    """Those that show below a jacket."""
    return _buttons(list(np.arange((cut.vee or 0.0) - 0.012, cut.below, -0.080)))


def _buttons(
    heights: list[float], radius: float = 0.0050, x: float = 0.0, lift: float = 0.0020, rect: Rect = trims.NOTION
) -> list[Sheet]:
    turn = np.linspace(0, 2 * np.pi, 9)[:-1]
    out = []
    for y in heights:
        ring = [(x + r * radius * np.cos(turn), y + r * radius * np.sin(turn), h) for r, h in BUTTON]
        rows = sparse.vstack([before(px, py) for px, py, _ in ring]).tocsr()
        lifts = np.concatenate([np.full(8, h + lift) for *_, h in ring])
        sheet = Sheet("button", (len(ring), 8), rows, lifts, rect, True)
        out.append(outward(sheet, 1))
    return out


def lapels(cut: Cut) -> list[Sheet]:
    """Both lapels, the edge where the left front lies over the right, and a breast pocket."""
    tip = cut.vee or 0.0
    up = np.linspace(0.0, 1.0, 22)
    y = tip + 0.004 + up * (-0.196 - tip)
    roll = cut.open * (y - tip)
    width = np.where(up < 0.80, 0.012 + 0.076 * (up / 0.80) ** 0.85, 0.088 - 0.058 * (up - 0.80) / 0.20)
    across = np.array([-0.06, 0.0, 0.10, 0.35, 0.70, 0.96, 1.0, 0.99])
    lift = np.array([-0.0010, 0.0035, 0.0085, 0.0082, 0.0074, 0.0068, 0.0045, 0.0002])
    lean = np.hypot(1.0, cut.open)
    x = roll[:, None] + across * width[:, None] / lean
    down = y[:, None] - across * width[:, None] * cut.open / lean
    rise = np.tile(lift, (len(up), 1)) * (0.45 + 0.55 * ease(up, 0.0, 0.2))[:, None]
    rise[[0, -1]] = -0.0005  # both ends are closed
    sheets = [_strip(side * x, down, rise, trims.PLAIN, "lapel", 0.2, 6) for side in (1.0, -1.0)]
    edge_x = np.array([-0.050, -0.030, 0.0, 0.018, 0.0215, 0.0220])
    edge_lift = np.array([0.0, 0.0012, 0.0026, 0.0030, 0.0026, -0.0005])
    edge_y = np.linspace(tip + 0.012, HEM, 18)
    sheets.append(_strip(-np.tile(edge_x, (18, 1)), np.tile(edge_y[:, None], (1, 6)), np.tile(edge_lift, (18, 1)),
                         trims.PLAIN))  # fmt: skip
    pocket_x = np.tile(np.linspace(0.072, 0.124, 6), (4, 1))
    pocket_y = np.array([-0.352, -0.353, -0.372, -0.373])[:, None] + 0.10 * (pocket_x - 0.072)
    pocket_lift = np.tile(np.array([-0.0005, 0.0022, 0.0022, -0.0005])[:, None], (1, 6))
    sheets.append(_strip(pocket_x, pocket_y, pocket_lift, trims.PLAIN))
    return sheets


def jacket_button(cut: Cut) -> list[Sheet]:
    """The two buttons of a jacket."""
    tip = cut.vee or 0.0
    return _buttons([tip - 0.022, tip - 0.135], radius=0.0098, x=-0.004, lift=0.0032, rect=trims.HORN)


def hood(cut: Cut) -> list[Sheet]:
    """A hood that lies on the back in a soft roll."""
    gap = np.radians(24.0)
    angle = np.linspace(gap, 2 * np.pi - gap, 39)
    away = np.minimum(angle, 2 * np.pi - angle)
    back, begun = ease(away, 1.1, 2.7), 0.04 + 0.96 * ease(away, gap, gap + 0.8)
    seam = np.where(np.cos(angle) > 0, cut.front, cut.back) * np.cos(angle) ** 2 + cut.side * np.sin(angle) ** 2
    rough = noise(np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1), 3.1, 2, 81) - 0.5
    rows, lifts, offsets = [], [], []
    for k, (out, up) in enumerate(HOOD):
        out_here = out * (0.22 + 0.78 * back) * begun * (1 + 0.35 * rough)
        up_here = up * (0.40 + 0.60 * back) * begun * (1 + 0.25 * rough * (k > 2))
        low = np.maximum(-up_here, 0.0)
        rows.append(about_neck(angle, seam - 0.002 + low))
        lifts.append(np.where(low > 0, 0.85 * np.maximum(out_here, 0.0) + 0.002, 0.002))
        free = np.where(low > 0, 0.0, 1.0)
        offsets.append(np.stack(
            [free * out_here * np.sin(angle), np.maximum(up_here, 0.0), free * out_here * np.cos(angle)], axis=1
        ))  # fmt: skip
    sheet = Sheet(
        "hood", (len(rows), len(angle)), sparse.vstack(rows).tocsr(), np.concatenate(lifts), trims.PLAIN,
        offset=np.concatenate(offsets),
    )  # fmt: skip
    return [outward(sheet, 8)]


def cords(cut: Cut) -> list[Sheet]:
    """Two cords that hang from the hood's seam."""
    turn = np.linspace(0, 2 * np.pi, 7)[:-1]
    out = []
    for side, low in ((1.0, -0.385), (-1.0, -0.372)):
        y = np.linspace(-0.205, low, 12)
        radius = np.where(np.arange(12) < 11, 0.0034, 0.0004) * np.where(np.arange(12) > 8, 1.25, 1.0)
        x = side * (0.034 + 0.004 * np.sin(16 * y))
        px, py = x[:, None] + radius[:, None] * np.sin(turn), np.tile(y[:, None], (1, 6))
        lift = 0.0062 + radius[:, None] * np.cos(turn)
        sheet = Sheet("cord", (12, 6), before(px.ravel(), py.ravel()), lift.ravel(), trims.NOTION, True)
        out.append(sheet)
    return out
