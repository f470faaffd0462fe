"""The scheduler's core in virtual time: whatever comes, nobody starves, nobody urgent waits behind who is not, and
nobody pays for another's demands."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.schedule.core import ARREARS, PATIENCE, PERIOD, SKIPS, STUCK, WAITING, Ask, Core
from engine.schedule.plan import make
from engine.schedule.simulate import Machine, Person

few = settings(max_examples=25, deadline=None, derandomize=True)


def crowd(costs: list[float], seed: int, **more: object) -> list[Person]:
    """Sessions of those costs, spread over a period by ``seed``."""
    return [
        Person(cost, start=(seed * 7.3 + 17.9 * k) % PERIOD, spread=0.3, **more)  # type: ignore[arg-type]
        for k, cost in enumerate(costs)
    ]


costs = st.lists(st.floats(0.5, 30.0), min_size=1, max_size=12)


@few
@given(costs, st.integers(0, 50), st.integers(1, 3), st.sampled_from([0.0, 15.0]))
def test_nobody_goes_without_a_picture_for_long_however_many_there_are(
    found: list[float], seed: int, places: int, jitter: float
) -> None:
    people = crowd(found, seed, jitter=jitter)
    Machine(Core(places=places, capacity=places), people, seed=seed).run(6000)
    everybody = sum(1.3 * cost + SKIPS for cost in found)
    for person in people:
        assert person.painted
        assert person.worst <= (SKIPS + 2) * PERIOD + ARREARS + 2 * everybody


@few
@given(costs, st.integers(0, 50), st.integers(1, 4), st.booleans())
def test_who_is_more_urgent_and_can_still_be_in_time_goes_first(
    found: list[float], rows: int, places: int, skips: bool
) -> None:
    core = Core(places=places, rows=rows % 4 + 1, capacity=places, skips=skips, buckets=(1, 2, 4))

    def watch(now: float, batch: list[Ask]) -> None:
        for waiting in (member.ask for member in core.members.values()):
            if waiting is None or waiting.state != WAITING:
                continue
            within_its_share = waiting.member.tag <= waiting.deadline
            if within_its_share and not waiting.renewed and now + waiting.member.cost <= waiting.deadline:
                assert not any(ask.deadline > waiting.deadline for ask in batch)

    people = crowd(found, rows, jitter=10.0)
    Machine(core, people, watch=watch, batch_cost=lambda count: 0.5 + 0.5 * count).run(3000)
    assert core.frames > 0


@few
@given(
    st.lists(st.floats(1.0, 3.0), min_size=3, max_size=6), st.lists(st.floats(3.0, 10.0), min_size=1, max_size=3),
    st.integers(0, 50), st.booleans(),
)  # fmt: skip
def test_sessions_within_their_share_do_not_notice_those_that_are_not(
    modest: list[float], wild: list[float], seed: int, greedy: bool
) -> None:
    people = crowd(modest, seed)
    others = crowd([cost if greedy else 1.5 * cost for cost in wild], seed + 1, greedy=greedy)
    Machine(Core(), [*people, *others], seed=seed).run(8000)
    for person in people:
        assert person.late + person.skipped <= 2, "of 200 frames; the first few, while costs are not known"
    assert all(person.painted for person in others)


def test_a_session_that_asks_too_often_gets_what_nobody_else_wants() -> None:
    alone, greedy = Person(4.0), Person(8.0, greedy=True)
    Machine(Core(), [alone, greedy]).run(4000)
    assert alone.painted > 97 and alone.late == alone.skipped == 0
    assert greedy.painted > 300, "the rest of the machine"


def test_weights_share_what_is_not_enough() -> None:
    people = [Person(30.0, start=k, weight=weight, greedy=True) for k, weight in enumerate((1.0, 1.0, 4.0))]
    core = Core(skips=False)
    Machine(core, people).run(30_000)
    light, same, heavy = (person.painted for person in people)
    assert heavy > 1.5 * max(light, same) and abs(light - same) < 0.2 * light


def test_a_frame_that_is_late_anyway_makes_no_other_late() -> None:
    core = Core()
    first, second = core.join(0.0), core.join(0.0)
    for member in (first, second):
        member.base = member.cost = 30.0
    late, timely = core.ask(first, 0.0, 40.0, 0.0), core.ask(second, 5.0, 45.0, 5.0)
    batch = core.pick(41.0)
    assert batch == [late] and not late.paint, "the next one is due by now: time goes on without a picture"
    core.done(batch, 42.0, 1.0)
    assert core.pick(42.0) == [timely] and timely.paint


def test_a_session_that_takes_longer_than_a_frame_lasts_is_painted_as_often_as_it_can_be() -> None:
    slow, slower = Person(44.0, spread=0.0), Person(100.0, spread=0.0)
    for person in (slow, slower):
        Machine(Core(), [person]).run(10_000)
    assert slow.painted > 200 and slow.worst < 100, "of 250, and never two left out in a row"
    assert slower.painted > 85 and slower.worst < 150


def test_after_a_few_frames_without_a_picture_one_is_painted_however_late() -> None:
    core = Core()
    member, painted = core.join(0.0), []
    member.base = member.cost = 100.0
    for k in range(2 * (SKIPS + 1)):
        now = k * PERIOD
        core.ask(member, now, now + PERIOD, now)
        batch = core.pick(now + PERIOD + 1)
        painted.append(batch[0].paint)
        core.done(batch, now + PERIOD + 2, 1.0)
    assert painted == ([False] * SKIPS + [True]) * 2
    assert core.skipped == 2 * SKIPS and core.misses == 2 * SKIPS + 2, "late ones count, too"


def test_where_no_picture_can_be_left_out_late_frames_wait_behind_all_others_but_not_for_ever() -> None:
    core = Core(skips=False)
    late, other = core.join(0.0), core.join(0.0)
    late.base = late.cost = other.base = other.cost = 30.0
    behind = core.ask(late, 0.0, 40.0, 0.0)
    now, served = 50.0, 0
    while behind.state == WAITING:
        core.ask(other, now, now + PERIOD, now)
        batch = core.pick(now)
        now += 30.0
        served += batch[0].member is other
        core.done(batch, now, 30.0)
        if other.ask is not None:
            core.withdraw(other.ask)
    assert served > 3 and now <= 50.0 + PATIENCE + 3 * PERIOD


def test_a_turn_that_never_ends_is_written_off() -> None:
    core = Core()
    stuck, other = core.join(0.0), core.join(0.0)
    core.ask(stuck, 0.0, 40.0, 0.0)
    lost = core.pick(0.0)
    asked = core.ask(other, 0.0, 40.0, 0.0)
    assert core.pick(STUCK) == []
    assert core.pick(STUCK + 1) == [asked]
    core.done(lost, 5000.0, 5000.0)
    assert len(core.running) == 1, "it took nobody's place when it ended after all"


def test_who_leaves_is_forgotten_and_what_he_runs_keeps_its_place_until_it_is_done() -> None:
    core = Core()
    going, staying = core.join(0.0), core.join(0.0)
    core.ask(going, 0.0, 40.0, 0.0)
    batch = core.pick(0.0)
    asked = core.ask(staying, 0.0, 40.0, 0.0)
    core.leave(going, 1.0)
    core.leave(going, 1.0)
    assert core.pick(1.0) == []
    core.done(batch, 2.0, 2.0)
    assert core.pick(2.0) == [asked]
    core.leave(staying, 3.0)
    assert core.members == {} and core.need == core.bases == core.weights == 0 and core.waiting == 0


def test_what_is_withdrawn_while_it_waits_is_never_given() -> None:
    core = Core()
    member = core.join(0.0)
    core.withdraw(core.ask(member, 0.0, 40.0, 0.0))
    assert core.pick(0.0) == [] and core.waiting == 0
    again = core.ask(member, 0.0, 40.0, 0.0)
    assert core.pick(0.0) == [again]


def test_two_simulations_of_the_same_are_the_same() -> None:
    def once() -> list[tuple[int, int, float]]:
        people = crowd([9.0, 14.0, 22.0, 5.0], 3, jitter=8.0)
        Machine(Core(make()), people, seed=4).run(3000)
        return [(person.painted, person.late, person.worst) for person in people]

    assert once() == once()


def test_thousands_of_sessions_that_fit_are_all_in_time() -> None:
    people = [Person(0.8 * PERIOD / 2000, start=PERIOD * k / 2000, light=0.001) for k in range(2000)]
    core = Core()
    Machine(core, people).run(500)
    assert core.frames > 20_000 and core.misses == 0
