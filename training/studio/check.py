"""Is a data set whole and right? Nothing lost, nothing twice, every byte as it was written, every record explained.

Three depths: the files (always), every record (``deep``), and, for a sample of clips, whether what was written can be
derived again: the Motion and Viewpoint bit for bit, and the guidance by its checksum.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from engine.motion.frame import Motion
from training.choreography.arms import Skeleton
from training.studio.guidance import Guide, same_bits
from training.studio.person import StudioPerson, code_version
from training.studio.plan import Plan, planned, read_plan, source_version
from training.studio.records import Record
from training.studio.shards import PARTIAL, PLAN, StudioError, read_clip, read_json, sha256

Report = Callable[[], None]  # called once a shard, so that a person sees it move


def files(folder: Path, plan: Plan, report: Report) -> Iterator[str]:
    """What is wrong with the files of a data set, one sentence each: lost, cut short, altered, twice, or unknown."""
    sittings, seen = plan.sittings(), Counter[int]()
    for name in sittings:
        problems, clips = _shard(folder, plan, name)
        yield from problems
        seen.update(clips)
        report()
    for clip, times in sorted(seen.items()):
        if times > 1:
            yield f"clip {clip} is there {times} times"
    known = {PLAN, *(f"{name}.{kind}" for name in sittings for kind in ("tar", "json"))}
    for path in sorted(folder.iterdir()):
        if path.name.endswith(PARTIAL):
            yield f"{path.name}: left by a run that was killed; the next make removes it"
        elif not path.name.startswith(".") and path.is_file() and path.name not in known:
            yield f"{path.name}: does not belong to this data set"


def _shard(folder: Path, plan: Plan, name: str) -> tuple[list[str], list[int]]:
    tar = folder / f"{name}.tar"
    if not (folder / f"{name}.json").exists():
        return [f"{name}: missing; make goes on with it"], []
    try:
        manifest = read_json(folder / f"{name}.json")
        size, expected, digest = tar.stat().st_size, int(manifest["bytes"]), str(manifest["sha256"])
        clips = [int(row["clip"]) for row in manifest["clips"]]
    except (StudioError, KeyError, TypeError, ValueError) as error:
        return [f"{name}.json: broken: {error}; remove the shard with --discard"], []
    except OSError as error:
        return [f"{name}.tar: {error.strerror}; make goes on with it"], []
    if size != expected:
        word = "truncated" if size < expected else "too long"
        return [f"{name}.tar: {word}: {size} bytes, its manifest says {expected}; make goes on with it"], clips
    if not planned(plan, name, manifest):
        return [f"{name}: holds clips {clips}, the plan says {plan.sittings()[name]}"], clips
    if sha256(tar) != digest:
        return [f"{name}.tar: altered: its sha256 is not the manifest's; remove the shard with --discard"], clips
    return [], clips


def records(folder: Path, manifest: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the records of one shard: unreadable ones, and text that contradicts the manifest."""
    for row in manifest["clips"]:
        try:
            for frame, record in enumerate(read_clip(folder, {**row, "shard": manifest["name"]})):
                told = (record.meta["clip"], record.meta["frame"], record.meta["frames"], record.meta["person"])
                if told != (row["clip"], frame, row["frames"], row["person"]):
                    yield f"{manifest['name']}: clip {row['clip']} frame {frame} calls itself {told}"
                if not record.alpha.any():
                    yield f"{manifest['name']}: clip {row['clip']} frame {frame}: nobody is in the picture"
        except StudioError as error:
            yield str(error)


def derived(folder: Path, row: dict[str, Any], plan: Plan, speech: Path, person: StudioPerson) -> Iterator[str]:
    """What is wrong with a clip, compared with what its seed gives: ``row`` is its line in a manifest, with "shard"."""
    found = list(read_clip(folder, row))
    clip = plan.script(speech).clip(row["clip"], Skeleton.of(person.avatar))
    name = f"clip {clip.number}"
    if len(found) != len(clip):
        yield f"{name}: {len(found)} frames, its seed gives {len(clip)}"
        return
    for frame, record in enumerate(found):
        if not _same(record.motion, clip.motions[frame]):
            yield f"{name} frame {frame}: its Motion is not what its seed gives"
        meta = record.meta
        again = clip.about(frame, plan.size, meta["light"], meta["place"], meta["guidance"])
        yield from (f"{name} frame {frame}: {k} is not what its seed gives" for k in meta if meta[k] != again.get(k))
    yield from guidance(found, person, name)


def guidance(found: list[Record], person: StudioPerson, name: str) -> Iterator[str]:
    """Draws the guidance of a clip's records again and compares its checksums."""
    meta = found[0].meta
    guide = Guide(person.avatar, (meta["size"], meta["size"]), meta["framing"])
    for frame, record in enumerate(found):
        if meta["kind"] == "views":
            guide.cut()
        if guide.draw(record.motion, record.viewpoint).checksum() != record.meta["guidance"]:
            yield f"{name} frame {frame}: the engine draws other guidance than when it was photographed"


def comparable(plan: Plan, manifest: dict[str, Any]) -> str:
    """Why a shard's clips cannot be derived again bit for bit here; empty when they can."""
    made = manifest["made"].get("processor")
    if plan.people != code_version():
        return f"people were made by version {plan.people}, here is {code_version()}"
    if plan.code != source_version():
        return f"clips were made by version {plan.code}, here is {source_version()}"
    return "" if made == same_bits() else f"made on {made}, this is {same_bits()}"


def plan_of(folder: Path) -> Plan:
    """The plan of the data set in ``folder``. Raises StudioError for a folder that holds none."""
    if not folder.is_dir():
        raise StudioError(f"{folder} is not a folder; make a data set: python -m training.studio make --out {folder}")
    return read_plan(folder)


def _same(one: Motion, other: Motion) -> bool:
    return bool(np.array_equal(one.pack(), other.pack()))
