"""Parts: the modules one session is made of, and the state they start in."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.audio.delay import DelayLine
from engine.audio.logmel import LogMel
from engine.audio.resample import Decimator
from engine.audio.vad import Vad
from engine.clock import VOICE_FRAME
from engine.motion.actor import Actor, Places
from engine.motion.lips import LipSync
from engine.motion.manner import Manner
from engine.render import camera
from engine.render.picture import Renderer
from engine.viewpoint import SpringState, Viewpoint, ViewSpring
from engine.watermark.mark import Mark

EYES: Final = np.array([0.0, 0.0, 0.0])  # avatar space begins between the eyes
EYE_CONTACT_LIMIT: Final = math.radians(28)  # beyond this a person stops following with head and eyes


@dataclass(slots=True)
class Parts:
    """Everything ``Session.step`` calls. The networks keep static buffers, so a session has its own."""

    decimator: Decimator
    logmel: LogMel
    vad: Vad
    lips: LipSync
    delay: DelayLine
    actor: Actor
    spring: ViewSpring
    renderer: Renderer
    to_i420: Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.uint8]]
    eye_contact: float
    mark: Mark | None = None  # what is laid on every picture; None: nothing

    @property
    def lookahead(self) -> int:
        """Frames that the lips wait for."""
        return self.delay.delay // VOICE_FRAME

    def places(self, view: Viewpoint) -> Places:
        """Where the camera is from the avatar's front, and how far toward it the avatar cares to follow."""
        limit = EYE_CONTACT_LIMIT
        yaw, pitch = self.eye_contact * view.yaw, self.eye_contact * view.pitch
        near = min(max(yaw, -limit), limit), min(max(pitch, -limit), limit)
        x, y, z = camera.place(view, self.renderer.framing) - EYES
        return Places(near, (math.atan2(x, z), math.atan2(y, math.hypot(x, z))))

    def initial_state(self, seed: int, manner: Manner) -> dict[str, Any]:
        """The state of every part before the first sample, by field name of SessionState."""
        return {
            "decimator": self.decimator.initial_state(),
            "logmel": self.logmel.initial_state(),
            "vad": self.vad.initial_state(),
            "lips": self.lips.initial_state(),
            "delay": self.delay.initial_state(),
            "actor": self.actor.initial_state(seed, manner),
            "view": SpringState(self.renderer.default_viewpoint()),
            "render": self.renderer.initial_state(),
        }
