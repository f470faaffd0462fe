"""Who is painted at the same time keeps to cores of its own."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from engine.config import EngineConfig, ScheduleConfig
from engine.engine import Engine
from streaming.lanes import Lanes, anywhere

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads are told their cores on Linux")


def test_a_thread_keeps_to_its_lane_and_runs_anywhere_once_it_is_alone() -> None:
    own = os.sched_getaffinity(0)
    first = min(own)

    def sit() -> list[set[int]]:
        lanes, found = Lanes(2, {first, *own}), []
        for lane in (0, 0, None, 1, None):
            lanes.sit(lane)
            found.append(os.sched_getaffinity(0))
        return found

    with ThreadPoolExecutor(1) as pool:
        zero, again, free, one, last = pool.submit(sit).result()
    assert zero == again and free == last == own == os.sched_getaffinity(0)
    assert len(own) == 1 or (zero | one == own and not zero & one and first in zero)


def test_cores_are_shared_out_whole_and_none_twice() -> None:
    for cores in range(1, 18):
        for count in range(1, cores + 1):
            lanes = Lanes(count, range(cores))
            assert sorted(core for part in lanes.parts for core in part) == list(range(cores))
            assert max(map(len, lanes.parts)) - min(map(len, lanes.parts)) <= 1


def test_more_lanes_than_cores_and_cores_that_are_not_there_leave_threads_where_they_are() -> None:
    own = os.sched_getaffinity(0)
    Lanes(3, {min(own)}).sit(0)
    Lanes(2, {4095, 4094}).sit(1)
    Lanes(0).sit(0)
    assert os.sched_getaffinity(0) == own


def test_a_thread_that_is_begun_in_a_lane_need_not_stay_there() -> None:
    def begin() -> set[int]:
        Lanes(2).sit(1)
        with ThreadPoolExecutor(1, initializer=anywhere) as other:
            return other.submit(os.sched_getaffinity, 0).result()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(begin).result() == os.sched_getaffinity(os.getpid())


def test_an_engine_has_as_many_lanes_as_turns_unless_it_is_told_not_to_pin() -> None:
    assert Engine(EngineConfig(schedule=ScheduleConfig(turns=2))).lanes == 2
    assert Engine(EngineConfig(schedule=ScheduleConfig(turns=2, pin=False))).lanes == 0
    assert Engine(EngineConfig(schedule=ScheduleConfig(enabled=False))).lanes == 0
