"""What is written: lips and voice stay together, whatever is left out, and every place of a film is there."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from engine.clock import FRAME, VOICE_FRAME
from streaming.outputs.feed import ITEMS, PICTURES, Feed, Item
from streaming.outputs.muxer import FORMATS, Muxer
from streaming.tracks import OutFrame

from .clap import COLUMNS, ROWS, items, picture, skews, voice


def write(path: Path, pieces: list[Item], bitrate: int = 0) -> int:
    muxer = Muxer(str(path), FORMATS[path.suffix], (ROWS, COLUMNS), bitrate, {"comment": "made by a machine"})
    size = sum(muxer.write(piece) for piece in pieces)
    muxer.close()
    return size


@pytest.mark.parametrize(("name", "frames"), [("a.mp4", 1500), ("a.mkv", 150), ("a.webm", 150)])
def test_lips_and_voice_stay_together(tmp_path: Path, name: str, frames: int) -> None:
    write(tmp_path / name, list(items(frames)))
    found = skews(tmp_path / name)
    assert len(found) == frames // 25
    assert np.abs(found).max() < 5 and abs(found[-1] - found[0]) < 2


def test_pictures_that_were_left_out_and_frames_that_never_came_move_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write(path, list(items(250, blind=range(20, 33), missing=range(101, 124))))
    with av.open(str(path)) as film:
        times = [round(frame.time * 25) for frame in film.decode(video=0)]
    assert sorted(set(range(250)) - {t - times[0] for t in times}) == [*range(20, 33), *range(101, 124)]
    flashless = [k for k in range(10) if k != 4]  # the fifth clap is among those that never came
    found = skews(path)
    assert len(found) == len(flashless) and np.abs(found).max() < 5


def test_a_film_begins_with_its_first_picture_and_voice_may_come_in_any_pieces(tmp_path: Path) -> None:
    pieces = list(items(75))
    begin = pieces[0].position
    whole = np.concatenate([piece.voice for piece in pieces])
    late = Item(pieces[30].pts, picture(False), begin + 20 * VOICE_FRAME, whole[20 * VOICE_FRAME : 31 * VOICE_FRAME])
    early = Item(pieces[0].pts - FRAME, None, begin - VOICE_FRAME, voice(True))  # of before: nobody was there
    path = tmp_path / "a.mp4"
    write(path, [early, *pieces[:20], late, *pieces[31:]])
    assert len(skews(path)) == 3 and np.abs(skews(path)).max() < 5


def test_pictures_of_another_size_are_scaled_to_that_of_the_first(tmp_path: Path) -> None:
    pieces = list(items(10))
    bigger = np.full((2 * ROWS * 3 // 2, 2 * COLUMNS), 128, np.uint8)
    write(tmp_path / "a.mp4", [*pieces[:5], Item(pieces[5].pts, bigger, pieces[5].position, pieces[5].voice)])
    with av.open(str(tmp_path / "a.mp4")) as film:
        assert {(frame.width, frame.height) for frame in film.decode(video=0)} == {(COLUMNS, ROWS)}


def test_a_bitrate_is_held(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    noisy = [
        Item(piece.pts, rng.integers(16, 235, (ROWS * 3 // 2, COLUMNS), np.uint8), piece.position, piece.voice)
        for piece in items(100)
    ]
    free, held = write(tmp_path / "a.mp4", noisy), write(tmp_path / "b.mp4", noisy, 400_000)
    assert held < (400_000 * 1.3 + 140_000) / 8 * 4 < free


def shown(number: int, i420: np.ndarray | None = None) -> OutFrame:
    return OutFrame(number * FRAME, picture(False) if i420 is None else i420, {})


def filled(feed: Feed, count: int, begin: int = 0) -> None:
    for n in range(begin, begin + count):
        feed.put_voice(voice(False) + n / 1000)
        feed.put(shown(n))


def test_a_slow_reader_loses_whole_pictures_and_no_voice() -> None:
    feed = Feed(0, lambda: None)
    filled(feed, PICTURES + 40)
    kept = list(iter(feed.take, None))
    assert feed.dropped == 40 and sum(item.picture is not None for item in kept) == PICTURES
    heard = np.concatenate([item.voice for item in kept])
    np.testing.assert_allclose(heard[::VOICE_FRAME], np.arange(PICTURES + 40) / 1000, atol=1e-6)
    filled(feed, 1, PICTURES + 40)
    item = feed.take()
    assert item is not None and item.picture is not None  # and goes on when it is read again


def test_what_waits_is_bounded_even_when_nobody_reads() -> None:
    feed = Feed(0, lambda: None)
    filled(feed, ITEMS + 100)
    kept = list(iter(feed.take, None))
    assert len(kept) == ITEMS
    filled(feed, 1, ITEMS + 100)
    item = feed.take()
    assert item is not None and (item.position, len(item.voice)) == ((ITEMS + 100) * VOICE_FRAME, VOICE_FRAME)


def test_voice_without_pictures_is_bounded_too_and_still_belongs_to_its_time() -> None:
    feed = Feed(0, lambda: None)
    for n in range(1000):
        feed.put_voice(voice(False) + n / 1000)
    feed.put(shown(999))
    item = feed.take()
    assert item is not None and len(item.voice) == VOICE_FRAME and item.position == 999 * VOICE_FRAME


def test_an_item_keeps_its_own_copy_and_begins_where_its_voice_does() -> None:
    feed = Feed(3 * VOICE_FRAME, lambda: None)  # somebody who comes when three frames of voice went by
    ring = picture(True)
    for n in range(3, 6):
        feed.put_voice(voice(False) + n)
    for n in range(6):
        feed.put(shown(n, ring))
    ring[:] = 0
    kept = list(iter(feed.take, None))
    assert [item.pts // FRAME for item in kept] == [3, 4, 5]
    assert all(item.picture is not None and item.picture.max() == 235 for item in kept)
    assert [float(item.voice[0]) for item in kept] == [3, 4, 5]
