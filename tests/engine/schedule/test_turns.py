"""Turns for threads: who has one has it alone, who dies or leaves blocks nobody. Time is a number that tests set."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from engine.schedule.core import STUCK, Core
from engine.schedule.plan import make
from engine.schedule.turns import Free, Place, Turn, Turns

WAIT = 30.0  # seconds until a test gives up


class Time:
    """A clock that stands still unless it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def turns(time: Time) -> Turns:
    return Turns(Core(make()), time)


def run(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def until(turns: Turns, waiting: int) -> None:
    pause = threading.Event()
    for _ in range(3000):
        if turns.report().waiting == waiting:
            return
        pause.wait(0.005)
    raise AssertionError(f"never {waiting} waited: {turns.report()}")


def queue(turns: Turns, place: Place, deadline: float, order: list[float], count: int) -> threading.Thread:
    """A thread that waits for its turn behind ``count`` others."""

    def work() -> None:
        with place.turn(0.0, deadline) as turn:
            if turn.granted:
                order.append(deadline)

    thread = run(work)
    until(turns, count)
    return thread


def test_one_at_a_time_and_the_most_urgent_next(turns: Turns) -> None:
    holder, places, order = turns.join(), [turns.join() for _ in range(3)], list[float]()
    with holder.turn(0.0, 10.0):
        threads = [queue(turns, place, deadline, order, k + 1)
                   for k, (place, deadline) in enumerate(zip(places, (90.0, 50.0, 70.0), strict=True))]  # fmt: skip
        assert order == []
    for thread in threads:
        thread.join(WAIT)
    assert order == [50.0, 70.0, 90.0]


def test_a_thread_that_dies_in_its_turn_gives_it_back(turns: Turns) -> None:
    dying, other = turns.join(), turns.join()
    with pytest.raises(ZeroDivisionError), dying.turn(0.0, 40.0):
        raise ZeroDivisionError
    with other.turn(0.0, 40.0) as turn:
        assert turn.granted


def test_a_session_that_ends_while_it_waits_is_told_and_the_next_goes_on(turns: Turns) -> None:
    holder, leaving, staying, order = turns.join(), turns.join(), turns.join(), list[float]()
    with holder.turn(0.0, 10.0):
        first = queue(turns, leaving, 40.0, order, 1)
        second = queue(turns, staying, 50.0, order, 2)
        leaving.leave()
        first.join(WAIT)
        assert not first.is_alive() and order == []
    second.join(WAIT)
    assert order == [50.0]
    with leaving.turn(0.0, 40.0) as turn:
        assert not turn.granted, "nor any later"


def test_a_session_that_ends_in_its_turn_blocks_nobody(turns: Turns) -> None:
    going, other, order = turns.join(), turns.join(), list[float]()
    with going.turn(0.0, 40.0):
        going.leave()
        thread = queue(turns, other, 40.0, order, 1)
    thread.join(WAIT)
    assert order == [40.0] and turns.report().sessions == 1


def test_a_turn_that_never_ends_costs_the_others_a_second(turns: Turns, time: Time) -> None:
    stuck, other, order, free = turns.join(), turns.join(), list[float](), threading.Event()

    def hang() -> None:
        with stuck.turn(0.0, 40.0):
            free.wait(WAIT)

    hung = run(hang)
    while turns.report().waiting or not turns._core.running:
        pass
    thread = queue(turns, other, 40.0, order, 1)
    time.now = STUCK + 1
    thread.join(WAIT)
    assert order == [40.0] and hung.is_alive()
    free.set()
    hung.join(WAIT)
    with other.turn(0.0, 1e6) as turn:
        assert turn.granted


def test_as_many_at_once_as_there_are_places(time: Time) -> None:
    turns = Turns(Core(places=2, capacity=2), time)
    a, b, c = (turns.join() for _ in range(3))
    order: list[float] = []
    with a.turn(0.0, 40.0) as first, b.turn(0.0, 40.0) as second:
        assert first.granted and second.granted and {first.lane, second.lane} == {0, 1}
        thread = queue(turns, c, 40.0, order, 1)
    thread.join(WAIT)
    assert order == [40.0]


def test_quality_and_room_follow_what_turns_take(turns: Turns, time: Time) -> None:
    places = [turns.join() for _ in range(2)]
    assert turns.room().sessions == 2 and turns.room().refusal is None
    for k in range(100):
        for place in places:
            with place.turn(time.now, time.now + 40.0) as turn:
                time.now += 30.0 * (1.0, 0.67, 0.44, 0.44)[turn.rung.level] if turn.paint else 1.0
        time.now = max(time.now, 40.0 * (k + 1))
    report, room = turns.report(), turns.room()
    assert sum(report.rungs[1:]) == 2 and report.lowered >= 2, "60 ms of work every 40"
    assert room.headroom < 0 and room.refusal is not None and "try again" in room.refusal
    for place in places:
        place.leave()
        place.leave()
    assert turns.room().sessions == 0 and turns.room().refusal is None


def test_many_threads_at_once_all_get_every_frame(time: Time) -> None:
    turns, done = Turns(Core(places=2, capacity=2), time), list[int]()

    def work() -> None:
        place = turns.join()
        for _ in range(50):
            with place.turn(time.now, time.now + 40.0) as turn:
                done.append(turn.granted)
        place.leave()

    threads = [run(work) for _ in range(16)]
    for thread in threads:
        thread.join(WAIT)
    assert sum(done) == 16 * 50 and turns.report().sessions == 0 and not turns._core.running


def test_where_nobody_schedules_every_turn_is_granted_at_once() -> None:
    place: Place = Free()
    turn: Turn
    with place.turn(0.0, 40.0) as turn:
        assert turn.granted and turn.paint and turn.lane is None and turn.rung.level == 0
    place.leave()
