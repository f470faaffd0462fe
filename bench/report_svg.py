"""Plots as SVG that follow a page's light and dark colours and need no script: lines, bars, points, cascades."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 820
COLOURS: Final = 6  # var(--c1) ... var(--c6), defined by STYLE
# Shown on its own (docs/images), a plot brings its colours; in the report they are the page's.
STYLE: Final = """
:root { --paper: #fcfcfa; --ink: #1d2024; --soft: #676d75; --rule: #dfe1e4; --c1: #2563a8; --c2: #c2541b; --c3: #2f8a57;
  --c4: #8b4fa3; --c5: #a37d12; --c6: #b3344f; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --ink: #e7e8ea; --soft: #9aa1aa; --rule: #34383e;
  --c1: #79b0ee; --c2: #f0965f; --c3: #6cc492; --c4: #c592dc; --c5: #d9b64a; --c6: #ee7f97; } }
svg { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; }
svg text { fill: var(--ink); } svg .soft { fill: var(--soft); } svg .title { font-weight: 600; font-size: 15px; }
svg .rule { stroke: var(--rule); stroke-width: 1; } svg .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot. Lines of one ``colour`` (1...) belong together; ``dashed`` tells them apart."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int = 1
    dashed: bool = False
    dots: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """One mark of a scatter plot; a hollow one was derived, not measured."""

    name: str
    x: float
    y: float
    colour: int = 1
    hollow: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers to pixels, on a line or logarithmically."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, number: float) -> float:
        low, high, at = self.low, self.high, number
        if self.log:
            low, high, at = math.log10(low), math.log10(high), math.log10(max(number, self.low))
        return self.start + (self.end - self.start) * (at - low) / (high - low)

    def ticks(self) -> list[float]:
        """Round numbers within it."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = (1, 2, 5) if self.high / self.low < 1e3 else (1,)
            found = [step * 10.0**power for power in powers for step in steps]
        else:
            rough = (self.high - self.low) / 6
            size = 10.0 ** math.floor(math.log10(rough))
            step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= rough)
            found = [
                k * step for k in range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)
            ]
        return [tick for tick in found if self.low * (1 - 1e-9) <= tick <= self.high * (1 + 1e-9) or tick == 0]


def number(value: float) -> str:
    """A number as an axis says it: 0.25, 20, 1,000, 50k, 2M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):,.4g}{letter}"
    return f"{value:,.4g}" if value == 0 or abs(value) >= 1e-3 else f"{value:.0e}".replace("e-0", "e-")


def scale(values: Sequence[float], start: float, end: float, log: bool = False, zero: bool = True) -> Scale:
    """A scale that holds ``values``; from 0 with ``zero``. Logarithmic ones begin at the smallest above 0."""
    finite = [v for v in values if math.isfinite(v) and (v > 0 or not log)] or [1.0]
    low, high = min(finite), max(finite)
    if log:
        low, high = 10 ** (math.floor(2 * math.log10(low)) / 2), 10 ** (math.ceil(2 * math.log10(high)) / 2)
        return Scale(low, high if high > low else 10 * low, start, end, True)
    low = min(low, 0.0) if zero else low
    room = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    return Scale(low if zero and low >= 0 else low - room, high + room, start, end)


