import numpy as np
import pytest

from engine.clock import FRAME, VOICE_FRAME
from engine.config import EngineConfig, MotionConfig, RenderConfig, WatermarkConfig
from engine.engine import Engine
from engine.motion.frame import ACTION_INDEX, Motion
from engine.motion.lips import lip_gap
from engine.motion.manner import Manner
from engine.session import Controls, Frame, Session, Source
from engine.viewpoint import Viewpoint
from engine.watermark import Payload

SMALL = RenderConfig(width=64, height=64)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(EngineConfig(motion=MotionConfig(lookahead=0), render=SMALL))


def voice(frames: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    beat = 0.5 + 0.5 * np.sin(np.arange(frames * VOICE_FRAME) / 9000)
    return (0.2 * beat * rng.normal(size=frames * VOICE_FRAME)).astype(np.float32).clip(-1, 1)


def play(session: Session, samples: np.ndarray, chunk: int) -> list[tuple[Frame, np.ndarray]]:
    frames = []
    for start in range(0, len(samples), chunk):
        session.push_voice(samples[start : start + chunk])
        while (frame := session.step()) is not None:
            frames.append((frame, frame.i420.copy()))
    return frames


@pytest.mark.parametrize("chunk", [480, 960, 1111, 5000])
def test_frames_do_not_depend_on_how_the_voice_was_cut(engine: Engine, chunk: int) -> None:
    samples = voice(20)
    whole = play(engine.open(seed=1), samples, len(samples))
    cut = play(engine.open(seed=1), samples, chunk)
    assert len(cut) == len(whole) == 20
    for (a, picture_a), (b, picture_b) in zip(cut, whole, strict=True):
        assert np.array_equal(a.motion.pack(), b.motion.pack()) and np.array_equal(picture_a, picture_b)


def test_the_voice_goes_out_as_it_came_in_with_the_pts_of_its_frame(engine: Engine) -> None:
    samples = voice(12)
    frames = play(engine.open(), samples, 960)
    assert [frame.pts for frame, _ in frames] == [i * FRAME for i in range(12)]
    assert np.array_equal(np.concatenate([frame.voice for frame, _ in frames]), samples)


@pytest.mark.parametrize("lookahead", [1, 2])
def test_lookahead_delays_frames_and_voice_together(lookahead: int) -> None:
    engine = Engine(EngineConfig(motion=MotionConfig(lookahead), render=SMALL))
    samples, count = voice(12), 12 - lookahead
    frames = play(engine.open(), samples, 960)
    assert len(frames) == count and frames[0][0].pts == 0
    assert np.array_equal(np.concatenate([frame.voice for frame, _ in frames]), samples[: count * VOICE_FRAME])


def test_there_is_no_frame_before_its_voice(engine: Engine) -> None:
    session = engine.open()
    assert session.step() is None
    session.push_voice(np.zeros(VOICE_FRAME - 1, np.float32))
    assert session.step() is None and not session.ready
    session.push_voice(np.zeros(1, np.float32))
    assert session.step() is not None


def test_nan_and_infinity_in_the_voice_do_no_harm(engine: Engine) -> None:
    session = engine.open()
    samples = voice(6)
    samples[1000:3000], samples[4000] = np.nan, np.inf
    frames = play(session, samples, 960)
    assert len(frames) == 6
    assert all(np.isfinite(f.motion.pack()).all() and np.isfinite(f.voice).all() for f, _ in frames)


def test_a_voice_that_is_not_fetched_is_refused_and_the_rest_is_kept(engine: Engine) -> None:
    session = engine.open()
    with pytest.raises(BufferError, match="too slow"):
        for _ in range(100):
            session.push_voice(voice(2))
    assert session.step() is not None


def test_controls_come_back_in_the_frame_that_shows_them(engine: Engine) -> None:
    session = engine.open()
    before = play(session, voice(2), 960)
    session.control(Controls(Viewpoint(yaw=0.9, distance=1.2), seq=7))
    after = play(session, voice(12), 960)
    assert [f.control_seq for f, _ in before] == [0, 0] and {f.control_seq for f, _ in after} == {7}
    yaws = [f.viewpoint.yaw for f, _ in after]
    assert yaws == sorted(yaws) and yaws[-1] == pytest.approx(0.9, abs=0.01)
    assert not np.array_equal(before[-1][1], after[-1][1])


def test_a_viewpoint_that_is_not_finite_is_refused_and_changes_nothing(engine: Engine) -> None:
    session = engine.open()
    controls = session.controls
    with pytest.raises(ValueError, match="finite"):
        session.control(Controls(Viewpoint(yaw=float("nan"))))
    assert session.controls == controls


def test_the_avatar_changes_between_two_frames_without_losing_time(engine: Engine) -> None:
    session = engine.open("ada")
    first = play(session, voice(3), 960)
    session.wear(engine.renderer("leo"))
    second = play(session, voice(3), 960)
    assert [f.pts // FRAME for f, _ in first + second] == list(range(6))
    assert not np.array_equal(first[-1][1], second[-1][1])


def test_every_picture_is_marked_unless_that_is_switched_off(engine: Engine) -> None:
    off = Engine(EngineConfig(motion=MotionConfig(lookahead=0), render=SMALL, watermark=WatermarkConfig(enabled=False)))
    samples = voice(3)
    marked, bare = (play(each.open(seed=3), samples, 960) for each in (engine, off))
    assert off.mark("ada") is None and off.open().parts.mark is None
    again = engine.mark("ada", 3)
    assert again is not None
    for (_, picture), (_, plain) in zip(marked, bare, strict=True):
        assert np.mean(picture[:64] != plain[:64]) > 0.05 and np.array_equal(picture[64:], plain[64:])
        assert np.abs(picture.astype(int) - plain).max() <= 6
        again(plain)
        assert np.array_equal(picture, plain)  # nothing else is changed


def test_a_new_avatar_brings_its_own_mark(engine: Engine) -> None:
    session = engine.open("ada", seed=4)
    session.wear(engine.renderer("leo"), engine.mark("leo", 4))
    assert session.parts.mark is not None and session.parts.mark.payload == Payload.of("leo", 4)
    session.wear(engine.renderer("ada"))
    assert session.parts.mark.payload == Payload.of("leo", 4)


def test_sessions_do_not_touch_each_other(engine: Engine) -> None:
    samples = voice(8)
    alone = play(engine.open(seed=2), samples, 960)
    one, other = engine.open(seed=2), engine.open(seed=5)
    mixed = []
    for start in range(0, len(samples), 960):
        one.push_voice(samples[start : start + 960])
        other.push_voice(samples[::-1][start : start + 960])
        for session, keep in ((one, True), (other, False)):
            while (frame := session.step()) is not None:
                if keep:
                    mixed.append((frame, frame.i420.copy()))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(alone, mixed, strict=True))


def test_an_interruption_cuts_the_voice_and_shuts_the_mouth_until_new_speech(engine: Engine) -> None:
    session = engine.open(seed=1, manner=Manner(actions=(("browInnerUp", 0.5),)))
    play(session, voice(8), 960)
    session.push_voice(voice(10))
    session.interrupt()
    frame = session.step()
    assert frame is not None and frame.interrupted and session.inbox.available == 0  # what waited is dropped
    assert np.abs(frame.voice[480:]).max() == 0.0 < np.abs(frame.voice[:240]).max()  # faded, not cut
    quiet = play(session, np.zeros(20 * VOICE_FRAME, np.float32), 960)
    assert all(np.abs(f.voice).max() == 0.0 and f.interrupted for f, _ in quiet)
    assert lip_gap(quiet[2][0].motion.face) < 0.3
    assert quiet[-1][0].motion.face[ACTION_INDEX["browInnerUp"]] == pytest.approx(0.5, abs=0.02)


def test_a_manner_changes_one_session_and_not_another(engine: Engine) -> None:
    one, other, alone = engine.open(seed=2), engine.open(seed=2), engine.open(seed=2)
    one.control(Controls(one.controls.viewpoint, manner=Manner(emotion="happy", intensity=1.0, gaze=(0.4, 0.0))))
    samples = voice(12)
    changed, untouched, reference = (play(session, samples, 960) for session in (one, other, alone))
    assert np.array_equal(untouched[-1][0].motion.pack(), reference[-1][0].motion.pack())
    smile = ACTION_INDEX["mouthSmileLeft"]
    assert changed[-1][0].motion.face[smile] > untouched[-1][0].motion.face[smile] + 0.1


def test_another_source_may_move_the_avatar_and_let_go(engine: Engine) -> None:
    still = Motion.rest()
    session = engine.open(seed=2)
    session.source = Source(lambda index: still if index < 3 else None)
    frames = play(session, voice(6), 960)
    assert all(np.array_equal(f.motion.pack(), still.pack()) for f, _ in frames[:3])
    assert not np.array_equal(frames[-1][0].motion.pack(), still.pack())


def test_motion_without_a_picture_is_the_same_motion(engine: Engine) -> None:
    painted = play(engine.open(seed=4), voice(8), 960)
    session, moved = engine.open(seed=4), []
    session.push_voice(voice(8))
    while (frame := session.move()) is not None:
        moved.append(frame)
    assert [f.pts for f in moved] == [f.pts for f, _ in painted]
    assert all(np.array_equal(a.motion.pack(), b.motion.pack()) for a, (b, _) in zip(moved, painted, strict=True))


def test_a_session_remembers_little(engine: Engine) -> None:
    session = engine.open()
    play(session, voice(4), 1920)
    seen: set[int] = set()

    def size(thing: object) -> int:
        if id(thing) in seen:
            return 0
        seen.add(id(thing))
        if isinstance(thing, np.ndarray):
            return thing.nbytes
        fields = getattr(thing, "__dataclass_fields__", {})
        return sum(size(getattr(thing, name)) for name in fields)

    state = session.state
    assert size(state) - size(state.render) <= 2 * 2**20
