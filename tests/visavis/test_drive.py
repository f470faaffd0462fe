from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from engine.motion import tape
from engine.motion.frame import ACTION_INDEX
from tests.engine.tracking.scene import FPS, motions, pictures
from tests.visavis.test_cli import run_main
from tests.visavis.test_sound import tone, write
from visavis.cli import app
from visavis.drive import DriveError, Sight, motion_of
from visavis.drive import pictures as read_pictures

COUNT = 50


def film(path: Path, frames: tuple[np.ndarray, ...], rate: int = FPS, sound_from: float | None = 0.0) -> Path:
    """An MP4 of pictures; with a tone that begins ``sound_from`` seconds before the pictures, or none."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("h264", rate=rate)
        video.height, video.width, video.pix_fmt = *frames[0].shape[:2], "yuv420p"
        video.options = {"crf": "12", "preset": "ultrafast"}
        sound = container.add_stream("aac", rate=48_000, layout="mono") if sound_from is not None else None
        late = round((sound_from or 0.0) * rate)
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts = index + late
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        if sound is not None:
            voice = tone(len(frames) / rate + (sound_from or 0.0), 48_000)
            for start in range(0, len(voice) - 1023, 1024):
                part = av.AudioFrame.from_ndarray(voice[None, start : start + 1024].astype(np.float32), "fltp", "mono")
                part.sample_rate, part.pts = 48_000, start
                container.mux(sound.encode(part))
            container.mux(sound.encode(None))
    return path


@pytest.fixture(scope="module")
def ada(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("film") / "ada.mp4", pictures("ada", COUNT))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text('[render]\nwidth = 96\nheight = 96\nrenderer = "geometric"\n')
    return path


def drive(*args: object) -> str:
    done = CliRunner().invoke(app, ["drive", *map(str, args)])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_video_moves_another_avatar_with_its_sound_in_step(ada: Path, tmp_path: Path, small: Path) -> None:
    mp4, motion = tmp_path / "leo.mp4", tmp_path / "leo.vmotion"
    drive(ada, "--avatar", "leo", "-o", mp4, "--motion", motion, "-c", small)
    read = tape.read(motion)
    true = np.stack([m.pack() for m in motions(COUNT)])[: len(read)]
    assert abs(len(read) - COUNT) <= 1
    yaw, jaw = 52 + 8 + 2 + 1, ACTION_INDEX["jawOpen"]
    for column, least in ((yaw, 0.97), (jaw, 0.8)):
        assert np.corrcoef(read.motion[:, column], true[:, column])[0, 1] > least
    with av.open(str(mp4)) as container:
        streams = [container.streams.video[0], container.streams.audio[0]]
        lengths = [float(s.duration * s.time_base) for s in streams if s.duration and s.time_base]
        starts = [float((s.start_time or 0) * s.time_base) for s in streams if s.time_base]
    assert abs(lengths[0] - lengths[1]) < 0.1 and abs(starts[0] - starts[1]) < 0.003


def test_pictures_that_begin_after_the_sound_stay_that_much_later(tmp_path: Path) -> None:
    late = film(tmp_path / "late.mp4", pictures("ada", 10), sound_from=0.4)
    assert next(read_pictures(late, 60))[0] == pytest.approx(0.4, abs=0.045)


def test_lips_from_the_voice_leave_head_and_brows_to_the_video(ada: Path, tmp_path: Path, small: Path) -> None:
    both = []
    for lips in ("video", "voice"):
        mp4, motion = tmp_path / f"{lips}.mp4", tmp_path / f"{lips}.vmotion"
        drive(ada, "--avatar", "leo", "-o", mp4, "--lips", lips, "-c", small, "--motion", motion)
        with av.open(str(mp4)) as container:
            both.append(np.stack([f.to_ndarray(format="gray") for f in container.decode(video=0)]).astype(float))
    moved = np.abs(both[0] - both[1])
    assert moved.max() > 30  # the mouth is another
    assert moved[:, :30].mean() < 1.0  # what is above it is the same


def test_a_face_that_is_lost_goes_to_rest(ada: Path) -> None:
    from visavis.drive import look

    sights = list(look(read_pictures(ada, 60)))
    gone = [Sight(sights[-1].time + k / FPS, sights[0].size, None) for k in range(1, 50)]
    found = motion_of([*sights, *gone])
    assert np.abs(found.motion[-1]).max() < 0.02 < np.abs(found.motion[COUNT - 2]).max()
    assert np.abs(np.diff(found.motion[COUNT:], axis=0)).max() < 0.2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["drive"], "give a video"),
        (["drive", "{tmp}/nowhere.mp4"], "no such file"),
        (["drive", "{tmp}/letter.mp4"], "not a video"),
        (["drive", "{tmp}/voice.wav"], "no picture in it"),
        (["drive", "{tmp}/letter.mp4", "--webcam", "0"], "give a video"),
        (["drive", "{tmp}/letter.mp4", "--lips", "both"], "--lips"),
        (["drive", "--webcam", "77"], "camera 77"),
        (["drive", "{tmp}/grey.mp4"], "a face was found in 0 of"),
        (["drive", "{tmp}/grey.mp4", "--renderer", "crayon"], "crayon"),
        (["drive", "{tmp}/grey.mp4", "--background", "transparent"], "has no transparency"),
        (["drive", "{tmp}/grey.mp4", "--orbit", "90"], "at most 75 degrees"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_file(
    args: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letter.mp4").write_text("dear all")
    write(tmp_path / "voice.wav", tone(0.2, 16_000)[None], 16_000)
    if len(args) > 1 and "grey" in args[1]:
        film(tmp_path / "grey.mp4", tuple(np.full((64, 64, 3), 90, np.uint8) for _ in range(8)))
    filled = [arg.format(tmp=tmp_path) for arg in args]
    code, said = run_main([*filled, "-o", str(tmp_path / "out.mp4")], monkeypatch, capsys)
    assert code == 2 and message in said.replace("\n", "") and "Traceback" not in said
    assert not (tmp_path / "out.mp4").exists() and not list(tmp_path.glob(".*"))


def test_a_video_without_sound_cannot_lend_its_voice(tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch,
                                                     capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    silent = film(tmp_path / "silent.mp4", pictures("ada", 10), sound_from=None)
    args = ["drive", str(silent), "--lips", "voice", "-o", str(tmp_path / "out.mp4"), "-c", str(small)]
    code, said = run_main(args, monkeypatch, capsys)
    assert code == 2 and "no sound" in said
    plain = ("--background", "#00ff00", "--no-watermark")
    drive(silent, "-o", tmp_path / "out.mkv", "-c", small, *plain, "--orbit", "30")
    with av.open(str(tmp_path / "out.mkv")) as container:
        shown = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
    assert np.abs(shown[-1][:4] - (0, 255, 0)).max() < 4


def test_too_long_a_video_is_refused(ada: Path) -> None:
    with pytest.raises(DriveError, match="max-minutes"):
        list(read_pictures(ada, 0.5))
