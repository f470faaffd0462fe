"""Blend: one face out of what the lips say, what the rest of the person expresses, and what is set by hand.

The lips own the mouth while they speak; an expression keeps a share of it. Where the lips meet they meet again after
blending, by geometry: ``mouthClose`` gets exactly the gap that the blended pose leaves.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.motion.frame import ACTION_INDEX, ACTIONS, K, numbers
from engine.motion.lips import GAP_VECTOR, lip_gap

Array = NDArray[np.float32]

JAW: Final = ACTION_INDEX["jawOpen"]
CLOSE: Final = ACTION_INDEX["mouthClose"]
MOUTH: Final = np.array([name.startswith(("mouth", "jaw", "tongue", "cheekPuff")) for name in ACTIONS])
# Of an expression's mouth, what stays while speaking: more of what makes it happy or sad, nothing of the jaw.
_CORNERS: Final = ("mouthSmile", "mouthFrown", "mouthDimple")
LOST: Final[Array] = np.array([0.4 if name.startswith(_CORNERS) else 0.55 for name in ACTIONS], np.float32) * MOUTH
LOST[JAW] = 1.0
LIPS: Final = MOUTH & (np.arange(K) != JAW)
YIELD: Final = 0.6  # of what stays, the share that gives way where the lips touch
PRESSED_MM: Final = np.float32(0.8)  # how far past touching a closure drives the lips, as in the lip network
FULL: Final = np.float32(-GAP_VECTOR[CLOSE])  # millimetres that mouthClose 1 closes
SMALL: Final = np.float32(0.02)  # of mouthClose: less is no closure but a mouth that is shut anyway


def closure_of(lips: Array) -> float:
    """How far the lips (K,) are closed on purpose, in [0, 1]: the part of their own gap that mouthClose takes away."""
    need = _need(lips)
    return 0.0 if need < SMALL else min(float(lips[CLOSE]) / need, 1.0)


def blend(
    lips: Array,
    expression: Array,
    *,
    level: float,
    hush: float = 0.0,
    contact: Array | None = None,
    share: Array | None = None,
    weight: Array | None = None,
) -> Array:
    """(K,) face, in [0, 1], from lips (K,) and expression (K,).

    ``level``: how much the mouth speaks, 0 to 1; ``hush``: how far an interruption has shut it; ``contact`` (2,):
    closure and labiodental of the lips, worked out from ``lips`` without it; ``share`` and ``weight`` (K,): actions set
    by hand, and how far each replaces what is there.
    """
    lips, expression = numbers(lips), numbers(expression)
    closure = float(contact[0]) if contact is not None else closure_of(lips)
    touch = max(closure, float(contact[1]) if contact is not None else 0.0)
    keep = np.float32(1.0) - LOST * np.float32(level)
    np.multiply(keep, np.float32(1.0 - YIELD * touch * level), out=keep, where=LIPS)
    if hush > 0.0:
        np.multiply(keep, np.float32(1.0 - hush), out=keep, where=MOUTH)
        lips = lips.copy()
        np.multiply(lips, np.float32(1.0 - hush), out=lips, where=MOUTH)
    keep *= expression
    keep += lips
    face = np.minimum(np.maximum(keep, 0.0, out=keep), 1.0, out=keep)
    free = 1.0
    if share is not None and weight is not None:
        face += share * (weight - face)
        free = 1.0 - float(max(share[JAW], share[CLOSE]))  # a jaw held open by hand stays open
    # An interruption first lowers what is open, then presses what is left together: a movement, not a snap.
    closed = max(closure * (1.0 - hush), 2.0 * hush - 1.0, 0.0) * free
    if share is None or share[CLOSE] == 0.0:
        face[CLOSE] = _need(face) * closed
    return face


def _need(face: Array) -> float:
    """The mouthClose in [0, 1] that shuts this mouth, whatever mouthClose it has."""
    gap = float(lip_gap(face)) + float(face[CLOSE]) * float(FULL) + float(PRESSED_MM)
    return min(max(gap / float(FULL), 0.0), 1.0)
