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


SMILE: Final = {**both(mouthSmile=0.22, cheekSquint=0.10), "browInnerUp": 0.06}
ADA: Final = Identity(
    id="ada", name="Ada", description="A woman of about thirty with a chestnut bob and a green jumper.",
    phenotype={"gender": 0.97, "age": 0.69, "muscle": 0.45, "weight": 0.38, "height": 0.5, "proportions": 0.7,
               "cupsize": 0.32, "firmness": 0.6, "african": 0.06, "asian": 0.20, "caucasian": 0.74},
    local={"mouth-angles-up": 0.30, "mouth-scale-horiz-incr": 0.14, "eyebrows-trans-up": -0.1, "head-fat-incr": -0.25,
           "nose-scale-horiz-incr": -0.30, "nose-point-up": 0.2, "nose-point-width-incr": -0.2,
           "nose-volume-incr": -0.2, "chin-width-incr": -0.45, "chin-bones-incr": -0.40,
           "head-scale-horiz-incr": -0.24, "forehead-scale-vert-incr": -0.25, "eyebrows-trans-forward": -0.15,
           "mouth-cupidsbow-incr": 0.15,
           **mirrored(eye_scale_incr=0.28, eye_height2_incr=0.22, cheek_bones_incr=0.25, cheek_volume_incr=-0.12)},
    rest=SMILE, skin=(0.865, 0.692, 0.595), lip=(0.72, 0.42, 0.39), hair=(0.21, 0.125, 0.08),
    hair_tip=(0.44, 0.28, 0.18), iris=(0.35, 0.31, 0.19), cloth=(0.36, 0.50, 0.46), trim=(0.33, 0.46, 0.43),
    style="bob", neckline="round", room=((0.80, 0.76, 0.70), (0.52, 0.55, 0.56)), brow=0.92, freckles=0.45, makeup=0.45,
    wrinkles=0.05, blemishes=0.12, curl=0.1, top="jumper", earrings="stud", brow_arch=0.55, brow_tilt=-0.1, crease=0.7,
)  # fmt: skip
LEO: Final = Identity(
    id="leo", name="Leo", description="A man of about thirty-five with short dark hair, stubble and a navy jumper.",
    phenotype={"gender": 0.05, "age": 0.71, "muscle": 0.56, "weight": 0.42, "height": 0.55, "proportions": 0.7,
               "cupsize": 0.5, "firmness": 0.5, "african": 0.16, "asian": 0.18, "caucasian": 0.66},
    local={"mouth-angles-up": 0.28, "mouth-scale-horiz-incr": 0.18, "eyebrows-trans-up": -0.2, "head-fat-incr": -0.30,
           "nose-scale-horiz-incr": -0.22, "nose-point-width-incr": -0.22, "nose-hump-incr": 0.15,
           "chin-width-incr": -0.05, "chin-bones-incr": 0.05, "chin-prominent-incr": 0.15,
           "head-scale-horiz-incr": -0.24, "forehead-scale-vert-incr": -0.30,
           **mirrored(eye_scale_incr=0.20, eye_height2_incr=0.18, cheek_bones_incr=0.25, cheek_volume_incr=-0.25)},
    rest=SMILE, skin=(0.775, 0.585, 0.468), lip=(0.62, 0.40, 0.35), hair=(0.090, 0.066, 0.052),
    hair_tip=(0.19, 0.14, 0.105), iris=(0.30, 0.19, 0.10), cloth=(0.16, 0.21, 0.31), trim=(0.14, 0.185, 0.28),
    style="quiff", neckline="crew", room=((0.66, 0.69, 0.72), (0.40, 0.43, 0.47)), stubble=0.55, brow=1.2, lash=0.75,
    wrinkles=0.12, blemishes=0.2, curl=0.3, top="jumper", pattern="heather", brow_arch=0.2, brow_tilt=-0.1, crease=0.6,
)  # fmt: skip
MAYA: Final = Identity(
    id="maya", name="Maya", description="A woman of twenty-eight with a black ponytail and a rust blouse.",
    phenotype={"gender": 0.98, "age": 0.68, "muscle": 0.42, "weight": 0.40, "height": 0.48, "proportions": 0.7,
               "cupsize": 0.38, "firmness": 0.6, "african": 0.14, "asian": 0.20, "caucasian": 0.66},
    local={"mouth-angles-up": 0.32, "mouth-scale-horiz-incr": 0.16, "eyebrows-trans-up": -0.12, "head-fat-incr": -0.2,
           "nose-scale-horiz-incr": -0.24, "nose-point-width-incr": -0.25, "nose-volume-incr": -0.18,
           "nose-hump-incr": 0.08, "chin-width-incr": -0.40, "chin-bones-incr": -0.34, "head-scale-vert-incr": -0.12,
           "forehead-scale-vert-incr": -0.30, "mouth-lowerlip-volume-incr": 0.12, "eyebrows-trans-forward": -0.1,
           **mirrored(eye_scale_incr=0.34, eye_height2_incr=0.24, eye_corner2_up=0.15, cheek_bones_incr=0.2)},
    rest=SMILE, skin=(0.655, 0.470, 0.360), lip=(0.56, 0.31, 0.29), hair=(0.062, 0.050, 0.048),
    hair_tip=(0.125, 0.095, 0.085), iris=(0.185, 0.105, 0.060), cloth=(0.60, 0.30, 0.20), trim=(0.55, 0.27, 0.18),
    style="ponytail", neckline="round", room=((0.72, 0.70, 0.68), (0.45, 0.44, 0.43)), brow=1.0, makeup=0.55,
    wrinkles=0.03, blemishes=0.1, curl=0.3, top="blouse", earrings="drop", brow_arch=0.5, brow_tilt=-0.05, crease=0.8,
)  # fmt: skip
KOFI: Final = Identity(
    id="kofi", name="Kofi", description="A man of forty-two with close-cropped hair, a goatee and a jacket.",
    phenotype={"gender": 0.04, "age": 0.74, "muscle": 0.60, "weight": 0.46, "height": 0.58, "proportions": 0.7,
               "cupsize": 0.5, "firmness": 0.5, "african": 0.92, "asian": 0.02, "caucasian": 0.06},
    local={"mouth-angles-up": 0.30, "mouth-scale-horiz-incr": 0.12, "eyebrows-trans-up": -0.1, "head-fat-incr": -0.25,
           "nose-scale-horiz-incr": -0.26, "nose-nostrils-width-incr": -0.2, "nose-point-width-incr": -0.2,
           "chin-width-incr": -0.10, "chin-prominent-incr": 0.15, "forehead-scale-vert-incr": -0.25,
           "mouth-upperlip-volume-incr": -0.12, "mouth-lowerlip-volume-incr": -0.1,
           **mirrored(eye_scale_incr=0.24, eye_height2_incr=0.20, cheek_bones_incr=0.3, cheek_volume_incr=-0.2)},
    rest=SMILE, skin=(0.385, 0.253, 0.186), lip=(0.345, 0.212, 0.186), hair=(0.055, 0.047, 0.045),
    hair_tip=(0.10, 0.085, 0.08), iris=(0.150, 0.088, 0.052), cloth=(0.30, 0.31, 0.34), trim=(0.26, 0.27, 0.30),
    style="buzz", neckline="crew", room=((0.70, 0.66, 0.60), (0.42, 0.39, 0.36)), stubble=0.35, brow=1.1, lash=0.8,
    wrinkles=0.20, blemishes=0.2, grey=0.03, curl=0.95, beard="goatee", top="jacket", brow_arch=0.2, crease=0.6,
)  # fmt: skip
MEI: Final = Identity(
    id="mei", name="Mei", description="A woman of thirty-four with a black bob, round glasses and a T-shirt.",
    phenotype={"gender": 0.97, "age": 0.70, "muscle": 0.42, "weight": 0.36, "height": 0.46, "proportions": 0.68,
               "cupsize": 0.28, "firmness": 0.6, "african": 0.02, "asian": 0.92, "caucasian": 0.06},
    local={"mouth-angles-up": 0.30, "mouth-scale-horiz-incr": 0.14, "eyebrows-trans-up": -0.1, "head-fat-incr": -0.2,
           "nose-scale-horiz-incr": -0.2, "nose-point-width-incr": -0.2, "nose-scale-depth-incr": 0.1,
           "chin-width-incr": -0.45, "chin-bones-incr": -0.36, "chin-jaw-drop-incr": 0.08,
           "forehead-scale-vert-incr": -0.25, "head-scale-horiz-incr": -0.24,
           **mirrored(eye_scale_incr=0.30, eye_height2_incr=0.26, cheek_bones_incr=0.15, cheek_volume_incr=-0.1)},
    rest=SMILE, skin=(0.845, 0.678, 0.565), lip=(0.72, 0.41, 0.40), hair=(0.060, 0.052, 0.052),
    hair_tip=(0.115, 0.095, 0.090), iris=(0.175, 0.105, 0.062), cloth=(0.84, 0.83, 0.80), trim=(0.80, 0.79, 0.76),
    style="bob", neckline="round", room=((0.74, 0.76, 0.76), (0.50, 0.53, 0.54)), brow=0.85, makeup=0.35,
    wrinkles=0.05, blemishes=0.1, top="tshirt", glasses="round", brow_arch=0.25, brow_tilt=-0.15, crease=0.3,
)  # fmt: skip
NORA: Final = Identity(
    id="nora", name="Nora", description="A woman of sixty-four with a silver pixie cut and a blue shirt.",
    phenotype={"gender": 0.97, "age": 0.88, "muscle": 0.42, "weight": 0.44, "height": 0.5, "proportions": 0.66,
               "cupsize": 0.40, "firmness": 0.5, "african": 0.02, "asian": 0.06, "caucasian": 0.92},
    local={"mouth-angles-up": 0.34, "mouth-scale-horiz-incr": 0.2, "eyebrows-trans-up": -0.05, "head-fat-incr": -0.2,
           "nose-scale-horiz-incr": -0.28, "nose-point-width-incr": -0.25, "nose-volume-incr": -0.2,
           "chin-width-incr": -0.35, "chin-bones-incr": -0.30, "forehead-scale-vert-incr": -0.25,
           "mouth-upperlip-volume-incr": 0.1, "eyebrows-trans-forward": -0.12,
           **mirrored(eye_scale_incr=0.26, eye_height2_incr=0.24, cheek_bones_incr=0.28, cheek_volume_incr=-0.1)},
    rest=SMILE, skin=(0.872, 0.705, 0.612), lip=(0.72, 0.43, 0.41), hair=(0.34, 0.27, 0.21),
    hair_tip=(0.50, 0.44, 0.38), iris=(0.36, 0.42, 0.46), cloth=(0.46, 0.57, 0.70), trim=(0.43, 0.54, 0.67),
    style="pixie", neckline="round", room=((0.78, 0.75, 0.70), (0.52, 0.50, 0.47)), brow=0.9, makeup=0.3, wrinkles=0.55,
    blemishes=0.3, grey=0.7, top="shirt", earrings="stud", brow_arch=0.5, brow_tilt=-0.2, crease=0.7, freckles=0.2,
)  # fmt: skip
OMAR: Final = Identity(
    id="omar", name="Omar", description="A man of fifty with greying hair, a short beard and a striped shirt.",
    phenotype={"gender": 0.04, "age": 0.79, "muscle": 0.52, "weight": 0.50, "height": 0.54, "proportions": 0.68,
               "cupsize": 0.5, "firmness": 0.5, "african": 0.12, "asian": 0.08, "caucasian": 0.80},
    local={"mouth-angles-up": 0.30, "mouth-scale-horiz-incr": 0.15, "eyebrows-trans-up": -0.15, "head-fat-incr": -0.25,
           "nose-scale-horiz-incr": -0.2, "nose-hump-incr": 0.3, "nose-point-width-incr": -0.2,
           "chin-width-incr": -0.1, "forehead-scale-vert-incr": -0.25, "head-scale-horiz-incr": -0.22,
           **mirrored(eye_scale_incr=0.22, eye_height2_incr=0.2, cheek_bones_incr=0.2, cheek_volume_incr=-0.2)},
    rest=SMILE, skin=(0.790, 0.600, 0.485), lip=(0.64, 0.41, 0.36), hair=(0.085, 0.064, 0.054),
    hair_tip=(0.17, 0.125, 0.10), iris=(0.27, 0.165, 0.09), cloth=(0.82, 0.80, 0.76), trim=(0.78, 0.76, 0.72),
    style="side_part", neckline="crew", room=((0.64, 0.62, 0.60), (0.38, 0.37, 0.36)), stubble=0.5, brow=1.25, lash=0.8,
    wrinkles=0.36, blemishes=0.25, grey=0.12, curl=0.2, beard="short_boxed", top="shirt", pattern="stripe",
    brow_arch=0.2, brow_tilt=-0.1, crease=0.6,
)  # fmt: skip
ZOE: Final = Identity(
    id="zoe", name="Zoe", description="A woman of twenty-four with a dark bun and a mustard hoodie.",
    phenotype={"gender": 0.98, "age": 0.667, "muscle": 0.44, "weight": 0.40, "height": 0.52, "proportions": 0.72,
               "cupsize": 0.34, "firmness": 0.65, "african": 0.56, "asian": 0.05, "caucasian": 0.39},
    local={"mouth-angles-up": 0.32, "mouth-scale-horiz-incr": 0.14, "eyebrows-trans-up": -0.1, "head-fat-incr": -0.2,
           "nose-scale-horiz-incr": -0.3, "nose-nostrils-width-incr": -0.2, "nose-point-width-incr": -0.25,
           "nose-point-up": 0.15, "chin-width-incr": -0.42, "chin-bones-incr": -0.36, "head-scale-horiz-incr": -0.24,
           "forehead-scale-vert-incr": -0.3, "mouth-upperlip-volume-incr": -0.05,
           **mirrored(eye_scale_incr=0.34, eye_height2_incr=0.26, cheek_bones_incr=0.28, cheek_volume_incr=-0.08)},
    rest=SMILE, skin=(0.625, 0.442, 0.335), lip=(0.54, 0.31, 0.28), hair=(0.085, 0.060, 0.050),
    hair_tip=(0.19, 0.13, 0.10), iris=(0.26, 0.16, 0.085), cloth=(0.72, 0.54, 0.24), trim=(0.67, 0.50, 0.22),
    style="bun", neckline="round", room=((0.70, 0.72, 0.74), (0.44, 0.47, 0.50)), freckles=0.35, makeup=0.4,
    brow=1.0, wrinkles=0.0, blemishes=0.12, curl=0.75, top="hoodie", earrings="hoop", brow_arch=0.5, crease=0.7,
)  # fmt: skip
IDENTITIES: Final = {one.id: one for one in (ADA, LEO, MAYA, KOFI, MEI, NORA, OMAR, ZOE)}
