"""Pictures below full quality: smaller and enlarged, every other one, the one before; voice and time go on."""

from __future__ import annotations

import numpy as np
import pytest

from engine.clock import FRAME, VOICE_FRAME
from engine.config import EngineConfig, MotionConfig, RenderConfig, ScheduleConfig
from engine.engine import Engine
from engine.render.composite import Backdrop
from engine.schedule.plan import FULL, Rung
from engine.schedule.turns import Free
from engine.session import Frame, Session

HALF, SMALL, BOTH = Rung(1, every=2), Rung(1, scale=0.5), Rung(2, scale=0.5, every=2)


@pytest.fixture(scope="module")
def engine() -> Engine:
    render = RenderConfig(width=128, height=128, renderer="geometric")
    return Engine(EngineConfig(motion=MotionConfig(lookahead=0), render=render))


def play(session: Session, count: int, seed: int = 0, paint: bool = True) -> list[tuple[Frame, np.ndarray]]:
    found, rng = [], np.random.default_rng(seed)
    for _ in range(count):
        session.push_voice(rng.uniform(-0.2, 0.2, VOICE_FRAME).astype(np.float32))
        frame = session.step(paint)
        assert frame is not None
        found.append((frame, frame.i420.copy()))
    return found


def small(engine: Engine, session: Session) -> Session:
    session.fit(0.5, engine.smaller(0.5, "ada"))
    return session


def near(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean())


def test_at_half_rate_every_other_picture_is_the_one_before_and_time_goes_on(engine: Engine) -> None:
    session, whole = engine.open(seed=1), engine.open(seed=1)
    session.quality = HALF
    found, full = play(session, 10), play(whole, 10)
    assert [frame.repeated for frame, _ in found] == [False, True] * 5
    for k, ((frame, picture), (same, _)) in enumerate(zip(found, full, strict=True)):
        assert frame.pts == k * FRAME and frame.rung == 1
        assert np.array_equal(frame.voice, same.voice) and np.array_equal(frame.motion.pack(), same.motion.pack())
        if frame.repeated:
            assert np.array_equal(picture, found[k - 1][1])


def test_sessions_at_half_rate_can_take_turns(engine: Engine) -> None:
    session = engine.open()
    session.quality, session.phase = HALF, 1
    assert [frame.repeated for frame, _ in play(session, 5)] == [False, False, True, False, True], "the first has none"


def test_a_frame_that_must_do_without_a_picture_has_the_one_before(engine: Engine) -> None:
    session = engine.open()
    ((first, picture),) = play(session, 1, paint=False)
    assert not first.repeated, "there was none before"
    ((second, same),) = play(session, 1, paint=False)
    assert second.repeated and np.array_equal(picture, same) and second.i420 is not first.i420
    session.cut()
    ((third, _),) = play(session, 1, paint=False)
    assert not third.repeated, "it does not follow from the last"


@pytest.mark.parametrize("kind", ["geometric", "neural"])
def test_small_pictures_are_enlarged_and_show_the_same(kind: str) -> None:
    render = RenderConfig(width=128, height=128, renderer=kind)
    engine = Engine(EngineConfig(motion=MotionConfig(lookahead=0), render=render))
    session, whole, other = small(engine, engine.open(seed=1)), engine.open(seed=1), engine.open("leo", seed=1)
    session.quality = SMALL
    frame, picture = play(session, 5)[-1]
    full, stranger = play(whole, 5)[-1][1], play(other, 5)[-1][1]
    assert frame.rung == 1 and picture.shape == full.shape and not np.array_equal(picture, full)
    assert near(picture, full) < 0.5 * near(stranger, full)
    session.quality = FULL
    assert play(session, 1)[0][0].rung == 0


def test_in_company_the_network_takes_fewer_cores_and_paints_the_same() -> None:
    config = EngineConfig(render=RenderConfig(width=64, height=64), schedule=ScheduleConfig(turns=2))
    engine = Engine(config)
    alone, crowded = engine.open(seed=1), engine.open(seed=1)
    crowded.easel.lane = 1
    for _ in range(3):
        for session in (alone, crowded):
            session.push_voice(np.zeros(VOICE_FRAME, np.float32))
    for _ in range(2):
        one, other = alone.step(), crowded.step()
        assert one is not None and other is not None
        assert near(one.i420, other.i420) < 0.5


def test_full_quality_is_the_same_after_an_excursion_for_a_renderer_without_a_past(engine: Engine) -> None:
    session, whole = small(engine, engine.open(seed=1)), engine.open(seed=1)
    session.quality = BOTH
    play(session, 6)
    session.quality = FULL
    after, expected = play(session, 4, seed=1), (play(whole, 6), play(whole, 4, seed=1))[1]
    for (_, picture), (_, same) in zip(after, expected, strict=True):
        assert np.array_equal(picture, same)


def test_another_avatar_is_painted_at_once_and_at_full_size_until_it_has_a_small_renderer(engine: Engine) -> None:
    session = small(engine, engine.open())
    session.quality = BOTH
    before = play(session, 1)[0][1]
    session.wear(engine.renderer("leo"))
    frame, picture = play(session, 1)[0]
    assert not frame.repeated and near(picture, before) > 1
    assert not session.easel.fits(0.5)


def test_the_schedulers_word_is_taken_as_far_as_it_can_be(engine: Engine) -> None:
    session = engine.open()
    turn = Free(rung=BOTH, lane=1)
    session.adapt(turn)
    assert session.quality == Rung(0, every=2) and turn.level == 0 and session.easel.lane == 1
    small(engine, session).adapt(turn)
    assert session.quality == BOTH and turn.level == 2
    session.show(Backdrop("transparent"))
    session.adapt(turn)
    assert session.quality.scale == 1.0, "edges of a cutout are not enlarged"
    frame, _ = play(session, 1)[0]
    assert frame.cutout is not None and frame.cutout.shape == (128, 128, 4)


def test_an_engines_plan_has_only_sizes_that_differ() -> None:
    def scales(side: int) -> list[float]:
        config = EngineConfig(render=RenderConfig(width=side, height=side, renderer="geometric"))
        return [rung.scale for rung in Engine(config).plan().rungs]

    assert scales(512) == [1.0, 0.75, 0.5, 0.5]
    assert scales(64) == [1.0, 0.5, 0.5], "three quarters of 64 are no multiple of 32"


def test_sessions_that_join_and_leave_are_what_an_engine_tells_of(engine: Engine) -> None:
    assert engine.room().sessions == 0 and engine.room().refusal is None
    place = engine.join(lambda: 0.0)
    assert engine.room().sessions == 1 and engine.report().sessions == 1
    place.leave()
    assert engine.room().sessions == 0
    off = Engine(EngineConfig(schedule=ScheduleConfig(enabled=False)))
    assert off.join(lambda: 0.0).turn(0.0, 0.0).granted and off.room().sessions == 0


BAD = [
    ("turns", -1, "turns must be"),
    ("bound", 1.5, "bound must be"),
    ("degrade", ("colour",), "given up"),
    ("degrade", ("size", "size"), "twice"),
    ("recover_s", -1.0, "recover_s"),
]


@pytest.mark.parametrize(("key", "value", "words"), BAD)
def test_a_schedule_that_cannot_be_is_refused(key: str, value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ScheduleConfig(**{key: value})  # type: ignore[arg-type]
