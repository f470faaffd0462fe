import numpy as np

from engine.clock import FRAME_SECONDS
from engine.motion.turn import TurnState, turn_step


def play(state: TurnState, speech: list[float], interrupts: int = 0) -> list[tuple[bool, float, float]]:
    seen = []
    for chance in speech:
        state = turn_step(state, chance, interrupts, FRAME_SECONDS)
        seen.append((state.speaking, state.level, state.hush))
    return seen


def test_speech_begins_at_once_and_ends_after_a_pause_not_within_a_word() -> None:
    state = TurnState()
    assert play(state, [0.9])[0][0]
    assert all(speaking for speaking, _, _ in play(state, [0.1, 0.1, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1]))
    assert not play(state, [0.1] * 4)[-1][0]


def test_an_interruption_shuts_the_mouth_within_a_tenth_of_a_second_without_a_snap() -> None:
    state = TurnState()
    play(state, [0.9] * 10)
    hush = [step[2] for step in play(state, [0.9] * 10, interrupts=1)]
    assert hush[1] > 0.95 and hush[0] < 0.85  # 40 ms: on its way, 80 ms: shut
    assert np.diff([0.0, *hush]).min() >= 0.0
    assert state.hushed and not state.speaking


def test_it_stays_hushed_while_the_same_speech_goes_on_and_wakes_to_new_speech() -> None:
    state = TurnState()
    play(state, [0.9] * 10)
    assert not any(step[0] for step in play(state, [0.9] * 100 + [0.1, 0.9], interrupts=1))  # a gap within a word
    play(state, [0.05] * 6, interrupts=1)
    assert state.hushed
    after = play(state, [0.9] * 4, interrupts=1)
    assert after[0][0] and not state.hushed and after[-1][2] < 0.05


def test_an_interruption_in_silence_ends_with_the_next_word() -> None:
    state = TurnState()
    play(state, [0.0] * 20)
    play(state, [0.0] * 3, interrupts=1)
    assert state.hushed
    assert play(state, [0.9], interrupts=1)[0][0]


def test_a_second_interruption_counts_too() -> None:
    state = TurnState()
    play(state, [0.9] * 5)
    play(state, [0.0] * 10, interrupts=1)
    play(state, [0.9] * 5, interrupts=1)
    assert not state.hushed
    assert play(state, [0.9] * 5, interrupts=2)[-1][2] > 0.95


def test_where_speech_is_announced_only_that_ends_an_interruption() -> None:
    state = TurnState()
    for _ in range(5):  # it is old speech that is heard here, after a pause
        turn_step(state, 0.9, 2, FRAME_SECONDS, resumed=1)
    assert state.hushed
    turn_step(state, 0.0, 2, FRAME_SECONDS, resumed=2)  # before its voice is heard
    assert not state.hushed
    turn_step(state, 0.9, 3, FRAME_SECONDS, resumed=2)
    assert state.hushed
