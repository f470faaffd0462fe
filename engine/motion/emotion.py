"""Emotions: their names and strengths, what each does to a resting face, and how it changes the lips' speech.

The prototypes follow the action units of EMFACS (Ekman and Friesen 1983), written in ARKit actions: happiness 6+12,
sadness 1+4+15, anger 4+5+7+23, surprise 1+2+5+26, fear 1+2+4+5+20, disgust 9+10+17, contempt one-sided 12+14.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.motion.frame import ACTION_INDEX, K

Array = NDArray[np.float32]

EMOTIONS: Final = ("neutral", "happy", "sad", "angry", "surprised", "fearful", "disgusted", "contempt")
EMOTION_INDEX: Final = {name: index for index, name in enumerate(EMOTIONS)}
INTENSITIES: Final = {"mild": 0.35, "moderate": 0.65, "strong": 1.0}
STYLE: Final = ("energy", "head", "brows", "gesture")  # how lively a speaker is, each in [0, 1]; 0.5 is average

# Actions that come in pairs are spelled without their side. Weights are those of intensity 1.
PROTOTYPES: Final[dict[str, dict[str, float]]] = {
    "neutral": {},
    "happy": {"mouthSmile": 0.72, "cheekSquint": 0.68, "eyeSquint": 0.34, "mouthDimple": 0.22, "browOuterUp": 0.10,
              "mouthUpperUp": 0.16, "mouthLowerDown": 0.06, "jawOpen": 0.05},
    "sad": {"browInnerUp": 0.85, "browDown": 0.22, "mouthFrown": 0.75, "mouthShrugLower": 0.34, "eyeSquint": 0.18,
            "eyeBlink": 0.20, "mouthLowerDown": 0.05},
    "angry": {"browDown": 0.95, "noseSneer": 0.34, "eyeSquint": 0.34, "eyeWide": 0.34, "mouthPress": 0.42,
              "mouthFrown": 0.30, "jawForward": 0.22, "mouthRollLower": 0.10, "mouthStretch": 0.12},
    "surprised": {"browInnerUp": 0.85, "browOuterUp": 0.92, "eyeWide": 0.80, "jawOpen": 0.30, "mouthFunnel": 0.14},
    "fearful": {"browInnerUp": 0.92, "browOuterUp": 0.30, "browDown": 0.32, "eyeWide": 0.90, "mouthStretch": 0.70,
                "mouthFrown": 0.20, "jawOpen": 0.10, "mouthLowerDown": 0.14},
    "disgusted": {"noseSneer": 0.90, "mouthUpperUp": 0.52, "browDown": 0.58, "eyeSquint": 0.52, "cheekSquint": 0.35,
                  "mouthFrown": 0.36, "mouthShrugLower": 0.32},
    "contempt": {"mouthSmileLeft": 0.62, "mouthDimpleLeft": 0.70, "cheekSquintLeft": 0.34, "mouthPress": 0.22,
                 "browOuterUpLeft": 0.55, "browDownRight": 0.26, "eyeSquint": 0.26, "eyeBlink": 0.10,
                 "mouthShrugLower": 0.14, "mouthLeft": 0.16},
}  # fmt: skip

# What the lip network learns, in its order (engine.motion.generator.SPEECH_ACTIONS).
LIP_ACTIONS: Final = (
    "jawOpen", "tongueOut", "mouthFunnel", "mouthPucker", "mouthStretchLeft", "mouthStretchRight",
    "mouthSmileLeft", "mouthSmileRight", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft",
    "mouthUpperUpRight",
)  # fmt: skip
# How an emotion speaks: factors on the lips' actions at intensity 1, for those that are not 1. The directions are
# those of acted speech: joy and anger open wider, sadness hardly opens, anger and fear spread (Erickson et al. 2016;
# Cao et al. 2014 on actors' faces).
LIP_GAINS: Final[dict[str, dict[str, float]]] = {
    "neutral": {},
    "happy": {"jawOpen": 1.12, "mouthFunnel": 0.80, "mouthPucker": 0.82, "mouthStretch": 1.20, "mouthSmile": 1.6,
              "mouthUpperUp": 1.30, "mouthLowerDown": 1.05},
    "sad": {"jawOpen": 0.72, "mouthFunnel": 0.85, "mouthPucker": 0.85, "mouthStretch": 0.65, "mouthSmile": 0.2,
            "mouthUpperUp": 0.60, "mouthLowerDown": 0.90},
    "angry": {"jawOpen": 1.28, "mouthFunnel": 1.22, "mouthPucker": 1.10, "mouthStretch": 1.25, "mouthSmile": 0.3,
              "mouthUpperUp": 1.10, "mouthLowerDown": 1.45},
    "surprised": {"jawOpen": 1.30, "mouthFunnel": 1.20, "mouthPucker": 1.05, "mouthStretch": 0.85, "mouthSmile": 0.6},
    "fearful": {"jawOpen": 0.88, "mouthFunnel": 0.85, "mouthPucker": 0.90, "mouthStretch": 1.50, "mouthSmile": 0.4,
                "mouthLowerDown": 1.20},
    "disgusted": {"jawOpen": 0.90, "mouthFunnel": 0.90, "mouthPucker": 0.90, "mouthStretch": 1.05, "mouthSmile": 0.4,
                  "mouthUpperUp": 1.50, "mouthLowerDown": 1.10},
    "contempt": {"jawOpen": 0.80, "mouthFunnel": 0.92, "mouthPucker": 0.90, "mouthStretch": 0.90,
                 "mouthSmileLeft": 1.40, "mouthSmileRight": 0.60, "mouthUpperUp": 0.85, "mouthLowerDown": 0.85},
}  # fmt: skip


def check(emotion: str, intensity: float) -> None:
    """Raises ValueError for an emotion that is not one of EMOTIONS or an intensity outside [0, 1] (NaN included)."""
    if emotion not in EMOTION_INDEX:
        raise ValueError(f"unknown emotion {emotion!r}: choose one of {', '.join(EMOTIONS)}")
    if not 0.0 <= intensity <= 1.0:
        raise ValueError(f"intensity of an emotion must lie in [0, 1], got {intensity}")


def _table(rows: dict[str, dict[str, float]], index: dict[str, int], rest: float) -> Array:
    """(emotions, actions): one row an emotion, pairs written out, ``rest`` where nothing is said."""
    table = np.full((len(EMOTIONS), len(index)), rest, np.float32)
    for row, name in zip(table, EMOTIONS, strict=True):
        for action, weight in rows[name].items():
            for side in (action,) if action in index else (f"{action}Left", f"{action}Right"):
                row[index[side]] = weight
    table.setflags(write=False)
    return table


EXPRESSION_TABLE: Final = _table(PROTOTYPES, ACTION_INDEX, 0.0)  # (8, K)
LIP_GAIN_TABLE: Final = _table(LIP_GAINS, {name: index for index, name in enumerate(LIP_ACTIONS)}, 1.0)  # (8, 12)
assert EXPRESSION_TABLE.shape == (len(EMOTIONS), K)


def expression(emotion: str, intensity: float) -> Array:
    """(K,) action weights of a resting face that feels ``emotion``. Raises ValueError as :func:`check`."""
    check(emotion, intensity)
    return EXPRESSION_TABLE[EMOTION_INDEX[emotion]] * np.float32(intensity)


def lip_gain(emotion: str, intensity: float) -> Array:
    """(12,) factors on the lips' LIP_ACTIONS; 1 is unchanged. Raises ValueError as :func:`check`."""
    check(emotion, intensity)
    return 1.0 + (LIP_GAIN_TABLE[EMOTION_INDEX[emotion]] - 1.0) * np.float32(intensity)