def lines(
    title: str, x: str, y: str, drawn: Sequence[Line], *, log_x: bool = False, log_y: bool = False, height: int = 300
) -> str:
    """Lines over a common x."""
    top, bottom, left, right = 44 + 18 * math.ceil(len(drawn) / 3), height - 44, 64, WIDTH - 24
    across = scale([v for line in drawn for v in line.x], left, right, log_x, zero=not log_x)
    up = scale([v for line in drawn for v in line.y], bottom, top, log_y)
    out = [_text(left, 20, title, "title"), *_grid(across, up, x, y, left, right, top, bottom)]
    for k, line in enumerate(drawn):
        colour, dash = _colour(line.colour), ' stroke-dasharray="5 4"' if line.dashed else ""
        path = " ".join(f"{across(a):.1f},{up(b):.1f}" for a, b in zip(line.x, line.y, strict=True) if math.isfinite(b))
        out.append(f'<polyline class="line" points="{path}" style="stroke:{colour}"{dash}/>')
        if line.dots:
            out += [_dot(across(a), up(b), colour, False) for a, b in zip(line.x, line.y, strict=True)]
        at_x, at_y = left + (k % 3) * 250, 42 + 18 * (k // 3)
        out.append(f'<path d="M{at_x} {at_y - 4}h22" class="line" style="stroke:{colour}"{dash}/>')
        out.append(_text(at_x + 28, at_y, line.name))
    return _svg(height, title, out)


def points(title: str, x: str, y: str, drawn: Sequence[Point], *, log_x: bool = False, height: int = 320) -> str:
    """Marks with their names beside them."""
    top, bottom, left, right = 40, height - 44, 64, WIDTH - 150
    across = scale([p.x for p in drawn], left, right, log_x)
    up = scale([p.y for p in drawn], bottom, top, zero=False)
    out = [_text(left, 20, title, "title"), *_grid(across, up, x, y, left, WIDTH - 20, top, bottom)]
    for p in drawn:
        out.append(_dot(across(p.x), up(p.y), _colour(p.colour), p.hollow, 5.5))
        out.append(_text(across(p.x) + 10, up(p.y) + 4, p.name))
    return _svg(height, title, out)


def bars(title: str, unit: str, drawn: Mapping[str, float], *, marked: Sequence[str] = (), log: bool = False) -> str:
    """One bar a name, longest where the number is largest; ``marked`` ones in another colour."""
    left, right, step = 230, WIDTH - 90, 24
    drawn = {name: value for name, value in drawn.items() if value is not None and math.isfinite(value)}
    across = scale(list(drawn.values()), left, right, log)
    out = [_text(20, 20, f"{title} ({unit})" if unit else title, "title")]
    for k, (name, value) in enumerate(drawn.items()):
        y = 36 + step * k
        colour = _colour(2 if name in marked else 1)
        width = max(across(value) - left, 1.0)
        out.append(_text(left - 10, y + 13, name, anchor="end"))
        out.append(f'<rect x="{left}" y="{y}" width="{width:.1f}" height="{step - 7}" rx="2" style="fill:{colour}"/>')
        out.append(_text(left + width + 8, y + 13, f"{value:,.3g}", "soft"))
    return _svg(44 + step * len(drawn), title, out)


def cascade(title: str, unit: str, drawn: Sequence[tuple[str, float]]) -> str:
    """A waterfall: each bar begins where the one above it ends; the last line is the sum."""
    left, right, step, total = 230, WIDTH - 90, 24, sum(value for _, value in drawn)
    across = Scale(0.0, total or 1.0, left, right)
    out, begun = [_text(20, 20, f"{title} ({unit})", "title")], 0.0
    foot = 36 + step * len(drawn)
    for tick in across.ticks():
        out.append(f'<line class="rule" x1="{across(tick):.1f}" x2="{across(tick):.1f}" y1="30" y2="{foot}"/>')
        out.append(_text(across(tick), foot + 16, number(tick), "soft", "middle"))
    for k, (name, value) in enumerate(drawn):
        y, x, width = 36 + step * k, across(begun), max(across(value) - left, 1.5)
        out.append(_text(left - 10, y + 13, name, anchor="end"))
        fill = _colour(1 + k % COLOURS)
        size = f'width="{width:.1f}" height="{step - 7}"'
        out.append(f'<rect x="{x:.1f}" y="{y}" {size} rx="2" style="fill:{fill}"/>')
        out.append(_text(x + width + 7, y + 13, f"{value:.1f}", "soft"))
        begun += value
    out.append(_text(left - 10, foot + 34, "together", anchor="end"))
    out.append(_text(left, foot + 34, f"{total:.1f} {unit}"))
    return _svg(foot + 44, title, out)


def alone(svg: str) -> str:
    """A plot as a file of its own, with its colours and a background."""
    head, _, body = svg.partition(">")
    paper = '<rect width="100%" height="100%" style="fill:var(--paper)"/>'
    return f"{head} xmlns='http://www.w3.org/2000/svg'><style>{STYLE}</style>{paper}{body}\n"


def _svg(height: float, title: str, inside: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">{"".join(inside)}</svg>'


def _grid(across: Scale, up: Scale, x: str, y: str, left: float, right: float, top: float, bottom: float) -> list[str]:
    out = []
    for tick in up.ticks():
        out.append(f'<line class="rule" x1="{left}" x2="{right}" y1="{up(tick):.1f}" y2="{up(tick):.1f}"/>')
        out.append(_text(left - 8, up(tick) + 4, number(tick), "soft", "end"))
    for tick in across.ticks():
        out.append(f'<line class="rule" x1="{across(tick):.1f}" x2="{across(tick):.1f}" y1="{top}" y2="{bottom}"/>')
        out.append(_text(across(tick), bottom + 18, number(tick), "soft", "middle"))
    out.append(_text((left + right) / 2, bottom + 36, x, "soft", "middle"))
    out.append(
        f'<g transform="rotate(-90 16 {(top + bottom) / 2})">{_text(16, (top + bottom) / 2, y, "soft", "middle")}</g>'
    )
    return out


def _text(x: float, y: float, what: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(what)}</text>'


def _dot(x: float, y: float, colour: str, hollow: bool, radius: float = 3.0) -> str:
    fill = f"fill:var(--paper);stroke:{colour};stroke-width:2" if hollow else f"fill:{colour}"
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" style="{fill}"/>'


def _colour(k: int) -> str:
    return f"var(--c{(k - 1) % COLOURS + 1})"
