"""The data set on disk: one tar and one manifest a sitting, WebDataset's layout, written whole or not at all.

    plan.json                  what the data set is: everything its records follow from
    sitting-000012.tar         records of some clips of one person (training/studio/records.py)
    sitting-000012.json        its manifest: bytes and sha256 of the tar, where each clip lies in it

A tar without its manifest does not count, and neither does one whose size its manifest does not know: a killed run
leaves nothing that is half there.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.studio.records import PICTURES, Record, decode, encode, key

PLAN: Final = "plan.json"
LOCK: Final = ".lock"
PARTIAL: Final = ".partial"
FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class StudioError(RuntimeError):
    """The data set cannot be made or read. The message says what was found and what to do."""


def shard_name(sitting: int) -> str:
    """Name of a sitting's files without their suffix."""
    return f"sitting-{sitting:06d}"


def write_shard(
    folder: Path, name: str, clips: Iterable[tuple[dict[str, Any], Iterable[Record]]], made: dict[str, Any]
) -> dict[str, Any]:
    """Writes tar and manifest, and returns the manifest. ``clips``: a table about each clip, and its records.

    ``made`` says on what it was made. Raises StudioError on a full disk; then, as on any error, nothing is left.
    """
    partial = folder / f".{name}.tar{PARTIAL}"
    rows: list[dict[str, Any]] = []
    try:
        with open(partial, "wb") as file:
            hashed = _Hashed(file)
            with tarfile.open(fileobj=hashed, mode="w", format=tarfile.USTAR_FORMAT) as tar:  # type: ignore[call-overload]
                for about, records in clips:
                    begin, frames = hashed.written, 0
                    for record in records:
                        _add(tar, key(about["clip"], frames), record)
                        frames += 1
                    rows.append({**about, "frames": frames, "offset": begin, "bytes": hashed.written - begin})
            file.flush()
            os.fsync(file.fileno())
        manifest = {"bytes": hashed.written, "clips": rows, "made": made, "name": name, "sha256": hashed.digest()}
        os.replace(partial, folder / f"{name}.tar")
        write_json(folder / f"{name}.json", manifest)
    except OSError as error:
        raise _explained(error, folder) from None
    finally:
        partial.unlink(missing_ok=True)
    return manifest


