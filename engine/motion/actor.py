"""Actor: lips, performance, manner and the viewer's place to one Motion, one video frame a step.

Composition only: lips come from the lip network, the rest from a performer (engine/motion/perform.py) or, when
something else moves the avatar, from outside. Where the viewer is, what is set by hand and interruptions come in here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.clock import FRAME_SECONDS
from engine.motion.blend import MOUTH, blend
from engine.motion.frame import ACTIONS, JOINT_INDEX, J, Motion, R
from engine.motion.manner import PITCH_LIMIT, YAW_LIMIT, Manner, MannerState
from engine.motion.perform import SILENT, Heard, Performer
from engine.motion.performance import FACE_AT, GAZE_AT, HEAD_AT, JOINTS_AT
from engine.motion.spring import Spring
from engine.motion.think import CALM, Thought
from engine.motion.turn import TurnState, turn_step

Array = NDArray[np.float32]

HEAD_FOLLOWS: Final = (0.25, 0.45)  # share of the way to its aim that the head turns: gaze free, gaze held
HEAD_HALF_LIFE: Final = 0.22  # seconds
WANDER_HELD: Final = 0.3  # of the performer's gaze shifts that stays when the gaze is held: fixations, not aversions
EYE_LIMITS: Final = (0.6, 0.4)  # radians
# Where the performance bends (about x) and twists (about y) spine and neck: (2 joints, 2 axes).
TRUNK: Final = JOINTS_AT.start + 3 * np.array([JOINT_INDEX["spine"], JOINT_INDEX["neck"]])[:, None] + np.arange(2)
# What of the mouth another source's lips say; a smile or a frown of it is an expression.
SAID: Final = MOUTH & np.array([not name.startswith(("mouthSmile", "mouthFrown")) for name in ACTIONS])
ARMS: Final = np.array([not name.startswith(("spine", "neck", "clavicle")) for name in JOINT_INDEX])


@dataclass(slots=True)
class ActorState:
    """Everything the actor remembers. ``follow``: pitch, yaw and roll of the head toward its aim, in radians."""

    manner: MannerState
    performer: Any
    thought: Thought
    turn: TurnState = field(default_factory=TurnState)
    follow: Spring = field(default_factory=lambda: Spring.at(np.zeros(3)))
    seed: int | None = None  # the last one that a Manner asked for

    @property
    def held(self) -> float:
        """0: the gaze wanders freely, 1: it is held on its aim."""
        return max(self.manner.held, self.thought.level)

    @property
    def head(self) -> float:
        """Factor on the performer's head motion."""
        return self.manner.head * (1.0 - (1.0 - CALM[0]) * self.thought.level)

    @property
    def gesture(self) -> float:
        """Factor on the performer's arms and hands."""
        return self.manner.gesture * (1.0 - (1.0 - CALM[1]) * self.thought.level)

    def actions(self) -> tuple[Array, Array] | tuple[None, None]:
        """(share (K,), weight (K,)) of the actions that replace what the face does; None when there are none."""
        return self.thought.over(*self.manner.actions())


@dataclass(frozen=True, slots=True)
class Places:
    """Where the viewer is from the avatar's front, yaw and pitch in radians: ``near`` as far as a person cares to
    follow by himself, ``viewer`` exactly."""

    near: tuple[float, float] = (0.0, 0.0)
    viewer: tuple[float, float] = (0.0, 0.0)


