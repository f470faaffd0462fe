"""Snapshots as files: there for whoever comes after, and for nobody else's files to be read or written."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from engine.snapshot import LONGEST
from streaming.shelved import BEHIND, Shelved

from .harness import run


def test_the_newest_is_there_for_another_process_until_the_session_is_over(tmp_path: Path) -> None:
    async def work() -> None:
        mine, theirs = Shelved(tmp_path / "kept"), Shelved(tmp_path / "kept")
        mine.put("a1", b"old")
        mine.put("a1", b"new")
        mine.put("w2-b2", b"other")
        assert await mine.get("a1") == b"new"  # after what was put
        assert await theirs.get("a1") == b"new" and await theirs.get("w2-b2") == b"other"
        mine.over("a1")
        mine.over("a1")
        assert await mine.get("a1") is None and await theirs.get("w2-b2") == b"other"
        assert oct((tmp_path / "kept").stat().st_mode)[-3:] == "700"

    run(work())


def test_what_nobody_came_back_for_goes(tmp_path: Path) -> None:
    async def work() -> None:
        shelved = Shelved(tmp_path / "kept", keep_s=60)
        shelved.put("a1", b"x")
        assert await shelved.get("a1") == b"x"
        os.utime(tmp_path / "kept" / "a1", (time.time() - 61,) * 2)
        assert await shelved.get("a1") is None and not list((tmp_path / "kept").iterdir())

    run(work())


def test_a_name_that_is_no_sessions_reaches_no_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"s")

    async def work() -> None:
        shelved = Shelved(tmp_path / "kept")
        for name in ("../secret", "", ".", "A", "a/b", "a" * 81, str(tmp_path / "secret")):
            shelved.put(name, b"x")
            assert await shelved.get(name) is None
            shelved.over(name)
        shelved.put("big", b"x" * (LONGEST + 1))
        assert await shelved.get("big") is None

    run(work())
    assert (tmp_path / "secret").read_bytes() == b"s" and not list((tmp_path / "kept").iterdir())


def test_a_disk_that_is_slow_or_full_stops_nobody(tmp_path: Path) -> None:
    async def work() -> None:
        shelved = Shelved(tmp_path / "kept")
        gate = threading.Event()
        held = shelved._writer.submit(gate.wait, 20)
        for k in range(10 * BEHIND):
            shelved.put(f"s{k}", b"x")  # returns
        assert shelved._waiting <= BEHIND
        gate.set()
        held.result()
        assert await shelved.get("s0") == b"x" and await shelved.get(f"s{10 * BEHIND - 1}") is None
        for path in (tmp_path / "kept").iterdir():
            path.unlink()
        (tmp_path / "kept").rmdir()
        shelved.put("s1", b"x")  # said in the log, and nothing more
        assert await shelved.get("s1") is None

    run(work())
