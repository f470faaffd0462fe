"""How long avatars made of photographs are kept, where, and who may see them."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest
from aiohttp import ClientSession

from streaming import portraits
from streaming.portraits import data_folder

from .double import DoubleEngine
from .harness import run, serving, until
from .sending import ENROL, ask, ended, in_folder, send, settings, told


@pytest.fixture
def engine(tmp_path: Path) -> DoubleEngine:
    return DoubleEngine(tmp_path / "engine", side=64, cost_s=0.001)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def test_what_nobody_has_worn_for_long_is_swept_away(engine: DoubleEngine, folder: Path) -> None:
    names = [f"own-{k:032x}" for k in range(3)] + [f".own-{9:032x}", "notes"]
    ages = (10, 3 * 3600, 3 * 3600, 3 * 3600, 3 * 3600)
    for name, age in zip(names, ages, strict=True):
        (folder / name).mkdir(parents=True)
        (folder / name / "avatar.toml").write_text("Eve")
        os.utime(folder / name, (time.time() - age,) * 2)

    async def work(hours: float, left: list[str]) -> None:
        async with serving(engine, settings(folder, keep_hours=hours), ENROL) as address:
            await until(lambda: in_folder(folder) == sorted(left), what="the sweep removed too little or too much")
            await asyncio.sleep(0.1)
            assert in_folder(folder) == sorted(left)
            assert (await ask(address, "GET", f"v1/avatars/{names[1]}"))[0] == 200 or names[1] not in left

    run(work(0, [names[0], names[1], names[2], names[4]]))  # for ever; the last look began the second one's time anew
    run(work(1, [names[0], names[1], names[4]]))


def test_an_avatar_that_nobody_ever_asked_about_is_not_kept(
    engine: DoubleEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portraits, "REMEMBERED_S", 2.0)
    monkeypatch.setattr(portraits, "SWEEP_S", 0.2)

    async def work() -> None:
        async with serving(engine, settings(folder), ENROL) as address:
            asked = (await send(address))[1]["id"]
            await ask(address, "GET", f"v1/portraits/{asked}")
            lost = (await send(address))[1]["id"]
            await until(lambda: folder.is_dir() and lost in in_folder(folder), what="it was never made")
            await until(lambda: in_folder(folder) == [asked], what="it is kept for nobody")
            assert (await ask(address, "GET", f"v1/portraits/{asked}"))[0] == 404
            assert (await ask(address, "GET", f"v1/avatars/{asked}"))[1]["own"]

    run(work())


def test_pictures_of_people_are_not_left_in_caches(engine: DoubleEngine, folder: Path) -> None:
    async def work() -> None:
        async with serving(engine, settings(folder), ENROL) as address:
            name = (await send(address))[1]["id"]
            await told(address, name, ended)
            async with ClientSession() as http:
                for path, kept in ((f"{name}/report.png", "private, no-store"), ("ada/preview.png", "no-cache")):
                    async with http.get(f"{address}v1/avatars/{path}") as response:
                        assert response.headers["Cache-Control"] == kept

    run(work())


def test_avatars_are_kept_where_the_platform_keeps_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert data_folder() == tmp_path / "visavis" / "portraits"
    monkeypatch.setenv("XDG_DATA_HOME", "not/absolute")
    assert data_folder() == Path.home() / ".local/share/visavis/portraits"
