"""Whose turn it is: speaking, listening or idle from the VAD, and what an interruption does to it.

An interruption hushes the avatar: its mouth closes and its voice is cut, until the voice has paused and begins anew, or
until whoever sends the voice says that it does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from engine.motion.spring import Spring

SPEECH_ON: Final = 0.5  # VAD probability that starts speech, and the lower one that may end it
SPEECH_OFF: Final = 0.35
SPEECH_HANG: Final = 0.24  # seconds below SPEECH_OFF before speech is over
NO_VOICE: Final = (0.05, 0.15)  # VAD probabilities between which the lips are let move: music stays below .03
HEARD_FALL: Final = 0.05  # seconds: after a word the lips have 150 ms to shut
LEVEL_HALF_LIFE: Final = (0.02, 0.09)  # seconds, of the smooth level when speech begins and ends
PAUSE: Final = 0.12  # seconds without speech after which speech is new speech
HUSH_HALF_LIFE: Final = 0.026  # the mouth has 4 % of its way left after 80 ms


@dataclass(slots=True)
class TurnState:
    """``speaking`` with hysteresis, ``level`` its smooth version in [0, 1]; ``hushed`` after an interruption, and
    ``hush`` in [0, 1] how far the mouth is shut by it."""

    speaking: bool = False
    quiet_for: float = 1e3  # seconds since the VAD was last above SPEECH_OFF
    heard: float = 0.0  # the VAD's probability, following it up at once and down slowly
    hushed: bool = False
    paused: bool = False  # since the interruption: the next speech is new speech
    interrupts: int = 0  # the last one seen
    speech: Spring = field(default_factory=lambda: Spring.at([0.0]))
    hushing: Spring = field(default_factory=lambda: Spring.at([0.0]))

    @property
    def level(self) -> float:
        """How much of the mouth belongs to speech."""
        return min(max(float(self.speech.value[0]), 0.0), 1.0)

    @property
    def voice(self) -> float:
        """1 where there may be a voice, 0 where there is sound but surely none: music does not open the mouth."""
        low, high = NO_VOICE
        return min(max((self.heard - low) / (high - low), 0.0), 1.0)

    @property
    def hush(self) -> float:
        """0: the mouth is free, 1: it is shut."""
        return min(max(float(self.hushing.value[0]), 0.0), 1.0)


def turn_step(state: TurnState, speech: float, interrupts: int, dt: float, resumed: int | None = None) -> TurnState:
    """Moves on by ``dt`` seconds. ``speech``: the VAD's probability; ``interrupts``: how many there have been;
    ``resumed``: the last of them that new speech was announced after, None where nobody announces it."""
    state.quiet_for = 0.0 if speech >= SPEECH_OFF else state.quiet_for + dt
    fall = 1.0 - math.exp(-dt / HEARD_FALL)
    state.heard = speech if speech >= state.heard else state.heard + (speech - state.heard) * fall
    if interrupts != state.interrupts:
        state.interrupts, state.hushed, state.paused = interrupts, True, False
    state.paused = state.paused or state.quiet_for >= PAUSE
    anew = state.paused and speech >= SPEECH_ON if resumed is None else resumed >= interrupts
    state.hushed = state.hushed and not anew
    if speech >= SPEECH_ON:
        state.speaking = True
    elif state.quiet_for > SPEECH_HANG:
        state.speaking = False
    state.speaking = state.speaking and not state.hushed
    state.speech.follow([float(state.speaking)], LEVEL_HALF_LIFE[not state.speaking], dt)
    state.hushing.follow([float(state.hushed)], HUSH_HALF_LIFE, dt)
    return state
