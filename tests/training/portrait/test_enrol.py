"""Enrolment: a pack with consent, source and report; whole or not at all."""

import hashlib
import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from engine import avatar as packs
from engine import image
from engine.avatar import REGIONS

pytest.importorskip("PIL")
pytest.importorskip("scipy")
from tests.training.portrait.people import perfect, photographed
from training.portrait import behind, enrol, report, skin
from training.portrait.bake import About, Segments
from training.portrait.face import Found
from training.portrait.photo import Photo
from visavis import cli_portrait

ABOUT = About("me", "Me", "I agree.", "")


@pytest.fixture(scope="module")
def jpeg():
    return image.encode_jpeg(photographed()[1], quality=3)


@pytest.fixture(scope="module")
def enrolled(jpeg):
    told = []
    made = enrol.enrol(jpeg, ABOUT, lambda step, share: told.append((step, share)))
    return made, told


def fake():
    avatar, photo, alpha, regions = photographed()
    fit = perfect(avatar)
    found = Found(np.zeros((478, 3)), np.zeros(478), 1.0, 0.0, 0.0, 0.0)
    return enrol.Enrolment(avatar, Photo(photo), found, fit, Segments(alpha, regions), ("<too dark>",), {})


@pytest.mark.slow
def test_a_photograph_becomes_a_sound_pack_that_says_who_agreed_and_what_it_was_made_of(enrolled, jpeg, tmp_path):
    made, told = enrolled
    folder = enrol.write(made, tmp_path / "me.avatar")
    assert packs.check(folder) == []
    meta = packs.load(folder).meta
    assert meta.id == "me" and meta.consent == "I agree."
    assert hashlib.sha256(jpeg).hexdigest() in meta.provenance
    assert packs.load(folder).reference is not None and meta.look["hair"] == "photograph"
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[0] >= 0 and shares[-1] < 1
    assert np.median(made.fit.errors) < 0.03


@pytest.mark.slow
def test_the_avatar_takes_the_photographs_colours(enrolled):
    made, _ = enrolled
    _, photo, _, regions = photographed()
    for name in ("torso", "face"):
        seen = photo[regions == REGIONS.index(name)].mean(0)
        rows = made.avatar.faces[made.avatar.region == REGIONS.index(name)]
        texel = (made.avatar.uv[np.unique(rows)] * made.avatar.albedo.shape[0]).astype(int)
        own = made.avatar.albedo[texel[:, 1], texel[:, 0], :3].mean(0)
        assert np.abs(own / own.sum() - seen / seen.sum()).max() < 0.06, name


def test_nothing_is_left_when_the_report_fails(tmp_path, monkeypatch):
    def fails(enrolment):
        raise ValueError("no paint")

    monkeypatch.setattr(report, "files", fails)
    with pytest.raises(ValueError, match="no paint"):
        enrol.write(fake(), tmp_path / "me.avatar")
    assert list(tmp_path.iterdir()) == []


def test_a_pack_is_replaced_only_when_asked_to_and_anything_else_never(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "files", lambda enrolment: {"report.png": b"x"})
    folder = enrol.write(fake(), tmp_path / "me.avatar")
    with pytest.raises(FileExistsError, match="--force"):
        enrol.write(fake(), folder)
    (folder / "report.png").write_bytes(b"old")
    assert (enrol.write(fake(), folder, replace_old=True) / "report.png").read_bytes() == b"x"
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileExistsError, match="no avatar pack"):
        enrol.write(fake(), tmp_path / "mine", replace_old=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["me.avatar", "mine"]


def test_without_consent_there_is_no_avatar(jpeg):
    with pytest.raises(ValueError, match="consent"):
        enrol.enrol(jpeg, replace(ABOUT, consent=" "))


def test_the_report_shows_before_and_after_and_says_the_warnings():
    files = report.files(fake())
    sheet = image.decode(files["report.png"], 3)
    assert sheet.shape == (3 * (report.TILE + report.ROOM), report.COLUMNS * report.TILE, 3)
    page = files["report.html"].decode()
    assert "&lt;too dark&gt;" in page and "data:image/png" in page


def test_what_is_behind_the_person_is_completed_without_them():
    avatar, photo, alpha, _ = photographed()
    place = behind.background(photo, alpha, perfect(avatar))
    assert place is not None
    assert np.abs(place.astype(int) - [40, 140, 60]).max() < 12


def test_a_picture_that_the_person_fills_has_no_background():
    avatar, photo, alpha, _ = photographed()
    assert behind.background(photo, np.full_like(alpha, 255), perfect(avatar)) is None


def test_only_an_avatar_with_a_reference_can_be_coloured():
    with pytest.raises(ValueError, match="reference"):
        skin.coloured(replace(photographed()[0], reference=None))


def run(*arguments, data=b""):
    return subprocess.run([sys.executable, "-m", *arguments], input=data, capture_output=True, timeout=200)


def test_the_worker_answers_what_is_no_photograph_in_one_line(tmp_path):
    out = tmp_path / "pack"
    done = run(
        "training.portrait.worker", f"--out={out}", "--id=x", "--name=X", "--consent=yes", data=b"just some words"
    )
    assert done.returncode == 3
    lines = [json.loads(line) for line in io.BytesIO(done.stdout)]
    assert "not a photograph but text" in lines[-1]["error"]
    assert list(tmp_path.iterdir()) == []


def test_the_command_asks_for_consent_and_writes_nothing_without(tmp_path):
    picture = tmp_path / "me.jpg"
    picture.write_bytes(b"whatever")
    done = run("visavis", "enroll", str(picture), "-o", str(tmp_path / "me.avatar"))
    assert done.returncode == 2 and b"--consent" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["me.jpg"]


@pytest.mark.parametrize(
    ("called", "identifier"), [("Jörg Müller", "j-rg-m-ller"), ("me", "me"), ("***", "me"), ("A" * 60, "a" * 40)]
)
def test_a_name_becomes_an_id(called, identifier):
    assert cli_portrait.identifier(called) == identifier
