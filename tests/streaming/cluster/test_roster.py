from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.schedule.room import Room
from streaming.cluster.config import ClusterConfig
from streaming.cluster.roster import FAILURES, LATER_S, PATIENCE_S, START_LIMIT_S, Action, Member, Report, Roster

CONFIG = ClusterConfig(lost_s=1.0, drain_s=30.0)


def report(name: str, sessions: int = 0, version: int = 1, draining: bool = False, refused: int = 0) -> Report:
    return Report(name, version, f"http://{name}:1", "node", Room(sessions), draining=draining, refused=refused)


def done(actions: list[Action]) -> list[tuple[str, str]]:
    return [(action.kind, action.name) for action in actions]


def grown(wanted: int, version: int = 1) -> Roster:
    """A roster whose workers serve, at time 0."""
    roster = Roster(CONFIG, version)
    for action in roster.look(wanted, 0.0):
        assert action.kind == "start" and roster.hear(report(action.name), 0.0)
    return roster


def test_missing_workers_are_started_once() -> None:
    roster = Roster(CONFIG, 1)
    assert done(roster.look(2, 0.0)) == [("start", "w1"), ("start", "w2")]
    assert roster.look(2, 0.5) == []
    assert roster.hear(report("w1"), 1.0) and [member.name for member in roster.serving] == ["w1"]


def watched(roster: Roster, wanted: int, now: float, until: float) -> list[Action]:
    """Everything that is to be done from ``now`` on, looked at ten times a second."""
    found = []
    while now <= until:
        found += roster.look(wanted, now)
        now += 0.1
    return found


def test_a_silent_worker_is_killed_and_replaced() -> None:
    roster = grown(2)
    assert watched(roster, 2, 0.0, 0.9) == []
    roster.hear(report("w2"), 1.0)
    assert done(watched(roster, 2, 1.0, 1.2)) == [("kill", "w1")]
    assert roster.lost == 1
    assert not roster.hear(report("w1"), 1.3)  # it was only slow: it is told that it is none of ours


def test_nobody_is_dead_because_the_director_was_away() -> None:
    roster = grown(2)
    roster.hear(report("w2"), 0.4)
    assert roster.look(2, 600.0) == [] == watched(roster, 2, 600.0, 600.5)
    roster.hear(report("w1"), 600.6)
    assert done(watched(roster, 2, 600.6, 602.0))[0] == ("kill", "w2")


def test_one_that_dies_is_replaced_at_once() -> None:
    roster = grown(1)
    action = roster.gone("w1", "its process died", 0.1)
    assert action == Action("kill", "w1", "its process died") and roster.gone("w1", "", 0.1) is None
    assert done(roster.look(1, 0.1)) == [("start", "w2")]


def test_while_others_take_over_its_sessions_nobody_is_started_beside_them() -> None:
    roster = grown(2)
    roster.gone("w1", "its process died", 0.1)
    assert roster.look(2, 0.1 + LATER_S - 0.2) == []
    assert done(roster.look(2, 0.1 + LATER_S)) == [("start", "w3")]


def test_one_that_never_starts_is_given_up() -> None:
    roster = Roster(CONFIG, 1)
    assert done(watched(roster, 1, 0.0, START_LIMIT_S - 1)) == [("start", "w1")]
    assert done(watched(roster, 1, START_LIMIT_S - 1, START_LIMIT_S + 1)) == [("kill", "w1"), ("start", "w2")]


def test_workers_that_cannot_start_are_not_started_without_end() -> None:
    roster, started = Roster(CONFIG, 1), 0
    for i in range(1000):
        now = i * 0.1
        for action in roster.look(1, now):
            started += action.kind == "start"
            roster.gone(action.name, "it fails", now)
    assert started <= FAILURES + 100 / PATIENCE_S + 1
    name = next(action.name for action in roster.look(1, 1000.0))
    roster.hear(report(name), 1001.0)
    assert roster.serving


def test_a_drained_worker_goes_when_its_sessions_are_over() -> None:
    roster = grown(2)
    for name in ("w1", "w2"):
        roster.hear(report(name, sessions=1), 1.0)
    assert roster.drain("w1", 1.0) == Action("drain", "w1", "asked to")
    assert [member.name for member in roster.serving] == ["w2"]
    assert done(roster.look(1, 1.1)) == []
    roster.hear(report("w1", 1, draining=True), 2.0)
    roster.hear(report("w2", 1), 2.0)
    assert done(roster.look(1, 2.0)) == []
    roster.hear(report("w1", 0, draining=True), 2.5)
    assert done(roster.look(1, 2.5)) == [("stop", "w1")] and "w1" not in roster.members


