"""What a runtime has made for this machine, on disk: engines, timing caches, compiled kernels.

A file begins with our own header: what it was made for and the sha256 of what follows. Whatever is broken, cut off, or
made for something else is not read: it is made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

MAGIC: Final = b"visavis kept 1\n"
_LENGTH: Final = struct.Struct("<IQ")  # bytes of the key, bytes of the payload
_log = logging.getLogger(__name__)
Key = Mapping[str, str]  # what a file was made for: all of it must be the same


def folder(name: str) -> Path | None:
    """$XDG_CACHE_HOME/visavis/NAME, by default under ~/.cache; None where nothing may be written."""
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "visavis" / name
        root.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a user without a home
        return None
    return root if os.access(root, os.W_OK) else None


def place(within: Path, key: Key, suffix: str) -> Path:
    """The file for ``key`` in a folder: another key is another file."""
    return within / (hashlib.sha256(_told(key)).hexdigest()[:32] + suffix)


def read(path: Path, key: Key) -> bytes | None:
    """What is kept in ``path`` for ``key``; None when it is not there, and, with a warning, when it is broken or was
    made for something else."""
    try:
        held = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("%s cannot be read (%s); it is made again", path, error.strerror)
        return None
    start = len(MAGIC) + _LENGTH.size
    if len(held) < start + hashlib.sha256().digest_size or not held.startswith(MAGIC):
        _log.warning("%s is not a file of visavis, or is cut off; it is made again", path)
        return None
    named, size = _LENGTH.unpack_from(held, len(MAGIC))
    body = start + named + hashlib.sha256().digest_size
    told, seal, payload = held[start : start + named], held[start + named : body], held[body:]
    if len(payload) != size or hashlib.sha256(told + payload).digest() != seal:
        _log.warning("%s is broken or cut off; it is made again", path)
        return None
    if told != _told(key):
        _log.warning("%s was made for something else (%s); it is made again", path, told.decode(errors="replace"))
        return None
    return payload


def write(path: Path, key: Key, payload: bytes) -> None:
    """Keeps ``payload`` for ``key``, whole or not at all. Where there is no room or right to write, it says so and goes
    on: everything kept can be made again."""
    told = _told(key)
    seal = hashlib.sha256(told + payload).digest()
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.stem[:8], suffix=".part", delete=False) as file:
            temporary = Path(file.name)
            file.write(MAGIC + _LENGTH.pack(len(told), len(payload)) + told + seal)
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # the writer makes it private
        os.replace(temporary, path)
    except OSError as error:
        _log.warning("%s cannot be kept (%s); it will be made again next time", path, error.strerror or error)
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _told(key: Key) -> bytes:
    return json.dumps(dict(key), sort_keys=True).encode()
