"""Thinking: eyes that leave the other's face, a head on one side, and all of it gone when speech begins."""

import math
from typing import Any

import numpy as np
import pytest

from engine.clock import FRAME_SECONDS
from engine.motion.actor import Actor, ActorState, Places
from engine.motion.behaviour import BehaviourConfig
from engine.motion.frame import ACTION_INDEX, K, Motion
from engine.motion.manner import Manner
from engine.motion.perform import SILENT, LearnedPerformer, Performer, RulesPerformer
from engine.motion.think import UPWARD, Thought

QUIET = np.full((4, 80), SILENT, np.float32)
FACING = math.radians(6)  # eyes this close to the other's are on his face


@pytest.fixture(scope="module", params=["rules", "learned"])
def performer(request: pytest.FixtureRequest) -> Performer:
    return RulesPerformer(BehaviourConfig()) if request.param == "rules" else LearnedPerformer()


def act(
    performer: Performer, parts: list[tuple[float, Manner, float]], seed: int = 3
) -> tuple[list[Motion], ActorState]:
    """Motions of so many seconds in each manner at each level of speech."""
    actor = Actor(performer)
    state, motions = actor.initial_state(seed, parts[0][1]), []
    for seconds, manner, speech in parts:
        for _ in range(round(seconds / FRAME_SECONDS)):
            state = actor.prepare(manner, speech, Places(), state)
            motion, state = actor.step(np.zeros(K, np.float32), None, speech, QUIET, manner, state)
            motions.append(motion)
    return motions, state


def facing(motions: list[Motion]) -> float:
    """Share of the frames in which the eyes are on the other's face."""
    looks = np.array([(m.gaze[0] + m.head[1], m.gaze[1] - m.head[0]) for m in motions])
    return float((np.hypot(*looks.T) < FACING).mean())


def test_eyes_leave_the_other_s_face_and_come_back_when_speech_begins(performer: Performer) -> None:
    thinking, idle = Manner(thinking=True), Manner()
    motions, _ = act(performer, [(2.0, idle, 0.0), (8.0, thinking, 0.0), (3.0, thinking, 0.9)])
    assert facing(motions[60:250]) < 0.1
    assert facing(motions[262:]) > 0.5  # speech takes it away, though nobody said that it is over


def test_looks_go_up_mostly_change_and_differ_from_seed_to_seed() -> None:
    ways = []
    for seed in range(40):
        thought, looks = Thought.start(seed), set()
        for _ in range(500):
            thought.follow(True, FRAME_SECONDS)
            looks.add((thought.yaw, thought.pitch))
        assert 6 <= len(looks) <= 24
        ways.append(sorted(looks))
    pitches = np.array([pitch for looks in ways for _, pitch in looks])
    assert (pitches > 0).mean() == pytest.approx(UPWARD, abs=0.1) and len({str(looks) for looks in ways}) == 40


def test_head_and_brows_show_it_and_hands_are_calmer(performer: Performer) -> None:
    calm, idle = act(performer, [(8.0, Manner(thinking=True), 0.0)]), act(performer, [(8.0, Manner(), 0.0)])
    thinking, resting = calm[0][50:], idle[0][50:]
    roll = np.degrees(np.median([abs(m.head[2]) for m in thinking]))
    assert 1.0 < roll < 9.0
    brow = ACTION_INDEX["browDownLeft"]
    assert np.mean([m.face[brow] for m in thinking]) > np.mean([m.face[brow] for m in resting]) + 0.1
    swing = [np.std([m.joints for m in motions], axis=0).sum() for motions in (thinking, resting)]
    assert swing[0] < swing[1] or isinstance(performer, RulesPerformer)  # whose hands rest anyway


def test_it_comes_and_goes_without_a_jump_and_leaves_no_trace(performer: Performer) -> None:
    manners = [(2.0, Manner(), 0.0), (3.0, Manner(thinking=True), 0.0), (3.0, Manner(), 0.0)]
    motions, state = act(performer, manners)
    assert np.abs(np.diff([m.face for m in motions], axis=0)[:, 5:]).max() < 0.95  # a blink at most
    assert np.degrees(np.abs(np.diff([m.head[:3] for m in motions], axis=0)).max()) < 4.0
    never, other = act(performer, [(8.0, Manner(), 0.0)])
    np.testing.assert_allclose(motions[-1].pack(), never[-1].pack(), atol=2e-3)
    assert state.thought.over(None, None) == (None, None)
    assert np.array_equal(state.performer.rng.random(4), other.performer.rng.random(4))


def test_the_same_seed_thinks_alike(performer: Performer) -> None:
    first, second = (act(performer, [(4.0, Manner(thinking=True), 0.0)])[0] for _ in range(2))
    assert all(np.array_equal(a.pack(), b.pack()) for a, b in zip(first, second, strict=True))


def test_what_is_set_by_hand_stays_so(performer: Performer) -> None:
    hand: dict[str, Any] = {"actions": (("browDownLeft", 0.9), ("jawOpen", 0.5))}
    motions, _ = act(performer, [(2.0, Manner(**hand), 0.0), (3.0, Manner(thinking=True, **hand), 0.0)])
    last = motions[-1].face
    assert last[ACTION_INDEX["browDownLeft"]] == pytest.approx(0.9, abs=0.02)
    assert last[ACTION_INDEX["jawOpen"]] == pytest.approx(0.5, abs=0.02)
