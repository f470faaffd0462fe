"""The microphone as a clock: whatever the network does, media time is unbroken and follows real time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.micclock import AHEAD_S, MicClock

PACKET = 960  # 20 ms at 48 kHz
RATE = 48_000


def tone(position: int, n: int = PACKET) -> np.ndarray:
    """A voice whose every sample says where it belongs."""
    return ((np.arange(position, position + n) % 1000 + 1) / 1000).astype(np.float32)


class Line:
    """Feeds a clock by real time, and keeps what comes out."""

    def __init__(self) -> None:
        self.clock, self.now, self.out = MicClock(0.0), 0.0, []

    def packet(self, position: int, at: float, samples: np.ndarray | None = None) -> None:
        self.tick_until(at)
        self.out.append(self.clock.packet(position, tone(position) if samples is None else samples, at))

    def tick_until(self, at: float) -> None:
        while self.now + 0.02 <= at:
            self.now += 0.02
            self.out.append(self.clock.tick(self.now))

    @property
    def voice(self) -> np.ndarray:
        return np.concatenate([np.zeros(0, np.float32), *self.out])


def test_steady_packets_come_out_sample_for_sample() -> None:
    line = Line()
    for k in range(100):
        line.packet(k * PACKET, 1.0 + 0.02 * (k + 1))
    heard = line.voice[np.flatnonzero(line.voice)[0] :]
    np.testing.assert_array_equal(heard, tone(0, 100 * PACKET))


@pytest.mark.parametrize("first", [0.0031, 0.5, 1.2345])
def test_packets_fit_into_whole_frames_wherever_they_begin(first: float) -> None:
    line = Line()
    for k in range(10):
        line.packet(12_345 + k * PACKET, first + 0.02 * (k + 1))
    assert np.flatnonzero(line.voice)[0] % 1920 == 0
    assert line.clock.edge % 1920 == 0  # ten packets are five frames, complete with the last sample


def test_without_a_microphone_silence_keeps_pace_with_time() -> None:
    line = Line()
    line.tick_until(10.0)
    assert not line.voice.any()
    assert abs(len(line.voice) - 10 * RATE) <= PACKET


def test_time_goes_on_without_a_microphone_where_every_tick_is_late() -> None:
    clock = MicClock(0.0)
    for k in range(1, 41):
        clock.tick(0.05 * k)
    assert clock.edge == 2 * RATE


def test_a_lost_packet_becomes_silence_and_the_rest_keeps_its_place() -> None:
    line = Line()
    for k in range(50):
        if k != 20:
            line.packet(k * PACKET, 0.02 * (k + 1))
    expected = tone(0, 50 * PACKET)
    expected[20 * PACKET : 21 * PACKET] = 0
    np.testing.assert_array_equal(line.voice[-50 * PACKET :], expected)


def test_a_stall_is_filled_in_time_and_what_comes_late_is_dropped() -> None:
    line = Line()
    for k in range(50):
        line.packet(k * PACKET, 0.02 * (k + 1))
    for k in range(50, 60):
        line.packet(k * PACKET, 1.2 + 1e-4 * k)  # ten packets at once, 200 ms after the last
    for k in range(60, 100):
        line.packet(k * PACKET, 0.02 * (k + 1))
    assert abs(len(line.voice) - 2 * RATE) <= 2 * PACKET
    np.testing.assert_array_equal(line.voice[-30 * PACKET :], tone(70 * PACKET, 30 * PACKET))
    assert line.clock.stats.late_ms > 0


def test_a_stall_of_the_server_itself_loses_nothing() -> None:
    line = Line()
    for k in range(50):
        line.packet(k * PACKET, 0.02 * (k + 1))
    line.now = 1.30  # nobody ran for 300 ms; the packets waited in the socket
    line.out.append(line.clock.tick(1.30))
    for k in range(50, 65):
        line.out.append(line.clock.packet(k * PACKET, tone(k * PACKET), 1.301))
    for k in range(65, 80):
        line.packet(k * PACKET, 0.02 * (k + 1) + 0.001)
    np.testing.assert_array_equal(line.voice[-80 * PACKET :], tone(0, 80 * PACKET))


def test_a_path_that_got_slower_for_good_is_followed() -> None:
    line = Line()
    for k in range(50):
        line.packet(k * PACKET, 0.02 * (k + 1))
    for k in range(50, 250):
        line.packet(k * PACKET, 0.02 * (k + 1) + 0.15)
    np.testing.assert_array_equal(line.voice[-100 * PACKET :], tone(150 * PACKET, 100 * PACKET))


def test_a_timestamp_jump_is_followed_either_way() -> None:
    for jump in (90_000_000, -40_000_000):
        line = Line()
        for k in range(50):
            line.packet(k * PACKET, 0.02 * (k + 1))
        for k in range(50, 150):
            line.packet(jump + k * PACKET, 0.02 * (k + 1), tone(k * PACKET))
        np.testing.assert_array_equal(line.voice[-50 * PACKET :], tone(100 * PACKET, 50 * PACKET))
        assert abs(len(line.voice) - 3 * RATE) < 0.3 * RATE


def test_a_sender_faster_than_time_cannot_run_ahead() -> None:
    line = Line()
    for k in range(5000):
        line.packet(k * PACKET, 0.002 * (k + 1))
    assert len(line.voice) <= (10 + AHEAD_S + 0.1) * RATE
    assert line.clock.stats.early_ms > 0


def test_clock_drift_costs_no_samples() -> None:
    line = Line()
    for k in range(3000):
        line.packet(k * PACKET, 0.5 + 0.02 * (k + 1) * 1.0003)  # 300 ppm slow, a minute
    heard = line.voice[np.flatnonzero(line.voice)[0] :]
    np.testing.assert_array_equal(heard, tone(0, 3000 * PACKET))


def test_nan_infinity_and_overload_become_harmless() -> None:
    bad = np.full(PACKET, np.nan, np.float32)
    bad[:3] = np.inf, -np.inf, 40.0
    line = Line()
    line.packet(0, 0.02, bad)
    assert np.isfinite(line.voice).all()
    assert np.abs(line.voice).max() <= 1.0


@settings(max_examples=60, deadline=None)
@given(
    events=st.lists(
        st.tuples(st.floats(0, 0.3), st.integers(-5000, 5000), st.integers(1, 4000)), min_size=1, max_size=60
    )
)
def test_any_packets_at_any_time_leave_an_unbroken_line_near_real_time(
    events: list[tuple[float, int, int]],
) -> None:
    line, at, position = Line(), 0.0, 0
    for wait, jump, length in events:
        at += wait
        position = max(position + jump, 0)
        line.packet(position, at, tone(position, length))
        position += length
    line.tick_until(at + 1.0)
    assert len(line.voice) == line.clock.edge
    assert (line.clock.edge / RATE) <= at + 1.0 + AHEAD_S + 0.1
    assert (line.clock.edge / RATE) >= at + 1.0 - 0.15
