"""Films: the mark in them is found by the command, files that hold none are told apart, and tags are written."""

from __future__ import annotations

import hashlib
from xml.etree import ElementTree

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from engine.clock import VOICE_FRAME
from engine.config import EngineConfig, RenderConfig, WatermarkConfig
from engine.engine import Engine
from engine.image import encode_png
from engine.watermark import Payload
from visavis.cli import app
from visavis.credentials import SOURCE_TYPE
from visavis.provenance import XMP_BOX, Provenance
from visavis.video import VideoWriter, frames_of
from visavis.watermark import WatermarkError, detect, length, pictures

FRAMES = 12
RENDER = RenderConfig(256, 256, renderer="geometric")


def film(path, config, transparent=False):
    side = config.render.width
    engine = Engine(config)
    session, voice = engine.open("leo", seed=9), np.zeros((FRAMES, VOICE_FRAME), np.float32)
    with VideoWriter(path, side, side, transparent, provenance=Provenance.of(engine, "leo", 9)) as writer:
        for frame, samples in frames_of(session, voice):
            writer.write(frame, samples)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="module")
def marked(folder):
    return film(folder / "marked.mp4", EngineConfig(render=RENDER))


@pytest.fixture(scope="module")
def bare(folder):
    return film(folder / "bare.mp4", EngineConfig(render=RENDER, watermark=WatermarkConfig(enabled=False)))


def run(*arguments):
    return CliRunner().invoke(app, ["detect-watermark", *map(str, arguments)])


def test_the_command_finds_the_mark_and_says_whose_it_is(marked):
    answer = run(marked)
    assert answer.exit_code == 0, answer.output
    assert f"found: avatar {Payload.of('leo', 9).avatar:04x} (leo), session 0009" in answer.stdout
    assert "false alarm" in answer.stdout and length(marked) == FRAMES


def test_a_film_without_a_mark_or_with_another_key_is_told_by_the_exit_status(marked, bare):
    for arguments in ([bare], [marked, "--key", "another"]):
        answer = run(*arguments)
        assert answer.exit_code == 1 and "not found" in answer.stdout, answer.output


def test_a_cutout_and_a_folder_of_pictures_hold_it_too(folder, marked):
    seen_through = RenderConfig(400, 400, background="transparent", renderer="geometric")
    clear = film(folder / "clear.mkv", EngineConfig(render=seen_through), True)
    assert detect(clear, "visavis")[0].payload == Payload.of("leo", 9)
    stills = folder / "stills"
    stills.mkdir()
    with av.open(str(marked)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            (stills / f"{index:03}.png").write_bytes(encode_png(frame.to_ndarray(format="rgb24")))
    verdict, count = detect(stills, "visavis")
    assert verdict.payload == Payload.of("leo", 9) and count == FRAMES


def test_what_cannot_be_looked_into_is_named(tmp_path, marked):
    (tmp_path / "text.mp4").write_text("no film at all")
    (tmp_path / "cut.mp4").write_bytes(marked.read_bytes()[:700])
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("text.mp4", "not a video or picture"), ("cut.mp4", "not a video or picture"),
        ("empty", "no picture in this folder"), ("none.mp4", "no such file"),
    ):  # fmt: skip
        with pytest.raises(WatermarkError, match=message):
            next(pictures(tmp_path / name))


def test_a_film_that_breaks_off_is_looked_into_as_far_as_it_goes(tmp_path, marked):
    whole = marked.read_bytes()
    at = whole.rindex(b"mdat")
    (tmp_path / "cut.mp4").write_bytes(whole[: at + (len(whole) - at) * 9 // 10])
    verdict, count = detect(tmp_path / "cut.mp4", "visavis")
    assert 0 < count <= FRAMES and verdict.payload in (None, Payload.of("leo", 9))


def test_films_say_that_a_machine_made_them(folder, marked):
    consent = "sha256:" + hashlib.sha256(Engine().avatar("leo").meta.consent.encode()).hexdigest()
    with av.open(str(marked)) as container:
        comment = container.metadata["comment"]
    for told in ("AI-generated", "avatar: leo", consent, SOURCE_TYPE, f"{Payload.of('leo', 9).avatar:04x}-0009"):
        assert told in comment
    data = marked.read_bytes()
    at = data.rindex(b"uuid" + XMP_BOX) - 4
    assert at + int.from_bytes(data[at : at + 4], "big") == len(data)  # the last box, and whole
    xmp = data[at + 24 :].decode()
    root = ElementTree.fromstring(xmp[xmp.index("<x:xmpmeta") : xmp.index("<?xpacket end")])
    description = root.find(".//{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    assert description.get("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType") == SOURCE_TYPE


@pytest.mark.parametrize("ending", [".webm", ".mkv", ".mov"])
def test_every_kind_of_file_carries_the_comment(tmp_path, ending):
    about = Provenance("leo", "sha256:0", "none")
    with VideoWriter(tmp_path / f"a{ending}", 64, 64, provenance=about) as writer:
        engine = Engine(EngineConfig(render=RenderConfig(64, 64, renderer="geometric")))
        for frame, samples in frames_of(engine.open("leo"), np.zeros((2, VOICE_FRAME), np.float32)):
            writer.write(frame, samples)
    with av.open(str(tmp_path / f"a{ending}")) as container:
        tags = {name.lower(): text for name, text in container.metadata.items()}
    assert tags["comment"] == about.tags()["comment"]
    assert ending in (".mov",) or tags["digital_source_type"] == SOURCE_TYPE
