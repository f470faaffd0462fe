"""`visavis dub`: films read, unrolled and written again, and what is said when it cannot be done."""

from __future__ import annotations

import sys
import wave
from pathlib import Path

import av
import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("PIL")

from typer.testing import CliRunner

from tests.training.portrait.test_dub import film as avatar_film
from visavis import cli, cli_dub
from visavis.provenance import Provenance
from visavis.refilm import Film, FilmError, FilmWriter, Shot, _turned

NOTHING = Provenance("dub", "sha256:0", "none")


def write_film(path: Path, pictures: list[np.ndarray], ticks: list[int] | None = None) -> Path:
    with av.open(str(path), "w") as container:
        video = container.add_stream("h264", rate=25)
        video.height, video.width, video.pix_fmt = *pictures[0].shape[:2], "yuv420p"
        video.options = {"crf": "10", "preset": "ultrafast", "g": "7"}
        for place, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = place if ticks is None else ticks[place]
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def write_voice(path: Path, seconds: float) -> Path:
    time = np.arange(round(16_000 * seconds)) / 16_000
    loud = 0.4 * np.sin(2 * np.pi * 140 * time) * (np.sin(2 * np.pi * 3 * time) > 0)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((loud * 32767).astype(np.int16).tobytes())
    return path


def grey(count: int, side: int = 64) -> list[np.ndarray]:
    """Pictures whose brightness is ten times their number."""
    return [np.full((side, side, 3), 20 + 10 * number, np.uint8) for number in range(count)]


@pytest.fixture(scope="module")
def ramp(tmp_path_factory: pytest.TempPathFactory) -> Film:
    return Film(write_film(tmp_path_factory.mktemp("film") / "ramp.mp4", grey(20)), 60.0)


def numbers(film: Film, order: list[int]) -> list[int]:
    return [round((int(shot.rgb()[32, 32, 1]) - 20) / 10) for shot in film.along(order)]


def test_a_film_runs_forwards_backwards_and_stands_still(ramp: Film) -> None:
    for order in (list(range(20)), list(range(19, -1, -1)), [3, 4, 5, 4, 3, 2, 2, 2, 3, 19, 18]):
        assert numbers(ramp, order) == order


def test_a_longer_sound_loops_freezes_or_is_cut(ramp: Film) -> None:
    assert ramp.seconds == pytest.approx(0.8)
    order, ticks = ramp.unrolled(2.0, "loop")
    assert order == [*range(20), *range(18, 0, -1), *range(12)]
    assert len(ticks) == 50 and (np.diff(ticks) > 0).all()
    assert ramp.unrolled(2.0, "freeze")[0][20:] == [19] * 30
    assert len(ramp.unrolled(2.0, "cut")[0]) == len(ramp.unrolled(0.2, "loop")[0]) == 20
    with pytest.raises(FilmError, match="loop, freeze, cut"):
        ramp.unrolled(2.0, "stretch")


def test_planes_that_are_not_changed_stay_to_the_bit() -> None:
    random = np.random.default_rng(1)
    shot = Shot(0, random.integers(16, 235, (96, 64), np.uint8), (1, 1))
    before = shot.rgb()
    after = before.copy()
    after[20:30, 10:22] = 255 - after[20:30, 10:22]
    now = shot.changed(before, after)
    touched = np.zeros((64, 64), bool)
    touched[20:30, 10:22] = True
    assert (now[:64][~touched] == shot.i420[:64][~touched]).all() and (
        now[:64][touched] != shot.i420[:64][touched]
    ).any()
    again = Shot(0, now, shot.colours).rgb()
    assert np.abs(again[22:28, 12:20].astype(int) - after[22:28, 12:20]).mean() < 40  # colour at half size
    assert (shot.changed(before, before) == shot.i420).all()


def test_a_turned_picture_is_turned_in_all_planes() -> None:
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:32, :48] = (200, 30, 30)
    planes = av.VideoFrame.from_ndarray(picture, format="rgb24").to_ndarray(format="yuv420p")
    upright = Shot(0, np.ascontiguousarray(_turned(planes, 1)), (2, 0)).rgb()
    assert upright.shape == (96, 64, 3)
    assert np.abs(upright.astype(int) - np.rot90(picture, 1)).mean() < 4


