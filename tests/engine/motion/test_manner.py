import numpy as np
import pytest

from engine.clock import FRAME_SECONDS
from engine.motion.condition import CONDITION, EMOTION_AT, KNOWN_AT, LISTENING_AT, SPEAKING_AT
from engine.motion.emotion import EMOTION_INDEX
from engine.motion.frame import ACTION_INDEX
from engine.motion.manner import Manner, MannerState


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"emotion": "bored"}, "bored"),
        ({"emotion": "happy", "intensity": 1.2}, "intensity"),
        ({"intensity": float("nan")}, "intensity"),
        ({"gaze": "away"}, '"viewer", "free"'),
        ({"gaze": (2.0, 0.0)}, "gaze yaw"),
        ({"gaze": (0.0, float("nan"))}, "gaze pitch"),
        ({"gaze": (0.1,)}, "direction"),
        ({"head": -0.1}, "head"),
        ({"gesture": 9.0}, "gesture"),
        ({"style": (0.5, 0.5)}, "4 numbers"),
        ({"style": (0.5, 0.5, 0.5, 1.5)}, "style"),
        ({"actions": (("jawOpne", 0.5),)}, "jawOpne"),
        ({"actions": (("jawOpen", 1.5),)}, "actions.jawOpen"),
        ({"meaning": (0.0,) * 31}, "32 numbers"),
        ({"meaning": (float("inf"),) * 32}, "meaning"),
        ({"temperature": 3.0}, "temperature"),
        ({"seed": -1}, "seed"),
        ({"head": True}, "head"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(fields: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Manner(**fields)


def follow(state: MannerState, manner: Manner, seconds: float) -> list[np.ndarray]:
    seen = []
    for _ in range(round(seconds / FRAME_SECONDS)):
        state.follow(manner, (0.0, 0.0), FRAME_SECONDS)
        seen.append(state.emotion)
    return seen


def test_emotions_cross_fade_within_six_tenths_of_a_second_without_a_jump() -> None:
    state = MannerState.start(Manner(emotion="happy", intensity=1.0))
    assert state.emotion[EMOTION_INDEX["happy"]] == 1.0
    seen = np.stack(follow(state, Manner(emotion="sad", intensity=0.8), 0.6))
    assert np.abs(np.diff(seen, axis=0)).max() < 0.25
    assert seen[-1, EMOTION_INDEX["happy"]] < 0.02
    assert seen[-1, EMOTION_INDEX["sad"]] == pytest.approx(0.8, abs=0.02)
    assert seen[-1, EMOTION_INDEX["neutral"]] == 0.0


def test_an_action_that_is_set_rises_smoothly_and_is_let_go_again() -> None:
    state, jaw = MannerState.start(Manner()), ACTION_INDEX["jawOpen"]
    follow(state, Manner(actions=(("jawOpen", 0.7),)), 0.08)
    share, weight = state.actions()
    assert 0.3 < share[jaw] < 0.99 and weight[jaw] == pytest.approx(0.7)
    follow(state, Manner(actions=(("jawOpen", 0.7),)), 0.5)
    assert state.actions()[0][jaw] == pytest.approx(1.0, abs=0.01)
    follow(state, Manner(), 0.04)
    assert 0.0 < state.actions()[0][jaw] < 1.0 and state.actions()[1][jaw] == pytest.approx(0.7)
    follow(state, Manner(), 1.5)
    assert state.actions() == (None, None)


def test_the_condition_tells_turn_emotion_and_meaning() -> None:
    manner = Manner(emotion="angry", intensity=0.5, listening=True, meaning=(1.0,) + (0.0,) * 31)
    state = MannerState.start(manner)
    quiet, talking = state.condition(manner, False, 1), state.condition(manner, True, 1)
    assert quiet.shape == (CONDITION,) and quiet.dtype == np.float32
    assert (quiet[SPEAKING_AT], quiet[LISTENING_AT]) == (0.0, 1.0)
    assert (talking[SPEAKING_AT], talking[LISTENING_AT]) == (1.0, 0.0)
    assert quiet[EMOTION_AT][EMOTION_INDEX["angry"]] == 0.5 and quiet[KNOWN_AT] == 1.0


def test_a_neutral_face_speaks_with_its_lips_as_they_are() -> None:
    assert (MannerState.start(Manner()).lip_gain() == 1.0).all()
    assert not (MannerState.start(Manner(emotion="angry", intensity=1.0)).lip_gain() == 1.0).all()
