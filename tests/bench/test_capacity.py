import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import capacity
from bench.capacity_model import (
    Inputs,
    bill,
    erlang_b,
    inputs,
    servers_for,
    target_load,
    workers_pooled,
    workers_split,
)
from bench.capacity_sim import FLASH_S, PEAK_AT, Cluster, Day, Scenario, simulate

ROOT = Path(__file__).parents[2]


def one_worker(slots: int, **changed: float) -> Inputs:
    """A worker with exactly so many slots: a core a session."""
    return inputs("cpu", changed={"cores": slots, "bound": 1, "paint_ms": 39, "send_ms": 1, **changed})


@pytest.mark.parametrize(
    ("offered", "servers", "lost"),  # Erlang's own tables, to the digits they give
    [(1, 1, 0.5), (2, 2, 0.4), (10, 10, 0.2146), (5, 10, 0.0184), (100, 117, 0.0098), (0.5, 3, 0.0127)],
)
def test_erlang_b_gives_the_tables_figures(offered: float, servers: int, lost: float) -> None:
    assert erlang_b(offered, servers) == pytest.approx(lost, abs=6e-5)


def test_servers_for_is_the_fewest_that_do() -> None:
    for offered in (0.3, 7.0, 250.0):
        servers = servers_for(offered, 0.01)
        assert erlang_b(offered, servers) <= 0.01 < erlang_b(offered, servers - 1)


def test_larger_crowds_need_less_to_spare_and_splitting_costs() -> None:
    spare = [workers_pooled(n, 3, 0.01) * 3 / n for n in (1, 10, 1000, 100_000)]
    assert spare == sorted(spare, reverse=True) and spare[-1] < 1.01
    assert all(workers_pooled(n, 3, 0.01) <= workers_split(n, 3, 0.01) for n in (1, 10, 1000))
    assert workers_split(50, 1000, 0.01) == 1


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_a_simulated_worker_refuses_what_erlang_says_whatever_the_lengths(sigma: float) -> None:
    given = one_worker(40, mean_s=60, sigma=sigma)
    assert given.slots == 40
    days = [simulate(given, Scenario(38, seconds=20_000, step_s=2, seed=seed, fixed=1)) for seed in (1,)]
    refused = sum(day.refused.sum() for day in days) / sum(day.came.sum() for day in days)
    assert refused == pytest.approx(erlang_b(38, 40), rel=0.15)


