"""A wish: what the host knows of a session's next frame, as the records and numbers that its kernels read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.clock import FRAME
from engine.gpu.worn import Worn
from engine.motion import actor, blend, lips
from engine.motion.behaviour import BehaviourState
from engine.motion.frame import HIGHEST, JOINT_INDEX, LOWEST, SIZE, Motion
from engine.motion.perform import Heard as Acted
from engine.motion.perform import Performer, PerformerState, RulesPerformer, drawn
from engine.motion.performance import PERFORMANCE, WINDOW
from engine.render import camera
from engine.render.neural import angles, jumped, within_reach
from engine.session import Heard, Session
from engine.viewpoint import Viewpoint
from kernels import layout
from kernels.guidance import device as told
from kernels.rasterize import NEAR

F32 = NDArray[np.float32]
# Of a row in every tick; the kernels' own structs are in it. `open`: the voice is not cut; `perform`: the performer's
# network is due; `ruled`: the performer is not a network, and `performed` is its row.
FRAME_RECORD: Final = np.dtype(
    [
        ("sound", np.float32, FRAME), ("performed", np.float32, PERFORMANCE),
        ("manners", layout.struct("act", "Manners")), ("lens", layout.struct("rasterize", "Lens")),
        ("look", layout.struct("guidance", "Look")),
        ("open", np.int32), ("perform", np.int32), ("ruled", np.int32),
    ],
    align=True,
)  # fmt: skip
RULES: Final = {
    "mouth": blend.MOUTH, "said": actor.SAID, "lost": blend.LOST, "gap": lips.GAP_VECTOR, "arms": actor.ARMS,
    "low": LOWEST, "high": HIGHEST, "eyes": np.array(actor.EYE_LIMITS), "rest_gap": lips.REST_GAP_MM,
    "pressed": blend.PRESSED_MM, "small": blend.SMALL, "yielding": blend.YIELD, "wander": actor.WANDER_HELD,
    "jaw": blend.JAW, "close": blend.CLOSE, "spine": JOINT_INDEX["spine"], "neck": JOINT_INDEX["neck"],
}  # fmt: skip


@dataclass(slots=True)
class Wish:
    """One row's inputs. frame: a record of `FRAME_RECORD`; gain (12,) and condition (48,) as the networks take them;
    noise (8, 256) where the performer's network is due, else None; ``view``: where it is seen from; ``angles`` (4,):
    the same for the painter; ``cutout``: whether the picture without its background is wanted too."""

    frame: NDArray[Any]
    gain: F32
    condition: F32
    temperature: float
    noise: F32 | None
    view: Viewpoint
    angles: tuple[float, ...]
    cutout: bool = False


def rules() -> NDArray[Any]:
    """The struct Rules of kernels/act: what the engine has decided for everybody."""
    return layout.table("act", "Rules", [RULES])


def make(session: Session, heard: Heard, performer: Performer, noise: tuple[int, ...], worn: Worn) -> Wish:
    """The wish of ``session``'s frame ``heard``, whose avatar is ``worn``. ``noise``: the shape the performer's network
    draws."""
    state, controls = session.state.actor, heard.controls
    frame = np.zeros((), FRAME_RECORD)
    frame["sound"] = heard.sound
    frame["open"] = not state.turn.hushed
    outside = session.outside(heard.index)
    own = outside is not None and session.source is not None and session.source.lips
    place, due = _performed(session, heard, performer, noise, frame)
    _manners(frame["manners"], state, place, outside, own)
    view, angle = look(frame, heard.viewpoint, session.parts.renderer.framing, session.parts.renderer.size, worn)
    condition = state.manner.condition(controls.manner, state.turn.speaking, session.parts.lookahead)
    cutout = session.parts.renderer.transparent
    return Wish(frame, state.manner.lip_gain(), condition, controls.manner.temperature, due, view, angle, cutout)


def look(
    frame: NDArray[Any], viewpoint: Viewpoint, framing: camera.Framing, size: tuple[int, int], worn: Worn
) -> tuple[Viewpoint, tuple[float, ...]]:
    """Writes where the picture is seen from into ``frame``; returns the viewpoint within the network's reach, and as
    what the painter is told of it."""
    view = within_reach(viewpoint, framing.distance)
    lens = camera.camera(view, framing, size)
    frame["lens"]["r"], frame["lens"]["t"] = lens.rotation.ravel(), lens.translation
    frame["lens"]["focal"], frame["lens"]["near"], frame["lens"]["distance"] = lens.focal, NEAR, view.distance
    frame["lens"]["cx"], frame["lens"]["cy"] = lens.centre
    told.look(worn.light, lens, view.distance, worn.side, frame["look"])
    return view, angles(view, framing)


def changed(before: Viewpoint | None, now: Viewpoint) -> bool:
    """Whether nothing of the picture before can be of use: there is none, or the camera is somewhere else."""
    return before is None or jumped(before, now)


def _performed(
    session: Session, heard: Heard, performer: Performer, noise: tuple[int, ...], frame: NDArray[Any]
) -> tuple[int, F32 | None]:
    """Which of the performer's frames is this one, and what the network draws with when it is due."""
    state = session.state.actor
    if isinstance(state.performer, PerformerState):
        place = state.performer.heard % WINDOW
        state.performer.heard += 1
        frame["perform"] = place == 0
        return place, drawn(state.performer.rng, noise) if place == 0 else None
    assert isinstance(performer, RulesPerformer) and isinstance(state.performer, BehaviourState)
    mel, session.state.logmel = session.parts.logmel.step(heard.sound[None], session.state.logmel)
    hushed = state.turn.hushed
    acted = Acted(
        np.full_like(mel[0], -2.0) if hushed else mel[0], 0.0 if hushed else heard.speaking,
        np.zeros(0, np.float32), state.manner.emotion,
    )  # fmt: skip
    frame["performed"], state.performer = performer.step(acted, state.performer)
    frame["ruled"] = 1
    return 0, None


def _manners(out: Any, state: actor.ActorState, place: int, outside: Motion | None, own: bool) -> None:
    """Fills a struct Manners of kernels/act."""
    turn, manner = state.turn, state.manner
    out["voice"], out["level"], out["hush"] = turn.voice, turn.level, turn.hush
    out["gesture"], out["head"], out["held"] = state.gesture, state.head, state.held
    out["follow"], out["aim"], out["place"] = state.follow.value, manner.aim.value, place
    share, weight = state.actions()
    if share is not None:
        out["share"], out["weight"], out["by_hand"] = share, weight, 1
    if outside is not None:
        out["motion"], out["outside"] = outside.pack(), 2 if own else 1


assert RULES["low"].shape == (SIZE,)  # type: ignore[attr-defined]
