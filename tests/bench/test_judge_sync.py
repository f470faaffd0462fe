"""The judge of videos: it finds mouths by what does not speak, and says what it cannot judge."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from bench.judges.sync import _longest, judged, mouth, voice
from engine.avatar import find, load
from engine.motion.frame import ACTION_INDEX, Motion
from engine.render.geometric import GeometricRenderer
from engine.tracking.face import FaceFinder
from engine.viewpoint import Viewpoint
from training.lipsync_data import MouthFinder
from training.lipsync_expert import Expert, ExpertConfig


def test_a_mouth_is_found_in_the_picture_where_it_is_on_the_body() -> None:
    avatar, size = load(find("zoe")), 320
    renderer, places = GeometricRenderer(avatar, (size, size), "head", samples=1), MouthFinder(avatar)
    for yaw, jaw in ((-0.5, 0.0), (0.0, 0.6), (0.5, 0.3)):
        motion = Motion.rest()
        motion.face[ACTION_INDEX["jawOpen"]] = jaw
        view = Viewpoint(yaw=yaw, distance=renderer.framing.distance)
        picture, _ = renderer.step(motion, view, renderer.initial_state())
        finder = FaceFinder()
        finder.step(picture.rgb)  # the second look is closer
        face = finder.step(picture.rgb)
        assert face is not None
        wanted, seen = places.place(motion, view, "head", size), mouth(face)
        off = np.hypot(seen.x - wanted.x, seen.y - wanted.y) / wanted.side
        assert off < 0.1 and 0.85 < seen.side / wanted.side < 1.2


def test_the_longest_run_of_frames_is_taken() -> None:
    assert _longest([3, 4, 5, 9, 10, 11, 12, 20]) == (3, 7)
    assert _longest([]) == (0, 0)


def write(path: Path, frames: int) -> None:
    """A video of a grey wall and a hum."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("h264", rate=25)
        video.width, video.height, video.pix_fmt = 96, 96, "yuv420p"
        sound = container.add_stream("aac", rate=48000, layout="mono")
        for t in range(frames):
            picture = av.VideoFrame.from_ndarray(np.full((96, 96, 3), 90, np.uint8), format="rgb24")
            picture.pts, picture.time_base = t, Fraction(1, 25)
            container.mux(video.encode(picture))
            wave = (0.2 * np.sin(np.arange(1920) * 0.05)).astype(np.float32)[None]
            heard = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            heard.sample_rate, heard.pts, heard.time_base = 48000, 1920 * t, Fraction(1, 48000)
            container.mux(sound.encode(heard))
        for stream in (video, sound):
            container.mux(stream.encode(None))


def test_a_video_without_a_face_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wall.mp4"
    write(path, 30)
    assert voice(path).shape[1] == 640
    with pytest.raises(ValueError, match=r"wall\.mp4: a face is seen in 0 frames"):
        judged(path, Expert(ExpertConfig(width=4, embedding=8)))
