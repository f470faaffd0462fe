"""Everybody by number: who they are, drawn from plausible distributions. Number N is the same person for ever."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Final

import numpy as np

from training.bake.brush import ease
from training.bake.identities import Colour, Identity, both
from training.studio.faces import sample_shape
from training.studio.tones import CLOTH, HAIR, IRIS, LIP, LIPSTICK, ORIGINS, SKIN, Origin, along, mixed, pick, scaled

TRAIN: Final = range(0, 2203)
HELD_OUT: Final = range(100_000, 100_064)
YEARS: Final = (18.0, 80.0)
ADULT: Final = 0.640  # the prior's age of an 18-year-old: 1/3 is a child of twelve, 2/3 an adult of 25, 1 is ninety
STREAMS: Final = {"train": 0x51DE, "held out": 0xE1D0}  # two generators that share nothing
# Weights by sex of styles for straight to wavy hair and for tight curls; see hair.STYLES.
STYLES: Final = {
    ("woman", "straight"): {
        "bob": 1.5, "fringe": 1.1, "long_straight": 1.7, "long_wavy": 1.5, "ponytail": 1.3, "bun": 1.1, "pixie": 0.8},
    ("woman", "curly"): {
        "afro": 1.0, "coils": 1.1, "long_curly": 1.9, "bun": 1.2, "ponytail": 0.8, "curls": 0.6, "buzz": 0.3},
    ("man", "straight"): {
        "crop": 1.5, "side_part": 1.5, "quiff": 1.2, "slick_back": 0.6, "buzz": 0.8, "bun": 0.12,
        "long_wavy": 0.12},
    ("man", "curly"): {"coils": 1.6, "buzz": 1.2, "afro": 0.7, "curls": 0.7, "bald": 0.4},
}  # fmt: skip
LOSS: Final = {"receding": 1.0, "horseshoe": 0.9, "bald": 0.8, "buzz": 0.5}  # men who lose their hair
LATE: Final = ("long_straight", "long_wavy", "long_curly", "ponytail", "fringe", "afro")
TOPS: Final = {
    "woman": {"blouse": 1.6, "jumper": 1.2, "tshirt": 1.0, "jacket": 1.0, "shirt": 0.6, "hoodie": 0.6},
    "man": {"shirt": 1.6, "jumper": 1.2, "tshirt": 1.0, "jacket": 1.2, "hoodie": 0.8},
}
PATTERNS: Final = {
    "jumper": {"plain": 1.4, "heather": 1.0, "stripe": 0.7}, "tshirt": {"plain": 1.8, "stripe": 0.8, "heather": 0.6},
    "shirt": {"plain": 1.2, "stripe": 0.8, "check": 0.8}, "blouse": {"plain": 1.6, "dots": 0.7, "stripe": 0.3},
    "jacket": {"plain": 1.5, "heather": 0.6, "check": 0.3}, "hoodie": {"plain": 1.2, "heather": 1.0},
}  # fmt: skip
BEARDS: Final = {"none": 1.9, "moustache": 0.25, "goatee": 0.35, "short_boxed": 0.9, "full": 0.6}
GLASSES: Final = {"round": 1.0, "rectangular": 1.2, "cat_eye": 0.5, "half_rim": 0.7}
EARRINGS: Final = {"none": 1.0, "stud": 0.8, "hoop": 0.5, "drop": 0.5}


@dataclass(frozen=True)
class Traits:
    """What everything else about a person follows from."""

    woman: bool
    years: float
    origin: str
    tone: float  # along SKIN
    curl: float

    @property
    def sex(self) -> str:
        """The key of the tables."""
        return "woman" if self.woman else "man"


def sample(number: int) -> Identity:
    """The identity with this number: one of TRAIN or HELD_OUT. Raises ValueError for any other."""
    dice = _dice(number)
    return draw(traits(dice), f"p{number:06d}", dice)


def who(number: int) -> Traits:
    """Sex, age and forebears of the person with this number, for statistics."""
    return traits(_dice(number))


def _dice(number: int) -> np.random.Generator:
    if number not in TRAIN and number not in HELD_OUT:
        raise ValueError(
            f"nobody has number {number}: training people are {TRAIN.start}..{TRAIN.stop - 1}, "
            f"held-out people {HELD_OUT.start}..{HELD_OUT.stop - 1}"
        )
    return np.random.default_rng([STREAMS["train" if number in TRAIN else "held out"], number])


def traits(dice: np.random.Generator, years: tuple[float, float] = YEARS) -> Traits:
    """Somebody: sex, age, forebears. Raises ValueError when ``years`` is no range within that of adults."""
    low, high = years
    if not YEARS[0] <= low <= high <= YEARS[1]:
        raise ValueError(f"years {low:g}..{high:g}: must be a range within {YEARS[0]:g}..{YEARS[1]:g}")
    woman = bool(dice.random() < 0.5)
    share = dice.beta(1.1, 1.75)  # more of the young and the middle-aged
    origin = pick(dice, {name: origin.weight for name, origin in ORIGINS.items()})
    place = ORIGINS[origin]
    tone = float(np.clip(dice.normal(*place.tone), 0.0, 1.0))
    curl = float(np.clip(dice.normal(*place.curl), 0.0, 1.0))
    return Traits(woman, round(float(low + share * (high - low)), 1), origin, tone, curl)


def prior_age(years: float) -> float:
    """The prior's age of an adult."""
    return float(np.interp(years, [18, 25, 80], [ADULT, 2 / 3, 0.985]))


