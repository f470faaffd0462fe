"""What a living face does besides speaking: blinks, gaze shifts, head motion, breathing, a hint of a smile.

Stochastic on purpose, from the session's seed: the same voice and seed give the same motion, bit for bit.
Rates come from published measurements, cited where they are used. One state a session.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.clock import FRAME_SECONDS
from engine.motion.blink import BlinkState, blink_step
from engine.motion.frame import ACTION_INDEX, JOINT_INDEX, J, K, Motion, R
from engine.motion.gaze import GazeState, gaze_step
from engine.motion.head import HeadState, head_step
from engine.motion.performance import FACE_AT, GAZE_AT, HEAD_AT, JOINTS_AT, PERFORMANCE
from engine.motion.turn import SPEECH_HANG, SPEECH_OFF, SPEECH_ON

Array = NDArray[np.float32]

PERFORMERS: Final = ("rules", "learned")
ACCENT_RISE: Final = 0.16  # log-mel units above the slow envelope that make an accent
ACCENT_GAP: Final = 0.45  # seconds between accents, at least
HISS: Final = -1.0  # log-mel below which a room is silent
BREATHS: Final = 0.25  # per second at rest (12-20 a minute in adults)


@dataclass(frozen=True, slots=True)
class BehaviourConfig:
    """Who acts what is not lips, and how much of each behaviour; 1 is the measured human amount, 0 switches it off.

    ``performer``: "rules" is this module, "learned" the network of engine/motion/perform.py (of which ``blink``,
    ``gaze``, ``head``, ``breath`` and ``smile`` say nothing).
    """

    performer: str = "learned"
    blink: float = 1.0
    gaze: float = 1.0
    head: float = 1.0
    breath: float = 1.0
    smile: float = 0.1  # action weight while not speaking

    def __post_init__(self) -> None:
        if self.performer not in PERFORMERS:
            raise ValueError(f'performer must be one of {", ".join(PERFORMERS)}, got "{self.performer}"')


@dataclass(slots=True)
class BehaviourState:
    """Random stream and everything the behaviours remember."""

    rng: np.random.Generator
    blink: BlinkState
    gaze: GazeState
    head: HeadState
    speaking: bool = False
    quiet_for: float = 1e3  # seconds since the voice was last above SPEECH_OFF
    envelope: float = -1.0  # slow log-mel level, the reference for accents
    level: float = -1.0
    since_accent: float = 1e3
    breath: float = 0.0  # phase in cycles
    breath_rate: float = BREATHS
    smile: float = 0.0
    brow: float = 0.0


class Behaviour:
    """Adds life to the lips: (K,) lip actions, VAD and loudness in, a whole Motion out, one video frame a step."""

    def __init__(self, config: BehaviourConfig | None = None) -> None:
        self.config = config or BehaviourConfig()

    def initial_state(self, seed: int) -> BehaviourState:
        """A state whose randomness is wholly given by ``seed``."""
        rng = np.random.Generator(np.random.Philox(seed))
        return BehaviourState(rng, BlinkState.start(rng), GazeState.start(rng), HeadState())

    def step(
        self, lips: Array, speech: float, mel: Array, toward: tuple[float, float], state: BehaviourState
    ) -> tuple[Motion, BehaviourState]:
        """One frame. ``lips`` (K,), ``speech`` in [0, 1], ``mel`` (4, 80), ``toward`` yaw and pitch to the viewer."""
        dt, config = FRAME_SECONDS, self.config
        _hear(speech, mel, state, dt)
        accent = _accent(state, dt)
        shift = gaze_step(state.gaze, state.rng, state.speaking, dt)
        lids = blink_step(state.blink, state.rng, state.speaking, shift, dt) * min(config.blink, 1.0)
        head = head_step(state.head, state.rng, state.speaking, accent, toward, dt) * np.float32(config.head)
        face = np.array(lips, np.float32)
        self._express(face, lids, accent, state, dt)
        motion = Motion(face, np.zeros(R, np.float32), self._eyes(head, toward, state), head, self._body(state, dt))
        return motion.clipped(), state

    def perform(self, speech: float, mel: Array, state: BehaviourState) -> Array:
        """The same life as ``step`` gives it, (PERFORMANCE,): the face without lips, the gaze relative to the viewer's
        direction, the head as if the viewer were in front."""
        motion, state = self.step(np.zeros(K, np.float32), speech, mel, (0.0, 0.0), state)
        row = np.empty(PERFORMANCE, np.float32)
        row[FACE_AT], row[HEAD_AT], row[JOINTS_AT] = motion.face, motion.head, motion.joints.ravel()
        row[GAZE_AT] = state.gaze.yaw * self.config.gaze, state.gaze.pitch * self.config.gaze
        return row

    def _eyes(self, head: Array, toward: tuple[float, float], state: BehaviourState) -> Array:
        # The eyes hold the viewer while the head moves under them (vestibulo-ocular reflex).
        yaw = toward[0] + state.gaze.yaw * self.config.gaze - float(head[1])
        pitch = toward[1] + state.gaze.pitch * self.config.gaze + float(head[0])
        return np.array([np.clip(yaw, -0.6, 0.6), np.clip(pitch, -0.4, 0.4)], np.float32)

    def _express(self, face: Array, lids: float, accent: bool, state: BehaviourState, dt: float) -> None:
        if accent and state.rng.random() < 0.35:
            state.brow = float(state.rng.uniform(0.25, 0.5))
        state.brow *= math.exp(-dt / 0.35)
        target = self.config.smile * (0.35 if state.speaking else 1.0)
        state.smile += (target - state.smile) * (1.0 - math.exp(-dt / 0.4))
        for side in ("Left", "Right"):
            face[ACTION_INDEX["eyeBlink" + side]] = lids
            face[ACTION_INDEX["mouthSmile" + side]] += state.smile
            face[ACTION_INDEX["cheekSquint" + side]] += 0.5 * state.smile
            face[ACTION_INDEX["browOuterUp" + side]] += 0.5 * state.brow
        face[ACTION_INDEX["browInnerUp"]] += state.brow

    def _body(self, state: BehaviourState, dt: float) -> Array:
        # Speech is exhaled slowly and inhaled fast: the cycle lengthens while speaking (Winkworth et al. 1995).
        before = state.breath
        state.breath += dt * state.breath_rate * (0.8 if state.speaking else 1.0)
        if int(state.breath) != int(before):
            state.breath_rate = BREATHS * float(state.rng.uniform(0.85, 1.15))
        lift = 0.5 - 0.5 * math.cos(2 * math.pi * (state.breath % 1.0) ** 1.4)
        amount = self.config.breath * lift
        joints = np.zeros((J, 3), np.float32)
        joints[JOINT_INDEX["spine"], 0] = -0.010 * amount
        joints[JOINT_INDEX["neck"], 0] = 0.006 * amount
        joints[JOINT_INDEX["clavicle_l"], 2] = 0.022 * amount
        joints[JOINT_INDEX["clavicle_r"], 2] = -0.022 * amount
        return joints


def _hear(speech: float, mel: Array, state: BehaviourState, dt: float) -> None:
    """Turns VAD probability into speaking or not, with hysteresis, and follows loudness fast and slowly."""
    state.quiet_for = 0.0 if speech >= SPEECH_OFF else state.quiet_for + dt
    if speech >= SPEECH_ON:
        state.speaking = True
    elif state.quiet_for > SPEECH_HANG:
        state.speaking = False
    loudness = float(np.maximum(mel, HISS).mean())
    state.level += (loudness - state.level) * (1.0 - math.exp(-dt / 0.06))
    state.envelope += (loudness - state.envelope) * (1.0 - math.exp(-dt / 0.8))


def _accent(state: BehaviourState, dt: float) -> bool:
    """A stressed syllable: loudness well above its slow envelope, not sooner than ACCENT_GAP after the last."""
    state.since_accent += dt
    rising = state.level - state.envelope > ACCENT_RISE
    if not (state.speaking and rising and state.since_accent > ACCENT_GAP):
        return False
    state.since_accent = 0.0
    return True