class Actor:
    """One session's actor. ``lookahead``: frames by which lips are behind what is heard."""

    def __init__(self, performer: Performer, lookahead: int = 0) -> None:
        self.performer = performer
        self.lookahead = lookahead

    def initial_state(self, seed: int, manner: Manner | None = None) -> ActorState:
        """A state whose randomness is wholly given by ``seed``."""
        manner = manner or Manner()
        chosen = seed if manner.seed is None else manner.seed
        state = ActorState(MannerState.start(manner), self.performer.initial_state(chosen), Thought.start(chosen))
        state.seed, state.turn.interrupts = manner.seed, manner.interrupts
        return state

    def prepare(self, manner: Manner, speech: float, places: Places, state: ActorState) -> ActorState:
        """Moves turn and manner on by one frame, before the lips are made."""
        state.turn = turn_step(state.turn, speech, manner.interrupts, FRAME_SECONDS, manner.resumed)
        thought = state.thought
        thought.follow(manner.thinking and not state.turn.speaking, FRAME_SECONDS)
        aim = _aside(_aim(manner, places), thought.look)
        state.manner.follow(manner, aim, FRAME_SECONDS)
        share = HEAD_FOLLOWS[0] + (HEAD_FOLLOWS[1] - HEAD_FOLLOWS[0]) * state.held
        tilt = thought.tilt if thought.thinks else 0.0
        state.follow.follow([-share * aim[1], share * aim[0], tilt], HEAD_HALF_LIFE, FRAME_SECONDS)
        if manner.seed is not None and manner.seed != state.seed:
            state.performer.rng = np.random.Generator(np.random.Philox(manner.seed))
        state.seed = manner.seed
        return state

    def step(
        self, lips: Array, contact: Array | None, speech: float, mel: Array, manner: Manner, state: ActorState,
        outside: Motion | None = None,
    ) -> tuple[Motion, ActorState]:  # fmt: skip
        """One frame, after ``prepare``. lips (K,), contact (2,) or None, ``speech`` in [0, 1], mel (4, 80).

        ``outside`` moves everything but the lips instead of the performer: its gaze, head and joints are taken as they
        are, and of its face what lips do not say (``lips`` may be its own face: then all of it is its own).
        """
        turn = state.turn
        hushed = turn.hushed
        own = outside is not None and lips is outside.face
        if not own and turn.voice < 1.0:  # what sounds but is no voice does not open the mouth
            lips = lips * np.where(MOUTH, np.float32(turn.voice), np.float32(1.0))
        heard = Heard(
            np.full_like(mel, SILENT) if hushed else mel, 0.0 if hushed else speech,
            state.manner.condition(manner, turn.speaking, self.lookahead), state.manner.emotion, manner.temperature,
        )  # fmt: skip
        row, state.performer = self.performer.step(heard, state.performer)
        if outside is None:
            head, gaze = self._look(row, state)
            joints = row[JOINTS_AT].reshape(J, 3).copy()
            if state.gesture != 1.0:
                joints[ARMS] *= np.float32(state.gesture)
            expression, lip = row[FACE_AT], np.zeros(R, np.float32)
        else:
            head, gaze, joints, lip = outside.head, outside.gaze, outside.joints, outside.lip
            expression = np.zeros_like(lips) if own else np.where(SAID, np.float32(0.0), outside.face)
        share, weight = state.actions()
        face = blend(lips, expression, level=turn.level, hush=turn.hush, contact=contact, share=share, weight=weight)
        return Motion(face, lip, gaze, head, joints).clipped(), state

    def _look(self, row: Array, state: ActorState) -> tuple[Array, Array]:
        """Head (6,) and eyes (2,): the eyes hold their target while head and trunk move under them (vestibulo-ocular
        reflex)."""
        pitch, yaw, roll = state.follow.value.tolist()
        head = row[HEAD_AT] * np.float32(state.head)
        # The skull turns about the neck: a little sideways and forward travel comes with the rotation.
        head += np.array((pitch, yaw, roll, 0.03 * yaw, 0.0, 0.02 * pitch), np.float32)
        nod, turn = head[:2].tolist()
        bend, twist = row[TRUNK].sum(0).tolist()
        free = 1.0 - (1.0 - WANDER_HELD) * state.held
        (aim_yaw, aim_pitch), (yaw, pitch) = state.manner.aim.value.tolist(), row[GAZE_AT].tolist()
        eyes = aim_yaw + free * yaw - turn - twist, aim_pitch + free * pitch + nod + bend
        return head, np.array([_clamp(eye, limit) for eye, limit in zip(eyes, EYE_LIMITS, strict=True)], np.float32)


def _aim(manner: Manner, places: Places) -> tuple[float, float]:
    if manner.gaze == "free":
        return places.near
    if manner.gaze == "viewer":
        yaw, pitch = places.viewer
        return _clamp(yaw, YAW_LIMIT), _clamp(pitch, PITCH_LIMIT)
    assert isinstance(manner.gaze, tuple)
    return manner.gaze


def _aside(aim: tuple[float, float], look: tuple[float, float]) -> tuple[float, float]:
    if look == (0.0, 0.0):
        return aim
    return _clamp(aim[0] + look[0], YAW_LIMIT), _clamp(aim[1] + look[1], PITCH_LIMIT)


def _clamp(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)
