"""The rate finds what a line takes, leaves a still picture alone, and picks the picture that it is enough for."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import pytest

from streaming.rate import ROOM, SHAPES, STAY_S, LossMeter, RateController, ShapeChooser, _needed

TOP, START, FLOOR = 2_000_000, 1_000_000, 150_000
FRAME_S = 0.04


@dataclass
class Link:
    """A bottleneck: ``capacity`` bit/s, a queue that holds ``queue_s`` of it and drops what is beyond, 40 ms there and
    back. The receiver reports once a second; with ``estimates`` it also says what it could take, as browsers do: 0.85
    of what came while its delay grows, half more than came otherwise."""

    capacity: float
    queue_s: float = 0.3
    loss: float = 0.0  # at random, whatever is sent
    jitter_s: float = 0.0
    estimates: bool = False
    wanted: float = 1e9  # bit/s of what there is to send: a still picture has little
    queue: float = 0.0
    rates: list[int] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def run(self, controller: RateController, begin: float, seconds: float) -> None:
        rng = np.random.default_rng(7)
        lately: deque[float] = deque(maxlen=25)
        meter, sent, lost, growing = LossMeter(), 0.0, 0.0, 0.0
        for k in range(round(seconds / FRAME_S)):
            now = begin + k * FRAME_S
            size = min(controller.rate, self.wanted) * FRAME_S * rng.uniform(0.8, 1.2)
            packets = max(size / 9600, 1.0)
            lately.append(size)
            before = self.queue
            self.queue = max(self.queue + size - self.capacity * FRAME_S, 0.0)
            over = max(self.queue - self.capacity * self.queue_s, 0.0)
            self.queue -= over
            growing = 0.9 * growing + self.queue - before
            sent += packets
            lost += packets * min(over / size + self.loss, 1.0)
            controller.note_sent(now, sum(lately) * 25 / len(lately))
            self.rates.append(controller.rate)
            self.delays.append(self.queue / self.capacity)
            self.losses.append(over)
            if k % 25 == 24:
                round_trip = 0.04 + self.queue / self.capacity + rng.uniform(0, self.jitter_s)
                controller.note_round_trip(now, round_trip)
                share = meter.add(now, int(sent), int(lost))
                if share is not None:
                    controller.note_loss(now, share)
            if self.estimates and k % 10 == 9:
                came = min(sum(lately) * 25 / len(lately), self.capacity)
                over_used = self.queue / self.capacity > 0.03 and growing > 0
                controller.note_estimate(now, 0.85 * came if over_used else 1.5 * came + 10_000)


def controller() -> RateController:
    return RateController(START, TOP, FLOOR)


@pytest.mark.parametrize("estimates", [True, False])
@pytest.mark.parametrize("capacity", [300_000, 700_000, 1_500_000])
def test_it_settles_below_what_the_line_takes_and_does_not_swing(capacity: int, estimates: bool) -> None:
    rate, link = controller(), Link(capacity, estimates=estimates)
    link.run(rate, 0, 120)
    settled = np.array(link.rates[-1500:])  # the last minute
    assert 0.85 * capacity < settled.mean() < 1.02 * capacity
    assert settled.std() < 0.1 * capacity
    assert np.mean(link.delays[-1500:]) < 0.15
    assert np.mean(np.array(link.losses[-1500:]) > 0) < 0.02


@pytest.mark.parametrize("estimates", [True, False])
def test_it_takes_what_a_line_gives_again(estimates: bool) -> None:
    rate, link = controller(), Link(400_000, estimates=estimates)
    link.run(rate, 0, 40)
    assert rate.rate < 450_000
    link.capacity = 10_000_000
    link.run(rate, 40, 50)
    assert rate.rate == TOP


def test_a_good_line_is_filled_within_seconds() -> None:
    rate, link = controller(), Link(20_000_000)
    link.run(rate, 0, 6)
    assert rate.rate == TOP


def test_a_still_picture_does_not_lower_the_rate_and_does_not_raise_it_untried() -> None:
    rate, link = controller(), Link(5_000_000, wanted=200_000, estimates=True)
    link.run(rate, 0, 60)
    assert set(link.rates) == {START}


def test_five_percent_of_loss_and_jitter_do_not_make_the_picture_worse() -> None:
    rate, link = controller(), Link(20_000_000, loss=0.05, jitter_s=0.05)
    link.run(rate, 0, 60)
    assert min(link.rates) >= START


def test_much_loss_lowers_it_to_the_floor_and_no_further() -> None:
    rate, link = controller(), Link(20_000_000, loss=0.3)
    link.run(rate, 0, 60)
    assert rate.rate == FLOOR


def test_a_line_that_collapsed_gets_a_moment_to_drain() -> None:
    rate, link = controller(), Link(3_000_000)
    link.run(rate, 0, 10)
    assert rate.paused_until < 0
    link.capacity = 300_000
    link.run(rate, 10, 10)
    assert 10 < rate.paused_until < 20
    assert rate.rate < 330_000


def test_from_the_floor_it_comes_back_within_half_a_minute() -> None:
    rate, link = controller(), Link(100_000, estimates=True)  # less than the floor
    link.run(rate, 0, 40)
    assert rate.rate <= 1.2 * FLOOR
    link.capacity = 10_000_000
    link.run(rate, 40, 30)
    assert rate.rate == TOP


def test_an_estimate_that_is_only_slow_to_rise_does_not_hold_the_rate_down() -> None:
    rate = controller()
    rate.note_sent(0.0, 900_000)
    rate.note_estimate(0.0, 300_000)
    assert rate.rate == 300_000
    for k in range(1, 80):
        rate.note_sent(k, rate.rate)
        rate.note_estimate(k, 290_000 + 100 * k)
        rate.note_loss(k, 0.0)
    assert rate.rate > 1_000_000


def test_a_viewer_may_ask_for_less() -> None:
    rate = controller()
    rate.ceiling = 300_000
    assert rate.rate == 300_000
    rate.ceiling = 10
    assert rate.rate == FLOOR
    rate.ceiling = TOP
    Link(20_000_000).run(rate, 0, 30)
    assert rate.rate == TOP


def test_a_rate_without_room_stays() -> None:
    rate = RateController(800_000, 800_000, 800_000)
    Link(20_000_000, loss=0.5).run(rate, 0, 20)
    assert rate.rate == 800_000


def test_losses_are_counted_over_reports_that_got_lost_and_over_enough_packets() -> None:
    meter = LossMeter()
    assert meter.add(0.0, 1000, 10) is None
    assert meter.add(0.1, 1010, 15) is None  # ten packets say little
    assert meter.add(0.3, 1030, 13) is None  # one in ten of thirty may be chance
    assert meter.add(0.5, 1100, 20) == pytest.approx(0.1)
    assert meter.add(1.5, 1130, 23) == pytest.approx(0.1)  # few a second: then these few
    assert meter.add(1.6, 1160, 40) == pytest.approx(17 / 30)  # no chance
    assert meter.add(2.6, 1260, 35) == 0.0  # packets that were sent again came after all
    assert meter.add(2.7, 50, 0) is None  # a stream that begins anew


def test_chance_is_no_sign_of_a_full_line() -> None:
    rng, rate, meter = np.random.default_rng(5), controller(), LossMeter()
    highest = lost = 0
    for k in range(600):  # a minute of reports ten times a second, as browsers send them
        highest += 12
        lost += int(rng.binomial(12, 0.05))
        rate.note_sent(0.1 * k, rate.rate)
        share = meter.add(0.1 * k, highest, lost)
        if share is not None:
            rate.note_loss(0.1 * k, share)
    assert rate.rate > 0.8 * START


def test_bits_go_first_then_size_then_every_second_picture_and_come_back_slowly() -> None:
    chooser, pixels = ShapeChooser(), 512 * 512
    assert chooser.choose(0, 2_000_000, pixels, 25) == SHAPES[0]
    seen = [chooser.choose(1, rate, pixels, 25) for rate in range(2_000_000, 5_000, -1_000)]
    assert list(dict.fromkeys(seen)) == list(SHAPES)
    assert chooser.choose(2, 2_000_000, pixels, 25) == SHAPES[-1]  # a moment of good line is not enough
    assert chooser.choose(1 + STAY_S, 2_000_000, pixels, 25) == SHAPES[0]


def test_a_rate_at_the_edge_does_not_change_the_size_to_and_fro() -> None:
    chooser, pixels = ShapeChooser(), 512 * 512
    edge = _needed(SHAPES[0], pixels, 25)
    shapes = [chooser.choose(10 * k, edge * (0.99 if k % 2 else ROOM * 0.99), pixels, 25) for k in range(40)]
    assert set(shapes[1:]) == {SHAPES[1]}
