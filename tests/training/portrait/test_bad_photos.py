"""What people send that is no portrait: each is answered by name, in words that say what to do, and never breaks."""

import importlib.util
import io
import json
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")
ImageDraw = pytest.importorskip("PIL.ImageDraw")
from engine.config import EngineConfig, RenderConfig  # noqa: E402
from engine.engine import Engine  # noqa: E402
from engine.motion.frame import Motion  # noqa: E402
from training.portrait import face, photo  # noqa: E402
from training.portrait.face import FaceError  # noqa: E402
from training.portrait.photo import PhotoError  # noqa: E402

ROOT = Path(__file__).parents[3]
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def engine():
    return Engine(EngineConfig(render=RenderConfig(renderer="geometric")))


@pytest.fixture(scope="module")
def person(engine):
    """``person(name, degrees aside)``: a picture of an avatar of ours, with the grain that a camera adds."""
    made = {}

    def taken(name="ada", yaw=0.0):
        if (name, yaw) not in made:
            renderer = engine.renderer(name, "head")
            view = replace(renderer.default_viewpoint(), yaw=np.radians(yaw))
            rgb = renderer.step(Motion.rest(), view, renderer.initial_state())[0].rgb
            made[name, yaw] = np.clip(rgb + RNG.normal(0, 2, rgb.shape), 0, 255).astype(np.uint8)
        return made[name, yaw].copy()

    return taken


def saved(array, kind="JPEG", mode=None, **options):
    out, picture = io.BytesIO(), Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(out, kind, **options)
    return out.getvalue()


# Pictures that hold no face to use.


def test_a_good_portrait_is_taken_without_a_word(person):
    found = face.find(photo.read(saved(person(), quality=90)).rgb)
    assert found.warnings == () and found.apart > 100


@pytest.mark.parametrize("name", ["kofi", "omar"])
def test_coarse_jpegs_and_smooth_pictures_are_not_taken_for_drawings(person, name):
    picture = person(name)
    face.find(np.asarray(Image.open(io.BytesIO(saved(picture, quality=10)))))
    face.find(np.asarray(Image.fromarray(picture).resize((1536, 1536), Image.Resampling.BICUBIC)))


@pytest.mark.parametrize(
    "picture",
    [
        np.full((400, 400, 3), 128, np.uint8), RNG.integers(0, 255, (400, 500, 3)).astype(np.uint8),
        np.tile(np.linspace(0, 255, 600).astype(np.uint8)[None, :, None], (400, 1, 3)),
    ],
)  # fmt: skip
def test_no_face_is_said(picture):
    with pytest.raises(FaceError, match="no face was found"):
        face.find(picture)


def test_of_many_faces_the_largest_is_taken_and_that_is_said(person):
    small = person("kofi")[::2, ::2]
    row = np.concatenate([np.pad(small, ((128, 128), (0, 0), (0, 0)), "edge"), person(), person("leo")[:, :256]], 1)
    found = face.find(row)
    assert 256 < found.points[:, 0].mean() < 768
    crowd = np.concatenate([person(name)[::2, ::2] for name in ("ada", "kofi", "leo", "mei", "nora")], 1)
    assert any("5 faces were found; the largest is used" in text for text in face.find(crowd).warnings)


@pytest.mark.parametrize(("yaw", "said"), [(60, "turned too far away"), (75, "no face was found|turned too far away")])
def test_a_profile_is_refused_and_a_half_profile_warned_of(person, yaw, said):
    with pytest.raises(FaceError, match=said):
        face.find(person("leo", yaw))
    assert any("turned" in text and "guess" in text for text in face.find(person("leo", 35)).warnings)


def test_a_face_too_small_for_a_texture_is_refused_with_its_size(person):
    wide = np.pad(person()[::4, ::4], ((60, 60), (60, 60), (0, 0)), "edge")
    with pytest.raises(FaceError, match=r"too small: \d+ pixels .* at least 40"):
        face.find(wide)
    far = np.full((1024, 1024, 3), 120, np.uint8)
    far[400:464, 300:364] = person()[::8, ::8]
    with pytest.raises(FaceError, match="no face was found|too small"):
        face.find(far)


@pytest.mark.parametrize(("turns", "how"), [(1, "lies on its side"), (2, "is upside down"), (3, "lies on its side")])
def test_a_photograph_that_does_not_stand_upright_is_told_to(person, turns, how):
    for name in ("ada", "kofi"):
        with pytest.raises(FaceError, match=f"{how}: turn it upright|no face was found"):
            face.find(np.ascontiguousarray(np.rot90(person(name), turns)))


def test_too_dark_and_overexposed_faces_are_told_from_drawings(person):
    with pytest.raises(FaceError, match="too dark|no face was found"):
        face.find((person() * 0.05).astype(np.uint8))
    with pytest.raises(FaceError, match="overexposed|too pale|no face was found"):
        face.find(np.clip(person().astype(int) + 200, 0, 255).astype(np.uint8))


def drawn(background, skin, line):
    """A face of ellipses."""
    picture = Image.new("RGB", (600, 600), background)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((110, 60, 490, 560), fill=skin, outline=line, width=6)
    for x in (212, 388):
        draw.ellipse((x - 41, 232, x + 41, 282), fill="white", outline=line, width=4)
        draw.ellipse((x - 14, 242, x + 14, 270), fill=line)
        draw.arc((x - 52, 180, x + 52, 240), 200, 340, fill=line, width=8)
    draw.line((300, 270, 278, 375, 318, 378), fill=line, width=5)
    draw.chord((228, 400, 372, 468), 0, 180, fill=(190, 80, 80), outline=line, width=4)
    return np.asarray(picture)


