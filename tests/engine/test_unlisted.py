"""Avatars that are found by their id alone: the engine wears them, and tells nobody that they are there."""

import shutil
from pathlib import Path

import pytest

from engine import avatar as packs
from engine import engine as module
from engine.avatar import AvatarError
from engine.config import EngineConfig, RenderConfig
from engine.engine import Engine

OWN = "own-" + "5a" * 16


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = Engine(EngineConfig(render=RenderConfig(renderer="geometric")))
    engine.hide(tmp_path)
    return engine


def kept(folder: Path, name: str = OWN) -> Path:
    """Ada, under another id."""
    shutil.copytree(packs.SHIPPED / "ada", folder / name)
    text = (folder / name / "avatar.toml").read_text(encoding="utf-8")
    (folder / name / "avatar.toml").write_text(text.replace('id = "ada"', f'id = "{name}"'), encoding="utf-8")
    return folder / name


def test_an_unlisted_avatar_is_worn_by_its_id_and_named_to_nobody(engine: Engine, tmp_path: Path) -> None:
    path = kept(tmp_path)
    assert engine.avatar(OWN).meta.path == path
    assert (engine.meta(OWN).id, engine.meta(OWN).path) == (OWN, path)
    assert engine.open(OWN).parts.renderer.size == (512, 512)
    assert OWN not in [meta.id for meta in engine.avatars()]
    for ask in (engine.avatar, engine.meta):
        with pytest.raises(AvatarError) as problem:
            ask("nobody")
        assert OWN not in str(problem.value) and "ada" in str(problem.value)


@pytest.mark.parametrize(
    "name", ["../" + OWN, f"x/../{OWN}", OWN.upper(), OWN[:-1], "", "..", str(packs.SHIPPED / "ada")]
)
def test_a_path_is_no_id(engine: Engine, tmp_path: Path, name: str) -> None:
    kept(tmp_path)
    with pytest.raises(AvatarError):
        engine.meta(name)


def test_a_broken_unlisted_pack_is_named_and_listed_ones_are_described(engine: Engine, tmp_path: Path) -> None:
    assert engine.meta("ada").name == "Ada"
    (tmp_path / OWN).mkdir()
    with pytest.raises(AvatarError):
        engine.meta(OWN)
    (tmp_path / OWN / "avatar.toml").write_text("junk")
    with pytest.raises(AvatarError, match=r"avatar\.toml"):
        engine.meta(OWN)


def test_only_few_unlisted_avatars_stay_in_memory(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HIDDEN_KEPT", 1)
    first, second = kept(tmp_path), kept(tmp_path, "own-" + "0" * 32)
    listed = engine.avatar("ada")
    engine.avatar(first.name)
    engine.avatar(second.name)
    assert first not in engine._loaded and second in engine._loaded
    assert engine.avatar("ada") is listed
    engine.forget(second.name)
    assert second not in engine._loaded