def test_the_written_film_has_the_times_the_sound_and_the_statement(ramp: Film, tmp_path: Path) -> None:
    voice, target = write_voice(tmp_path / "v.wav", 0.5), tmp_path / "o.mp4"
    order, ticks = ramp.unrolled(0.5, "loop")
    shots = list(ramp.along(order))
    with FilmWriter(target, ramp, shots[0], voice, None, None, NOTHING, {"visavis_consent_statement": "yes"}) as writer:
        for shot, tick in zip(shots, ticks, strict=True):
            writer.write(shot.i420.copy(), int(tick))
    again = Film(target, 60.0)
    assert len(again) == 20 and again.seconds == pytest.approx(ramp.seconds)
    assert numbers(again, order) == order
    with av.open(str(target)) as container:
        assert container.metadata["visavis_consent_statement"] == "yes"
        assert "AI-generated" in container.metadata["comment"]
        heard = sum(frame.samples for frame in container.decode(audio=0))
    assert heard / 48_000 == pytest.approx(0.5, abs=0.06)


def test_a_writer_that_fails_leaves_nothing(ramp: Film, tmp_path: Path) -> None:
    voice, first = write_voice(tmp_path / "v.wav", 0.2), next(ramp.shots())
    with pytest.raises(RuntimeError), FilmWriter(tmp_path / "o.mp4", ramp, first, voice, None, None, NOTHING, {}):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["v.wav"]
    with pytest.raises(FilmError, match="the film that is read"):
        FilmWriter(ramp.path, ramp, first, voice, None, None, NOTHING, {})


def test_what_is_no_film_is_said(tmp_path: Path) -> None:
    text = tmp_path / "a.mp4"
    text.write_text("no film")
    with pytest.raises(FilmError, match="not a video"):
        Film(text, 60.0)
    with pytest.raises(FilmError, match="no such file"):
        Film(tmp_path / "b.mp4", 60.0)
    with pytest.raises(FilmError, match="no picture"):
        Film(write_voice(tmp_path / "v.wav", 0.2), 60.0)
    with pytest.raises(FilmError, match="max-minutes"):
        Film(write_film(tmp_path / "c.mp4", grey(20)), 0.5)


def run(*arguments: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says when it fails."""
    monkeypatch.setattr(sys, "argv", ["visavis", "dub", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_no_consent_no_face_no_sound(
    ramp: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    voice, target = write_voice(tmp_path / "v.wav", 0.3), tmp_path / "o.mp4"
    said = run(ramp.path, "-a", voice, "-o", target, monkeypatch=monkeypatch, capsys=capsys)
    assert "--consent" in said
    said = run(ramp.path, "-a", voice, "-o", target, "--consent", monkeypatch=monkeypatch, capsys=capsys)
    assert "a face was found in 0 of 20" in said
    said = run(ramp.path, "-a", ramp.path, "-o", target, "--consent", monkeypatch=monkeypatch, capsys=capsys)
    assert "no sound" in said
    assert not target.exists()


def test_a_film_is_dubbed_from_the_command_line(tmp_path: Path) -> None:
    source = write_film(tmp_path / "leo.mp4", avatar_film([0.0, 0.0, 0.1, 0.2, 0.1, 0.0, 0.0, 0.0]))
    voice, target = write_voice(tmp_path / "v.wav", 0.6), tmp_path / "o.mp4"
    app = cli_dub.typer.Typer()
    app.command()(cli_dub.dub)
    done = CliRunner().invoke(app, [str(source), "-a", str(voice), "-o", str(target), "--statement", "Leo said yes"])
    assert done.exit_code == 0, (done.output, done.exception)
    film = Film(target, 60.0)
    assert len(film) == 15  # forth and back for 0.6 s
    with av.open(str(target)) as container:
        assert container.metadata["visavis_consent_statement"] == "Leo said yes"
        assert container.metadata["visavis_watermark"] != "none"


def test_notes_say_what_a_viewer_should_know() -> None:
    said = list(cli_dub.notes(np.array([True, False, True]), 1, "left", (2, 3)))
    assert "1 of 3 pictures" in said[0] and "2 people" in said[1] and "3 of 5 words" in said[2]
    assert not list(cli_dub.notes(np.ones(3, bool), 0, "largest", (2, 0)))
