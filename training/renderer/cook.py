"""Cooks the studio's sittings into what the renderer is trained on: guidance, target and reference of every frame.

Follows the maker: a sitting is cooked best right after it is photographed, while its person is still on disk. Killed at
any moment, it loses the clip in hand; the same command goes on.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.avatar import Avatar
from engine.avatar_reference import SIDE, Reference
from engine.motion.frame import Motion
from engine.render import camera
from engine.render.guidance import MASK_OF_REGION, Guidance, Guide
from engine.render.reference import lit_atlas, lit_surface, reference_planes
from engine.viewpoint import Viewpoint
from training.renderer.references import photograph, viewpoints
from training.renderer.store import LO, SUFFIX, Clip, ClipError, Planes, Writer
from training.studio.clips import SPEECH
from training.studio.guidance import Guide as StudioGuide
from training.studio.guidance import same_bits
from training.studio.lights import Light
from training.studio.person import code_version
from training.studio.places import Place
from training.studio.plan import Plan, read_plan
from training.studio.records import Record
from training.studio.shards import PLAN, StudioError, locked, manifests, read_clip, read_json, write_json
from training.studio.take import Studio

VERSION: Final = 5  # of what a cooked frame holds
FRAME_BYTES: Final = 400_000  # of a cooked frame, measured
MEAN_FRAMES: Final = 38  # of a clip
SPARE: Final = 2_000_000_000  # bytes of disk that stay free
FRONT_ALONE: Final = 0.4  # share of clips with one reference photograph; the others have all
ACTING: Final = 0.5  # share of clips whose reference is photographed in another pose of the clip, not at rest
JITTERED: Final = 0.5  # share of clips whose photographs are taken from nearly, not exactly, where they should be
JITTER: Final = np.radians(3.0)
POLL: Final = 5.0  # seconds
STUDIO: Final = "studio"  # packs of the studio's own
Report = Callable[["Progress"], None]


class Progress(NamedTuple):
    """How far a run is: clips cooked of all, frames made by this run, bytes on disk, and what it waits for, if so."""

    clips: int
    total: int
    frames: int
    bytes: int
    waiting: str = ""


class Served(NamedTuple):
    """What a clip is cooked with: the pack, its reference, the frames taken, and what is done to each cooked one."""

    avatar: Avatar
    reference: Reference
    records: list[Record]
    finish: Callable[[Planes, Record], Planes]


def cook(source: Path, out: Path, follow: bool, report: Report, of: type[Kitchen] | None = None) -> None:
    """Cooks all sittings of ``source`` that ``out`` lacks; with ``follow`` waits for those still to be made. ``of``:
    the kitchen, else Kitchen.

    Raises StudioError: no data set, another one in ``out``, code that draws other people, a full disk.
    """
    plan = read_plan(source)
    if plan.size != SIDE:
        raise StudioError(f"{source} has pictures of {plan.size}; what is cooked is {SIDE} a side")
    if plan.people != code_version():
        raise StudioError(f"{source} shows people of version {plan.people}, this code draws {code_version()}")
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        kind = of or Kitchen
        _begin(out, plan, kind.packs)
        kitchen = kind(plan)
        sizes = {path.stem: path.stat().st_size for path in out.glob(f"*{SUFFIX}")}
        frames = 0
        while True:
            plan = read_plan(source)
            missing = [row for row in _rows(source) if clip_name(row["clip"]) not in sizes]
            for row in missing:
                _room(out)
                path = out / f"{clip_name(row['clip'])}{SUFFIX}"
                sizes[path.stem] = kitchen.cook(source, row, path)
                frames += row["frames"]
                report(Progress(len(sizes), plan.clips, frames, sum(sizes.values())))
            if len(sizes) >= plan.clips or (not follow and not missing):
                return
            if not missing:
                report(Progress(len(sizes), plan.clips, frames, sum(sizes.values()), "for the next sitting"))
                time.sleep(POLL)


def clip_name(number: int) -> str:
    """Name of a cooked clip's file without its suffix."""
    return f"{number:08d}"


def needed(source: Path, out: Path) -> tuple[int, int]:
    """Bytes that cooking all of ``source``'s plan will still take, and bytes that are free. Raises StudioError."""
    there = len(list(out.glob(f"*{SUFFIX}"))) if out.exists() else 0
    return (read_plan(source).clips - there) * MEAN_FRAMES * FRAME_BYTES, shutil.disk_usage(_existing(out)).free


def check(out: Path) -> Iterator[str]:
    """What is wrong with a cooked data set: every clip is opened, and its last frame read."""
    from training.renderer.store import empty

    for path in sorted(out.glob(f"*{SUFFIX}")):
        try:
            clip = Clip(path)
            clip.read(len(clip) - 1, 0, 0, clip.size, empty(clip.size, clip.size))
        except (ClipError, ValueError) as error:
            yield str(error)