@pytest.mark.parametrize("colours", [("white", "white", "black"), ((120, 180, 220), (240, 200, 170), (60, 40, 30))])
def test_a_drawing_is_refused_by_name(colours):
    for picture in (drawn(*colours), np.asarray(Image.open(io.BytesIO(saved(drawn(*colours), quality=75))))):
        with pytest.raises(FaceError, match="drawing"):
            face.find(picture)


def test_an_animal_is_refused():
    found = importlib.util.find_spec("skimage")
    cat = Path(found.origin).parent / "data" / "chelsea.png" if found and found.origin else Path("no cat")
    if not cat.is_file():
        pytest.skip("the picture of a cat comes with scikit-image")
    picture = np.asarray(Image.open(cat).convert("RGB"))
    for one in (picture, np.asarray(Image.fromarray(picture).resize((900, 600)))):
        with pytest.raises(FaceError, match="not a person's|no face was found"):
            face.find(one)


# Files that are no photographs, or want too much.


def test_fifty_megapixels_are_read_in_seconds(person):
    large = np.asarray(Image.fromarray(person()).resize((7072, 7072), Image.Resampling.NEAREST))
    taken = photo.read(saved(large, quality=60))  # which ends decoding after photo.SECONDS
    assert max(taken.rgb.shape) <= photo.LARGEST
    assert face.find(taken.rgb).apart > 400


def test_cmyk_and_exif_turned_photographs_are_set_right(person):
    exif = Image.Exif()
    exif[0x0112] = 8  # the camera was held a quarter to the left
    sideways = np.ascontiguousarray(np.rot90(person(), 3))
    for data in (saved(sideways, exif=exif, quality=90), saved(person(), mode="CMYK", quality=90)):
        found = face.find(photo.read(data).rgb)
        assert abs(found.roll) < 0.1 and found.apart > 100


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "BMP"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_a_cut_file_is_named_damaged_and_never_half_a_picture(person, kind, share):
    data = saved(person(), kind)
    with pytest.raises(PhotoError, match="damaged|cut short|is none"):
        photo.decode(data[: int(len(data) * share)])


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(side=60_000):
    """Says it is huge, and is: a row of zeros is a few bytes."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b"")


def jpeg_bomb():
    """A small photograph whose header says 65,000 x 65,000."""
    data = bytearray(saved(np.zeros((160, 160, 3), np.uint8)))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 65_000, 65_000)
    return bytes(data)


def tiff(width, height, *, strip=b"\0" * 100, tags=()):
    """One strip of bytes that is said to be (height, width) of grey."""
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
               (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, len(strip)), *tags]  # fmt: skip
    where = 8 + len(strip)
    table = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II*\0" + struct.pack("<I", where) + strip + struct.pack("<H", len(entries)) + table + bytes(4)


def test_bombs_are_refused_by_their_size_before_anything_is_decoded():
    for bomb in (png_bomb(), jpeg_bomb(), tiff(100_000, 100_000)):
        assert len(bomb) < 1 << 20
        with pytest.raises(PhotoError, match=r"\d+ million\), at most 60 million"):
            photo.decode(bomb)


def test_what_grows_beside_the_picture_is_bounded_too():
    """Compressed text and colour profiles of a PNG, and a TIFF strip that says it is longer than it is."""
    plain = saved(RNG.integers(0, 255, (200, 200, 3)).astype(np.uint8), "PNG")
    for kind, before in ((b"zTXt", b"Comment\0\0"), (b"iCCP", b"profile\0\0")):
        grown = plain[:33] + chunk(kind, before + zlib.compress(bytes(100_000_000))) + plain[33:]
        try:
            assert photo.read(grown).rgb.shape == (200, 200, 3)
        except PhotoError as problem:
            assert any(word in str(problem) for word in ("damaged", "memory", "too large"))
    with pytest.raises(PhotoError, match="damaged|cut short"):
        photo.read(tiff(7000, 7000))


def test_a_decoder_that_runs_away_is_stopped(monkeypatch):
    monkeypatch.setattr(photo, "SECONDS", 0.001)  # no machine starts a process and decodes in that
    with pytest.raises(PhotoError, match="decoding took longer"):
        photo.read(saved(np.zeros((200, 200, 3), np.uint8)))


def test_random_bytes_behind_a_photograph_s_first_word_never_break_the_reader():
    for start, _ in photo.MARKS:
        for length in (0, 7, 300, 20_000):
            with pytest.raises(PhotoError):
                photo.decode(start + RNG.bytes(length))


# The whole way, as the server goes it.


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"Dear diary,\n" * 50, "not a photograph but text"), (png_bomb(), "at most 60 million"),
        (saved(np.full((300, 300, 3), 90, np.uint8)), "no face was found"),
    ],
)  # fmt: skip
def test_the_worker_answers_in_words_and_leaves_nothing(tmp_path, data, said):
    pytest.importorskip("scipy")
    command = [sys.executable, "-m", "training.portrait.worker", f"--out={tmp_path / 'pack'}", "--id=own-test"]
    command += ["--name=Eve", "--consent=It is me."]
    done = subprocess.run(command, input=data, capture_output=True, cwd=ROOT, timeout=200, check=False)
    last = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 3 and said in last["error"], done.stderr
    assert list(tmp_path.iterdir()) == []
