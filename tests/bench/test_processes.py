"""Suite ``processes``: that it would notice other pictures, or none."""

import numpy as np
import pytest

from bench import processes
from bench.processes import Album, same


def pictures(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 6, 4), dtype=np.uint8))


def test_the_same_pictures_pass() -> None:
    same(pictures(3), pictures(3))


def test_one_pixel_of_one_picture_is_enough_to_measure_nothing() -> None:
    other = pictures(3)
    other[2][5, 3] ^= 1
    with pytest.raises(ValueError, match="other pictures"):
        same(pictures(3), other)


def test_a_picture_too_few_is_enough_to_measure_nothing() -> None:
    with pytest.raises(ValueError, match="other pictures"):
        same(pictures(3), pictures(2))


def test_a_session_that_dies_before_its_picture_is_told_in_its_own_words() -> None:
    album = Album()
    album.died(RuntimeError("no such network"))
    with pytest.raises(OSError, match=r"picture 1 of \d+ did not come: no such network"):
        album.wait(1)


def test_a_picture_that_never_comes_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PICTURE_S", 0.01)
    with pytest.raises(OSError, match="passed"):
        Album().wait(1)
