from dataclasses import dataclass, field

import numpy as np
import pytest
from rich.console import Console

from bench import faults, prompts, soak_cycles, soak_live
from bench import soak as suite
from bench import soak_voice as soak
from bench.trend import slope
from engine.clock import FRAME
from tests.bench.test_motion import nothing, one


def test_a_footprint_counts_arrays_once_and_follows_what_is_held() -> None:
    @dataclass(slots=True)
    class Slotted:
        array: np.ndarray
        more: list[np.ndarray] = field(default_factory=list)

    big = np.zeros(100_000, np.float32)
    alone = soak.footprint(big)
    assert 400_000 <= alone < 401_000
    assert soak.footprint([big, big]) - alone < 1000
    assert soak.footprint(Slotted(big, [np.zeros(50_000, np.float64)])) == pytest.approx(800_000, abs=2000)
    assert soak.footprint({"view": big[:10]}) >= 400_000  # a view keeps all of what it looks at


def test_a_soak_says_how_the_last_cycle_compares_with_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "asterisk", one)
    monkeypatch.setattr(soak, "_between", lambda: np.zeros(20 * FRAME, np.float32))
    cycle = 100 * 0.04 + 2 * 1.5 - 2 * 0.02 + 0.8  # the prompt, a pause on each side in whole frames, silence
    metrics = soak.run(log=Console(quiet=True), hours=3 * cycle / 3600).metrics
    assert metrics["lips.hours"]["value"] == pytest.approx(3 * cycle / 3600, rel=0.05)
    for name in ("f1_6", "closure_recall", "opening_corr"):
        assert metrics[f"lips.last.{name}"]["value"] == pytest.approx(metrics[f"lips.first.{name}"]["value"], abs=0.05)
    assert metrics["lips.state_bytes"]["value"] > 1000
    assert metrics["session.state_growth_bytes"]["value"] < 5000 < metrics["session.state_bytes"]["value"] < 2e6


def test_less_than_two_cycles_and_no_speech_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="shorter than two cycles"):
        soak._cycles(0.1, np.zeros(16000 * 300, np.float32))
    monkeypatch.setattr(prompts, "asterisk", nothing)
    with pytest.raises(ValueError, match="no speech to soak in"):
        soak.run(log=Console(quiet=True))


def test_a_slope_minds_the_trend_and_not_the_outliers() -> None:
    rng, at = np.random.default_rng(2), np.linspace(0, 1, 200)
    wild = 100 + 3 * at + 0.1 * rng.standard_normal(200)
    wild[::20] += 500
    found = slope(at, wild)
    assert found.value == pytest.approx(3, abs=0.15) and found.low < 3 < found.high
    flat = slope(at, 0.1 * rng.standard_normal(200))
    assert flat.low < 0 < flat.high
    many = np.linspace(0, 1, 20_000)
    assert slope(many, 2 * many).value == pytest.approx(2)
    with pytest.raises(ValueError, match="5 samples"):
        slope([1, 2], [1, 2])


def lived(hours: float, grown_mb: float, drift_ms: float) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Lines of a viewer and of a server that live for ``hours``, with so much growth and drift an hour."""
    seconds, rng = hours * 3600, np.random.default_rng(1)
    lines: list[dict[str, object]] = []
    for at in np.arange(10, seconds, 2.0):
        skew = 1 + drift_ms * at / 3600 + rng.normal(0, 0.2)
        lines.append({"at": at, "skew": skew, "arrived": skew - 60})
    for k, at in enumerate(np.arange(10, seconds, 10.0)):
        lines.append({"at": at, "got": 250 * k, "sounds": 500 * k, "freezes": 0, "unread": 0, "gap_ms": 60.0,
                      "age_ms": 80.0, "skipped": 0, "dropped_ms": 0, "rate": 1e6})  # fmt: skip
    held = {"fds": 20, "threads": 8, "native_threads": 25, "tasks": 16, "blocks": 7e5, "objects": 8000}
    server = [{"at": at, "rss_mb": 1000 + grown_mb * at / 3600 + rng.normal(0, 0.1),
               "anonymous_mb": 800 + grown_mb * at / 3600, **held} for at in np.arange(0, seconds, 5.0)]  # fmt: skip
    return lines, server


def test_growth_and_drift_are_found_and_nothing_is_where_nothing_is() -> None:
    grown = soak_live.evaluate(*lived(0.5, 40, 12), 1800).metrics
    assert grown["live.rss_slope_mb_h"]["value"] == pytest.approx(40, abs=2)
    assert grown["live.av_skew_trend_ms_h"]["value"] == pytest.approx(12, abs=1)
    assert grown["live.av_skew_end_ms"]["value"] == pytest.approx(1 + 12 * 0.48, abs=0.5)
    still = soak_live.evaluate(*lived(0.5, 0, 0), 1800).metrics
    assert abs(still["live.rss_slope_mb_h"]["value"]) < 1 and still["live.tasks_grown"]["value"] == 0
    assert still["live.av_skew_trend_ms_h"]["low"] < 0 < still["live.av_skew_trend_ms_h"]["high"]
    assert still["live.fps"]["value"] == pytest.approx(25)


def test_a_run_in_which_nothing_was_heard_is_an_error_not_a_figure() -> None:
    lines, server = lived(0.5, 0, 0)
    with pytest.raises(ValueError, match="nothing to judge by"):
        soak_live.evaluate([line for line in lines if "got" in line], server, 1800)


def test_leaks_are_what_is_more_afterwards() -> None:
    before = [{"tasks": 2, "threads": 6, "fds": 18, "objects": 100, "blocks": 1000, "rss_mb": 200.0}] * 5
    after = [{**line, "tasks": 5, "rss_mb": 203.0} for line in before]
    found = soak_cycles.judge(before, after)
    assert found["leaked_tasks"]["value"] == 3 and found["leaked_fds"]["value"] == 0
    assert found["grown_rss_mb"]["value"] == 3


def test_an_unknown_part_of_a_suite_is_refused() -> None:
    with pytest.raises(ValueError, match="parts of the soak"):
        suite.run(quick=True, log=Console(quiet=True), parts="live,nothing")
    with pytest.raises(ValueError, match="parts of the faults"):
        faults.run(quick=True, log=Console(quiet=True), parts="nothing")
