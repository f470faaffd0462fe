import numpy as np
import pytest

from engine.motion.behaviour import Behaviour, BehaviourConfig
from engine.motion.blink import CLOSING, HOLD, OPENING, lid_curve
from engine.motion.frame import ACTION_INDEX, K, Motion

SILENCE = np.full((4, 80), -1.0, np.float32)
LIPS = np.zeros(K, np.float32)


def run(seconds: float, seed: int = 0, speech: float = 0.0, config: BehaviourConfig | None = None) -> np.ndarray:
    behaviour = Behaviour(config)
    state = behaviour.initial_state(seed)
    voice = np.random.default_rng(5)
    out = []
    for i in range(int(seconds * 25)):
        loud = SILENCE + (0.8 * (1 + np.sin(i / 4)) * voice.uniform(0.8, 1) if speech else 0.0)
        motion, state = behaviour.step(LIPS, speech, loud.astype(np.float32), (0.0, 0.0), state)
        out.append(motion.pack())
    return np.stack(out)


def lids(motions: np.ndarray) -> np.ndarray:
    return motions[:, ACTION_INDEX["eyeBlinkLeft"]]


def test_the_same_seed_gives_the_same_motion_bit_for_bit_and_another_seed_does_not() -> None:
    assert np.array_equal(run(20, seed=3), run(20, seed=3))
    assert not np.array_equal(run(20, seed=3), run(20, seed=4))


def test_blinks_come_at_a_human_rate_and_more_often_while_speaking() -> None:
    def per_minute(speech: float) -> float:
        shut = np.concatenate([lids(run(180, seed=s, speech=speech)) > 0.9 for s in range(3)])
        return float(((~shut[:-1]) & shut[1:]).sum() / 9)

    rest, talk = per_minute(0.0), per_minute(0.95)
    assert 10 < rest < 26 and 18 < talk < 42 and talk > rest


def test_every_blink_shuts_the_eye_on_some_frame() -> None:
    closure = lids(run(240))
    starts = np.flatnonzero((closure[:-1] == 0) & (closure[1:] > 0)) + 1
    for start in starts[:-1]:
        assert closure[start : start + 8].max() > 0.99


def test_the_lid_closes_faster_than_it_opens() -> None:
    times = np.arange(0, CLOSING + HOLD + OPENING + 0.1, 0.001)
    curve = np.array([lid_curve(t) for t in times])
    assert curve.max() == 1.0 and curve[-1] == 0.0
    closing = (curve[: int(1000 * CLOSING)] > 0.1).sum()
    opening = (curve[int(1000 * (CLOSING + HOLD)) :] > 0.1).sum()
    assert opening > 1.8 * closing


def test_silence_is_alive_but_the_mouth_does_not_chatter() -> None:
    motions = [Motion.unpack(row) for row in run(60)]
    head = np.stack([m.head for m in motions])
    gaze = np.stack([m.gaze for m in motions])
    breath = np.stack([m.joints for m in motions])
    assert 0.002 < head[:, :3].std(0).max() < 0.08 and gaze.std(0).max() > 0.005
    assert np.ptp(breath[:, 2, 2]) > 0.01
    jaw = np.stack([m.face[ACTION_INDEX["jawOpen"]] for m in motions])
    assert (jaw == 0).all()


def test_head_moves_more_while_speaking() -> None:
    rest, talk = (run(90, speech=s)[:, 62:65].std(0).mean() for s in (0.0, 0.95))
    assert talk > 1.3 * rest


def test_head_motion_is_smooth() -> None:
    head = run(60, speech=0.95)[:, 62:65]
    assert np.abs(np.diff(head, axis=0)).max() < np.radians(3)


def test_the_eyes_hold_the_viewer_while_the_head_turns() -> None:
    motions = [Motion.unpack(row) for row in run(60, speech=0.95, config=BehaviourConfig(gaze=0.0))]
    sight = [m.gaze[0] + m.head[1] for m in motions]
    assert np.abs(sight).max() < 1e-5


@pytest.mark.parametrize("name", ["blink", "gaze", "head", "breath", "smile"])
def test_each_behaviour_can_be_switched_off(name: str) -> None:
    off = run(30, config=BehaviourConfig(**{name: 0.0}))
    on = run(30)
    assert not np.array_equal(off, on)
