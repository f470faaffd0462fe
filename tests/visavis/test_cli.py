import json
import shutil
import socket
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from engine.viewpoint import Viewpoint
from tests.visavis.test_sound import tone, write
from visavis import cli
from visavis.cli import app
from visavis.options import parse_viewpoint

runner = CliRunner()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text('[render]\nwidth = 96\nheight = 96\nrenderer = "geometric"\n')
    return path


def test_render_writes_h264_and_aac_of_the_length_of_the_voice(tmp_path: Path, small: Path) -> None:
    voice = write(tmp_path / "voice.wav", tone(1.5, 16_000)[None], 16_000)
    out = tmp_path / "out.mp4"
    done = runner.invoke(app, ["render", str(voice), "-o", str(out), "-c", str(small), "--avatar", "leo"])
    assert done.exit_code == 0, done.output
    with av.open(str(out)) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        assert (picture.codec_context.name, sound.codec_context.name) == ("h264", "aac")
        assert (picture.width, picture.height, picture.average_rate) == (96, 96, 25)
        frames = list(container.decode(video=0))
        assert len(frames) == 38 and float(frames[0].pts * picture.time_base) == 0.0
    with av.open(str(out)) as container:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
        assert abs(len(heard) / 48_000 - 1.5) < 0.05
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
def test_picture_and_sound_of_a_rendered_file_start_together(tmp_path: Path, small: Path) -> None:
    voice = write(tmp_path / "voice.wav", tone(1.0, 16_000)[None], 16_000)
    out = tmp_path / "out.mp4"
    assert runner.invoke(app, ["render", str(voice), "-o", str(out), "-c", str(small)]).exit_code == 0
    asked = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", str(out)]
    streams = json.loads(subprocess.run(asked, capture_output=True, check=True, text=True).stdout)["streams"]
    starts = [float(stream["start_time"]) for stream in streams]
    assert max(starts) - min(starts) < 0.003


