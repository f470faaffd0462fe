import math

import numpy as np
import pytest

from engine.motion.actor import Actor, ActorState, Places
from engine.motion.behaviour import BehaviourConfig
from engine.motion.frame import ACTION_INDEX, JOINT_INDEX, J, K, Motion, R
from engine.motion.lips import lip_gap
from engine.motion.manner import Manner
from engine.motion.perform import RulesPerformer
from engine.motion.performance import GAZE_AT, HEAD_AT, JOINTS_AT, PERFORMANCE

SILENCE = np.full((4, 80), -2.0, np.float32)
LIPS = np.zeros(K, np.float32)
IN_FRONT = Places()


class Still:
    """A performer that always gives the same row."""

    def __init__(self, row: np.ndarray) -> None:
        self.row = row

    def initial_state(self, seed: int) -> None:
        return None

    def step(self, heard, state):
        return self.row.copy(), state


def run(
    actor: Actor, state: ActorState, manner: Manner, seconds: float, places: Places = IN_FRONT, speech: float = 0.0,
    lips: np.ndarray = LIPS,
) -> list[Motion]:  # fmt: skip
    motions = []
    for _ in range(round(25 * seconds)):
        state = actor.prepare(manner, speech, places, state)
        motion, state = actor.step(lips, None, speech, SILENCE, manner, state)
        motions.append(motion)
    return motions


def rules(**behaviour: float) -> Actor:
    return Actor(RulesPerformer(BehaviourConfig(**behaviour)))


def packed(motions: list[Motion]) -> np.ndarray:
    return np.stack([motion.pack() for motion in motions])


def test_the_same_seed_gives_the_same_motion_bit_for_bit_and_a_new_seed_restarts_it() -> None:
    actor = rules()
    one, two = (packed(run(actor, actor.initial_state(3), Manner(), 8)) for _ in range(2))
    assert np.array_equal(one, two)
    other = packed(run(actor, actor.initial_state(3), Manner(seed=9), 8))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("gaze", ["viewer", (0.4, -0.1)])
def test_a_held_gaze_stays_on_its_target_while_the_head_moves(gaze) -> None:
    actor = rules()
    places = Places((0.1, 0.0), (0.5, -0.08))
    motions = run(actor, actor.initial_state(1), Manner(gaze=gaze), 12, places)[25:]
    aim = places.viewer if gaze == "viewer" else gaze
    yaw = np.array([m.gaze[0] + m.head[1] + m.joints[:2, 1].sum() for m in motions])
    pitch = np.array([m.gaze[1] - m.head[0] - m.joints[:2, 0].sum() for m in motions])
    assert abs(np.median(yaw) - aim[0]) < 0.02 and abs(np.median(pitch) - aim[1]) < 0.02
    assert np.percentile(np.abs(yaw - aim[0]), 95) < math.radians(5)


def test_a_free_gaze_wanders_more_than_a_held_one() -> None:
    actor = rules()
    spread = {
        gaze: np.std([m.gaze[0] + m.head[1] for m in run(actor, actor.initial_state(2), Manner(gaze=gaze), 40)])
        for gaze in ("free", "viewer")
    }
    assert spread["free"] > 2 * spread["viewer"] > 0


def test_the_eyes_make_up_for_head_and_trunk() -> None:
    row = np.zeros(PERFORMANCE, np.float32)
    row[HEAD_AT][:2] = 0.1, 0.2
    joints = row[JOINTS_AT].reshape(J, 3)
    joints[JOINT_INDEX["spine"]] = 0.02, 0.05, 0.0
    row[GAZE_AT] = 0.03, -0.01
    actor = Actor(Still(row))
    motion = run(actor, actor.initial_state(0), Manner(), 0.2)[-1]
    np.testing.assert_allclose(motion.gaze, [0.03 - 0.25, -0.01 + 0.12], atol=1e-6)


