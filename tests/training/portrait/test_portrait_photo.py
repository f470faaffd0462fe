"""Reading one photograph from outside: what it may be, and what it is told when it may not."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")
from training.portrait import photo  # noqa: E402

ROOT = Path(__file__).parents[3]
RNG = np.random.default_rng(0)


def picture(height=160, width=200):
    """A smooth picture whose corners differ."""
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * x / width, 255 * y / height, np.full((height, width), 60)], -1).astype(np.uint8)


def saved(array, kind="PNG", mode=None, **options):
    out = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(out, kind, **options)
    return out.getvalue()


def test_a_photograph_comes_back_through_a_process_of_its_own():
    array = picture()
    found = photo.read(saved(array))
    assert np.array_equal(found.rgb, array) and found.focal is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_numpy_takes_no_memory_for_each_core_of_the_machine(monkeypatch):
    ran, given = subprocess.run, []
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "64")
    monkeypatch.setattr(subprocess, "run", lambda *words, **more: given.append(more["env"]) or ran(*words, **more))
    assert photo.read(saved(picture())).rgb.shape == (160, 200, 3)
    look = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('Threads')))"
    seen = ran([sys.executable, "-c", f"import numpy; {look}"], env=given[0], capture_output=True, text=True)
    assert seen.stdout.strip() == "1"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_every_format_looks_the_same(kind):
    found = photo.decode(saved(picture(), kind, **({"quality": 95} if kind in ("JPEG", "WEBP") else {})))
    assert np.abs(found.rgb.astype(int) - picture()).mean() < 3


def test_a_turned_photograph_is_set_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter clockwise
    found = photo.decode(saved(picture(), "JPEG", exif=exif, quality=95))
    assert found.rgb.shape == (200, 160, 3)
    assert np.abs(found.rgb.astype(int) - np.rot90(picture(), -1)).mean() < 3


def test_the_lens_is_read_from_what_the_camera_says():
    exif = Image.Exif()
    exif.get_ifd(photo.LENS_TABLE)[photo.FOCAL_35] = 72
    found = photo.decode(saved(picture(), "JPEG", exif=exif))
    assert found.focal == pytest.approx(2 * 200)


def test_cmyk_sixteen_bits_and_transparency_become_rgb():
    cmyk = photo.decode(saved(picture(), "JPEG", mode="CMYK", quality=95)).rgb
    assert np.abs(cmyk.astype(int) - picture()).mean() < 12
    deep = (np.arange(160 * 200).reshape(160, 200) * 2).astype(np.uint16)
    found = photo.decode(saved(deep)).rgb
    assert np.abs(found[..., 0].astype(int) - deep // 257).max() <= 1
    clear = np.dstack([picture(), np.zeros((160, 200), np.uint8)])
    assert (photo.decode(saved(clear)).rgb == 255).all()


def test_a_large_photograph_is_made_smaller():
    found = photo.decode(saved(np.zeros((300, 4500, 3), np.uint8)))
    assert max(found.rgb.shape) == photo.LARGEST


def test_a_cut_photograph_is_named_damaged():
    for kind in ("PNG", "JPEG"):
        data = saved(RNG.integers(0, 255, (200, 200, 3)).astype(np.uint8), kind)
        with pytest.raises(photo.PhotoError, match="damaged|cut short"):
            photo.decode(data[: len(data) // 2])


def test_a_bomb_is_refused_before_it_is_decoded():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    with pytest.raises(photo.PhotoError, match="3600 million"):
        photo.decode(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"), (b"hello, I am no picture\n" * 40, "text"), (b"GIF89a" + bytes(40), "GIF"),
        (bytes(4) + b"ftypheic" + bytes(40), "HEIC"), (b"%PDF-1.7", "PDF"), (b"\xff\xd8\xff" + b"x" * 99, "damaged"),
    ],
)  # fmt: skip
def test_what_is_no_photograph_is_named(data, said):
    with pytest.raises(photo.PhotoError, match=said):
        photo.read(data)


def test_files_that_are_missing_folders_or_tiny(tmp_path):
    for path in (tmp_path / "nobody.jpg", tmp_path):
        with pytest.raises(photo.PhotoError, match=path.name):
            photo.read(path)
    with pytest.raises(photo.PhotoError, match="at least 128"):
        photo.decode(saved(picture(40, 40)))


@pytest.mark.skipif(sys.platform != "linux", reason="landlock is Linux's")
def test_a_process_that_is_locked_opens_no_file_starts_no_program_and_connects_to_nobody(tmp_path: Path) -> None:
    code = f"""
import os, resource, socket, subprocess
from training.portrait import lockdown
open("{tmp_path}/there", "w").close()
able = lockdown.landlock()
lockdown.lock(2 << 30, 20)
def tried(what):
    try:
        what()
    except OSError:
        return "no"
    return "yes"
print(able, *map(tried, (
    lambda: open("/etc/passwd"), lambda: open("{tmp_path}/new", "w"), lambda: os.unlink("{tmp_path}/there"),
    lambda: os.rename("{tmp_path}/there", "{tmp_path}/moved"), lambda: subprocess.run(["/bin/true"]),
    lambda: socket.socket().connect(("127.0.0.1", 9)))), resource.getrlimit(resource.RLIMIT_FSIZE)[1])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=200)
    able, *tried, most = done.stdout.split()
    assert most == "0", done.stderr
    if able == "True":
        assert tried == ["no"] * 6
    else:
        pytest.skip("this kernel has no landlock")
