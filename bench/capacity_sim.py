"""A day of a cluster, simulated: arrivals, a router, an autoscaler, deaths, deploys. Vectorised: a million sessions at
once take a minute or two.

Time goes in steps; within one, who ends goes first, then workers die, boot and drain, then newcomers are routed in
portions smaller than the cluster, so that a portion sees the loads as they were before it, as an edge does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.capacity_model import Inputs, target_load

DAY_S: Final = 86_400
FLASH_S: Final = 900.0
PEAK_AT: Final = 20 / 24  # of a day
DEPLOY_AT: Final = 10 / 24
NEAR: Final = 2  # pairs of an avatar's own workers that an edge looks at, before it takes any that has room
WINDOW_S: Final = 300.0
ENOUGH: Final = 20
OFF, BOOTING, UP, DRAINING = range(4)
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Scenario:
    """What is simulated besides the inputs. ``sessions``: at once at the busiest hour, without the flash crowd.
    ``fixed``: so many workers all day, no autoscaler, no deaths, no deploy: what formulas can check."""

    sessions: float
    seconds: float = DAY_S
    step_s: float = 10.0
    seed: int = 0
    fixed: int | None = None


@dataclass
class Day:
    """What happened. Arrays have a row a step."""

    given: Inputs
    scenario: Scenario
    at_s: NDArray[np.float64]
    sessions: Ints
    up: Ints
    paid: Ints
    came: Ints
    refused: Ints
    resumed: int = 0
    lost: int = 0
    far: int = 0  # sessions that an avatar's own workers had no room for
    died: int = 0
    load_p50: list[float] = field(default_factory=list)
    load_p99: list[float] = field(default_factory=list)

    @property
    def refusals(self) -> float:
        """Share of those who came."""
        return float(self.refused.sum() / max(self.came.sum(), 1))

    @property
    def judged(self) -> bool:
        """Whether enough came for ``worst_refusals``: twenty in five minutes."""
        return bool((self._windows()[0] >= ENOUGH).any())

    def worst_refusals(self) -> float:
        """Largest share refused within five minutes in which enough came; 0 when there are none."""
        came, refused = self._windows()
        return float(np.max(np.where(came >= ENOUGH, refused / np.maximum(came, 1), 0.0), initial=0.0))

    def _windows(self) -> tuple[Ints, Ints]:
        size = max(int(WINDOW_S / self.scenario.step_s), 1)
        rows = len(self.came) // size
        came, refused = (row[: rows * size].reshape(rows, size).sum(1) for row in (self.came, self.refused))
        return came, refused


class Cluster:
    """Workers, who is on them, and when each session ends (in steps)."""

    def __init__(self, given: Inputs, scenario: Scenario) -> None:
        self.given, self.scenario = given, scenario
        self.rng = np.random.default_rng(scenario.seed)
        self.slots, self.step_s = given.slots, scenario.step_s
        peak = scenario.sessions * (1 + given["flash"]) + 4 * math.sqrt(scenario.sessions) + 4
        most = scenario.fixed or math.ceil(2.5 * peak / (self.slots * target_load(given))) + 8
        self.state = np.zeros(most, np.int8)
        self.load = np.zeros(most, np.int32)
        self.ready = np.zeros(most, np.int32)  # step at which it is up, or has to be gone
        room = int(1.3 * peak) + 64 if scenario.fixed is None else min(most * self.slots, int(3 * peak) + 64)
        self.worker = np.zeros(room, np.int32)
        self.ends = np.full(room, -1, np.int32)  # -1: nobody
        self.avatar = np.zeros(room, np.int32)
        self.free = np.arange(room - 1, -1, -1, dtype=np.int32)
        self.nobody = room  # how many of ``free`` count
        count = int(given["avatars"])
        share = 1 / np.arange(1, count + 1)
        self.share = share / share.sum()
        self.cumulated = np.cumsum(self.share)
        self.home = self.rng.random(count)
        self.ups: Ints = np.zeros(0, np.int64)
        self.look_again()

    def look_again(self) -> None:
        """The router's list of workers, after one came or went."""
        self.ups = np.flatnonzero(self.state == UP)

    def steps(self, seconds: float) -> int:
        """Seconds as steps, at least one."""
        return max(round(seconds / self.step_s), 1)

    def lengths(self, count: int, residual: bool = False) -> Ints:
        """Steps that ``count`` sessions last; ``residual``: what is left of sessions found at a random moment."""
        mean, sigma = self.given["mean_s"], self.given["sigma"]
        middle = math.log(mean) - sigma**2 / 2
        drawn = self.rng.lognormal(middle + (sigma**2 if residual else 0.0), sigma, count)
        if residual:
            drawn *= self.rng.random(count)
        whole = drawn / self.step_s
        floor = np.floor(whole)  # rounded at random, so that the mean stays what it is
        return np.maximum(floor + (self.rng.random(count) < whole - floor), 1).astype(np.int64)

    def end(self, now: int) -> None:
        """Those whose time is over leave."""
        gone = np.flatnonzero(self.ends == now)
        if len(gone):
            np.subtract.at(self.load, self.worker[gone], 1)
            self._release(gone)

    def admit(self, avatars: Ints, ends: Ints) -> tuple[Ints, int]:
        """Finds workers for sessions. -> (which were refused, how many went far from their avatar's own workers)."""
        waiting, far = np.arange(len(avatars)), 0
        if not len(self.ups):
            return waiting, 0
        portion = max(len(self.ups) // 2, 1)
        refused: list[Ints] = []
        for start in range(0, len(waiting), portion):
            some = waiting[start : start + portion]
            for _ in range(NEAR):
                if len(some):
                    chosen = self._choose(avatars[some])
                    fits = self._fits(chosen)
                    self._seat(some[fits], chosen[fits], avatars, ends)
                    some = some[~fits]
            if len(some):
                seats = self._anywhere(len(some))
                self._seat(some[: len(seats)], seats, avatars, ends)
                far, some = far + len(seats), some[len(seats) :]
            refused.append(some)
        return np.concatenate(refused) if refused else waiting[:0], far

    def _choose(self, avatars: Ints) -> Ints:
        """The emptier of two of its avatar's own workers, for each: power of two choices."""
        count = len(self.ups)
        width = np.clip(np.ceil(1.5 * self.share[avatars] * count), min(2, count), count)
        begin = np.floor(self.home[avatars] * count)
        drawn = self.rng.random((2, len(avatars)), np.float32)
        a, b = self.ups[(begin + np.floor(drawn * width)).astype(np.int64) % count]
        return np.where(self.load[a] <= self.load[b], a, b)

    def _anywhere(self, count: int) -> Ints:
        """Up to ``count`` free slots, wherever they are: an edge knows every worker's room."""
        open_ = self.ups[self.load[self.ups] < self.slots]
        free = np.repeat(open_, self.slots - self.load[open_])
        return self.rng.permutation(free)[:count] if len(free) > count else free

    def _fits(self, chosen: Ints) -> NDArray[np.bool_]:
        """Who gets in, when several chose one worker: as many as it has room for, in the order they came."""
        order = np.argsort(chosen, kind="stable")
        ordered = chosen[order]
        first = np.concatenate([[True], ordered[1:] != ordered[:-1]])
        rank = np.arange(len(chosen)) - np.flatnonzero(first)[np.cumsum(first) - 1]
        fits = np.empty(len(chosen), bool)
        fits[order] = self.load[ordered] + rank < self.slots
        return fits

    def _seat(self, which: Ints, where: Ints, avatars: Ints, ends: Ints) -> None:
        count = len(which)
        if not count:
            return
        if count > self.nobody:
            raise MemoryError(f"more than {len(self.ends)} sessions at once: the scenario explodes")
        seats = self.free[self.nobody - count : self.nobody]
        self.nobody -= count
        self.worker[seats], self.ends[seats], self.avatar[seats] = where, ends[which], avatars[which]
        np.add.at(self.load, where, 1)

    def _release(self, seats: Ints) -> None:
        self.ends[seats] = -1
        self.free[self.nobody : self.nobody + len(seats)] = seats
        self.nobody += len(seats)

    def evict(self, workers: Ints, now: int) -> tuple[int, int]:
        """Workers go with sessions on them, which resume elsewhere. -> (resumed, lost)."""
        if not len(workers):
            return 0, 0
        gone = np.zeros(len(self.state), bool)
        gone[workers] = True
        seats = np.flatnonzero(gone[self.worker] & (self.ends > now))
        avatars, ends = self.avatar[seats].astype(np.int64), self.ends[seats].astype(np.int64)
        self._release(seats)
        self.state[workers], self.load[workers] = OFF, 0
        self.look_again()
        lost, _ = self.admit(avatars, ends)
        return len(seats) - len(lost), len(lost)


class Keeper:
    """What changes the number of workers: the autoscaler, deaths, and one deploy a day."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.target = target_load(cluster.given)
        self.old: Ints = np.zeros(0, np.int64)  # workers of the version before, not yet replaced
        self.booting: Ints = np.zeros(0, np.int64)
        self.draining: Ints = np.zeros(0, np.int64)

    def step(self, now: int, day: Day) -> None:
        """One step: who is up now, who is gone, who dies, who is wished for."""
        cluster = self.cluster
        booted = self.booting[cluster.ready[self.booting] <= now]
        empty = self.draining[cluster.load[self.draining] == 0]
        late = self.draining[(cluster.load[self.draining] > 0) & (cluster.ready[self.draining] <= now)]
        cluster.state[booted], cluster.state[empty] = UP, OFF
        if len(booted) or len(empty):
            cluster.look_again()
        risk = min(cluster.step_s / (3600 * cluster.given["mtbf_h"]), 1.0)
        dead = cluster.rng.choice(cluster.ups, cluster.rng.binomial(len(cluster.ups), risk), replace=False)
        day.died += len(dead)
        for workers in (late, dead):
            resumed, lost = cluster.evict(workers, now)
            day.resumed, day.lost = day.resumed + resumed, day.lost + lost
        if now == int(DEPLOY_AT * DAY_S / cluster.step_s):
            self.old = cluster.ups.copy()
        if len(self.old):
            share = math.ceil(len(cluster.ups) * cluster.step_s / (3600 * cluster.given["deploy_h"]))
            self.drain(self.old[:share], now)
            self.old = self.old[share:]
        self.booting = self.booting[cluster.state[self.booting] == BOOTING]
        self.draining = self.draining[cluster.state[self.draining] == DRAINING]
        if now % cluster.steps(cluster.given["scale_every_s"]) == 0:
            self.scale(now)

    def drain(self, workers: Ints, now: int) -> None:
        """These take nobody any more, and are gone when they are empty or late."""
        cluster = self.cluster
        workers = workers[cluster.state[workers] == UP]
        if len(workers):
            cluster.state[workers] = DRAINING
            cluster.ready[workers] = now + cluster.steps(cluster.given["drain_s"])
            self.draining = np.concatenate([self.draining, workers])
            cluster.look_again()

    def scale(self, now: int) -> None:
        """As many as keep the load at the target, one to spare; the fewest sessions go when there are too many."""
        cluster = self.cluster
        busy = int(cluster.load[cluster.ups].sum())
        wish = math.ceil((busy + 2 * math.sqrt(busy)) / (cluster.slots * self.target)) + 1
        have = len(cluster.ups) + len(self.booting)
        if wish > have:
            spare = np.flatnonzero(cluster.state == OFF)[: wish - have]
            cluster.state[spare] = BOOTING
            cluster.ready[spare] = now + cluster.steps(cluster.given["boot_s"])
            self.booting = np.concatenate([self.booting, spare])
        elif have > 1.05 * wish + 1:
            surplus = min(have - math.ceil(1.05 * wish), len(cluster.ups) - 1)
            least = np.argsort(cluster.load[cluster.ups].astype(np.int16), kind="stable")[:surplus]  # int16: radix
            self.drain(cluster.ups[least], now)


def rate(given: Inputs, scenario: Scenario, at_s: float) -> float:
    """Arrivals a second: a day's curve and a flash crowd at its peak. Constant with ``fixed``."""
    top = scenario.sessions / given["mean_s"]
    if scenario.fixed is not None:
        return top
    quiet = given["swing"] * (1 - math.cos(2 * math.pi * (at_s / DAY_S - PEAK_AT))) / 2
    since = at_s - PEAK_AT * DAY_S
    return top * (1 - quiet + (given["flash"] if 0 <= since < FLASH_S else 0.0))


def simulate(given: Inputs, scenario: Scenario, progress: Any = None) -> Day:
    """One day (or ``scenario.seconds``). ``progress``: called with the share that is done."""
    count = int(scenario.seconds / scenario.step_s)
    cluster = Cluster(given, scenario)
    sessions, up, paid, came_in, turned_away = np.zeros((5, count), np.int64)
    at_s = np.arange(count, dtype=np.float64) * scenario.step_s
    day = Day(given, scenario, at_s, sessions, up, paid, came_in, turned_away)
    begin = rate(given, scenario, 0.0) * given["mean_s"]
    first = math.ceil((begin + 2 * math.sqrt(begin)) / (cluster.slots * target_load(given))) + 1
    cluster.state[: scenario.fixed or first] = UP
    cluster.look_again()
    there = cluster.rng.poisson(begin)
    cluster.admit(_avatars(cluster, there), cluster.lengths(there, residual=True))
    keeper = None if scenario.fixed is not None else Keeper(cluster)
    for now in range(count):
        cluster.end(now)
        if keeper is not None:
            keeper.step(now, day)
        came = int(cluster.rng.poisson(scenario.step_s * rate(given, scenario, day.at_s[now])))
        refused, far = cluster.admit(_avatars(cluster, came), now + cluster.lengths(came))
        day.came[now], day.refused[now] = came, len(refused)
        day.far += far
        day.sessions[now] = len(cluster.ends) - cluster.nobody
        day.up[now] = len(cluster.ups)
        day.paid[now] = day.up[now] + (len(keeper.booting) + len(keeper.draining) if keeper else 0)
        if now % cluster.steps(300) == 0:
            loads = cluster.load[cluster.ups] / cluster.slots if len(cluster.ups) else np.zeros(1)
            day.load_p50.append(float(np.percentile(loads, 50)))
            day.load_p99.append(float(np.percentile(loads, 99)))
            if progress is not None:
                progress(now / count)
    return day


def _avatars(cluster: Cluster, count: int) -> Ints:
    drawn = np.searchsorted(cluster.cumulated, cluster.rng.random(count))
    return np.minimum(drawn, len(cluster.share) - 1)
