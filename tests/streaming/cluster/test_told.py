"""What an edge knows of workers while its director is away, or was started again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from engine.schedule.room import Room
from streaming.cluster import edge
from streaming.edge.link import Link
from streaming.edge.route import Worker

ROWS = [(Worker(name, "unix:/", Room(1, 0.5)), 0.1) for name in ("w1", "w2")]


class Director:
    """One that answers what is in ``says``, one after the other; an exception is raised."""

    def __init__(self, *says: Any) -> None:
        self._says, self.table = iter(says), self

    async def remote(self) -> Any:
        said = next(self._says)
        if isinstance(said, Exception):
            raise said
        return said


def seen(monkeypatch: pytest.MonkeyPatch, director: Director, rounds: int) -> tuple[list[Sequence[Worker]], edge.Told]:
    monkeypatch.setattr(edge, "ASK_S", 0.0)
    told = edge.Told(director)

    async def work() -> list[Sequence[Worker]]:
        found = []
        async for workers in told.watch(Link("x")):
            found.append(workers)
            if len(found) == rounds:
                break
        return found

    return asyncio.run(work()), told


def test_what_was_told_stays_while_the_director_is_away_or_does_not_know_all_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    director = Director(ROWS, OSError("killed"), None, ROWS[:1], [])
    found, told = seen(monkeypatch, director, 5)
    names = [[worker.name for worker in workers] for workers in found]
    assert names == [["w1", "w2"], ["w1", "w2"], ["w1", "w2"], ["w1"], []]
    assert found[0] == found[1] == found[2] and told.some.is_set()  # and grows old: nobody was heard of since


def test_an_edge_that_was_told_nothing_yet_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    found, told = seen(monkeypatch, Director(OSError("not there"), None, []), 1)
    assert found == [()] and not told.some.is_set()  # the third answer: there are none
