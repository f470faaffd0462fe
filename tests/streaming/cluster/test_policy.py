"""The autoscaler in virtual time: workers that take a while to start, sessions that stay where they are."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.schedule.room import Room
from streaming.cluster.config import ClusterConfig
from streaming.cluster.policy import Autoscaler

STEP = 0.25


def config(**more: object) -> ClusterConfig:
    return ClusterConfig(**{"min_workers": 1, "max_workers": 50, "calm_s": 60.0, "start_s": 15.0, **more})  # type: ignore[arg-type]


@dataclass
class Fleet:
    """Workers of ``seats`` sessions each; they start in ``start_s`` and leave when they are empty."""

    config: ClusterConfig
    seats: int = 10
    now: float = 0.0
    workers: dict[int, int] = field(default_factory=lambda: {0: 0})  # sessions of those that serve
    starting: list[float] = field(default_factory=list)
    ends: list[tuple[float, int]] = field(default_factory=list)
    refused: int = 0
    taken: int = 0
    changes: int = 0
    counts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scaler = Autoscaler(self.config)

    def arrive(self, seconds: float) -> bool:
        """A session for so long, at the emptiest worker."""
        best = min(self.workers, key=lambda name: self.workers[name])
        if self.workers[best] >= self.seats:
            self.refused += 1
            self.just_refused += 1
            return False
        self.workers[best] += 1
        heapq.heappush(self.ends, (self.now + seconds, best))
        self.taken += 1
        return True

    just_refused: int = 0

    def step(self) -> None:
        self.now += STEP
        while self.ends and self.ends[0][0] <= self.now:
            self.workers[heapq.heappop(self.ends)[1]] -= 1
        while self.starting and self.starting[0] <= self.now:
            heapq.heappop(self.starting)
            self.workers[max(self.workers) + 1] = 0
        rooms = [Room(n, 1 - n / self.seats) for n in self.workers.values()]
        self.scaler.hear(self.now, rooms, self.just_refused)
        self.just_refused = 0
        wanted = self.scaler.wanted(self.now)
        there = len(self.workers) + len(self.starting)
        for _ in range(wanted - there):
            heapq.heappush(self.starting, self.now + self.config.start_s)
            self.changes += 1
        if there > wanted:
            for name in [name for name, n in self.workers.items() if n == 0][: there - wanted]:
                if len(self.workers) > 1:
                    del self.workers[name]
                    self.changes += 1
        self.counts.append(len(self.workers))

    def run(self, seconds: float, rate: float, stay: float, rng: random.Random) -> None:
        """``rate`` sessions a second that stay for ``stay`` seconds on average."""
        end, coming = self.now + seconds, self.now + rng.expovariate(rate) if rate else float("inf")
        while self.now < end:
            while coming <= self.now:
                self.arrive(rng.expovariate(1 / stay))
                coming += rng.expovariate(rate)
            self.step()


def test_an_idle_cluster_shrinks_to_its_minimum() -> None:
    scaler = Autoscaler(config(min_workers=2))
    for i in range(40):
        scaler.hear(i * STEP, [Room()] * 5)
    assert scaler.wanted(10.0) == 2


def test_workers_are_added_when_headroom_is_gone() -> None:
    scaler = Autoscaler(config())
    for i in range(8):
        scaler.hear(i * STEP, [Room(4, 0.5)] * 2)
    assert scaler.wanted(2.0) == 2
    for i in range(8, 16):
        scaler.hear(i * STEP, [Room(8, 0.02)] * 2)
    assert scaler.wanted(4.0) >= 3


def test_a_burst_keeps_the_tail_free_though_the_mean_is_low() -> None:
    scaler = Autoscaler(config(headroom=0.25, tail=0.1, start_s=0.0))
    for i in range(40):
        load = 3.0 if i in (10, 20, 30) else 0.5
        scaler.hear(i * STEP, [Room(5, 1 - load / 3)] * 3)
    assert scaler.wanted(10.0) == 4  # 3 / 0.9


def test_refusals_count_as_load_that_is_coming() -> None:
    quiet, knocking = Autoscaler(config()), Autoscaler(config())
    for i in range(20):
        quiet.hear(i * STEP, [Room(7, 0.3)])
        knocking.hear(i * STEP, [Room(7, 0.3)], refused=2)
    assert knocking.wanted(5.0) > quiet.wanted(5.0)


def test_workers_that_were_found_are_kept_until_it_is_calm() -> None:
    scaler = Autoscaler(config(calm_s=60.0))
    scaler.hold(0.0, 3)
    scaler.hear(1.0, [Room()] * 3)
    assert scaler.wanted(1.0) == scaler.wanted(59.0) == 3
    assert scaler.wanted(61.0) == 1


def test_a_ramp_is_met_before_many_are_refused() -> None:
    fleet, rng = Fleet(config()), random.Random(1)
    for rate in (0.1, 0.2, 0.4, 0.8):
        fleet.run(120, rate, 120, rng)
    fleet.run(300, 0.8, 120, rng)
    assert fleet.taken > 300 and fleet.refused / (fleet.taken + fleet.refused) < 0.02
    assert len(fleet.workers) >= 10  # 96 sessions at 7.5 a worker


def test_a_steady_load_does_not_flap() -> None:
    fleet, rng = Fleet(config(calm_s=300.0)), random.Random(2)
    fleet.run(600, 0.5, 100, rng)
    before = fleet.changes
    fleet.run(1800, 0.5, 100, rng)
    assert fleet.changes - before <= 12 and fleet.refused < 5


def test_after_the_rush_workers_go_but_slowly() -> None:
    fleet, rng = Fleet(config(calm_s=60.0)), random.Random(3)
    fleet.run(300, 1.0, 60, rng)
    most = len(fleet.workers)
    fleet.run(50, 0.0, 60, rng)
    assert len(fleet.workers) >= most > 5  # calm_s has not passed
    fleet.run(600, 0.0, 60, rng)
    assert len(fleet.workers) == 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 30), st.integers(0, 400), st.floats(-2, 1), st.integers(0, 50)), max_size=40),
    st.integers(1, 5),
    st.integers(0, 20),
)
def test_the_bounds_hold_and_nothing_goes_before_its_time(
    steps: list[tuple[float, int, float, int]], low: int, more: int
) -> None:
    scaler, now = Autoscaler(config(min_workers=low, max_workers=low + more, calm_s=20.0)), 0.0
    asked: list[tuple[float, int]] = []
    for wait, sessions, headroom, refused in steps:
        now += wait
        scaler.hear(now, [Room(sessions, headroom)], refused)
        wanted = scaler.wanted(now)
        assert low <= wanted <= low + more
        needed = min(max(scaler._needed(), low), low + more)
        lately = [count for when, count in asked if now - when <= 20.0]
        assert wanted == max([needed, *lately])
        asked.append((now, needed))


@pytest.mark.parametrize("field", ["min_workers", "headroom", "lost_s", "name"])
def test_settings_that_cannot_be_are_named(field: str) -> None:
    bad = {"min_workers": 99, "headroom": 1.0, "lost_s": 0.1, "name": "Two Words"}
    with pytest.raises(ValueError, match=f"cluster.{field}"):
        ClusterConfig(**{field: bad[field]})  # type: ignore[arg-type]
