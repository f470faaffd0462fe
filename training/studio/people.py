"""Everybody by number: who they are, drawn from plausible distributions. Number N is the same person for ever."""

from __future__ import annotations

import numpy as np

from training.bake.identities import Colour, Identity, both

TRAIN = range(0, 2203)
HELD_OUT = range(100_000, 100_064)


def sample(number: int) -> Identity:
    """The identity with this number: one of TRAIN or HELD_OUT. Raises ValueError for any other."""
    if number not in TRAIN and number not in HELD_OUT:
        raise ValueError(
            f"nobody has number {number}: training people are {TRAIN.start}..{TRAIN.stop - 1}, "
            f"held-out people {HELD_OUT.start}..{HELD_OUT.stop - 1}"
        )
    dice = np.random.default_rng([0x51DE, number])
    woman = bool(dice.random() < 0.5)
    race = dice.dirichlet([0.6, 0.6, 0.6])
    tone = float(np.clip(0.75 * race[0] + 0.3 * race[1] + dice.normal(0.1, 0.1), 0, 1))
    columns = [0.9, 0.75, 0.36], [0.72, 0.55, 0.23], [0.63, 0.42, 0.17]
    red, green, blue = (float(np.interp(tone, [0, 0.5, 1], column)) for column in columns)
    skin: Colour = (red, green, blue)
    dark = (0.085, 0.062, 0.05)
    return Identity(
        id=f"p{number:06d}", name=f"Person {number}", description="A studio person.",
        phenotype={
            "gender": float(dice.uniform(0.85, 1.0) if woman else dice.uniform(0.0, 0.15)),
            "age": float(dice.uniform(0.62, 0.95)),
            "muscle": float(dice.uniform(0.35, 0.65)), "weight": float(dice.uniform(0.3, 0.75)), "height": 0.5,
            "proportions": 0.7, "cupsize": 0.4, "firmness": 0.5,
            "african": float(race[0]), "asian": float(race[1]), "caucasian": float(race[2]),
        },
        local={"mouth-angles-up": 0.3},
        rest={**both(mouthSmile=0.12, cheekSquint=0.06, eyeBlink=0.07, eyeSquint=0.04), "browInnerUp": 0.10},
        skin=skin, lip=(0.85 * red, 0.62 * green, 0.66 * blue), hair=dark, hair_tip=(0.2, 0.15, 0.115),
        iris=(0.30, 0.19, 0.10), cloth=(0.2, 0.3, 0.4), trim=(0.3, 0.3, 0.3),
        style="bob" if woman else "crop", neckline="round" if woman else "crew",
        room=((0.66, 0.69, 0.72), (0.40, 0.43, 0.47)),
        stubble=0.0 if woman else float(dice.uniform(0, 0.8)),
    )  # fmt: skip
