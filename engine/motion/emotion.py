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
    "happy": {"mouthSmile": 0.98, "cheekSquint": 0.85, "eyeSquint": 0.36, "mouthDimple": 0.25, "browOuterUp": 0.16,
              "mouthUpperUp": 0.50, "mouthLowerDown": 0.30, "jawOpen": 0.08},
    "sad": {"browInnerUp": 1.0, "browDown": 0.20, "mouthFrown": 0.95, "mouthShrugLower": 0.42, "eyeSquint": 0.18,
            "eyeBlink": 0.16, "mouthLowerDown": 0.05},
    "angry": {"browDown": 1.0, "noseSneer": 0.45, "eyeSquint": 0.30, "eyeWide": 0.42, "mouthPress": 0.45,
              "mouthFrown": 0.45, "jawForward": 0.30, "mouthRollLower": 0.10, "mouthStretch": 0.15,
              "mouthUpperUp": 0.12},
    "surprised": {"browInnerUp": 1.0, "browOuterUp": 1.0, "eyeWide": 1.0, "jawOpen": 0.34, "mouthFunnel": 0.18},
    "fearful": {"browInnerUp": 1.0, "browOuterUp": 0.35, "browDown": 0.25, "eyeWide": 1.0, "mouthStretch": 0.95,
                "mouthFrown": 0.35, "jawOpen": 0.10, "mouthLowerDown": 0.28},
    "disgusted": {"noseSneer": 1.0, "mouthUpperUp": 0.95, "browDown": 0.70, "eyeSquint": 0.60, "cheekSquint": 0.45,
                  "mouthFrown": 0.50, "mouthShrugLower": 0.40},
    "contempt": {"mouthSmileLeft": 0.70, "mouthDimpleLeft": 0.75, "cheekSquintLeft": 0.34, "mouthPress": 0.22,
                 "browOuterUpLeft": 0.65, "browDownRight": 0.32, "eyeSquint": 0.30, "eyeBlink": 0.10,
                 "mouthShrugLower": 0.14, "mouthLeft": 0.14},
}  # fmt: skip

# What the lip network learns (engine/motion/generator.py), in its order.
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
