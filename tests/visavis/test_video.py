"""Video files: every kind holds the frames, the voice and, where it can, the transparency it was given."""

from __future__ import annotations

from types import SimpleNamespace

import av
import numpy as np
import pytest

from engine.session import FRAME, VOICE_FRAME
from visavis.video import FORMATS, VideoWriter, format_of

FRAMES = 10


def cutout():
    """A red disc with a half transparent rim."""
    y, x = np.mgrid[:64, :96]
    far = np.hypot(x - 48, y - 32)
    picture = np.zeros((64, 96, 4), np.uint8)
    picture[..., :3] = 200, 60, 40
    picture[..., 3] = np.where(far < 20, 255, np.where(far < 27, 128, 0))
    return picture


def write(path, transparent):
    draws = np.random.default_rng(0)
    with VideoWriter(path, 64, 96, transparent) as writer:
        for k in range(FRAMES):
            writer.write(SimpleNamespace(
                cutout=cutout() if transparent else None, i420=np.full((96, 96), 128, np.uint8), pts=FRAME * k,
                voice=draws.normal(size=VOICE_FRAME).astype(np.float32) * 0.1,
            ))  # fmt: skip


def pictures(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if path.suffix == ".webm":  # FFmpeg's own VP9 decoder leaves the transparency out
            decoder = av.CodecContext.create("libvpx-vp9", "r")
            return [frame for packet in container.demux(stream) for frame in decoder.decode(packet)]
        return list(container.decode(stream))


@pytest.mark.parametrize("ending", [ending for ending, kind in FORMATS.items() if kind.clear])
def test_transparency_is_kept(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    write(path, True)
    frames = pictures(path)
    assert len(frames) == FRAMES and [path] == list(tmp_path.iterdir())
    last = frames[-1].to_ndarray(format="rgba").astype(int)
    assert [last[32, 48, 3], last[32, 72, 3], last[2, 2, 3]] == [
        255,
        pytest.approx(128, abs=3),
        pytest.approx(0, abs=2),
    ]
    assert np.abs(last[32, 48, :3] - (200, 60, 40)).max() <= 6


@pytest.mark.parametrize("ending", FORMATS)
def test_every_kind_holds_the_frames_and_the_voice(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    write(path, False)
    assert len(pictures(path)) == FRAMES
    with av.open(str(path)) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples / 48_000 == pytest.approx(FRAMES / 25, abs=0.03)


def test_an_ending_that_cannot_be_is_refused_before_anything_is_painted(tmp_path):
    with pytest.raises(ValueError, match="a video ends in .mp4, .webm, .mov, .mkv"):
        format_of(tmp_path / "a.avi", False)
    with pytest.raises(ValueError, match="a .mp4 file has no transparency; write one that ends in .webm, .mov, .mkv"):
        VideoWriter(tmp_path / "a.mp4", 64, 96, True)
    with pytest.raises(ValueError, match="does not exist"):
        VideoWriter(tmp_path / "none" / "a.mkv", 64, 96)
    assert not list(tmp_path.iterdir())


def test_when_painting_fails_nothing_is_left(tmp_path):
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "a.mkv", 64, 96):
        raise RuntimeError
    assert not list(tmp_path.iterdir())