def test_sessions_of_a_drained_worker_have_their_time_and_no_more() -> None:
    roster = grown(1)
    roster.drain("w1", 0.0)
    for i in range(61):
        roster.hear(report("w1", 3, draining=True), i * 0.5)
        assert ("stop", "w1") not in done(roster.look(1, i * 0.5))
    roster.hear(report("w1", 3, draining=True), 30.5)
    assert ("stop", "w1") in done(roster.look(1, 30.5))


def test_a_name_that_nobody_has_is_said() -> None:
    with pytest.raises(ValueError, match='no worker "w7"; there are: w1'):
        grown(1).drain("w7", 0.0)


def test_the_emptiest_goes_when_there_are_too_many() -> None:
    roster = grown(3)
    for name, sessions in (("w1", 4), ("w2", 1), ("w3", 2)):
        roster.hear(report(name, sessions), 0.5)
    assert done(roster.look(2, 0.5)) == [("drain", "w2")]


def test_a_deployment_replaces_one_after_the_other_and_never_has_fewer() -> None:
    roster, busy, steps = grown(3), {"w1": 2, "w2": 0, "w3": 1}, []
    roster.version, alive = 2, {"w1", "w2", "w3"}
    draining: set[str] = set()
    now = 0.0
    while {member.version for member in roster.members.values()} != {2} or len(roster.serving) != 3:
        now += 0.25
        assert now < 60
        for name in sorted(alive):
            version = 2 if int(name[1:]) > 3 else 1
            sessions = busy.get(name, 0) if now < 10 else 0
            roster.hear(report(name, sessions, version, name in draining), now)
        for action in roster.look(3, now):
            steps.append(action.kind)
            match action.kind:
                case "start":
                    alive.add(action.name)
                case "drain":
                    draining.add(action.name)
                case "stop":
                    alive.remove(action.name)
        assert len(roster.serving) >= 3 or len(roster.serving) + 1 == 3 == len(draining)
        assert sum(member.state == "starting" for member in roster.members.values()) <= 1
    assert steps.count("start") == 3 and steps.count("drain") == 3 and roster.lost == 0


def test_a_director_that_begins_anew_adopts_who_is_there() -> None:
    roster = Roster(CONFIG, 1, names=iter(["a1", "a2"]).__next__)
    roster.adopt(report("w7", 3), 5.0)
    assert done(roster.look(1, 5.0)) == [] and roster.serving[0].sessions == 3


def test_refusals_are_counted_once() -> None:
    roster = grown(2)
    roster.hear(report("w1", refused=5), 0.1)
    assert roster.refusals() == 0  # from before it was asked
    roster.hear(report("w1", refused=9), 0.2)
    roster.hear(report("w2", refused=0), 0.2)
    assert roster.refusals() == 4 and roster.refusals() == 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 6), st.sampled_from(["hear", "die", "drain", "deploy", "wait"]), st.integers(0, 9))
    )
)
def test_it_comes_to_rest_with_as_many_as_are_wanted(steps: list[tuple[int, str, int]]) -> None:
    roster, now, version, wanted = Roster(CONFIG, 1), 0.0, 1, 1
    draining: set[str] = set()

    def settle() -> None:
        nonlocal now
        now += 0.25
        for member in list(roster.members.values()):
            roster.hear(report(member.name, 0, member.version, member.name in draining), now)
        for action in roster.look(wanted, now):
            if action.kind == "drain":
                draining.add(action.name)

    for wanted, what, which in steps:
        names = sorted(roster.members)
        if what == "hear":
            settle()
        elif what == "wait":
            now += 0.7
        elif what == "deploy":
            version += 1
            roster.version = version
        elif names and what == "die":
            roster.gone(names[which % len(names)], "died", now)
        elif names and what == "drain":
            draining.add(roster.drain(names[which % len(names)], now).name)
        for action in roster.look(wanted, now):
            if action.kind == "drain":
                draining.add(action.name)
    for _ in range(400):
        settle()
    states: list[Member] = list(roster.members.values())
    assert [member.state for member in states] == ["serving"] * wanted
    assert {member.version for member in states} == {roster.version}
