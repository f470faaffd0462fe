"""Where compiled kernels are kept: somewhere, always, or numba refuses to compile."""

import os
from pathlib import Path

import pytest

from kernels import jit


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that may not be written to: root's, or on a read-only disk."""
    package, access = tmp_path / "kernels", os.access
    package.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != package and access(path, mode))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return package


def test_kernels_are_kept_beside_their_source(tmp_path: Path) -> None:
    assert jit._place(tmp_path) == tmp_path / "__pycache__"


def test_kernels_of_a_package_that_may_not_be_written_to_are_kept_for_its_user(installed: Path, tmp_path: Path) -> None:
    kept = jit._place(installed)
    assert kept == tmp_path / "cache" / "visavis" and kept.stat().st_mode & 0o077 == 0


def test_with_no_place_at_all_kernels_are_kept_while_the_process_lives(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "below"))
    (tmp_path / "file").touch()
    passing = jit._place(installed)
    assert passing.is_dir() and passing.stat().st_mode & 0o077 == 0 and passing != jit._place(installed)
