"""The people: every choice about a face, its hair and its clothes, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Colour = tuple[float, float, float]  # sRGB in [0, 1]


@dataclass(frozen=True)
class Identity:
    """One person to bake. Colours are sRGB; ``rest`` are action weights baked into the resting face."""

    id: str
    name: str
    description: str
    phenotype: dict[str, float]
    local: dict[str, float]
    rest: dict[str, float]
    skin: Colour
    lip: Colour
    hair: Colour
    hair_tip: Colour
    iris: Colour
    cloth: Colour
    trim: Colour
    style: str  # of the hair: see hair.STYLES
    neckline: str  # see clothes.NECKLINES
    room: tuple[Colour, Colour]
    brow: float = 1.0
    freckles: float = 0.0
    stubble: float = 0.0
    makeup: float = 0.0
    lash: float = 1.0
    wrinkles: float = 0.0  # 0 none .. 1 deep: forehead, crow's feet, nasolabial folds, neck
    blemishes: float = 0.0  # moles, small scars, uneven tone
    grey: float = 0.0  # share of grey hairs
    curl: float = 0.0  # 0 straight .. 1 tight curls, for styles that can
    beard: str = "none"  # see beard.BEARDS
    beard_colour: Colour | None = None  # the hair's when None
    top: str = "jumper"  # see clothes.TOPS
    pattern: str = "plain"  # of the cloth: see paint_cloth.PATTERNS
    glasses: str = "none"  # see accessories.GLASSES
    earrings: str = "none"  # see accessories.EARRINGS
    brow_arch: float = 0.5  # 0 straight .. 1 high
    brow_tilt: float = 0.0  # -1 the outer end low .. 1 high
    crease: float = 0.6  # of the upper lid: 0 none .. 1 deep


def both(**weights: float) -> dict[str, float]:
    """The same weight for the Left and the Right action."""
    return {f"{name}{side}": weight for name, weight in weights.items() for side in ("Left", "Right")}


def mirrored(**changes: float) -> dict[str, float]:
    """The same strength for a left and a right local change; underscores stand for hyphens."""
    return {f"{s}-{name.replace('_', '-')}": value for name, value in changes.items() for s in "lr"}


ADA: Final = Identity(
    id="ada",
    name="Ada",
    description="A woman of about thirty with a chestnut bob and a soft green jumper.",
    phenotype={"gender": 0.96, "age": 0.50, "muscle": 0.45, "weight": 0.42, "height": 0.5, "proportions": 0.7,
                   "cupsize": 0.32, "firmness": 0.6, "african": 0.08, "asian": 0.22, "caucasian": 0.70},  # fmt: skip
    local={"mouth-angles-up": 0.35, "mouth-scale-horiz-incr": 0.1, "eyebrows-angle-up": 0.2,
           "nose-scale-horiz-incr": -0.22, "chin-width-incr": -0.22, "head-scale-horiz-incr": -0.12,
           **mirrored(eye_scale_incr=0.30, cheek_bones_incr=0.15)},  # fmt: skip
    rest={**both(mouthSmile=0.14, cheekSquint=0.08, eyeBlink=0.09, eyeSquint=0.06), "browInnerUp": 0.08},
    skin=(0.87, 0.665, 0.575), lip=(0.74, 0.40, 0.38), hair=(0.20, 0.115, 0.07), hair_tip=(0.42, 0.27, 0.17),
    iris=(0.36, 0.34, 0.25), cloth=(0.36, 0.50, 0.46), trim=(0.33, 0.46, 0.43), style="bob", neckline="round",
    room=((0.80, 0.76, 0.70), (0.52, 0.55, 0.56)), freckles=0.5, makeup=0.5, lash=1.0, brow=0.95,
)  # fmt: skip
LEO: Final = Identity(
    id="leo",
    name="Leo",
    description="A man of about thirty with short dark hair, light stubble and a navy jumper.",
    phenotype={"gender": 0.06, "age": 0.52, "muscle": 0.58, "weight": 0.47, "height": 0.55, "proportions": 0.7,
                   "cupsize": 0.5, "firmness": 0.5, "african": 0.22, "asian": 0.18, "caucasian": 0.60},  # fmt: skip
    local={"mouth-angles-up": 0.3, "eyebrows-angle-up": 0.15, "chin-width-incr": 0.15,
           **mirrored(eye_scale_incr=0.22)},  # fmt: skip
    rest={**both(mouthSmile=0.12, cheekSquint=0.06, eyeBlink=0.07, eyeSquint=0.04), "browInnerUp": 0.10},
    skin=(0.74, 0.56, 0.45), lip=(0.63, 0.38, 0.34), hair=(0.085, 0.062, 0.05), hair_tip=(0.20, 0.15, 0.115),
    iris=(0.30, 0.19, 0.10), cloth=(0.16, 0.21, 0.31), trim=(0.14, 0.185, 0.28), style="crop", neckline="crew",
    room=((0.66, 0.69, 0.72), (0.40, 0.43, 0.47)), stubble=0.6,
)  # fmt: skip
IDENTITIES: Final = {identity.id: identity for identity in (ADA, LEO)}
