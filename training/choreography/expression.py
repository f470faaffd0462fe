"""Facial expressions as tracks of action weights: what a face feels, on top of what it says.

The prototypes follow the action units of EMFACS (Ekman & Friesen 1983), written in ARKit actions. A track rises,
holds and falls; asymmetric and mild ones are drawn more often than full ones, as spontaneous faces are.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.clock import FRAME_SECONDS
from engine.motion.frame import ACTION_INDEX, ACTIONS, K

Array = NDArray[np.float32]

# Actions that come in pairs are spelled without their side. "mouth" is what speech takes over.
EXPRESSIONS: Final[dict[str, dict[str, float]]] = {
    "smile": {"mouthSmile": 0.55, "cheekSquint": 0.4, "eyeSquint": 0.25, "mouthDimple": 0.15},
    "laugh": {"mouthSmile": 0.85, "cheekSquint": 0.75, "eyeSquint": 0.45, "mouthUpperUp": 0.3, "jawOpen": 0.22,
              "mouthLowerDown": 0.2},
    "surprise": {"browInnerUp": 0.8, "browOuterUp": 0.75, "eyeWide": 0.7, "jawOpen": 0.3},
    "frown": {"browDown": 0.75, "eyeSquint": 0.4, "mouthPress": 0.25, "mouthFrown": 0.15},
    "sad": {"browInnerUp": 0.7, "browDown": 0.15, "mouthFrown": 0.6, "mouthShrugLower": 0.3, "eyeSquint": 0.15},
    "disgust": {"noseSneer": 0.7, "mouthUpperUp": 0.35, "browDown": 0.4, "eyeSquint": 0.35},
    "fear": {"browInnerUp": 0.8, "browOuterUp": 0.35, "eyeWide": 0.75, "mouthStretch": 0.5},
    "doubt": {"mouthPress": 0.4, "mouthShrugLower": 0.45, "mouthShrugUpper": 0.25, "browOuterUpRight": 0.6},
    "smirk": {"mouthSmileLeft": 0.55, "mouthDimpleLeft": 0.35, "cheekSquintLeft": 0.3, "browOuterUpLeft": 0.25},
    "think": {"browDownLeft": 0.35, "browOuterUpRight": 0.45, "mouthLeft": 0.3, "mouthPress": 0.3, "eyeSquint": 0.2},
    "pucker": {"mouthPucker": 0.7, "mouthFunnel": 0.2},
    "puff": {"cheekPuff": 0.6, "mouthPucker": 0.25, "mouthPress": 0.3},
    "squint": {"eyeSquint": 0.8, "cheekSquint": 0.35, "noseSneer": 0.15},
}  # fmt: skip
OFTEN: Final = {"smile": 5.0, "laugh": 2.5, "surprise": 1.5}  # how often each is drawn, when not once
MOUTH_SHARE: Final = 0.45  # of an expression's lip actions that is left while speaking; the jaw is speech's alone
RISE, HOLD, FALL = (0.16, 0.5), (0.3, 1.6), (0.25, 0.9)  # seconds, drawn evenly
DRILL_ACTIONS: Final = tuple(  # an isolated action at full weight is not a face one meets
    name for name in ACTIONS if not name.startswith(("eyeLook", "eyeBlink", "mouthClose", "tongueOut"))
)


def weights(name: str) -> Array:
    """Prototype of one expression: (K,). Raises ValueError for an unknown name."""
    if name not in EXPRESSIONS:
        raise ValueError(f"unknown expression {name!r}: choose one of {', '.join(EXPRESSIONS)}")
    row = np.zeros(K, np.float32)
    for action, weight in EXPRESSIONS[name].items():
        for side in (action,) if action in ACTION_INDEX else (f"{action}Left", f"{action}Right"):
            row[ACTION_INDEX[side]] = weight
    return row


def expressions(frames: int, rng: np.random.Generator, speech: Array) -> tuple[Array, tuple[str, ...]]:
    """A track of one or two random expressions: (T, K) to add to a face, and their names.

    ``speech`` (T,) in [0, 1] holds the mouth back where there is speech.
    """
    face, names = np.zeros((frames, K), np.float32), []
    chances = np.array([OFTEN.get(name, 1.0) for name in EXPRESSIONS])
    start = int(rng.uniform(-0.6, 0.5) * frames)  # it may be under way when the clip begins
    while start < frames:
        name = str(rng.choice(list(EXPRESSIONS), p=chances / chances.sum()))
        rise, hold, fall = (max(2, round(rng.uniform(*span) / FRAME_SECONDS)) for span in (RISE, HOLD, FALL))
        strength, lean = rng.beta(2.2, 1.8), rng.normal(0.0, 0.12)
        envelope = _envelope(np.arange(frames) - start, rise, hold, fall)
        face += envelope[:, None] * strength * _leaning(weights(name), lean)
        if envelope.any():
            names.append(name)
        start += rise + hold + fall + int(rng.uniform(0.2, 1.5) / FRAME_SECONDS)
    mouth = np.array([action.startswith("mouth") for action in ACTIONS])
    face[:, mouth] *= 1.0 - (1.0 - MOUTH_SHARE) * speech[:, None]
    face[:, ACTION_INDEX["jawOpen"]] *= 1.0 - speech
    return np.clip(face, 0.0, 1.0), tuple(names)


def drill(frames: int, rng: np.random.Generator) -> Array:
    """Every action in turn and in odd company: (T, K), smooth, no expression in particular.

    A webcam or a script may ask a face for anything, so some clips do.
    """
    face = np.zeros((frames, K), np.float32)
    for name in rng.choice(DRILL_ACTIONS, size=6, replace=False):
        knots = rng.uniform(0.0, 1.0, frames // 12 + 3) * (rng.random(frames // 12 + 3) < 0.6)
        track = np.interp(np.arange(frames) / 12.0, np.arange(knots.size), knots)
        smooth = np.convolve(np.pad(track, 3, mode="edge"), np.hanning(9)[1:-1] / np.hanning(9).sum(), "valid")
        face[:, ACTION_INDEX[name]] = rng.uniform(0.3, 0.9) * smooth
    return np.clip(face, 0.0, 1.0)


def _envelope(since: NDArray[np.int64], rise: int, hold: int, fall: int) -> Array:
    """0 .. 1 .. 0 with raised-cosine flanks, ``since`` frames after the start."""
    up = np.clip(since / rise, 0.0, 1.0)
    down = np.clip((rise + hold + fall - since) / fall, 0.0, 1.0)
    return (0.5 - 0.5 * np.cos(np.pi * np.minimum(up, down))).astype(np.float32)


def _leaning(row: Array, lean: float) -> Array:
    """More on one side of the face than on the other."""
    side = np.array([1.0 + lean if a.endswith("Left") else 1.0 - lean if a.endswith("Right") else 1.0 for a in ACTIONS])
    return row * side.astype(np.float32)