def draw(one: Traits, name: str, dice: np.random.Generator) -> Identity:
    """Everything else about somebody."""
    origin, old = ORIGINS[one.origin], float(np.clip((one.years - 34) / 44, 0, 1))
    wrinkles = float(np.clip(old**1.15 * dice.normal(0.85, 0.18) * (1 - 0.25 * one.tone), 0, 1))
    grey = float(np.clip(1 / (1 + np.exp(-(one.years - dice.normal(54, 8)) / 4.5)), 0, 1))
    makeup = float(dice.uniform(0.15, 0.9)) if one.woman and dice.random() < 0.7 else 0.0
    root, tip = HAIR[pick(dice, origin.hair)]
    shade = dice.normal(1.0, 0.07)
    style, beard, stubble = _hair(one, dice)
    cloth, trim = _cloth(dice)
    top = pick(dice, TOPS[one.sex])
    skin = _skin(one, dice)
    lip = along(LIP, one.tone)
    if makeup > 0.45:
        lip = mixed(lip, scaled(LIPSTICK[int(dice.integers(len(LIPSTICK)))], 1 - 0.35 * one.tone), 0.85 * makeup)
    freckled = 0.45 if one.tone < 0.15 else 0.12 if one.tone < 0.35 else 0.0
    return Identity(
        id=name, name=name, description=f"A {one.sex} of {one.years:.0f}, {one.origin}.",
        phenotype=_phenotype(one, origin, dice), local=_shape(one, old, dice),
        rest=_rest(dice), skin=skin, lip=lip, hair=scaled(root, shade), hair_tip=scaled(tip, shade),
        iris=scaled(IRIS[pick(dice, origin.iris)], float(dice.normal(1.0, 0.10))), cloth=cloth, trim=trim,
        style=style, neckline="round" if one.woman else "crew", room=_room(dice),
        brow=float(np.clip(dice.normal(0.88 if one.woman else 1.18, 0.15), 0.6, 1.6)),
        freckles=float(dice.uniform(0.3, 1.0)) if dice.random() < freckled else 0.0,
        stubble=stubble, makeup=makeup, lash=1.0 if one.woman else 0.75, wrinkles=wrinkles,
        blemishes=float(np.clip(dice.beta(1.4, 3.2) + 0.2 * old, 0, 1)), grey=grey, curl=one.curl, beard=beard,
        top=top, pattern=pick(dice, PATTERNS[top]), glasses=pick(dice, GLASSES) if dice.random() < 0.25 else "none",
        earrings=pick(dice, EARRINGS) if one.woman else "none",
        brow_arch=float(np.clip(dice.normal(0.55 if one.woman else 0.25, 0.25), -0.1, 1.0)),
        brow_tilt=float(np.clip(dice.normal(-0.20, 0.25), -0.8, 0.3)),
        crease=float(np.clip(dice.normal(0.7, 0.2) * (1 - 0.65 * origin.asian), 0.08, 1.0)),
    )  # fmt: skip


