from pathlib import Path

import pytest

from engine.avatar import AvatarError, save
from engine.config import AvatarConfig, EngineConfig, RenderConfig
from engine.engine import Engine
from tests.synthetic import make_avatar


def test_avatars_in_the_configured_folders_can_be_worn_by_id(tmp_path: Path) -> None:
    avatar = make_avatar()
    save(avatar, tmp_path / avatar.meta.id)
    config = EngineConfig(AvatarConfig(avatar.meta.id, (str(tmp_path),)), render=RenderConfig(width=64, height=64))
    engine = Engine(config)
    assert {"ada", "leo", avatar.meta.id} <= {meta.id for meta in engine.avatars()}
    assert engine.open().parts.renderer.size == (64, 64)


def test_an_avatar_is_loaded_once() -> None:
    engine = Engine()
    assert engine.avatar("ada") is engine.avatar("ada")


def test_an_unknown_avatar_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(AvatarError, match="ada, kofi, leo"):
        Engine().open("nobody")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere"):
        Engine(EngineConfig(AvatarConfig(folders=(str(tmp_path / "nowhere"),))))
