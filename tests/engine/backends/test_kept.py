from __future__ import annotations

import logging
from pathlib import Path

import pytest

from engine.backends import kept

KEY = {"gpu": "NVIDIA H200", "driver": "580.82.07"}


def test_what_is_kept_comes_back_for_the_same_key(tmp_path: Path) -> None:
    path = kept.place(tmp_path / "new", KEY, ".engine")
    assert kept.read(path, KEY) is None
    for payload in (b"plan" * 1000, b""):
        kept.write(path, KEY, payload)
        assert kept.read(path, dict(reversed(KEY.items()))) == payload
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_another_key_is_another_file() -> None:
    places = {kept.place(Path("x"), {**KEY, name: "else"}, ".engine") for name in (*KEY, "more")}
    assert len(places | {kept.place(Path("x"), KEY, ".engine")}) == 4


@pytest.mark.parametrize("harm", ["cut", "longer", "payload", "key", "seal", "magic", "empty", "foreign"])
def test_what_is_broken_or_foreign_is_never_read(tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.engine"
    kept.write(path, KEY, b"plan" * 1000)
    held = bytearray(path.read_bytes())
    head = len(kept.MAGIC)
    if harm in ("payload", "key", "seal", "magic"):
        held[{"payload": -5, "key": head + 20, "seal": -4010, "magic": 0}[harm]] ^= 1
    changed = {"cut": held[:-1], "longer": held + b"x", "empty": b"", "foreign": b"\x7fELF" * 50}.get(harm, held)
    path.write_bytes(changed)
    with caplog.at_level(logging.WARNING):
        assert kept.read(path, KEY) is None
    assert "it is made again" in caplog.text


def test_what_was_made_for_something_else_is_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.engine"
    kept.write(path, {**KEY, "gpu": "NVIDIA L4"}, b"plan")
    assert kept.read(path, KEY) is None and "NVIDIA L4" in caplog.text


def test_where_nothing_may_be_written_it_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    kept.write(tmp_path / "file" / "x.engine", KEY, b"plan")
    assert "cannot be kept" in caplog.text
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert kept.folder("tensorrt") == tmp_path / "cache" / "visavis" / "tensorrt"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert kept.folder("tensorrt") is None


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.engine"
    kept.write(path, KEY, b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept.os, "fsync", full)
    kept.write(path, KEY, b"new")
    assert kept.read(path, KEY) == b"old" and len(list(tmp_path.iterdir())) == 1
