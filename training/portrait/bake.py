"""A fitted face to an avatar pack. Shape: the prior's, through the bake; hair: the photograph's, given depth; colours:
the photograph's with its light taken off; reference and background: the photograph itself.

Clothes' cut, teeth, tongue and whatever nobody photographed are the bake's own, of the nearest kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.avatar import Avatar
from training.bake import make, prior
from training.bake.identities import Identity
from training.portrait import behind, mane, skin
from training.portrait.basis import REST
from training.portrait.fit import Fit
from training.portrait.hints import Hints
from training.portrait.hints import read as read_hints
from training.portrait.retake import retake

U8 = NDArray[np.uint8]
Array = NDArray[Any]
STEPS: Final = make.STEPS + 3
ROOM: Final = ((0.70, 0.70, 0.69), (0.44, 0.45, 0.47))


@dataclass(frozen=True)
class About:
    """What a pack says of the person and of the photograph: all of it is the caller's to know."""

    id: str
    name: str
    consent: str
    source: str  # where the photograph is from: a hash, a file name
    licence: str = "LicenseRef-private"


@dataclass(frozen=True)
class Segments:
    """Where the person is in the photograph: alpha (H, W) u8, and regions (H, W) u8 of engine.avatar.REGIONS."""

    alpha: U8
    regions: U8


def identity(photo: U8, fit: Fit, about: About, segments: Segments | None = None) -> Identity:
    """The person as training.bake takes people: bald when ``segments`` tell what their own hair is like."""
    hints = read_hints(photo, fit, None if segments is None else segments.regions)
    phenotype, local = fit.identity()
    woman = phenotype["gender"] > 0.5
    years = float(np.clip((phenotype["age"] - 2 / 3) / 0.318, 0, 1))
    return Identity(
        id=about.id, name=about.name, description=_described(hints), phenotype=phenotype, local=local, rest=dict(REST),
        skin=hints.skin, lip=hints.lip, hair=hints.hair, hair_tip=hints.hair_tip, iris=hints.iris, cloth=hints.cloth,
        trim=hints.cloth, style=hints.style if segments is None else "bald", neckline=hints.neckline, room=ROOM,
        brow=0.9 if woman else 1.15, lash=1.0 if woman else 0.75, wrinkles=round(0.6 * years, 3),
        blemishes=round(0.1 + 0.2 * years, 3),
        grey=hints.grey, curl=0.2, beard=hints.beard if segments is None else "none",
        top="jumper", brow_arch=0.45 if woman else 0.2,
        brow_tilt=-0.15,
    )  # fmt: skip


def bake(
    photo: U8,
    fit: Fit,
    about: About,
    segments: Segments | None = None,
    report: Callable[[str], None] = lambda step: None,
) -> Avatar:
    """The avatar, in seconds. Without ``segments`` it has hair and colours of the nearest
    kind: nothing then says which pixels are the person. ``report`` is called with the name of each of STEPS steps.
    Raises training.bake.prior.BakeError without the prior's numbers, ValueError on other sizes."""
    who = identity(photo, fit, about, segments)
    avatar = make.bake(who, 0, lambda step: report(step) if step != "done" else None, sample=prior.sample)
    meta = replace(
        avatar.meta, licence=about.licence, author="made by visavis from a photograph", consent=about.consent,
        provenance=f"fitted to one photograph ({about.source}); {avatar.meta.provenance}",
    )  # fmt: skip
    avatar = replace(avatar, meta=meta)
    if segments is None:
        return avatar
    report("hair as it is in the photograph")
    haired = mane.own_hair(avatar, photo, fit, segments.alpha, segments.regions)
    hair = "none" if haired is avatar else "photograph"
    avatar = replace(haired, meta=replace(haired.meta, look=haired.meta.look | {"hair": hair}))
    report("skin and clothes as they are in the photograph")
    avatar = replace(avatar, reference=retake(avatar, photo, fit, segments.alpha, segments.regions))
    avatar = skin.coloured(avatar)
    report("what is behind the person")
    place = behind.background(photo, segments.alpha, fit)
    avatar = avatar if place is None else replace(avatar, background=place)
    return replace(avatar, preview=make.preview(avatar))


def _described(hints: Hints) -> str:
    return f"Made from one photograph ({hints.style.replace('_', ' ')} hair)."
