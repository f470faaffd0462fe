"""One photograph from outside, read safely: bytes in, upright sRGB out, or an answer in words.

Decoding happens in a process of its own with bounded memory and time, for a file may lie about what it holds.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
MOST_BYTES: Final = 40 << 20
MOST_PIXELS: Final = 60_000_000
LEAST_SIDE: Final = 128  # pixels
LARGEST: Final = 2048  # pixels of the longer side that are kept: a face needs no more
SECONDS: Final = 20.0
TOO_LONG: Final = f"decoding took longer than {SECONDS:.0f} s and was stopped: save it as a plain JPEG"
MEMORY: Final = 2 << 30  # bytes of address space for the decoder
ONE_THREAD: Final = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # of many cores, numpy's take 2 GB alone
FORMATS: Final = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
FULL_FRAME: Final = 36.0  # mm: width of the film that "35 mm equivalent" focal lengths are for
LENS_TABLE: Final = 0x8769  # EXIF 2.32: where the lens is described
FOCAL_35: Final = 0xA405
MARKS: Final = (
    (b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"RIFF", "WEBP"), (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"), (b"BM", "BMP"),
)  # fmt: skip
BEHIND: Final = 255  # what is laid behind see-through pixels


class PhotoError(ValueError):
    """A photograph cannot be read. The message says what was found and what to do."""


@dataclass(frozen=True)
class Photo:
    """rgb (H, W, 3) upright sRGB, at most LARGEST a side; focal: pixels of this picture, when the camera has told."""

    rgb: U8
    focal: float | None = None


def read(source: Path | bytes) -> Photo:
    """The photograph in a file or in bytes. Raises PhotoError."""
    data = source if isinstance(source, bytes) else load(source)
    if not data:
        raise PhotoError("the file is empty")
    if len(data) > MOST_BYTES:
        raise PhotoError(f"{len(data) / 1e6:.0f} MB, at most {MOST_BYTES / 1e6:.0f} MB are read: save it smaller")
    if not any(data.startswith(mark) for mark, _ in MARKS):
        raise PhotoError(f"not a photograph but {_kind(data)}: give a JPEG, PNG, WebP, TIFF or BMP file")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "training.portrait.photo"], input=data, capture_output=True, timeout=SECONDS,
            cwd=Path(__file__).parents[2], env={**os.environ, **ONE_THREAD},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise PhotoError(TOO_LONG) from None
    if done.returncode == 3:
        raise PhotoError(done.stderr.decode(errors="replace").strip())
    if done.returncode == -getattr(signal, "SIGXCPU", 0) != 0:  # Windows has none, and no limit either
        raise PhotoError(TOO_LONG)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        if said and "No module named 'PIL'" in said[-1]:
            raise PhotoError("reading photographs needs Pillow: pip install visavis[portrait]")
        raise PhotoError(
            f"the decoder gave up ({said[-1][:200] if said else f'exit code {done.returncode}'}): the file is damaged, "
            "or asks for too much memory"
        )
    found = np.load(io.BytesIO(done.stdout))
    return Photo(found["rgb"], float(found["focal"]) if found["focal"] > 0 else None)


def decode(data: bytes) -> Photo:
    """The same in this process, for :func:`read`'s own. Raises PhotoError."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # our own bound, which names the size, comes first
    try:
        picture: Any = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise PhotoError("the file begins like a photograph but is none: it is damaged") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise PhotoError(f"the file begins like a photograph but is none: {error}") from error
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise PhotoError(
            f"{width} x {height} pixels ({width * height / 1e6:.0f} million), at most {MOST_PIXELS / 1e6:.0f} million "
            "are decoded: save it smaller"
        )
    if min(width, height) < LEAST_SIDE:
        raise PhotoError(f"{width} x {height} pixels: a side must have at least {LEAST_SIDE}")
    if getattr(picture, "n_frames", 1) > 1 and picture.format != "TIFF":
        raise PhotoError("an animation, not a photograph: save one frame of it")
    try:
        exif = picture.getexif()
        equivalent = float(exif.get_ifd(LENS_TABLE).get(FOCAL_35, 0) or 0)
        if picture.format == "JPEG":
            picture.draft(None, (LARGEST, LARGEST))  # decodes at half or a quarter when that is enough
        picture.load()
        picture = ImageOps.exif_transpose(picture)
        rgb = _srgb(picture)
    except PhotoError:
        raise
    except MemoryError:
        raise PhotoError(f"{width} x {height} pixels need too much memory: save it smaller") from None
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, ZeroDivisionError) as error:
        raise PhotoError(f"the photograph is damaged or cut short: {error}") from error
    longer = max(rgb.size)
    if longer > LARGEST:
        rgb = rgb.resize([max(1, round(side * LARGEST / longer)) for side in rgb.size], Image.Resampling.LANCZOS)
    out = np.asarray(rgb, np.uint8)
    focal = equivalent / FULL_FRAME * max(out.shape[:2]) if 8 <= equivalent <= 400 else 0.0
    return Photo(out, focal or None)


def _srgb(picture: Any) -> Any:
    """Any Pillow picture as 8-bit RGB over white, by its colour profile when it has one."""
    from PIL import Image, ImageCms

    if picture.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        deep = np.asarray(picture, np.float64)
        top = 65535.0 if picture.mode != "F" else max(float(deep.max(initial=0)), 1e-9)
        return Image.fromarray((np.clip(deep / top, 0, 1) * 255 + 0.5).astype(np.uint8)).convert("RGB")
    if picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info:
        over = picture.convert("RGBA")
        behind = Image.new("RGBA", over.size, (BEHIND, BEHIND, BEHIND, 255))
        return Image.alpha_composite(behind, over).convert("RGB")
    profile = picture.info.get("icc_profile")
    if profile and picture.mode in ("RGB", "CMYK", "L"):
        try:
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            made = ImageCms.profileToProfile(picture, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if made is not None:
                return made
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a broken or unfit profile: the colours as they are
    return picture.convert("RGB")


def load(path: Path) -> bytes:
    """The bytes of a file, at most MOST_BYTES. Raises PhotoError."""
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise PhotoError(f"{path} is a folder: give one photograph")
        if size > MOST_BYTES:
            raise PhotoError(
                f"{path}: {size / 1e6:.0f} MB, at most {MOST_BYTES / 1e6:.0f} MB are read: save it smaller"
            )
        return path.read_bytes()
    except OSError as error:
        raise PhotoError(f"{path}: {error.strerror or error}") from error


def _kind(data: bytes) -> str:
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "a GIF"
    if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypavif"):
        return "a HEIC or AVIF picture"
    if data[:5] == b"%PDF-":
        return "a PDF"
    try:
        data[:512].decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < 500:
            return f"a file that begins {data[:8].hex(' ')}"
    return "text"


def _main() -> int:
    """Reads bytes, writes an .npz; this process can do nothing else."""
    from PIL import Image, ImageCms, ImageOps  # noqa: F401 all that is ever loaded must be, before the lock

    from training.portrait.lockdown import lock

    Image.init()
    np.savez(io.BytesIO(), rgb=np.zeros(1))
    lock(MEMORY, int(SECONDS))
    try:
        photo = decode(sys.stdin.buffer.read())
    except PhotoError as error:
        sys.stderr.write(str(error))
        return 3
    out = io.BytesIO()
    np.savez(out, rgb=photo.rgb, focal=np.float64(photo.focal or 0.0))
    sys.stdout.buffer.write(out.getvalue())
    return 0


if __name__ == "__main__":
    sys.exit(_main())