def test_strength_scales_head_and_arms_but_not_breathing() -> None:
    row = np.full(PERFORMANCE, 0.1, np.float32)
    actor = Actor(Still(row))
    manner = Manner(head=0.5, gesture=0.0)
    motion = run(actor, actor.initial_state(0, manner), manner, 0.1)[-1]
    assert motion.head[:3] == pytest.approx(0.05) and (motion.joints[JOINT_INDEX["elbow_l"]] == 0).all()
    assert motion.joints[JOINT_INDEX["clavicle_l"]] == pytest.approx(0.1)


def test_an_emotion_shows_in_the_face_and_a_set_action_over_it() -> None:
    actor = rules()
    manner = Manner(emotion="happy", intensity=1.0, actions=(("mouthSmileLeft", 0.0),))
    face = run(actor, actor.initial_state(0), manner, 2)[-1].face
    assert face[ACTION_INDEX["mouthSmileRight"]] > 0.5 and face[ACTION_INDEX["mouthSmileLeft"]] < 0.01


def test_an_interruption_closes_the_mouth_within_a_tenth_of_a_second() -> None:
    lips = LIPS.copy()
    lips[ACTION_INDEX["jawOpen"]] = 0.6
    actor = rules()
    state = actor.initial_state(0)
    before = run(actor, state, Manner(), 1.0, speech=0.95, lips=lips)[-1]
    after = run(actor, state, Manner(interrupts=1), 1.0, speech=0.95, lips=lips)
    gaps = [float(lip_gap(m.face)) for m in (before, *after)]
    assert gaps[0] > 15 and gaps[2] < 1.0 and max(gaps[3:]) < 0.3
    assert gaps[1] > 0.1 * gaps[0]  # not a snap: it is still closing after one frame


def test_what_sounds_but_is_no_voice_does_not_open_the_mouth_and_shuts_it_soon_after_a_word() -> None:
    lips = LIPS.copy()
    lips[ACTION_INDEX["jawOpen"]] = 0.4
    actor = rules()
    state = actor.initial_state(0)
    assert all(m.face[ACTION_INDEX["jawOpen"]] == 0.0 for m in run(actor, state, Manner(), 1.0, speech=0.03, lips=lips))
    assert run(actor, state, Manner(), 0.04, speech=0.9, lips=lips)[0].face[ACTION_INDEX["jawOpen"]] > 0.39
    after = [float(lip_gap(m.face)) for m in run(actor, state, Manner(), 0.24, speech=0.0, lips=lips)]
    assert max(after[4:]) < 0.3


def test_something_else_may_move_all_of_it_or_all_but_the_lips() -> None:
    actor, rng = rules(), np.random.default_rng(0)
    face = rng.uniform(0, 0.4, K).astype(np.float32)
    face[ACTION_INDEX["mouthClose"]] = 0.0
    outside = Motion(face, np.ones(R, np.float32), np.array([0.1, 0.1], np.float32), np.full(6, 0.1, np.float32),
                     np.full((J, 3), 0.05, np.float32))  # fmt: skip
    manner, state = Manner(), actor.initial_state(0)
    state = actor.prepare(manner, 0.0, Places(), state)
    whole, state = actor.step(outside.face, None, 0.0, SILENCE, manner, state, outside)
    np.testing.assert_allclose(whole.pack(), outside.pack(), atol=1e-6)
    lips = LIPS.copy()
    lips[ACTION_INDEX["jawOpen"]] = 0.9
    state = actor.prepare(manner, 0.9, Places(), state)
    mixed, state = actor.step(lips, None, 0.9, SILENCE, manner, state, outside)
    assert mixed.face[ACTION_INDEX["jawOpen"]] == pytest.approx(0.9)
    assert mixed.face[ACTION_INDEX["browInnerUp"]] == pytest.approx(face[ACTION_INDEX["browInnerUp"]])
    assert np.array_equal(mixed.head, outside.head)
