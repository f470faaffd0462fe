"""What an avatar's photographs say of it is the same from disk, and made again when anything has changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine import avatar as packs
from engine.avatar import Avatar
from engine.render import looks, network, reference
from engine.render.looks import Look


@pytest.fixture(scope="module")
def ada() -> Avatar:
    return packs.load(looks.OWN / "ada")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "visavis" / "looks"


def same(one: Look, other: Look) -> bool:
    return all(np.array_equal(a, b) for a, b in zip((*one[0], *one[1:]), (*other[0], *other[1:]), strict=True))


def never(*given: object) -> Look:
    raise AssertionError("it was made again")


def test_what_is_kept_is_what_was_made_and_is_not_made_again(
    ada: Avatar, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = looks.look(ada, network.find("lite"))
    monkeypatch.setattr(looks, "_made", never)
    again = looks.look(ada, network.find("lite"))
    assert same(made, again) and len(list(kept.iterdir())) == 1
    lit, worn, _ = again
    assert np.array_equal(reference.lit_surface(ada, lit, worn).texture.texels,
                          reference.lit_surface(ada, lit).texture.texels)  # fmt: skip


def test_it_is_made_again_when_the_code_has_changed_or_the_file_is_broken_and_one_is_kept(
    ada: Avatar, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, calls = looks.look(ada, network.find("lite")), []
    monkeypatch.setattr(looks, "_made", lambda *given: calls.append(given) or found)
    monkeypatch.setattr(looks, "_code", lambda: "newer")
    looks.look(ada, network.find("lite"))
    (file,) = kept.iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    looks.look(ada, network.find("lite"))
    assert len(calls) == 2 and same(looks.look(ada, network.find("lite")), found) and len(calls) == 2


def test_nothing_is_kept_of_people_whose_packs_are_elsewhere(
    ada: Avatar, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "_made", lambda *given: "made")
    for path in (None, tmp_path / "ada"):
        assert looks.look(replace(ada, meta=replace(ada.meta, path=path)), network.find("lite")) == "made"
    assert not kept.exists()
