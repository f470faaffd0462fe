"""The condition vector: what the performer is told besides the voice (emotion, style, meaning, whose turn it is)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.motion.emotion import EMOTION_INDEX, EMOTIONS, STYLE, check

Array = NDArray[np.float32]

SEMANTIC: Final = 32  # numbers of a sentence's meaning (engine/motion/semantics.py)
MOST_LOOKAHEAD: Final = 2  # frames
AVERAGE_STYLE: Final = (0.5, 0.5, 0.5, 0.5)

# Where each part lies in the vector.
EMOTION_AT: Final = slice(0, len(EMOTIONS))
SPEAKING_AT: Final = EMOTION_AT.stop
STYLE_AT: Final = slice(SPEAKING_AT + 1, SPEAKING_AT + 1 + len(STYLE))
SEMANTIC_AT: Final = slice(STYLE_AT.stop, STYLE_AT.stop + SEMANTIC)
KNOWN_AT: Final = SEMANTIC_AT.stop
LOOKAHEAD_AT: Final = KNOWN_AT + 1
LISTENING_AT: Final = KNOWN_AT + 2
CONDITION: Final = KNOWN_AT + 3
assert CONDITION == 48


def condition(
    emotion: str = "neutral",
    intensity: float = 0.0,
    *,
    speaking: float = 0.0,
    listening: float = 0.0,
    style: ArrayLike = AVERAGE_STYLE,
    meaning: ArrayLike | None = None,
    lookahead: int = 0,
) -> Array:
    """(CONDITION,) float32: emotion x intensity (8), speaking, style (4), meaning (32) and whether it is known,
    lookahead in frames / 2, listening. Raises ValueError for a value out of its range or of another shape.
    """
    check(emotion, intensity)
    if not 0 <= lookahead <= MOST_LOOKAHEAD:
        raise ValueError(f"lookahead must be 0 to {MOST_LOOKAHEAD} frames, got {lookahead}")
    manner = np.asarray(style, np.float32)
    if manner.shape != (len(STYLE),) or not ((manner >= 0.0) & (manner <= 1.0)).all():
        raise ValueError(f"style is {len(STYLE)} numbers in [0, 1] ({', '.join(STYLE)}), got {manner.tolist()}")
    row = assemble(np.zeros(len(EMOTIONS)), manner, speaking, listening, lookahead)
    row[EMOTION_INDEX[emotion]] = intensity
    if meaning is not None:
        vector = np.asarray(meaning, np.float32)
        if vector.shape != (SEMANTIC,) or not np.isfinite(vector).all():
            raise ValueError(f"a meaning is {SEMANTIC} finite numbers, got shape {vector.shape}")
        row[SEMANTIC_AT], row[KNOWN_AT] = vector, 1.0
    return row


def assemble(emotion: ArrayLike, style: ArrayLike, speaking: float, listening: float, lookahead: int) -> Array:
    """:func:`condition` of values that are known to be good, a weight for each emotion (8,), and no meaning."""
    row = np.zeros(CONDITION, np.float32)
    row[EMOTION_AT], row[STYLE_AT] = emotion, style
    row[SPEAKING_AT], row[LISTENING_AT], row[LOOKAHEAD_AT] = speaking, listening, lookahead / MOST_LOOKAHEAD
    return row
