"""Colours of people: skin along a line of melanin, lips, hair, eyes and cloth, all sRGB in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from training.bake.identities import Colour

# Albedo of skin without light on it, from the palest to the deepest.
SKIN: Final = (
    (0.00, (0.900, 0.752, 0.672)), (0.15, (0.870, 0.698, 0.600)), (0.30, (0.820, 0.635, 0.520)),
    (0.45, (0.745, 0.550, 0.430)), (0.60, (0.610, 0.430, 0.325)), (0.75, (0.465, 0.312, 0.228)),
    (0.90, (0.335, 0.216, 0.158)), (1.00, (0.262, 0.168, 0.126)),
)  # fmt: skip
LIP: Final = (
    (0.00, (0.770, 0.505, 0.480)), (0.30, (0.690, 0.440, 0.395)), (0.60, (0.500, 0.315, 0.275)),
    (0.85, (0.335, 0.205, 0.180)), (1.00, (0.265, 0.165, 0.148)),
)  # fmt: skip
LIPSTICK: Final[tuple[Colour, ...]] = (
    (0.72, 0.40, 0.37), (0.66, 0.30, 0.31), (0.60, 0.20, 0.22), (0.58, 0.27, 0.30), (0.74, 0.36, 0.30),
    (0.55, 0.21, 0.24), (0.62, 0.36, 0.32),
)  # fmt: skip
# Root and tip of undyed hair.
HAIR: Final[dict[str, tuple[Colour, Colour]]] = {
    "black": ((0.062, 0.052, 0.050), (0.120, 0.098, 0.090)),
    "dark brown": ((0.105, 0.074, 0.056), (0.205, 0.145, 0.108)),
    "brown": ((0.180, 0.118, 0.080), (0.335, 0.225, 0.150)),
    "light brown": ((0.275, 0.190, 0.125), (0.475, 0.345, 0.230)),
    "dark blond": ((0.360, 0.270, 0.175), (0.600, 0.465, 0.310)),
    "blond": ((0.500, 0.390, 0.250), (0.760, 0.630, 0.430)),
    "auburn": ((0.235, 0.105, 0.062), (0.420, 0.205, 0.120)),
    "red": ((0.380, 0.170, 0.080), (0.620, 0.310, 0.155)),
}  # fmt: skip
IRIS: Final[dict[str, Colour]] = {
    "dark brown": (0.165, 0.095, 0.055), "brown": (0.285, 0.170, 0.090), "hazel": (0.360, 0.270, 0.140),
    "green": (0.330, 0.355, 0.265), "blue": (0.345, 0.420, 0.485), "grey": (0.400, 0.430, 0.450),
}  # fmt: skip
# Cloth: hue in turns, saturation, value; muted as clothes are.
CLOTH: Final = (
    (0.60, 0.55, 0.26), (0.58, 0.25, 0.62), (0.00, 0.00, 0.88), (0.00, 0.00, 0.22), (0.00, 0.00, 0.55),
    (0.09, 0.22, 0.72), (0.08, 0.40, 0.45), (0.98, 0.58, 0.45), (0.42, 0.30, 0.40), (0.46, 0.28, 0.62),
    (0.13, 0.45, 0.72), (0.93, 0.25, 0.70), (0.54, 0.45, 0.45), (0.77, 0.25, 0.45), (0.03, 0.50, 0.62),
)  # fmt: skip


@dataclass(frozen=True)
class Origin:
    """Where somebody's forebears are from, as the prior and the palette see it. Shares are mean values."""

    weight: float
    african: float
    asian: float
    caucasian: float
    tone: tuple[float, float]  # mean and deviation along SKIN
    hair: dict[str, float]
    iris: dict[str, float]
    curl: tuple[float, float]  # mean and deviation, 0 straight .. 1 tight curls


DARK_HAIR: Final = {"black": 0.72, "dark brown": 0.28}
DARK_EYES: Final = {"dark brown": 0.75, "brown": 0.25}
ORIGINS: Final[dict[str, Origin]] = {
    "northern european": Origin(0.22, 0.02, 0.06, 0.92, (0.11, 0.06), {
        "dark brown": 0.2, "brown": 0.26, "light brown": 0.18, "dark blond": 0.15, "blond": 0.08, "auburn": 0.07,
        "red": 0.06}, {"brown": 0.22, "hazel": 0.18, "green": 0.16, "blue": 0.32, "grey": 0.12}, (0.22, 0.18)),
    "southern european": Origin(0.12, 0.07, 0.08, 0.85, (0.27, 0.07), {
        "black": 0.25, "dark brown": 0.45, "brown": 0.25, "light brown": 0.05},
        {"dark brown": 0.35, "brown": 0.4, "hazel": 0.15, "green": 0.1}, (0.35, 0.22)),
    "middle eastern": Origin(0.09, 0.12, 0.08, 0.80, (0.36, 0.09), {"black": 0.5, "dark brown": 0.45, "brown": 0.05},
        {"dark brown": 0.55, "brown": 0.33, "hazel": 0.12}, (0.40, 0.22)),
    "south asian": Origin(0.11, 0.14, 0.20, 0.66, (0.54, 0.11), DARK_HAIR, DARK_EYES, (0.25, 0.20)),
    "east asian": Origin(0.14, 0.02, 0.92, 0.06, (0.23, 0.07), DARK_HAIR, DARK_EYES, (0.04, 0.05)),
    "southeast asian": Origin(0.07, 0.12, 0.72, 0.16, (0.42, 0.09), DARK_HAIR, DARK_EYES, (0.10, 0.10)),
    "west african": Origin(0.10, 0.94, 0.02, 0.04, (0.86, 0.07), {"black": 1.0}, {"dark brown": 1.0}, (0.92, 0.06)),
    "east african": Origin(0.05, 0.74, 0.04, 0.22, (0.76, 0.08), {"black": 0.95, "dark brown": 0.05},
        {"dark brown": 0.9, "brown": 0.1}, (0.80, 0.12)),
    "mixed african and european": Origin(0.05, 0.52, 0.05, 0.43, (0.56, 0.11), {"black": 0.6, "dark brown": 0.4},
        {"dark brown": 0.5, "brown": 0.35, "hazel": 0.15}, (0.72, 0.16)),
    "latin american": Origin(0.05, 0.14, 0.34, 0.52, (0.40, 0.11), {"black": 0.5, "dark brown": 0.4, "brown": 0.1},
        {"dark brown": 0.6, "brown": 0.32, "hazel": 0.08}, (0.25, 0.20)),
}  # fmt: skip


def pick(dice: np.random.Generator, weights: dict[str, float]) -> str:
    """One name, drawn by weight."""
    names, values = list(weights), np.array(list(weights.values()))
    return names[int(dice.choice(len(names), p=values / values.sum()))]


def along(line: tuple[tuple[float, Colour], ...], at: float) -> Colour:
    """The colour at ``at`` of a line of colours."""
    place = [x for x, _ in line]
    red, green, blue = (float(np.interp(at, place, [colour[c] for _, colour in line])) for c in range(3))
    return red, green, blue


def scaled(colour: Colour, *factors: float) -> Colour:
    """The colour times one factor, or one for each channel, kept in [0, 1]."""
    each = factors * 3 if len(factors) == 1 else factors
    red, green, blue = (round(float(np.clip(c * f, 0, 1)), 4) for c, f in zip(colour, each, strict=True))
    return red, green, blue


def mixed(a: Colour, b: Colour, share: float) -> Colour:
    """``share`` of b, the rest a."""
    red, green, blue = (round((1 - share) * x + share * y, 4) for x, y in zip(a, b, strict=True))
    return red, green, blue
