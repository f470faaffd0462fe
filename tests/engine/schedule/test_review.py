"""Who is let in, what is given up, and that it comes back: in virtual time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.schedule.core import PERIOD, Core
from engine.schedule.plan import FULL, Plan, Rung, make
from engine.schedule.review import Review, Rules
from engine.schedule.simulate import Machine, Person

few = settings(max_examples=20, deadline=None, derandomize=True)


def machine(
    people: list[Person], *, typical: float = 0.0, places: int = 1, plan: Plan | None = None, **more
) -> Machine:
    core = Core(make() if plan is None else plan, places, capacity=places, typical=typical)
    return Machine(core, people, Review(core), **more)


@few
@given(st.lists(st.tuples(st.floats(0, 4000), st.floats(4.0, 16.0)), min_size=5, max_size=40), st.integers(1, 2))
def test_whoever_is_let_in_is_in_time_whoever_else_comes(comers: list[tuple[float, float]], places: int) -> None:
    people = [Person(cost, start=start, jitter=3.0) for start, cost in comers]
    made = machine(people, typical=10.0, places=places)
    made.run(6000)
    before = [(person.late + person.skipped, person.asked) for person in people]
    made.run(16_000)
    admitted = [k for k, person in enumerate(people) if person.member is not None]
    missed = sum(people[k].late + people[k].skipped - before[k][0] for k in admitted)
    asked = sum(people[k].asked - before[k][1] for k in admitted)
    assert asked and missed <= 0.03 * asked
    for person in people:
        if person.refused is not None:
            assert person.refused.refusal and person.refused.retry_after_s > 0


def test_a_refusal_says_why_in_numbers_and_when_to_ask_again() -> None:
    people = [Person(20.0, start=10.0 * k) for k in range(6)]
    made = machine(people, typical=20.0)
    made.run(5000)
    refused = [person.refused for person in people if person.refused is not None]
    assert 1 <= len(refused) <= 4
    words = refused[0].refusal or ""
    assert re.search(r"\d sessions? keep", words) and re.search(r"\d+%", words) and "try again" in words
    assert refused[0].retry_after_s > 0 and refused[0].headroom < 0.2


def test_the_first_session_is_always_let_in_and_a_place_that_is_free_again_is_given() -> None:
    core = Core(typical=500.0)
    review = Review(core)
    assert review.room().refusal is None
    member = core.join(0.0)
    assert review.room().refusal is not None
    core.leave(member, 1.0)
    assert review.room().refusal is None and review.room().headroom == 1


def test_nobody_new_is_let_in_on_the_very_edge_where_somebody_was_just_refused() -> None:
    core = Core(typical=9.1)
    review, members = Review(core), [core.join(0.0) for _ in range(3)]
    assert review.room().refusal is not None, "four would need 36.4 of 36 ms"
    for member in members:
        core.bases += 8.9 - member.base
        member.base = 8.9
    core.typical = 8.9
    assert review.room().refusal is not None, "35.6 ms would have done, but not behind a refusal"
    core.leave(members[0], 1.0)
    assert review.room().refusal is None


def test_an_overload_lowers_everybody_alike_and_the_plan_is_followed_in_order() -> None:
    people = [Person(15.0, start=5.0 * k) for k in range(4)]  # 60 ms of work every 40
    made = machine(people, admits=False)
    made.run(8000)
    rungs = [person.member.rung for person in people if person.member]
    assert max(rungs) - min(rungs) <= 1 and max(rungs) == 2
    before = [person.late + person.skipped for person in people]
    made.run(20_000)
    assert sum(person.late + person.skipped for person in people) - sum(before) <= 10, "of 1200 frames"


def test_whoever_takes_most_gives_up_first() -> None:
    heavy, *light = people = [Person(24.0), Person(6.0, start=10.0), Person(6.0, start=20.0)]
    made = machine(people, admits=False, typical=6.0)
    made.run(1500)
    assert heavy.member is not None and heavy.member.rung == 1
    assert all(one.member is not None and one.member.rung == 0 for one in light)


def test_quality_comes_back_once_there_is_room_and_does_not_flap() -> None:
    people = [Person(10.0, start=3.0 * k) for k in range(3)]
    made = machine(people, admits=False, speed=lambda now: 0.45 if 5000 < now < 12_000 else 1.0)
    made.run(4900)
    assert made.core.below == 0
    made.run(12_000)
    assert made.core.below == 3
    made.run(45_000)
    assert made.core.below == 0 and all(person.member and person.member.rung == 0 for person in people)
    assert made.review is not None and made.review.raised == made.review.lowered <= 9


def test_quality_that_went_up_too_early_waits_longer_the_next_time() -> None:
    def speed(now: float) -> float:
        return 0.5 if int(now / 6000) % 2 else 1.0  # good for six seconds, bad for six

    people = [Person(14.0, start=5.0 * k) for k in range(2)]
    made = machine(people, admits=False, speed=speed)
    made.run(30_000)
    early = made.review.lowered if made.review else 0
    made.run(120_000)
    assert made.review is not None and made.review.lowered - early < 3 * early, "90 s against 30"


def test_half_rate_needs_half_and_misses_nothing_by_leaving_pictures_out() -> None:
    people = [Person(18.0, start=7.0 * k) for k in range(3)]
    made = machine(people, admits=False, plan=make(("rate",), "rate"))
    made.run(3000)
    before = made.core.misses
    made.run(12_000)
    assert made.core.below == 3 and made.core.misses - before <= 5
    assert all(person.painted < 0.7 * person.asked for person in people)


def test_what_a_rung_saves_is_learnt() -> None:
    people = [Person(20.0, start=9.0 * k, spread=0.0) for k in range(3)]
    made = machine(people, admits=False)
    true = list(made.core.ratios)
    made.core.ratios[1] = made.core.ratios[2] = 0.95  # what the plan thinks is far off
    made.core.plan = Plan(made.core.plan.rungs, tuple(true), made.core.plan.admit)  # what the machine does
    made.run(15_000)
    assert made.core.ratios[2] < 0.6


def test_plans_are_made_of_what_can_be_given_up() -> None:
    full = make()
    assert full.rungs == (FULL, Rung(1, scale=0.75), Rung(2, scale=0.5), Rung(3, scale=0.5, every=2))
    assert full.admit == 2
    steps = make(steps=(4, 2, 1), scales=(), rate=False)
    assert [rung.steps for rung in steps.rungs] == [0, 2, 1] and steps.admit == 2
    assert make((), "full").rungs == (FULL,) and make(("rate",), "size").admit == 0
    with pytest.raises(ValueError, match='got "colour"'):
        make(("colour",))
    with pytest.raises(ValueError, match="lower rung"):
        Plan((FULL, Rung(1)), (1.0, 1.5))


def test_rules_leave_room_between_giving_up_and_taking_back() -> None:
    rules = Rules()
    assert rules.raised < rules.bound <= 1 and rules.recover > PERIOD


@pytest.mark.parametrize(("lasts", "lowest"), [(3000.0, 2), (20_000.0, 3)])
def test_pictures_are_left_out_only_where_less_size_has_not_helped_for_long(lasts: float, lowest: int) -> None:
    def slow(now: float) -> float:
        return 3.0 if 6000 <= now < 6000 + lasts else 1.0

    people = [Person(7.8, start=9.0 * k, surge=slow, jitter=6.0) for k in range(3)]
    made = machine(people, admits=False)
    made.run(6000)
    assert all(person.rungs == 0 for person in people)
    made.run(6000 + lasts)
    assert max(person.rungs for person in people) == lowest


def test_who_is_alone_keeps_full_quality_as_long_as_there_is_time_and_gets_it_back() -> None:
    one, other = Person(31.0), Person(31.0, start=5000.0, end=9000.0)
    made = machine([one, other], admits=False)
    made.review = Review(made.core, Rules(bound=0.6, raised=0.5))
    made.run(5000)
    assert one.rungs == 0
    made.run(9000)
    assert one.rungs >= 1
    made.run(40_000)
    assert one.member is not None and one.member.rung == 0


def test_what_a_picture_is_thought_to_cost_does_not_follow_a_second_of_somebodys_coming() -> None:
    person = Person(10.0, surge=lambda now: 3.0 if 8000 <= now < 9000 else 1.0)
    made = machine([person])
    made.run(9000)
    assert person.member is not None and 9.0 < person.member.base < 14.0
    made.run(12_000)
    assert 9.0 < person.member.base < 11.5