def test_littles_law_holds() -> None:
    given = one_worker(10, mean_s=120, sigma=0.5)
    day = simulate(given, Scenario(60, seconds=20_000, step_s=5, seed=3, fixed=40))
    settled = slice(len(day.sessions) // 10, None)
    admitted = (day.came - day.refused)[settled].sum() / (len(day.came[settled]) * 5)
    assert day.refused.sum() == 0
    assert day.sessions[settled].mean() == pytest.approx(admitted * 120, rel=0.05)


def test_two_choices_are_between_a_random_one_and_a_perfect_one() -> None:
    given = one_worker(3, mean_s=100, avatars=5, sigma=0.3)
    offered = 0.8 * 3 * 50
    day = simulate(given, Scenario(offered, seconds=10_000, step_s=2, seed=4, fixed=50))
    assert day.refusals <= erlang_b(offered / 50, 3)
    assert day.refusals == pytest.approx(erlang_b(offered, 150), abs=0.01)
    assert 0 < day.far < day.came.sum()


def a_day(sessions: float = 300, hours: float = 24, **changed: float) -> Day:
    return simulate(one_worker(4, **changed), Scenario(sessions, seconds=3600 * hours, step_s=20, seed=5))


def test_a_day_follows_its_curve_and_the_autoscaler_follows_the_day() -> None:
    day = a_day(flash=0.0)
    peak = int(PEAK_AT * len(day.sessions))
    night = (peak + len(day.sessions) // 2) % len(day.sessions)
    assert day.sessions[peak] == pytest.approx(300, rel=0.2)
    assert day.sessions[night - 50 : night + 50].mean() == pytest.approx(300 * 0.4, rel=0.25)
    assert day.up[night] < 0.6 * day.up[peak]
    assert (day.sessions <= 4 * day.paid).all() and day.refusals < 0.01


def test_a_flash_crowd_is_the_hardest_time_of_the_day_and_room_to_spare_takes_it() -> None:
    day = a_day(flash=1.0)
    begun = int(PEAK_AT * len(day.sessions))
    crowd = slice(begun, begun + int(2 * FLASH_S / 20))
    assert day.sessions[crowd].max() == day.sessions.max() > 1.3 * 300
    assert day.refusals < 0.02
    assert target_load(day.given) < target_load(one_worker(4, flash=0.1))


def test_the_dead_are_replaced_and_their_sessions_resume() -> None:
    day = a_day(hours=6, mtbf_h=2)
    assert day.died > 50
    assert day.resumed > 20 * max(day.lost, 1)
    assert day.sessions[-1] > 50


def test_nobody_is_counted_twice_and_nobody_stays_behind() -> None:
    given = one_worker(4, mtbf_h=1, drain_s=60)
    scenario = Scenario(100, seconds=7200, step_s=10, seed=6)
    cluster = Cluster(given, scenario)
    cluster.state[:60] = 2
    cluster.look_again()
    for now in range(50):
        cluster.end(now)
        cluster.evict(cluster.rng.choice(cluster.ups, 1), now)
        cluster.admit(cluster.rng.integers(0, 9, 4), now + cluster.lengths(4))
        there = cluster.ends >= 0
        assert there.sum() == len(cluster.ends) - cluster.nobody == cluster.load.sum()
        assert (np.bincount(cluster.worker[there], minlength=len(cluster.load)) == cluster.load).all()
        assert cluster.load.max() <= given.slots and (cluster.load[cluster.state != 2] == 0).all()
        free = cluster.free[: cluster.nobody]
        assert len(np.unique(free)) == len(free) and not there[free].any()


def test_the_same_seed_gives_the_same_day() -> None:
    one, other = (simulate(one_worker(2), Scenario(20, seconds=3600, seed=7)) for _ in range(2))
    assert (one.sessions == other.sessions).all() and one.resumed == other.resumed


def test_the_bill_is_what_was_used_times_its_price() -> None:
    given = inputs("gpu", changed={"turn_share": 0, "gb_price": 1, "core_price": 0, "gpu_price": 2, "flash": 0})
    cost = bill(given, peak=100, mean=50, peak_workers=40, mean_workers=20)
    assert cost.compute == 40 and cost.turn_gbits == 0
    assert cost.egress_gbits == pytest.approx(100 * given.egress_mbits / 1e3)
    assert cost.traffic == pytest.approx(50 * given.egress_mbits * 3600 / 8e3)
    relayed = bill(inputs("gpu", changed={"turn_share": 1}), 100, 50, 40, 20)
    assert relayed.turn_gbits == pytest.approx(relayed.egress_gbits + relayed.ingress_gbits)


def test_measured_inputs_come_from_results_and_say_so() -> None:
    given = inputs("cpu")
    for name in ("paint_ms", "send_ms", "video_mbits"):
        assert given.given[name].source.startswith("measured: ") or given.given[name].source == "in paint_ms"
    assert "not ours" in given.given["gpu_streams"].source
    for name, one in given.given.items():
        assert any(word in one.source for word in ("measured", "assum", "PUBLISHED", "target", "in paint_ms")), name


def test_a_whole_server_under_load_is_believed_more_than_stages(tmp_path: Path) -> None:
    for suite in ("latency", "outputs", "stream"):
        (tmp_path / f"{suite}.json").write_bytes((ROOT / "bench" / "results" / f"{suite}.json").read_bytes())
    metrics = {
        "webrtc.256.sessions": {"value": 3, "unit": "sessions"},
        "webrtc.256.n3.cpu_per_session": {"value": 0.5, "unit": "cores"},
    }
    (tmp_path / "load.json").write_text(json.dumps({"suite": "load", "metrics": metrics}))
    assert inputs("cpu", 256, results=tmp_path)["paint_ms"] == pytest.approx(20)
    assert inputs("cpu", 256, results=tmp_path).slots == 3
    assert "latency.json" in inputs("cpu", 512, results=tmp_path).given["paint_ms"].source


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "cores=nan"], "cores must be a number above 0"),
        (["--set", "nonsense=1"], "inputs are"),
        (["--set", "bound=2"], "0 to 1"),
        (["--set", "cores"], "NAME=NUMBER"),
        (["--worker", "abacus"], "cpu, gpu or both"),
        (["--side", "300"], "was not measured"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(arguments: list[str], said: str) -> None:
    try:
        capacity.app(["--sessions", "1", *arguments], standalone_mode=False)
    except ValueError as error:
        assert said in str(error)
    else:
        pytest.fail("it was taken")


def test_the_command_writes_its_answers_tables_and_plots(tmp_path: Path) -> None:
    page = tmp_path / "scale.md"
    page.write_text(f"before\n{capacity.BEGIN}\nold\n{capacity.END}\nafter\n")
    command = [sys.executable, "-m", "bench.capacity", "--sessions", "50", "--hours", "2", "--worker", "gpu"]
    more = ["--json", str(tmp_path / "a.json"), "--plot", str(tmp_path / "plots"), "--into", str(page)]
    done = subprocess.run([*command, *more], cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "a.json").read_text())
    assert told["answers"][0]["sessions"] == 50 and math.isfinite(told["answers"][0]["dollars_an_hour"])
    text = page.read_text()
    assert text.startswith("before") and text.endswith("after\n") and "old" not in text and "PUBLISHED" in text
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"capacity_day.svg", "capacity_size.svg"}
