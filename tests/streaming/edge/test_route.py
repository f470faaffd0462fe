"""Which worker a session goes to: for any table of workers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.schedule.room import Room
from streaming.edge import route
from streaming.edge.route import LOCALITY, SILENT_S, Full, Worker

NOW = 1000.0
AVATARS = ("ada", "ben", "cho")
few = settings(max_examples=60, deadline=None, derandomize=True)
rooms = st.builds(
    Room, st.integers(0, 9), st.floats(-1, 1), st.sampled_from((None, None, None, "no time is left")), st.floats(0, 60)
)


@st.composite
def tables(draw: st.DrawFn) -> list[Worker]:
    names = draw(st.lists(st.text("abcw019", min_size=1, max_size=4), unique=True, max_size=8))
    return [
        Worker(
            name, f"unix:/{name}", draw(rooms), draw(st.frozensets(st.sampled_from(AVATARS))),
            draw(st.integers(0, 4)) == 0, draw(st.sampled_from((None, NOW - 60, NOW, NOW, NOW, NOW))),
            draw(st.integers(0, 2)),
        )
        for name in names
    ]  # fmt: skip


def takes(worker: Worker) -> bool:
    heard = worker.heard is not None and NOW - worker.heard <= SILENT_S
    return heard and not worker.draining and worker.room.refusal is None and (worker.headroom > 0 or not worker.pending)


@few
@given(tables(), st.sampled_from(AVATARS), st.text(max_size=8))
def test_a_session_goes_to_none_that_cannot_take_it(workers: list[Worker], avatar: str, key: str) -> None:
    try:
        order = route.choose(workers, avatar, key, NOW)
    except Full as full:
        assert not any(map(takes, workers))
        assert full.reason and full.retry_after_s >= 1
        waits = [w.room.retry_after_s for w in workers if not w.silent(NOW) and not w.draining]
        assert not waits or full.retry_after_s == max(min(waits), 1)
        return
    if any(not worker.silent(NOW) for worker in workers):
        assert sorted(w.name for w in order) == sorted(w.name for w in workers if takes(w))
    else:  # nobody has said anything: whoever answers
        assert len(order) == len(workers)


@few
@given(tables(), st.sampled_from(AVATARS), st.text(max_size=8), st.randoms())
def test_every_edge_with_the_same_table_chooses_alike(
    workers: list[Worker], avatar: str, key: str, random: object
) -> None:
    if not any(map(takes, workers)):
        return
    shuffled = list(workers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert route.choose(workers, avatar, key, NOW)[0] == route.choose(shuffled, avatar, key, NOW)[0]


@few
@given(tables(), st.sampled_from(AVATARS), st.text(max_size=8))
def test_whoever_has_the_avatar_gets_it_unless_he_is_much_fuller(workers: list[Worker], avatar: str, key: str) -> None:
    warm = [worker for worker in workers if takes(worker) and avatar in worker.warm]
    if not warm:
        return
    chosen = route.choose(workers, avatar, key, NOW)[0]
    assert avatar in chosen.warm or all(chosen.headroom >= w.headroom + LOCALITY for w in route.ranked(warm, key)[:2])


@few
@given(tables(), st.integers(0, 2**32))
def test_one_that_comes_or_goes_moves_no_session_between_the_others(workers: list[Worker], number: int) -> None:
    order = [worker.name for worker in route.ranked(workers, str(number))]
    for gone in workers:
        left = [worker.name for worker in route.ranked([w for w in workers if w is not gone], str(number))]
        assert left == [name for name in order if name != gone.name]


def test_load_evens_out_although_nobody_tells_in_between() -> None:
    workers = [Worker(f"w{k}", "unix:/", Room(0, 1.0), heard=NOW) for k in range(10)]
    counts: Counter[str] = Counter()
    for session in range(60):
        chosen = route.choose(workers, "ada", str(session), NOW)[0]
        counts[chosen.name] += 1
        workers = [replace(w, pending=w.pending + (w.name == chosen.name)) for w in workers]
    assert sum(counts.values()) == 60 and max(counts.values()) <= 9 and len(counts) == 10


def test_many_edges_that_choose_by_one_old_table_do_not_all_choose_the_same_worker() -> None:
    workers = [Worker(f"w{k}", "unix:/", Room(4, 0.5 + 0.001 * k), heard=NOW) for k in range(10)]
    counts = Counter(route.choose(workers, "ada", str(session), NOW)[0].name for session in range(500))
    assert max(counts.values()) < 150  # the best of all would get 500


def test_a_session_goes_on_where_it_was_and_else_where_all_who_ask_meet() -> None:
    workers = [Worker(f"w{k}", "unix:/", Room(2, 0.2 * k), heard=NOW) for k in range(1, 5)]
    session = "w2-" + "0a" * 12
    assert route.resume(workers, session, NOW)[0].name == "w2"
    full = [replace(w, room=Room(2, 0, "no time is left", 2)) if w.name == "w2" else w for w in workers]
    assert route.resume(full, session, NOW)[0].name == "w2"  # it may be running there still
    without = [worker for worker in workers if worker.name != "w2"]
    meeting = route.resume(without, session, NOW)[0]
    busier = [replace(w, room=Room(9, 0.01 * k)) for k, w in enumerate(reversed(without), 1)]
    assert route.resume(busier, session, NOW)[0].name == meeting.name
    other = f"{meeting.name}-" + "0a" * 12
    assert route.resume(without, other, NOW)[0].name == meeting.name  # who asks by its new name
    silent = [replace(w, heard=NOW - 60) if w.name == "w2" else w for w in workers]
    assert route.resume(silent, session, NOW)[0].name == meeting.name
    untold = [replace(w, heard=NOW - 60) for w in workers]
    assert route.resume(untold, session, NOW)[0].name == "w2"  # who tells of them is gone, not they
    alone = [Worker("", "unix:/", heard=NOW - 60)]
    assert route.resume(alone, "0a" * 12, NOW) == alone  # it is being started again: perhaps it is there already
    with pytest.raises(Full) as refused:
        route.resume([], session, NOW)
    assert refused.value.restarting


def test_an_id_names_its_worker_and_a_path_its_session() -> None:
    assert [route.worker_of(name) for name in ("w1-0a", "0a", "", "-0a", "a-b-0a")] == ["w1", "", "", "", "a-b"]
    assert route.session_in("/v1/sessions/w1-0a/whep/x") == "w1-0a"
    assert [route.session_in(path) for path in ("/v1/sessions", "/v1/sessions/", "/v1/avatars/x")] == ["", "", ""]
