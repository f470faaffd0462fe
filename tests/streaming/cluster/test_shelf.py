from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from streaming.cluster.shelf import Shelf
from streaming.snapshots import Here


def test_the_newest_of_each_is_kept() -> None:
    shelf = Shelf(100, 10.0)
    shelf.put({"a": b"1", "b": b"2"}, 0.0)
    shelf.put({"a": b"33"}, 1.0)
    kept = shelf.get("a", 2.0)
    assert kept is not None and kept.data == b"33" and kept.at == 1.0 and shelf.size == 3
    assert shelf.get("a", 2.0) is kept  # asked for again, it is still there


def test_what_is_too_old_or_over_is_gone() -> None:
    shelf = Shelf(100, 10.0)
    shelf.put({"a": b"1", "b": b"2"}, 0.0)
    shelf.put({"a": b"1"}, 8.0)
    assert shelf.get("b", 10.1) is None and shelf.get("a", 10.1) is not None
    shelf.drop("a")
    shelf.drop("a")
    assert shelf.get("a", 10.1) is None and shelf.size == 0


def test_what_is_too_large_for_the_shelf_is_not_kept() -> None:
    shelf = Shelf(10, 10.0)
    shelf.put({"a": bytes(11)}, 0.0)
    assert shelf.get("a", 0.0) is None and shelf.size == 0


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 40), st.floats(0, 3))), st.integers(1, 100))
def test_memory_is_bounded_and_the_last_come_is_there(puts: list[tuple[str, int, float]], most: int) -> None:
    shelf, now = Shelf(most, 10.0), 0.0
    for name, size, wait in puts:
        now += wait
        shelf.put({name: bytes(size)}, now)
        assert shelf.size <= most and (shelf.get(name, now) is not None) == (size <= most)
    assert shelf.size == sum(len(kept.data) for kept in shelf._kept.values())


def test_a_server_keeps_its_own_snapshots() -> None:
    here = Here(most=100)
    here.put("a", b"1")
    here.put("a", b"22")
    assert asyncio.run(here.get("a")) == b"22" and asyncio.run(here.get("b")) is None
    here.over("a")
    assert asyncio.run(here.get("a")) is None
