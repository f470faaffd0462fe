"""Enrolment: one photograph to one avatar pack with a quality report, whole or not at all.

enrolment = enrol(Path("photo.jpg"), About("me", "Me", consent="..."), report=print)
write(enrolment, Path("me.avatar"))
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine import avatar as packs
from engine.avatar import REGIONS, Avatar
from training.portrait import bake, face, matte, photo, segment
from training.portrait.bake import About, Segments
from training.portrait.face import Found
from training.portrait.fit import Fit, fit
from training.portrait.photo import Photo

U8 = NDArray[np.uint8]
Report = Callable[[str, float], None]  # what begins, and how much of the whole is done, in [0, 1]
# Steps as people are told of them, and how long each takes of the whole: measured on two quiet cores.
STEPS: Final = {
    "reading the photograph": 0.03, "looking for a face": 0.05, "fitting a head": 0.06,
    "finding hair, skin and clothes": 0.06, "building the avatar": 0.55, "taking pictures for the report": 0.25,
}  # fmt: skip
COARSE: Final = 0.025  # of the eyes' distance: median error of a fit that is warned of
DARK, BRIGHT = 45, 235  # median level of the face that is warned of
BORDER: Final = 0.01  # of the picture's height: hair nearer to the border is cut off
CONSENT: Final = (
    "I am the person in this photograph, or that person has agreed to an avatar being made of it that speaks and "
    "moves; whoever it shows is of age."
)


@dataclass(frozen=True)
class Enrolment:
    """An avatar and what it was made of: the photograph, the face found, the fitted head, where hair and clothes are;
    warnings in words, seconds by step."""

    avatar: Avatar
    photo: Photo
    found: Found
    fit: Fit
    segments: Segments
    warnings: tuple[str, ...]
    seconds: dict[str, float] = field(default_factory=dict)


def enrol(source: Path | bytes, about: About, report: Report = lambda step, share: None) -> Enrolment:
    """The avatar of the person in a photograph: a file, or its bytes. ``about.source`` is filled with its SHA-256.

    Raises PhotoError, FaceError, ValueError or training.bake.prior.BakeError, each saying what to do.
    """
    if not about.consent.strip():
        raise ValueError("an avatar of a person needs a statement of consent: who has agreed to it, and to what")
    watch = _Watch(report)
    watch.begin("reading the photograph")
    data = source if isinstance(source, bytes) else photo.load(source)
    taken = photo.read(data)
    about = replace(about, source=f"sha256:{hashlib.sha256(data).hexdigest()}")
    watch.begin("looking for a face")
    found = face.find(taken.rgb)
    watch.begin("fitting a head")
    fitted = fit(found, (taken.rgb.shape[0], taken.rgb.shape[1]), taken.focal)
    watch.begin("finding hair, skin and clothes")
    nose = fitted.landmarks[face.NOSE]
    inside = tuple(int(np.clip(nose[1 - k], 0, taken.rgb.shape[k] - 1)) for k in (0, 1))
    alpha = matte.matte(taken.rgb, (inside[0], inside[1]))
    segments = segment.segments(taken.rgb, found, alpha)
    watch.begin("building the avatar")
    done = 0

    def tell(step: str) -> None:
        nonlocal done
        watch.within(step, done / bake.STEPS)
        done += 1

    avatar = bake.bake(taken.rgb, fitted, about, segments, tell)
    warnings = (
        *found.warnings, *segment.warnings(found, segments.regions), *_warnings(taken.rgb, fitted, segments)
    )  # fmt: skip
    watch.begin("taking pictures for the report")
    return Enrolment(avatar, taken, found, fitted, segments, warnings, watch.seconds)


def write(enrolment: Enrolment, out: Path, replace_old: bool = False) -> Path:
    """The pack in a folder of its own with report.png and report.html, whole or not at all; returns the folder.

    Raises FileExistsError when something is there already (``replace_old``: only when that is no pack).
    """
    from training.portrait import report as pictures

    out = Path(os.path.abspath(out))
    check_place(out, replace_old)
    out.parent.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        made = Path(scratch) / out.name
        packs.save(enrolment.avatar, made)
        problems = packs.check(made)
        if problems:
            raise ValueError(f"the avatar that was made is not sound ({problems[0]}): please report this")
        for name, content in pictures.files(enrolment).items():
            (made / name).write_bytes(content)
        old = Path(scratch) / "old"
        if out.exists():
            out.rename(old)
        try:
            made.rename(out)
        except OSError:
            if old.exists():
                old.rename(out)
            raise
        shutil.rmtree(old, ignore_errors=True)
    enrolment.seconds["taking pictures for the report"] = round(time.perf_counter() - began, 2)
    return out


def check_place(out: Path, replace_old: bool) -> None:
    """Raises FileExistsError when ``out`` cannot become a pack's folder."""
    if not out.exists() and not out.is_symlink():
        return
    if not (out / "avatar.toml").is_file():
        raise FileExistsError(f"{out} exists and is no avatar pack: choose another name")
    if not replace_old:
        raise FileExistsError(f"{out} exists: choose another name, or add --force to replace it")


def _warnings(picture: U8, fitted: Fit, segments: Segments) -> list[str]:
    """What the quality may suffer from, in sentences."""
    out = []
    if np.median(fitted.errors) > COARSE:
        off = 100 * float(np.median(fitted.errors))
        out.append(
            f"the head fits the face badly ({off:.1f} % of the eyes' distance off): it may look like someone else"
        )
    skin = segments.regions == REGIONS.index("face")
    level = float(np.median(picture[skin])) if skin.any() else 128.0
    if level < DARK:
        out.append("the face is dark: a photograph in soft daylight gives better skin")
    elif level > BRIGHT:
        out.append("the face is overexposed: what is white in the photograph stays white")
    hair = segments.regions == REGIONS.index("hair")
    edge = max(int(BORDER * picture.shape[0]), 1)
    if hair[:edge].mean() > 0.02:
        out.append("the top of the head is cut off by the picture's border: the avatar's hair ends there")
    return out


class _Watch:
    """Steps as they begin: told to ``report`` with the share of the whole that is done, and timed."""

    def __init__(self, report: Report) -> None:
        self.seconds: dict[str, float] = {}
        self._report, self._step, self._began = report, "", time.perf_counter()

    def begin(self, step: str) -> None:
        now = time.perf_counter()
        if self._step:
            self.seconds[self._step] = round(now - self._began, 2)
        self._step, self._began = step, now
        self._report(step, self._before())

    def within(self, step: str, share: float) -> None:
        """``step`` of the current one begins, ``share`` of which is done."""
        self._report(step, self._before() + share * STEPS[self._step])

    def _before(self) -> float:
        names = list(STEPS)
        return sum(STEPS[name] for name in names[: names.index(self._step)])
