"""How many session-ticks a second the scheduler's core decides, with a whole crowd of sessions in virtual time."""

from __future__ import annotations

import time

from engine.schedule.core import PERIOD, Core
from engine.schedule.plan import make
from engine.schedule.review import Review
from engine.schedule.simulate import Machine, Person


def ticks(sessions: int = 1000, seconds: float = 10.0, *, rows: int = 1) -> float:
    """Frames asked for, picked and finished in a second of this machine's time: ``sessions`` of them for ``seconds`` of
    theirs, who together need 80 % of the simulated machine. ``rows``: frames painted at a time, as a GPU does."""
    buckets = tuple(2**k for k in range(rows.bit_length()))
    core = Core(make(), places=1, rows=rows, buckets=buckets, capacity=1.0, skips=rows == 1)
    cost = 0.8 * PERIOD / sessions
    people = [Person(cost, start=PERIOD * k / sessions, light=0.1 * cost) for k in range(sessions)]
    batch_cost = (lambda count: float(count)) if rows > 1 else None
    machine = Machine(core, people, Review(core), admits=False, batch_cost=batch_cost)
    machine.run(2 * PERIOD)
    before, start = core.frames, time.perf_counter()
    machine.run(2 * PERIOD + 1e3 * seconds)
    took = time.perf_counter() - start
    frames = core.frames - before
    if frames < 0.99 * sessions * seconds * 1e3 / PERIOD or core.misses > 0.01 * frames:
        raise ValueError(f"the scheduler lost frames: {frames} of {sessions * seconds * 25:.0f}, {core.misses} late")
    return frames / took


if __name__ == "__main__":
    print(f"{ticks():.0f} ticks/s one at a time, {ticks(rows=64):.0f} in batches of 64")
