"""Films of several people: every picture in its place, a voice that nobody cuts, a file that can be mailed."""

from pathlib import Path

import av
import numpy as np
import pytest

pytest.importorskip("PIL")

from bench import film
from engine import image
from engine.clock import VOICE_RATE
from tests.engine.render import toy
from tests.visavis.test_sound import tone, write
from visavis.sound import SoundError, read_voice


def noise(size, seed):
    height, width = size
    return np.random.default_rng(seed).integers(16, 236, (height * 3 // 2, width), np.uint8)


def pictures(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)])


def heard(path):
    return np.concatenate(list(read_voice(path, max_seconds=60)))


def test_pictures_lie_side_by_side_with_their_names_in_the_corner():
    size, labels = (52, 72), ["Ada", "Leo", "Mei"]
    grid = film.Grid(size, labels, 2)
    given = [noise(size, k) for k in range(3)]
    whole = grid.lay(given)
    assert whole.shape == (104 * 3 // 2, 144) and grid.lay(given) is whole  # one buffer, however long the film
    for k, picture in enumerate(given):
        ground, _ = film.plate(labels[k], size[0])
        top, left = k // 2 * 52, k % 2 * 72
        for plane, mine, s in zip(film.planes(whole), film.planes(picture), (1, 2, 2), strict=True):
            here = plane[top // s : (top + 52) // s, left // s : (left + 72) // s]
            outside = np.ones(here.shape, bool)
            outside[-ground.shape[0] // s :, : ground.shape[1] // s] = False
            np.testing.assert_array_equal(here[outside], mine[outside])
            assert (here[~outside] != mine[~outside]).mean() > 0.8
    empty = film.planes(whole)
    assert (empty[0][52:, 72:] == 16).all() and (empty[1][26:, 36:] == 128).all()


def test_a_name_is_legible_on_white_and_on_black():
    for value in (16, 235):
        grid = film.Grid((256, 256), ["Maya"], 1)
        luma = film.planes(grid.lay([np.full((384, 256), value, np.uint8)]))[0].astype(int)
        ground, ink = film.plate("Maya", 256)
        corner = luma[-ground.shape[0] :, : ground.shape[1]]
        assert corner[ink > 0.9].min() - corner[ink == 0].max() > 100 and (ink > 0.9).sum() > 20


def test_a_film_that_no_player_takes_is_refused():
    with pytest.raises(ValueError, match="5120 x 512 pixels.*fewer --avatars, or a smaller --size"):
        film.Grid((512, 512), list("abcdefghij"), 10)


@pytest.mark.parametrize(("length", "seconds", "times"), [(0.5, 1.6, 3), (0.5, 1.5, 3), (1.0, 1.0, 1), (3.0, 1.2, 1)])
def test_a_voice_is_said_as_often_as_it_fits_in_whole(tmp_path: Path, length: float, seconds: float, times: int):
    voice = write(tmp_path / "voice.wav", tone(length, VOICE_RATE)[None], VOICE_RATE)
    pieces = list(film.speech(voice, seconds))
    said, original = np.concatenate(pieces), heard(voice)
    assert len(said) == round(seconds * VOICE_RATE) and max(map(len, pieces)) < VOICE_RATE
    if length < seconds - 1.0 / times + 0.4:
        for k in range(times):
            start = round(k * len(said) / times)
            np.testing.assert_array_equal(said[start : start + len(original)][:20_000], original[:20_000])
    else:  # cut: not with a click
        np.testing.assert_array_equal(said[: -film.FADE], original[: len(said) - film.FADE])
        assert np.abs(said[-100:]).max() < 0.01 < np.abs(said[-film.FADE :]).max()


def test_a_file_that_holds_no_voice_is_refused(tmp_path: Path):
    with pytest.raises(SoundError, match="no such file"):
        next(film.speech(tmp_path / "none.wav", 1.0))


def test_a_poster_holds_moments_of_the_whole_film():
    poster = film.Poster(80, (64, 64))
    for k in range(80):
        frame = np.full((96, 64), 128, np.uint8)
        frame[:64] = 20 + 2 * k
        poster.see(k, frame)
    assert poster.picture.shape == (2 * 64 + film.GAP, 4 * (64 + film.GAP) - film.GAP, 3)
    moments = [poster.picture[r * 70 + 30, c * 70 + 30].astype(int).mean() for r in range(2) for c in range(4)]
    assert (np.diff(moments) > 15).all()
    wide = film.Poster(500, (1024, 2048)).picture.shape
    assert wide[1] <= film.POSTER_WIDE + film.GAP and 0.8 < wide[1] / wide[0] < 2.5


def test_bits_that_are_too_few_are_refused_with_how_many_it_takes():
    assert film.bits_of(8.0, 20.0, 4) * 21 + film.SOUND_BITS * 20 < 64e6
    with pytest.raises(ValueError, match="600 s of 4 pictures do not fit into 8 MB: give --megabytes (.*)") as refused:
        film.bits_of(8.0, 600.0, 4)
    assert film.bits_of(float(str(refused.value).split()[-1]), 600.0, 4) >= 4 * film.FEWEST_BITS


def test_both_renderers_film_two_people_from_a_camera_that_turns(tmp_path: Path):
    voice = write(tmp_path / "voice.wav", tone(0.4, VOICE_RATE)[None], VOICE_RATE)
    out, poster, config = tmp_path / "film.mp4", tmp_path / "poster.jpg", tmp_path / "config.toml"
    config.write_text("[render]\nthreads = 1\n")
    film.main(
        out, 1.0, "ada, leo", "both", 64, str(toy.save(tmp_path)), "#00a000", None, 40.0, voice, poster, 0.3, 1, config
    )
    shown = pictures(out)
    assert shown.shape == (25, 64, 256, 3)  # each person next to themself
    assert len(heard(out)) / VOICE_RATE == pytest.approx(1.0, abs=0.05)
    assert out.stat().st_size < 300_000 and sorted(tmp_path.glob(".*")) == []
    tiles = np.split(shown[:, :54], 4, axis=2)
    for tile in tiles:
        assert np.abs(tile[:, 2:6, 2:6] - (0, 160, 0)).max() < 12
        assert np.abs(tile[6] - tile[19]).mean() > 4  # seen from the right, then from the left
    silhouettes = [np.abs(tile[12] - (0, 160, 0)).max(2) > 40 for tile in tiles]
    for one, two in ((0, 1), (2, 3)):  # the same person moves alike
        assert (silhouettes[one] & silhouettes[two]).sum() / (silhouettes[one] | silhouettes[two]).sum() > 0.9
    sheet = image.decode(poster.read_bytes(), 3)
    assert sheet.shape[1] == 256 * (sheet.shape[1] // 256) + film.GAP * (sheet.shape[1] // 256 - 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"out": "film.avi"}, "must end in .mp4"),
        ({"out": "none/film.mp4"}, "a folder that exists"),
        ({"poster": "poster.png"}, "must end in .jpg"),
        ({"avatars": " , "}, "ids with commas"),
        ({"avatars": "ada,nobody"}, "nobody"),
        ({"renderer": "crayon"}, "neural, geometric or both"),
        ({"network": "none.onnx", "renderer": "neural"}, "weights are not there"),
        ({"background": "transparent"}, "no transparency"),
        ({"orbit": 90.0}, "at most 75 degrees"),
        ({"size": 63}, "even number"),
        ({"megabytes": 0.01}, "do not fit into 0.01 MB"),
        ({"audio": "none.wav"}, "no such file"),
    ],
)
def test_a_mistake_is_said_and_leaves_no_file(tmp_path: Path, change, message):
    given = {"out": "film.mp4", "avatars": "ada", "size": 64, "seconds": 0.4, "renderer": "geometric", **change}
    given |= {name: tmp_path / given[name] for name in ("out", "poster", "audio") if name in given}
    with pytest.raises(ValueError, match=message):
        film.main(**given)
    assert list(tmp_path.iterdir()) == []
