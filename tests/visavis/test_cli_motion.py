from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from engine.motion import tape
from engine.motion.frame import ACTION_INDEX
from tests.engine.render import toy
from tests.visavis.test_cli import run_main
from tests.visavis.test_sound import tone, write
from visavis.cli import app
from visavis.options import parse_gaze

runner = CliRunner()


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    return write(tmp_path / "voice.wav", tone(0.8, 16_000)[None], 16_000)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text('[render]\nwidth = 64\nheight = 64\nrenderer = "geometric"\n')
    return path


def run(*args: object) -> str:
    done = runner.invoke(app, [str(arg) for arg in args])
    assert done.exit_code == 0, done.output
    return done.output


def frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return len(list(container.decode(video=0)))


def test_a_voice_becomes_motion_that_renders_as_the_voice_does(tmp_path: Path, small: Path, voice: Path) -> None:
    motion, mp4 = tmp_path / "a.vmotion", tmp_path / "a.mp4"
    options = ["--emotion", "happy", "--intensity", "0.8", "--gaze", "10,-5", "--seed", "3", "-c", small]
    run("motion", "record", voice, "-o", motion, *options)
    recorded = tape.read(motion)
    assert len(recorded) == 20 and recorded.notes["source"] == "voice.wav"
    assert recorded.motion[-1, ACTION_INDEX["mouthSmileLeft"]] > 0.2
    again = tmp_path / "b.vmotion"
    run("render", voice, "-o", mp4, "--motion", again, *options)
    assert np.array_equal(tape.read(again).motion, recorded.motion)
    played = tmp_path / "c.vmotion"
    run("render", voice, "-o", mp4, "--motion-in", motion, "--motion", played, "-c", small)
    np.testing.assert_allclose(tape.read(played).motion, recorded.motion, atol=1e-6)
    assert frames(mp4) == 20


def test_it_is_looked_into_played_exported_and_imported(tmp_path: Path, small: Path, voice: Path) -> None:
    motion, mp4, csv, back = (tmp_path / name for name in ("a.vmotion", "a.mp4", "a.csv", "b.vmotion"))
    run("motion", "record", voice, "-o", motion)
    assert "20 frames" in " ".join(run("motion", "info", motion).split())
    run("motion", "play", motion, "-o", mp4, "-c", small)
    assert frames(mp4) == 20
    run("motion", "export", motion, csv, "--fps", 25)
    run("motion", "import", csv, back, "--fps", 25)
    said = [place for name, place in ACTION_INDEX.items() if not name.startswith("eyeLook")]  # the gaze says those
    both = [tape.read(path).motion[:, said] for path in (motion, back)]
    np.testing.assert_allclose(*both, atol=1e-5)


def test_a_motion_file_is_painted_by_the_renderer_and_before_the_background_that_are_asked_for(
    tmp_path: Path, small: Path, voice: Path
) -> None:
    motion, mkv = tmp_path / "a.vmotion", tmp_path / "a.mkv"
    run("motion", "record", voice, "-o", motion)
    net = toy.save(tmp_path)
    small.write_text(f'[render]\nwidth = 64\nheight = 64\nrenderer = "geometric"\nnetwork = "{net}"\nthreads = 1\n')
    seen = []
    for options in (["--orbit", "30"], ["--orbit", "30", "--renderer", "neural"], ["--viewpoint", "30,0"]):
        run("motion", "play", motion, "-o", mkv, "-c", small, "--background", "#00ff00", "--no-watermark", *options)
        with av.open(str(mkv)) as container:
            seen.append([frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)])
    lit, painted, aside = seen
    for film in seen:
        assert np.abs(film[10][:4] - (0, 255, 0)).max() < 4
    assert np.abs(lit[10] - painted[10]).mean() > 5
    assert np.abs(lit[5] - aside[5]).mean() < 0.2 * np.abs(lit[15] - aside[15]).mean()  # there, and on the other side


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["motion", "info", "{tmp}/nowhere.vmotion"], "no such file"),
        (["motion", "play", "{tmp}/voice.wav"], "not a motion file"),
        (["motion", "import", "{tmp}/voice.wav", "{tmp}/x.vmotion"], "not a CSV"),
        (["motion", "record", "{tmp}/voice.wav", "-o", "{tmp}/no/x.vmotion"], "does not exist"),
        (["render", "{tmp}/voice.wav", "-o", "{tmp}/x.mp4", "--emotion", "bored"], "bored"),
        (["render", "{tmp}/voice.wav", "-o", "{tmp}/x.mp4", "--intensity", "7"], "intensity"),
        (["render", "{tmp}/voice.wav", "-o", "{tmp}/x.mp4", "--gaze", "up"], "YAW,PITCH"),
        (["render", "{tmp}/voice.wav", "-o", "{tmp}/x.mp4", "--motion-in", "{tmp}/voice.wav"], "not a motion file"),
        (["render", "{tmp}/voice.wav", "-o", "{tmp}/x.mp4", "--lips", "mine"], "--lips"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_file(
    args: list[str], message: str, tmp_path: Path, voice: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    code, said = run_main([arg.format(tmp=tmp_path) for arg in args], monkeypatch, capsys)
    assert code == 2 and message in said.replace("\n", "") and "Traceback" not in said
    assert {path.name for path in tmp_path.iterdir()} == {"voice.wav"}


def test_a_direction_to_look_in_is_given_in_degrees() -> None:
    assert parse_gaze("viewer") == "viewer"
    assert parse_gaze("10,-5") == pytest.approx((0.1745, -0.0873), abs=1e-3)
