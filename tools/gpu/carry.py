"""Parcels: files packed into parts small enough to travel one by one to a machine that reaches no network.

A parcel is one xz tar, cut; a part knows its parcel's manifest, and parts may come in any order. Only Python's own
library is used here, because on that machine nothing else is sure to be there yet.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

MANIFEST = "manifest.json"


class CarryError(RuntimeError):
    """A part is missing, or not what was packed. The message says which."""


def pack(parcel: str, files: Iterable[tuple[Path, str]], out: Path, limit: int, preset: int = 6) -> list[Path]:
    """Packs ``files`` (path, name inside) into folders ``out``/``parcel``/00, 01, ... of at most ``limit`` bytes each.

    What was packed there before is replaced. Returns the folders.
    """
    home = out / parcel
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    whole = home / "whole"
    with lzma.open(whole, "wb", preset=preset) as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
        for path, name in sorted(files, key=lambda pair: pair[1]):
            tar.add(path, name, recursive=False, filter=_plain)
    parts: list[Path] = []
    sums: list[str] = []
    with open(whole, "rb") as source:
        while block := source.read(limit):
            part = home / f"{len(parts):02d}"
            part.mkdir()
            (part / "part").write_bytes(block)
            parts.append(part)
            sums.append(hashlib.sha256(block).hexdigest())
    manifest = {"parcel": parcel, "parts": sums, "whole": _digest(whole)}
    for number, part in enumerate(parts):
        (part / MANIFEST).write_text(json.dumps({**manifest, "number": number}), encoding="utf-8")
    whole.unlink()
    return parts


def receive(carried: Path, kept: Path, trees: Path) -> dict[str, bool]:
    """Takes in all parts below ``carried``; parcels that are complete are unpacked into ``trees``/NAME, once.

    ``kept`` holds parts between calls. Returns parcel to whether it is there. Raises CarryError for a damaged part.
    """
    for manifest_path in sorted(carried.rglob(MANIFEST)) if carried.is_dir() else []:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        name, number = manifest["parcel"], manifest["number"]
        part = manifest_path.with_name("part")
        if _digest(part) != manifest["parts"][number]:
            raise CarryError(f"part {number} of {name} is damaged: send it again")
        home = kept / name
        home.mkdir(parents=True, exist_ok=True)
        if not (trees / name).exists():
            shutil.copyfile(part, home / f"{number:02d}")
            (home / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    for home in sorted(kept.iterdir()) if kept.is_dir() else []:
        if not (trees / home.name).exists():
            _join(home, trees / home.name)
    there = {home.name for home in kept.iterdir()} if kept.is_dir() else set()
    return {name: (trees / name).exists() for name in sorted(there)}


def _join(home: Path, target: Path) -> None:
    """Unpacks the parcel whose parts are in ``home``, if all are there."""
    manifest = json.loads((home / MANIFEST).read_text(encoding="utf-8"))
    parts = [home / f"{number:02d}" for number in range(len(manifest["parts"]))]
    if not all(part.exists() for part in parts):
        return
    whole = home / "whole"
    with open(whole, "wb") as joined:
        for part in parts:
            joined.write(part.read_bytes())
    if _digest(whole) != manifest["whole"]:
        raise CarryError(f"{manifest['parcel']}: its parts are of different packings; send all of them again")
    fresh = target.with_name(f".{target.name}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    with lzma.open(whole) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        tar.extractall(fresh, filter="data")
    os.replace(fresh, target)
    for part in (*parts, whole):
        part.unlink()


def place(tree: Path, root: Path) -> int:
    """Puts the files of ``tree`` into ``root`` where they are not there already; returns how many."""
    count = 0
    for path in sorted(p for p in tree.rglob("*") if p.is_file()):
        target = root / path.relative_to(tree)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, target)
            except OSError:
                shutil.copyfile(path, target)
            count += 1
    return count


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without who packed it and when."""
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    return info


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cut(source: Path, out: Path, name: str, limit: int) -> list[Path]:
    """A file as ``out``/``name``.00, .01, ... of at most ``limit`` bytes, and ``name``.sha256, for :func:`mend`."""
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob(f"{name}.*"):
        old.unlink()
    parts: list[Path] = []
    with open(source, "rb") as file:
        while block := file.read(limit):
            parts.append(out / f"{name}.{len(parts):02d}")
            parts[-1].write_bytes(block)
    (out / f"{name}.sha256").write_text(f"{len(parts)} {_digest(source)}\n", encoding="utf-8")
    return parts


def mend(folder: Path, name: str, target: Path) -> None:
    """The inverse of :func:`cut`. Raises CarryError when a piece is missing or damaged."""
    try:
        count, digest = (folder / f"{name}.sha256").read_text(encoding="utf-8").split()
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.part")
        with open(partial, "wb") as joined:
            for number in range(int(count)):
                joined.write((folder / f"{name}.{number:02d}").read_bytes())
    except (OSError, ValueError) as error:
        raise CarryError(f"{folder}: {name} did not come back whole ({error})") from error
    if _digest(partial) != digest:
        partial.unlink()
        raise CarryError(f"{folder}: the pieces of {name} are not of one file")
    os.replace(partial, target)
