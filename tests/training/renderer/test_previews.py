"""Previews: the shipped ones are what the shipped network paints, and painting one changes nothing else in a pack."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from engine import avatar as packs
from engine.render.network import find
from training.renderer import previews


def test_a_preview_is_what_the_network_paints_and_the_rest_of_the_pack_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = packs.find("ada")
    folder = Path(shutil.copytree(shipped, tmp_path / "ada"))
    before = packs.load(folder).preview
    (folder / "preview.png").write_bytes((packs.find("leo") / "preview.png").read_bytes())
    monkeypatch.setattr(packs, "find", lambda name, folders=(): folder)
    assert previews.ship("ada", find("lite")) == (folder / "preview.png").stat().st_size
    painted = packs.load(folder).preview
    assert np.abs(painted.astype(int) - before).mean() < 1.5  # the shipped one is of this network: paint it again
    for file in shipped.iterdir():
        assert file.name == "preview.png" or file.read_bytes() == (folder / file.name).read_bytes()
    assert {file.name for file in folder.iterdir()} == {file.name for file in shipped.iterdir()}
