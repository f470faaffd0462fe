"""Sessions that share a GPU: whoever asks while it is busy goes into the next tick."""

import threading

import pytest

from engine.schedule.plan import make
from engine.schedule.review import Rules
from engine.scheduler import Ask, Scheduler, bucket, split


class Slow:
    """A tick that paints when it is let, and doubles the wish."""

    buckets, costs = (1, 2, 4), {}

    def __init__(self):
        self.batches, self.go, self.fail = [], threading.Semaphore(0), False
        self.thread = None

    def attach(self):
        self.thread = threading.current_thread().name

    def submit(self, asks, steps):
        self.batches.append([ask.wish for ask in asks])
        if any(ask.wish < 0 for ask in asks):
            raise ValueError("negative")
        return [ask.wish for ask in asks]

    def collect(self, pending):
        self.go.acquire()
        if self.fail:
            raise ValueError("the picture burnt")
        return [2 * wish for wish in pending]


@pytest.fixture
def tick():
    return Slow()


@pytest.fixture
def scheduler(tick):
    made = Scheduler(tick)
    yield made
    for _ in range(100):
        tick.go.release()
    made.close()


def ask(scheduler, wish, got):
    def run():
        try:
            got[wish] = scheduler.step(Ask(None, wish))
        except Exception as problem:
            got[wish] = str(problem)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def until(condition):
    deadline = threading.Event()
    for _ in range(2000):
        if condition():
            return
        deadline.wait(0.005)
    raise AssertionError("never came true")


def test_a_lone_session_is_painted_at_once(scheduler, tick):
    got = {}
    thread = ask(scheduler, 3, got)
    until(lambda: tick.batches == [[3]])
    tick.go.release()
    thread.join()
    assert got == {3: 6} and tick.thread == "gpu"


def test_those_who_ask_while_the_gpu_is_busy_are_painted_together_oldest_first(scheduler, tick):
    got, threads = {}, []
    for wish in range(1, 9):
        threads.append(ask(scheduler, wish, got))
        until(lambda count=wish: sum(map(len, tick.batches)) + scheduler._core.waiting == count)
    for _ in range(8):
        tick.go.release()
    for thread in threads:
        thread.join()
    assert got == {wish: 2 * wish for wish in range(1, 9)}
    assert sum(tick.batches, []) == list(range(1, 9)), "the order of asking"
    assert max(map(len, tick.batches)) == 4, "never more than the largest bucket"
    assert len(tick.batches) < 8


def test_a_tick_that_fails_is_told_to_its_sessions_and_to_no_other(scheduler, tick):
    got = {}
    first = ask(scheduler, -1, got)
    first.join()
    second = ask(scheduler, 5, got)
    tick.go.release()
    second.join()
    tick.fail = True
    third = ask(scheduler, 7, got)
    tick.go.release()
    third.join()
    assert got == {-1: "negative", 5: 10, 7: "the picture burnt"}


def test_a_closed_scheduler_says_so(tick):
    scheduler = Scheduler(tick)
    scheduler.close()
    with pytest.raises(RuntimeError, match="closed"):
        scheduler.step(Ask(None, 1))


def test_a_gpu_that_cannot_be_used_is_told_to_whoever_asks():
    class Broken(Slow):
        def attach(self):
            raise OSError("no context")

    scheduler = Scheduler(Broken())
    got = {}
    ask(scheduler, 1, got).join()
    assert got[1] in ("no context", "the GPU has been given up: this engine is closed")


@pytest.mark.parametrize("count, size", [(1, 1), (3, 4), (4, 4), (9, 4)])
def test_a_bucket_is_the_smallest_that_holds_them(count, size):
    assert bucket(count, (1, 2, 4)) == size


def test_one_number_of_steps_is_one_batch():
    asks = [Ask(None, i, 2) for i in range(3)]
    assert split(asks, (1, 2, 4), {}) == [(asks, 2)]
    assert split([], (1,), {}) == []