def test_a_transparent_video_is_the_avatar_alone(tmp_path: Path, small: Path) -> None:
    voice = write(tmp_path / "voice.wav", tone(0.2, 16_000)[None], 16_000)
    out = tmp_path / "out.mkv"
    done = runner.invoke(app, ["render", str(voice), "-o", str(out), "-c", str(small), "--background", "transparent"])
    assert done.exit_code == 0, done.output
    with av.open(str(out)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgba")
    assert picture[0, 0, 3] == 0 and picture[60, 48, 3] == 255


def test_an_orbit_and_a_camera_path_are_what_the_film_is_seen_from(tmp_path: Path, small: Path) -> None:
    voice = write(tmp_path / "voice.wav", tone(1.0, 16_000)[None], 16_000)
    path, films = tmp_path / "path.csv", []
    path.write_text("seconds,yaw\n0,40\n")
    for name, options in (("still", []), ("side", ["--viewpoint", "40,0"]), ("path", ["--camera", str(path)]),
                          ("orbit", ["--orbit", "40"])):  # fmt: skip
        out = tmp_path / f"{name}.mkv"
        args = ["render", str(voice), "-o", str(out), "-c", str(small), "--background", "#000", *options]
        done = runner.invoke(app, args)
        assert done.exit_code == 0, done.output
        with av.open(str(out)) as container:
            films.append([frame.to_ndarray(format="gray").astype(int) for frame in container.decode(video=0)])
    still, side, followed, swung = films
    np.testing.assert_array_equal(side, followed)
    np.testing.assert_array_equal(still[0], swung[0])  # an orbit of one turn begins in front
    apart = [np.abs(swung[6] - other).mean() for other in (still[6], side[6])]  # a quarter later it is aside
    assert 3 * apart[1] < apart[0] > 5


def test_the_same_seed_renders_the_same_motion_and_pictures(tmp_path: Path, small: Path) -> None:
    voice = write(tmp_path / "voice.wav", tone(0.6, 16_000)[None], 16_000)
    pictures, motions = [], []
    for name in ("a", "b"):  # FFV1 loses nothing; x264 packs the same pictures otherwise once in some forty films
        film, moved = tmp_path / f"{name}.mkv", tmp_path / f"{name}.vmotion"
        args = ["render", str(voice), "-o", str(film), "-c", str(small), "--seed", "5", "--motion", str(moved)]
        assert runner.invoke(app, args).exit_code == 0
        motions.append(load_file(moved)["motion"])
        with av.open(str(film)) as container:
            pictures.append(np.stack([f.to_ndarray() for f in container.decode(video=0)]))
    np.testing.assert_array_equal(*motions, err_msg="motion")
    np.testing.assert_array_equal(*pictures, err_msg="pictures, of the same motion")


def run_main(args: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["visavis", *args])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["render", "{tmp}/nowhere.wav"], "no such file"),
        (["render", "{tmp}/letter.txt", "-o", "{tmp}/out.mp4"], "not a sound file"),
        (["render", "{tmp}/voice.wav", "-o", "{tmp}/no/such/folder/out.mp4"], "does not exist"),
        (["render", "{tmp}/voice.wav", "-o", "{tmp}/out.mp4", "--avatar", "nobody"], "nobody"),
        (["render", "{tmp}/voice.wav", "-o", "{tmp}/out.mp4", "--background", "transparent"], "has no transparency"),
        (["render", "{tmp}/voice.wav", "-o", "{tmp}/out.mp4", "--background", "{tmp}/none.png"], "none.png"),
        (["render", "{tmp}/voice.wav", "-o", "{tmp}/out.mp4", "--renderer", "crayon"], "crayon"),
        (["render", "{tmp}/voice.wav", "-o", "{tmp}/out.mp4", "--orbit", "80"], "at most 75 degrees"),
        (["render", "{tmp}/voice.wav", "-o", "{tmp}/out.mp4", "--camera", "{tmp}/none.csv"], "no such file"),
        (
            ["render", "{tmp}/voice.wav", "-o", "{tmp}/out.mp4", "--camera", "{tmp}/bad.toml", "--orbit", "9"],
            "leave out",
        ),
        (["serve", "--background", "transparent"], "a video call has no transparency"),
        (["render", "{tmp}/voice.wav", "-o", "{tmp}/out.mp4", "--viewpoint", "left"], "YAW,PITCH"),
        (["render", "{tmp}/voice.wav", "-o", "{tmp}/out.mp4", "-c", "{tmp}/bad.toml"], "render.widht"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do_and_leaves_no_file(
    args: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path / "voice.wav", tone(0.2, 16_000)[None], 16_000)
    (tmp_path / "letter.txt").write_text("dear all")
    (tmp_path / "bad.toml").write_text("[render]\nwidht = 64\n")
    code, said = run_main([arg.format(tmp=tmp_path) for arg in args], monkeypatch, capsys)
    assert code == 2 and message in said.replace("\n", "") and "Traceback" not in said
    assert not list(tmp_path.glob("*.mp4")) and not list(tmp_path.glob(".*"))


def test_avatars_lists_the_two_that_are_shipped() -> None:
    done = runner.invoke(app, ["avatars"], terminal_width=200)
    assert done.exit_code == 0 and "ada" in done.output and "leo" in done.output


def test_devices_names_the_processor_and_what_is_missing() -> None:
    done = runner.invoke(app, ["devices"])
    assert done.exit_code == 0 and "CPU" in done.output and "onnxruntime" in done.output


def test_viewpoints_are_degrees_and_are_brought_into_range() -> None:
    view = parse_viewpoint("30,-5", Viewpoint(distance=1.3))
    assert view.yaw == pytest.approx(0.5236, abs=1e-3) and view.distance == 1.3
    assert parse_viewpoint("200,0,1", Viewpoint()).yaw == pytest.approx(1.309, abs=1e-3)


def test_serving_on_a_busy_port_is_refused_at_once_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, said = run_main(["serve", "--port", str(port)], monkeypatch, capsys)
    assert code == 2 and f"port {port} is busy" in said and "--port" in said


def test_serving_the_network_without_a_token_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = run_main(["serve", "--host", "0.0.0.0"], monkeypatch, capsys)
    assert code == 2 and "token" in said


def test_the_extra_that_is_missing_is_named_with_its_brackets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise ValueError("it needs an encoder: pip install 'visavis[text]'")

    monkeypatch.setattr(cli, "app", fails)
    monkeypatch.delenv("VISAVIS_DEBUG", raising=False)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2 and "pip install 'visavis[text]'" in capsys.readouterr().err
