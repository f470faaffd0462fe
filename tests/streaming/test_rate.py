"""The bitrate moves in few steps, down on real congestion, up when the line has been clear for long."""

from __future__ import annotations

from streaming.rate import DOWN_AFTER_S, UP_AFTER_S, BitrateLadder


def run(ladder: BitrateLadder, start: float, seconds: float, **report: float) -> list[int]:
    return [ladder.update(start + k * 0.5, **report) for k in range(int(seconds * 2))]  # type: ignore[arg-type]


def test_a_still_picture_does_not_lower_the_rate() -> None:
    ladder = BitrateLadder(2_000_000, 600_000)
    assert set(run(ladder, 0, 60, sent=200_000, estimate=300_000)) == {2_000_000}


def test_congestion_lowers_it_step_by_step_to_the_floor() -> None:
    ladder = BitrateLadder(2_000_000, 600_000)
    rates = run(ladder, 0, 20, sent=1_900_000, estimate=400_000)
    assert rates[0] == 2_000_000
    assert rates[-1] == 600_000
    assert sorted(set(rates), reverse=True) == [2_000_000, 1_400_000, 980_000, 686_000, 600_000]


def test_a_short_dip_changes_nothing() -> None:
    ladder = BitrateLadder(2_000_000, 600_000)
    run(ladder, 0, DOWN_AFTER_S, sent=1_900_000, estimate=400_000)
    assert run(ladder, DOWN_AFTER_S, 1, sent=1_900_000, estimate=3_000_000)[-1] == 2_000_000


def test_loss_counts_as_congestion() -> None:
    ladder = BitrateLadder(2_000_000, 600_000)
    assert run(ladder, 0, 3, sent=1_000_000, loss=0.2)[-1] < 2_000_000
    ladder = BitrateLadder(2_000_000, 600_000)
    assert run(ladder, 0, 30, sent=1_000_000, loss=0.02)[-1] == 2_000_000


def test_it_climbs_back_slowly() -> None:
    ladder = BitrateLadder(2_000_000, 600_000)
    run(ladder, 0, 2.5, sent=1_900_000, loss=0.3)
    low = ladder.rate
    assert low < 2_000_000
    assert run(ladder, 3, UP_AFTER_S - 1, sent=900_000, loss=0.0)[-1] == low
    assert run(ladder, 3 + UP_AFTER_S, 30, sent=900_000, loss=0.0)[-1] == 2_000_000


def test_a_ladder_of_one_rung_stays_there() -> None:
    ladder = BitrateLadder(800_000, 800_000)
    assert run(ladder, 0, 20, sent=800_000, loss=0.5)[-1] == 800_000