def test_step_counts_are_mixed_or_parted_whatever_costs_less():
    asks = [Ask(None, 0, 1), Ask(None, 1, 4), Ask(None, 2, 1), Ask(None, 3, 1)]
    dear = {(1, 4): 4.0, (4, 1): 4.0, (4, 4): 16.0}
    parts = split(asks, (1, 2, 4), dear)
    assert [(len(part), steps) for part, steps in parts] == [(3, 1), (1, 4)]
    cheap = {(1, 4): 4.0, (4, 1): 1.5, (4, 4): 5.0}
    assert [(len(part), steps) for part, steps in split(asks, (1, 2, 4), cheap)] == [(4, 4)]


class Quick:
    """A tick of measured costs that remembers which wishes came together."""

    buckets, steps = (1, 2, 4), (1, 4)
    costs = {(1, 4): 10.0, (2, 4): 14.0, (4, 4): 24.0, (1, 1): 4.0, (2, 1): 5.0, (4, 1): 8.0}

    def __init__(self):
        self.batches, self.go, self.collecting = [], threading.Semaphore(0), False

    def attach(self):
        pass

    def submit(self, asks, steps):
        self.batches.append([(ask.wish, ask.steps) for ask in asks])
        return [ask.wish for ask in asks]

    def collect(self, pending):
        self.collecting = True
        self.go.acquire()
        return pending


def arranged(tick, clock=lambda: 0.0):
    made = Scheduler(tick)
    made.arrange(clock, make(steps=(4, 1), scales=(), rate=False), Rules())
    return made


def test_the_most_urgent_go_into_the_next_tick():
    tick, threads = Quick(), []
    scheduler = arranged(tick)
    places = [scheduler.join() for _ in range(8)]

    def paint(place, wish, deadline):
        with place.turn(0.0, deadline) as turn:
            scheduler.step(Ask(None, wish, 4, turn))

    deadlines = (40.0, 40.0, 90.0, 80.0, 70.0, 60.0, 50.0)
    for k, deadline in enumerate(deadlines):
        threads.append(threading.Thread(target=paint, args=(places[k], k, deadline)))
        threads[-1].start()
        until(lambda count=k: tick.collecting and scheduler.report().waiting == count)  # the first is painted alone
    for _ in threads:
        tick.go.release()
    for thread in threads:
        thread.join()
    assert tick.batches[0] == [(0, 4)]
    assert tick.batches[1] == [(1, 4), (6, 4), (5, 4), (4, 4)], "earliest deadline first, as many as fit"
    assert sorted(sum(tick.batches, [])) == [(wish, 4) for wish in range(7)]
    for place in places:
        place.leave()
    assert scheduler.report().sessions == 0
    scheduler.close()


def test_more_sessions_than_a_gpu_paints_in_time_are_painted_in_fewer_steps_or_refused():
    tick, now = Quick(), [0.0]
    scheduler = arranged(tick, lambda: now[0])
    places = []
    for _ in range(1000):
        tick.go.release()
    while scheduler.room().refusal is None and len(places) < 100:
        places.append(scheduler.join())
        for _ in range(40):
            for place in places:
                with place.turn(now[0], now[0] + 40.0) as turn:
                    tick.go.release()
                    scheduler.step(Ask(None, 1, turn.rung.steps or 4, turn))
            now[0] += 40.0
    report, room = scheduler.report(), scheduler.room()
    assert 4 < len(places) < 20, "a tick of four takes 24 ms in four steps, and 8 in one"
    assert report.rungs[1] > 0 and report.utilisation <= 0.95
    assert "busy" in room.refusal and room.retry_after_s > 0
    for place in places:
        place.leave()
    assert scheduler.room().refusal is None
    scheduler.close()


def test_a_session_that_ends_while_the_gpu_paints_it_leaves_when_that_is_done():
    tick = Quick()
    scheduler = arranged(tick)
    place, got = scheduler.join(), []

    def paint():
        with place.turn(0.0, 40.0) as turn:
            got.append(scheduler.step(Ask(None, 7, 4, turn)))

    thread = threading.Thread(target=paint)
    thread.start()
    until(lambda: tick.batches)
    place.leave()
    assert scheduler.report().sessions == 1
    tick.go.release()
    thread.join()
    assert got == [7] and scheduler.report().sessions == 0
    assert not place.turn(0.0, 40.0).granted
    scheduler.close()
