"""Video files: every kind holds the frames, the voice and, where it can, the transparency it was given."""

from __future__ import annotations

from types import SimpleNamespace

import av
import numpy as np
import pytest

from engine.config import EngineConfig, RenderConfig
from engine.engine import Engine
from engine.session import FRAME, VOICE_FRAME
from engine.viewpoint import Viewpoint
from visavis.camera import orbit
from visavis.video import FORMATS, VideoWriter, format_of, frames_of

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


def test_a_picture_of_noise_keeps_to_the_bits_it_is_given(tmp_path):
    sizes, draws = [], np.random.default_rng(1)
    for name, rate in (("free", None), ("held", 200_000)):
        with VideoWriter(tmp_path / f"{name}.mp4", 64, 96, rate=rate) as writer:
            for k in range(50):
                noise = draws.integers(0, 256, (96, 96), np.uint8)
                voice = np.zeros(VOICE_FRAME, np.float32)
                writer.write(SimpleNamespace(cutout=None, i420=noise, pts=FRAME * k, voice=voice))
        sizes.append((tmp_path / f"{name}.mp4").stat().st_size)
    assert sizes[1] * 8 < 200_000 * (2 + 1) + 8 * 12_000 < sizes[0] * 8  # two seconds, and the buffer's one
    with pytest.raises(ValueError, match="the bits of a .webm file cannot be limited"):
        VideoWriter(tmp_path / "a.webm", 64, 96, rate=1000)


def test_a_session_is_seen_from_where_the_camera_is(tmp_path):
    session = Engine(EngineConfig(render=RenderConfig(64, 64, renderer="geometric"))).open("ada")
    camera = orbit(Viewpoint(distance=1.6), 40, 4.0)
    voice = np.zeros((50, VOICE_FRAME), np.float32)
    seen = [frame.viewpoint for frame, _ in frames_of(session, voice, camera)]
    assert len(seen) == 50 and seen[0] == camera(0.0)
    wanted = [camera(k / 25) for k in range(50)]
    late = [v.yaw - w.yaw for v, w in zip(seen, wanted, strict=True)]
    assert np.abs(late).max() < np.radians(4)  # the spring is about a frame late
    assert max(v.yaw for v in seen) == pytest.approx(np.radians(40), abs=0.01)


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
