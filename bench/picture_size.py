"""Which size a picture is best sent at when there are few bits: a real avatar, VP8, PSNR of what is shown at full size.

``python -m bench.picture_size`` prints one row a bitrate; streaming/rate.py takes its BITS_A_PIXEL from it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import av
import numpy as np
from aiortc.codecs.vpx import vp8_depayload
from numpy.typing import NDArray

from bench.stand_in import SIDE, film
from engine.clock import FPS
from streaming.encoders import FRAME_TICKS, open_encoder

RATES: Final = (60_000, 80_000, 120_000, 180_000, 250_000, 350_000, 500_000, 1_000_000)
SIDES: Final = (SIDE, SIDE * 3 // 4, SIDE // 2)
FRAMES, SETTLED = 100, 30  # encoded, and from where on they count


def measure(pictures: NDArray[np.uint8], rate: int, side: int) -> tuple[float, float]:
    """(PSNR in dB, kbit/s) of (n, 768, 512) u8 I420 sent at ``rate`` bit/s and ``side`` x ``side`` pixels."""
    encoder, decoder = open_encoder("video/VP8", rate, max(RATES)), av.CodecContext.create("libvpx", "r")
    errors, sent = [], 0
    for k, picture in enumerate(pictures):
        payloads = encoder.encode(np.array(picture), k * FRAME_TICKS, False, (side, side))
        [shown] = decoder.decode(av.Packet(b"".join(map(vp8_depayload, payloads))))  # type: ignore[attr-defined]
        if k >= SETTLED:
            sent += sum(map(len, payloads))
            large = shown.reformat(SIDE, SIDE, "yuv420p", interpolation="BICUBIC").to_ndarray()
            errors.append(np.mean((large[:SIDE].astype(np.float64) - picture[:SIDE]) ** 2))
    return 10 * np.log10(255**2 / np.mean(errors)), sent * 8 * FPS / len(errors) / 1000


def main() -> None:
    """Prints the table."""
    pictures = np.load(film(Path(tempfile.gettempdir()) / "visavis-bench-film.npy"), mmap_mode="r")[:FRAMES]
    print("kbit/s     " + "".join(f"{side} x {side}".rjust(18) for side in SIDES))
    for rate in RATES:
        cells = (measure(pictures, rate, side) for side in SIDES)
        print(f"{rate / 1000:6.0f}     " + "".join(f"{psnr:.1f} dB at {sent:4.0f}".rjust(18) for psnr, sent in cells))


if __name__ == "__main__":
    main()
