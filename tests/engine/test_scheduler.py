"""Sessions that share a GPU: whoever asks while it is busy goes into the next tick."""

import threading

import pytest

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
