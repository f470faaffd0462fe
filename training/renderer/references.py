"""Reference photographs by the studio's photographer: of somebody in front of the camera, and of shipped packs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from engine import avatar as packs
from engine.avatar_reference import FILE, SIDE, Reference, encode, over_grey
from engine.motion.frame import Motion
from engine.render import camera
from engine.render.reference import FRAMING, VIEWS
from engine.viewpoint import Viewpoint
from training.bake.identities import Identity
from training.studio import lights, places
from training.studio.lights import Light
from training.studio.person import StudioPerson
from training.studio.places import Place
from training.studio.take import Studio

MOST_BYTES: Final = 250_000  # of a shipped pack's file
NEAR: Final = 2e-3  # metres that the mesh that is photographed may lie beside the pack's
# The light of shipped packs: of 600 studio lights the one most like kernels.shade's STUDIO, a soft key from the
# viewer's left and above (-30 and 29 degrees), a fill of 0.28 of it, a rim of 0.57.
LIGHT: Final = (465, "studio")
PLACE: Final = (4, "plain")


def viewpoints(count: int, jitter: np.ndarray | None = None) -> tuple[Viewpoint, ...]:
    """The first ``count`` places photographs are taken from; ``jitter`` (count, 2) radians of yaw and pitch."""
    off = np.zeros((count, 2)) if jitter is None else jitter
    distance = camera.framing(FRAMING).distance
    return tuple(Viewpoint(float(VIEWS[k] + off[k, 0]), float(off[k, 1]), distance).clamped() for k in range(count))


def photograph(studio: Studio, motion: Motion, views: Sequence[Viewpoint], light: Light, place: Place) -> Reference:
    """The reference of whoever is in front of the camera of a ``studio`` with pictures of SIDE."""
    if studio.size != SIDE:
        raise ValueError(f"reference photographs are {SIDE} pixels a side, the studio's {studio.size}")
    photos, alphas, regions = [], [], []
    frame = camera.framing(FRAMING)
    for view in views:
        shot = studio.picture(motion, view, FRAMING, light, place)
        plate = studio.photographer.plate(camera.camera(view, frame, (SIDE, SIDE)), light, place)
        photos.append(over_grey(shot.rgb, shot.alpha, plate))
        alphas.append(shot.alpha)
        regions.append(np.where(shot.alpha > 0, shot.region, 0).astype(np.uint8))
    return Reference(np.stack(photos), np.stack(alphas), np.stack(regions), tuple(views), FRAMING, motion)


def of_pack(studio: Studio, identity: Identity) -> Reference:
    """The reference of a shipped pack: its person baked anew with the studio's strands, photographed at rest.

    Raises ValueError when the pack in the repository is not what the code bakes now.
    """
    from training.bake.make import bake_both

    pack = packs.load(packs.find(identity.id))
    baked, fine, height = bake_both(identity, seed=0)
    same = pack.rest.shape == baked.rest.shape and np.abs(pack.rest - baked.rest).max() < NEAR
    if not same:
        raise ValueError(f"{identity.id}: the shipped pack is not what this code bakes; python -m training.bake all")
    studio.welcome(StudioPerson(-1, identity, baked, fine, height))
    light, place = lights.sample(*LIGHT), places.sample(*PLACE)
    return photograph(studio, Motion.rest(), viewpoints(len(VIEWS)), light, place)


def ship(identity: Identity, studio: Studio) -> int:
    """Puts reference photographs into a shipped pack; returns their bytes. Nothing else in the pack changes."""
    folder = packs.find(identity.id)
    data = encode(of_pack(studio, identity))
    if len(data) > MOST_BYTES:
        raise ValueError(f"{identity.id}: {len(data)} bytes of photographs, at most {MOST_BYTES} are shipped")
    put(folder, FILE, data)
    return len(data)


def put(folder: Path, name: str, data: bytes) -> None:
    """Writes one file of a pack, whole or not at all. Raises ValueError when the pack is broken then."""
    partial = folder / f".{name}.partial"
    try:
        partial.write_bytes(data)
        partial.replace(folder / name)
    finally:
        partial.unlink(missing_ok=True)
    problems = packs.check(folder)
    if problems:
        raise ValueError(f"{folder}: {problems[0]}")