class Kitchen:
    """Cooks clips of one plan. Opens a GL context, so it belongs to the thread that made it."""

    packs = STUDIO

    def __init__(self, plan: Plan) -> None:
        os.environ.setdefault("LP_NUM_THREADS", "0")  # of Mesa's software rasterizer, read when it starts
        self.plan = plan
        self.studio = Studio(plan.size)
        self.size = (plan.size, plan.size)
        self._within: int | None = None

    def cook(self, source: Path, row: dict[str, Any], path: Path) -> int:
        """Writes one clip, ``row`` of a manifest and its "shard", to ``path``; returns its bytes."""
        records = list(read_clip(source, row))
        first = records[0]
        if self._within != row["person"]:
            self.studio.enter(row["person"])
            self._within = row["person"]
        person = self.studio._person
        assert person is not None
        self._same(first)
        light, place = Light.from_json(first.meta["light"]), Place.from_json(first.meta["place"])
        avatar, reference, records, finish = self._served(row, records, light, place)
        surface = lit_surface(avatar, lit_atlas(avatar, reference))
        guide = Guide(avatar, surface, self.size, row["framing"])
        writer = Writer(self.plan.size)
        for record in records:
            if row["kind"] == "views":
                guide.cut()
            writer.add(finish(planes(guide.draw(record.motion, record.viewpoint), record), record))
        about = {
            "version": VERSION, "clip": row["clip"], "kind": row["kind"], "person": row["person"],
            "framing": row["framing"], "light": row["light"], "camera": row["camera"], "gesture": row["gesture"],
            "expressions": row["expressions"], "speech": row["speech"], "frames": len(records),
            "size": self.plan.size, "photographs": len(reference.viewpoints),
        }  # fmt: skip
        motion = np.stack([record.motion.pack() for record in records])
        view = np.stack([view_row(record.viewpoint, row["framing"]) for record in records])
        return writer.save(path, motion, view, stored_planes(avatar, reference), about)

    def _served(self, row: dict[str, Any], records: list[Record], light: Light, place: Place) -> Served:
        """The person's own pack, with photographs by the studio."""
        person = self.studio._person
        assert person is not None
        return Served(person.avatar, self._reference(row, records, light, place), records, lambda cooked, _: cooked)

    def _reference(self, row: dict[str, Any], records: list[Record], light: Light, place: Place) -> Reference:
        """Photographs in the clip's light and place: one or three, at rest or in another pose of the clip."""
        rng = np.random.default_rng((self.plan.seed, list(SPEECH).index(self.plan.split), row["clip"], 7))
        count = 1 if rng.random() < FRONT_ALONE else 3
        acting = rng.random() < ACTING and row["kind"] == "clip"
        pose = records[int(rng.integers(len(records)))].motion if acting else Motion.rest()
        jitter = rng.normal(0.0, JITTER, (count, 2)) if rng.random() < JITTERED else None
        return photograph(self.studio, pose, viewpoints(count, jitter), light, place)

    def _same(self, record: Record) -> None:
        """Raises StudioError when this code would not draw the body that was photographed."""
        person = self.studio._person
        assert person is not None
        guide = StudioGuide(person.avatar, self.size, record.meta["framing"])
        drawn = guide.draw(record.motion, record.viewpoint).checksum()
        if drawn != record.meta["guidance"]:
            raise StudioError(
                f"clip {record.meta['clip']}: the body is not the one that was photographed. Its code has changed, or "
                f"it was made on another kind of processor than {same_bits()}: make the data set anew"
            )


def planes(guidance: Guidance, record: Record) -> Planes:
    """One cooked frame. The target is the person alone, premultiplied over black."""
    behind = (255.0 - record.alpha[..., None]) / 255.0
    colour = np.clip(np.rint(record.rgb - behind * record.plate), 0, record.alpha[..., None]).astype(np.uint8)
    target = np.concatenate([np.moveaxis(colour, 2, 0), record.alpha[None]])
    return Planes(guidance.hi, guidance.lo[:LO], guidance.flow, guidance.seen, target, MASK_OF_REGION[record.region])


def view_row(view: Viewpoint, framing: str) -> NDArray[np.float32]:
    """The network's view input, (4,): yaw, pitch, log of distance over the framing's, framing's index / 2."""
    apart = float(np.log(view.distance / camera.framing(framing).distance))
    return np.array([view.yaw, view.pitch, apart, list(camera.FRAMINGS).index(framing) / 2], np.float32)


def stored_planes(avatar: Any, reference: Reference) -> NDArray[np.uint8]:
    """The reference planes as bytes, (K, 7, 128, 128)."""
    rows = reference_planes(avatar, reference)[: len(reference.viewpoints), :7]
    rows[:, 3:6] = 0.5 + 0.5 * rows[:, 3:6]
    return np.rint(255 * rows).astype(np.uint8)


def _rows(source: Path) -> Iterator[dict[str, Any]]:
    for manifest in manifests(source):
        for row in manifest["clips"]:
            yield {**row, "shard": manifest["name"]}


def _begin(out: Path, plan: Plan, packs: str) -> None:
    """Writes what is cooked here, or checks that it is the same. Raises StudioError."""
    about = {"version": VERSION, **{name: getattr(plan, name) for name in ("seed", "split", "size", "people", "code")}}
    if packs != STUDIO:
        about["packs"] = packs
    if (out / PLAN).exists():
        old = read_json(out / PLAN)
        if old != about:
            raise StudioError(f"{out} holds clips cooked from {old}, not {about}; choose another --out")
    write_json(out / PLAN, about)


def _room(out: Path) -> None:
    free = shutil.disk_usage(out).free
    if free < SPARE:
        raise StudioError(
            f"{out}: {free / 1e9:.1f} GB free, at least {SPARE / 1e9:.0f} must stay: make room, then go on"
        )


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent if path.parent != path else Path(".")
    return path