def _phenotype(who: Traits, origin: Origin, dice: np.random.Generator) -> dict[str, float]:
    shares = np.array([origin.african, origin.asian, origin.caucasian])
    african, asian, caucasian = dice.dirichlet(14 * shares + 0.15)
    gender = dice.uniform(0.93, 1.0) if who.woman else dice.uniform(0.0, 0.12)
    values = {
        "gender": gender, "age": prior_age(who.years), "muscle": np.clip(dice.normal(0.48, 0.10), 0.25, 0.75),
        "weight": np.clip(dice.normal(0.42 + 0.0016 * (who.years - 40), 0.12), 0.18, 0.85),
        "height": np.clip(dice.normal(0.5, 0.12), 0.25, 0.8), "proportions": np.clip(dice.normal(0.66, 0.10), 0.4, 0.9),
        "cupsize": np.clip(dice.normal(0.38, 0.12), 0.1, 0.7), "firmness": 0.55,
        "african": african, "asian": asian, "caucasian": caucasian,
    }  # fmt: skip
    return {name: round(float(value), 4) for name, value in values.items()}


def _shape(one: Traits, old: float, dice: np.random.Generator) -> dict[str, float]:
    aged = round((0.25 if one.woman else 0.45) * max(old - 0.3, 0.0), 3)
    return sample_shape(dice, one.woman) | {"head-age-incr": aged}


def _rest(dice: np.random.Generator) -> dict[str, float]:
    """A resting face: attentive, friendly to different degrees."""
    smile = float(np.clip(dice.normal(0.20, 0.06), 0.06, 0.34))
    return {
        **both(mouthSmile=round(smile, 3), cheekSquint=round(0.5 * smile, 3)),
        **both(eyeBlink=round(float(dice.uniform(0.0, 0.05)), 3)),
        "browInnerUp": round(float(dice.uniform(0.0, 0.14)), 3),
    }  # fmt: skip


def _skin(who: Traits, dice: np.random.Generator) -> Colour:
    """Along the line of melanin, with an undertone between rosy and olive."""
    warm = float(np.clip(dice.normal(0.0, 0.018), -0.04, 0.04))
    return scaled(along(SKIN, who.tone), 1 + 0.4 * warm, 1 - 0.3 * warm, 1 - 1.5 * warm)


def _hair(who: Traits, dice: np.random.Generator) -> tuple[str, str, float]:
    """(style, beard, stubble): what grows where."""
    weights = STYLES[who.sex, "curly" if who.curl > 0.62 else "straight"]
    late = 1 - 0.75 * float(ease(who.years, 45, 68))  # long hair gets rarer
    style = pick(dice, {name: weight * (late if name in LATE else 1.0) for name, weight in weights.items()})
    if who.woman:
        return style, "none", 0.0
    if dice.random() < np.interp(who.years, [25, 40, 60, 80], [0.04, 0.18, 0.42, 0.55]):
        style = pick(dice, LOSS)
    beard = pick(dice, BEARDS)
    shaven = beard in ("moustache", "goatee")
    stubble = float(np.clip(dice.beta(1.0, 1.8), 0, 0.3 if shaven else 0.85))
    return style, beard, stubble


def _cloth(dice: np.random.Generator) -> tuple[Colour, Colour]:
    hue, saturation, value = CLOTH[int(dice.integers(len(CLOTH)))]
    hue, value = (hue + dice.normal(0, 0.015)) % 1.0, float(np.clip(value * dice.normal(1, 0.12), 0.08, 0.92))
    cloth = colorsys.hsv_to_rgb(hue, float(np.clip(saturation * dice.normal(1, 0.15), 0, 0.75)), value)
    return scaled(cloth, 1.0), scaled(cloth, float(dice.choice([0.9, 0.93, 1.08])))


def _room(dice: np.random.Generator) -> tuple[Colour, Colour]:
    warm, bright = dice.normal(0, 0.04), dice.uniform(0.55, 0.82)
    wall = (bright * (1 + warm), bright, bright * (1 - warm))
    return scaled(wall, 1.0), scaled(wall, 0.62)