def write_json(path: Path, table: dict[str, Any]) -> None:
    """Writes JSON whole or not at all. Raises StudioError on a full disk."""
    partial = path.with_name(f".{path.name}{PARTIAL}")
    try:
        with open(partial, "w", encoding="utf-8") as file:
            json.dump(table, file, sort_keys=True, allow_nan=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise _explained(error, path.parent) from None
    finally:
        partial.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """The table in a JSON file. Raises StudioError when there is none or it is broken."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudioError(f"{path}: not readable: {error}") from error
    if not isinstance(table, dict):
        raise StudioError(f"{path}: expected a JSON object, found {type(table).__name__}")
    return table


def whole(folder: Path, name: str) -> dict[str, Any] | None:
    """The manifest of a shard that is there with the size it should have; None otherwise. Its bytes are not read."""
    try:
        manifest = read_json(folder / f"{name}.json")
        return manifest if (folder / f"{name}.tar").stat().st_size == manifest["bytes"] else None
    except (StudioError, OSError, KeyError):
        return None


def discard(folder: Path, name: str) -> None:
    """Removes a shard, manifest first: at no moment does a manifest stand for a tar that is not there."""
    for suffix in (".json", ".tar"):
        (folder / f"{name}{suffix}").unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nobody else writes into ``folder``; what a killed run left half-written is removed. Raises StudioError."""
    with open(folder / LOCK, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StudioError(f"another run is writing into {folder}; wait for it or choose another --out") from error
        for left in folder.glob(f".*{PARTIAL}"):
            left.unlink(missing_ok=True)
        yield


@dataclass(frozen=True, slots=True)
class Frames:
    """T consecutive records as arrays: rgb and plate (T,H,W,3), alpha and region (T,H,W) uint8, motion (T, SIZE) and
    viewpoint (T, 5) float32, pcm (T, 640) int16, and the JSON of each."""

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8]
    region: NDArray[np.uint8]
    plate: NDArray[np.uint8]
    motion: NDArray[np.float32]
    viewpoint: NDArray[np.float32]
    pcm: NDArray[np.int16]
    meta: list[dict[str, Any]]


class Clips(Sequence[Frames]):
    """Reads a data set: item i is its i-th clip, in order of number. A map-style torch Dataset as it stands.

    ``kinds``: "clip", "views" or both. Files are opened as they are read, so workers may share one. Raises
    StudioError for a folder without records.
    """

    def __init__(self, folder: Path, kinds: tuple[str, ...] = ("clip", "views")) -> None:
        self.folder, self.rows = folder, list[dict[str, Any]]()
        for manifest in manifests(folder):
            self.rows += [{**row, "shard": manifest["name"]} for row in manifest["clips"] if row["kind"] in kinds]
        if not self.rows:
            raise StudioError(f"{folder} holds no clips; make some: python -m training.studio make --out {folder}")
        self.rows.sort(key=lambda row: int(row["clip"]))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return [self[i] for i in range(*index.indices(len(self)))] if isinstance(index, slice) else self.frames(index)

    def frames(self, index: int, start: int = 0, count: int | None = None) -> Frames:
        """``count`` frames of clip ``index`` from ``start`` on (None: to its end). Raises ValueError beyond it."""
        row = self.rows[index]
        stop = row["frames"] if count is None else start + count
        if not 0 <= start < stop <= row["frames"]:
            raise ValueError(f"clip {row['clip']} has frames 0..{row['frames'] - 1}, asked for {start}..{stop - 1}")
        return gathered(list(read_clip(self.folder, row, start, stop)))


def gathered(records: list[Record]) -> Frames:
    """Records as arrays."""
    views = [
        [record.meta["viewpoint"][n] for n in ("yaw", "pitch", "distance", "pan_x", "pan_y")] for record in records
    ]
    rgb, alpha, region, plate = (np.stack([getattr(record, name) for record in records]) for name in PICTURES)
    motion = np.stack([record.motion.pack() for record in records])
    pcm = np.stack([record.pcm for record in records])
    return Frames(
        rgb, alpha, region, plate, motion, np.array(views, np.float32), pcm, [record.meta for record in records]
    )


def manifests(folder: Path) -> Iterator[dict[str, Any]]:
    """The manifests of all whole shards, in order."""
    for path in sorted(folder.glob("sitting-*.json")):
        manifest = whole(folder, path.stem)
        if manifest is not None:
            yield manifest


def read_clip(folder: Path, row: dict[str, Any], start: int = 0, stop: int | None = None) -> Iterator[Record]:
    """Records [start, stop) of the clip that ``row`` of a manifest (and its "shard") describes. Raises StudioError."""
    path = folder / f"{row['shard']}.tar"
    try:
        with open(path, "rb") as file:
            file.seek(row["offset"])
            block = file.read(row["bytes"])
        with tarfile.open(fileobj=io.BytesIO(block), mode="r:") as tar:
            members: dict[str, dict[str, bytes]] = {}
            wanted = {key(row["clip"], frame) for frame in range(start, stop or row["frames"])}
            for member in tar:
                name, _, kind = member.name.partition(".")
                if name in wanted:
                    members.setdefault(name, {})[kind] = tar.extractfile(member).read()  # type: ignore[union-attr]
    except (OSError, tarfile.TarError) as error:
        raise StudioError(f"{path}: clip {row['clip']} is not readable: {error}") from error
    for name in sorted(wanted):
        try:
            yield decode(members.get(name, {}))
        except ValueError as error:
            raise StudioError(f"{path}: record {name}: {error}") from error


def sha256(path: Path) -> str:
    """Digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _add(tar: tarfile.TarFile, name: str, record: Record) -> None:
    for kind, data in encode(record):
        info = tarfile.TarInfo(f"{name}.{kind}")
        info.size, info.mode = len(data), 0o644
        tar.addfile(info, io.BytesIO(data))


def _explained(error: OSError, folder: Path) -> Exception:
    if error.errno not in FULL:
        return error
    free = shutil.disk_usage(folder).free / 1e9
    return StudioError(f"{folder}: the disk is full ({free:.1f} GB free); make room, then run the same command again")


class _Hashed(io.RawIOBase):
    """A file that counts and hashes what is written to it."""

    def __init__(self, file: Any) -> None:
        self.file, self.written, self._sha = file, 0, hashlib.sha256()

    def write(self, data: Any) -> int:
        self.file.write(data)
        self._sha.update(data)
        self.written += len(data)
        return len(data)

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.written

    def digest(self) -> str:
        """Hex digest of everything written."""
        return self._sha.hexdigest()
