import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.ring import FrameRing, SampleRing


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), max_size=30), st.integers(40, 97))
def test_samples_come_out_in_order_for_any_chunking(chunks: list[int], capacity: int) -> None:
    ring, sent, got = SampleRing(capacity), 0, []
    for n in chunks:
        ring.write(np.arange(sent, sent + n, dtype=np.float32))
        sent += n
        got.append(ring.read(max(0, ring.available - n // 2)))
        while ring.free < 40:
            got.append(ring.read(1))
    got.append(ring.read(ring.available))
    assert np.array_equal(np.concatenate(got), np.arange(sent, dtype=np.float32))
    assert ring.position == sent


def test_a_write_that_does_not_fit_is_refused_and_writes_nothing() -> None:
    ring = SampleRing(8)
    ring.write(np.ones(5, np.float32))
    with pytest.raises(BufferError, match="room for 3"):
        ring.write(np.ones(4, np.float32))
    assert ring.available == 5


def test_reading_more_than_there_is_is_refused() -> None:
    with pytest.raises(BufferError, match="holds 0"):
        SampleRing(8).read(1)


def test_what_is_peeked_at_stays() -> None:
    ring = SampleRing(8)
    ring.write(np.arange(6, dtype=np.float32))
    ring.skip(4)
    ring.write(np.arange(6, 11, dtype=np.float32))
    assert np.array_equal(ring.peek(7), np.arange(4, 11)) and np.array_equal(ring.read(7), np.arange(4, 11))
    with pytest.raises(BufferError, match="holds 0"):
        ring.peek(1)


def test_one_producer_and_one_consumer_thread_lose_no_sample() -> None:
    ring, total = SampleRing(1000), 60_000
    received: list[np.ndarray] = []

    def produce() -> None:
        sent = 0
        while sent < total:
            n = min(ring.free, 313, total - sent)
            ring.write(np.arange(sent, sent + n, dtype=np.float32))
            sent += n

    thread = threading.Thread(target=produce)
    thread.start()
    while sum(map(len, received)) < total:
        if ring.available:
            received.append(ring.read(min(ring.available, 271)))
    thread.join()
    assert np.array_equal(np.concatenate(received), np.arange(total, dtype=np.float32))


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 6))
def test_a_claimed_picture_stays_intact_for_slots_minus_one_claims(slots: int) -> None:
    ring = FrameRing(slots, 4, 6)
    first = ring.claim()
    first[:] = 7
    for _ in range(slots - 1):
        ring.claim()[:] = 9
    assert (first == 7).all()
    assert ring.claim() is not None and np.shares_memory(first, ring._pictures[0])


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 3, 4), (2, 4, 5)])
def test_a_frame_ring_of_impossible_shape_is_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="even sides"):
        FrameRing(*shape)
