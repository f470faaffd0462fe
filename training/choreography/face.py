"""Face besides the speaking mouth: what is felt, brows that go with the voice, and small signs of life in between.

Brow flashes on accents and at questions: Cave et al. 1996, Flecha-Garcia 2010 (they lead the accent by about 60 ms).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.motion.emotion import EXPRESSION_TABLE
from engine.motion.frame import ACTION_INDEX, ACTIONS, K
from training.choreography.curves import add_pulse, noise
from training.choreography.eyes import Look
from training.choreography.stage import Stage

Array = NDArray[Any]
FLASH_LEAD: Final = (0.06, 0.05)  # seconds a brow is up before the stressed vowel: mean, deviation
BROWS: Final = {"neutral": 1.0, "happy": 1.1, "sad": 0.6, "angry": 1.0, "surprised": 0.8, "fearful": 0.7,
                "disgusted": 0.7, "contempt": 0.7}  # fmt: skip
LATER: Final = 1  # frames that a feeling reaches the mouth after the eyes
SIDES: Final = np.array([1.0 if a.endswith("Left") else -1.0 if a.endswith("Right") else 0.0 for a in ACTIONS])
LOWER: Final = np.array([a.startswith(("mouth", "jaw", "cheek", "tongue")) for a in ACTIONS])


def _row(**weights: float) -> Array:
    row = np.zeros(K)
    for name, weight in weights.items():
        for side in (name,) if name in ACTION_INDEX else (f"{name}Left", f"{name}Right"):
            row[ACTION_INDEX[side]] = weight
    return row


RAISE: Final = _row(browInnerUp=0.62, browOuterUp=0.70, eyeWide=0.10)
RAISE_LEFT: Final = _row(browInnerUp=0.2, browOuterUpLeft=0.75, browDownRight=0.15)
KNIT: Final = _row(browDown=0.55, eyeSquint=0.12)
PONDER: Final = _row(browDownLeft=0.3, browDownRight=0.2, browInnerUp=0.15, browOuterUpRight=0.25, mouthPress=0.15,
                     mouthShrugLower=0.15)  # fmt: skip
SMILE: Final = _row(mouthSmile=0.42, cheekSquint=0.22, mouthDimple=0.12, eyeSquint=0.12)
PRESS: Final = _row(mouthPress=0.30, mouthRollLower=0.12, mouthRollUpper=0.10)
PURSE: Final = _row(mouthPucker=0.22, mouthShrugLower=0.2)
SWALLOW: Final = _row(mouthPress=0.22, mouthShrugLower=0.3, mouthFrown=0.1)


def expression_track(stage: Stage, saccades: list[Look], rng: np.random.Generator) -> Array:
    """(T, K) action weights to add to the lips, without blinks."""
    face = _felt(stage, rng)
    face += _accents(stage, rng) + _signs(stage, saccades, rng)
    face += 0.012 * np.abs(noise(stage.frames, K, 1.4, rng)) * (RAISE + KNIT + SMILE > 0)
    return np.clip(face, 0.0, 1.0)


def _felt(stage: Stage, rng: np.random.Generator) -> Array:
    """Prototypes of what is felt, alive: never the same strength twice, more of it on accents, later in the mouth."""
    own = 1.0 + np.clip(rng.normal(0.0, 0.12, K), -0.3, 0.3) + SIDES * rng.normal(0.0, 0.06)
    face = stage.felt @ (EXPRESSION_TABLE * own)
    swell = 0.10 * noise(stage.frames, 1, 1.8, rng)[:, 0]
    for time, prominence in stage.stresses:
        if rng.random() < 0.5:
            add_pulse(swell, time - 0.2, 0.2, 0.1, 0.4, 0.22 * prominence * rng.uniform(0.3, 1.0))
    time = float(rng.uniform(1.0, 4.0))
    while time < stage.end:  # feelings come in waves
        add_pulse(
            swell, time, rng.uniform(0.25, 0.5), rng.uniform(0.4, 1.4), rng.uniform(0.5, 1.1), rng.uniform(0.0, 0.28)
        )
        time += rng.uniform(2.5, 6.0)
    own_waves = 1.0 + 0.10 * noise(stage.frames, K, 2.2, rng)
    face *= np.clip(1.0 + swell, 0.6, 1.4)[:, None] * own_waves
    face[LATER:, LOWER] = face[: len(face) - LATER, LOWER]
    return face


def _accents(stage: Stage, rng: np.random.Generator) -> Array:
    """Brows on prominent syllables, at questions, and at the start of what is said."""
    out = np.zeros((stage.frames, K))
    down = stage.felt @ np.array([0, 0, 0.3, 1.0, 0, 0, 0.8, 0.4])  # who is angry knits, who is not raises
    last = -2.0
    for time, prominence in stage.stresses:
        frame = stage.at(time)
        lively = (0.15 + 1.3 * stage.style[frame, 2]) * stage.mood(BROWS, time)
        if time - last < 0.5 or rng.random() > (0.05 + 0.55 * prominence**1.3) * lively:
            continue
        last = time
        kind = rng.random()
        shape = KNIT if kind < 0.08 + 0.8 * down[frame] else RAISE_LEFT if kind > 0.9 else RAISE
        size = (0.3 + 0.6 * prominence) * min(lively, 1.25) * rng.uniform(0.5, 1.15)
        up = time - rng.normal(*FLASH_LEAD)
        rise, hold = rng.uniform(0.10, 0.18), rng.uniform(0.06, 0.35)
        add_pulse(out, up - rise, rise, hold, rng.uniform(0.25, 0.5), size * shape)
    for phrase in stage.phrases:
        lively = 0.3 + 1.2 * stage.style[stage.at(phrase.start), 2]
        if phrase.question and rng.random() < 0.8:
            shape = RAISE if rng.random() < 0.75 else KNIT
            size = lively * rng.uniform(0.35, 0.75)
            add_pulse(out, phrase.stop - rng.uniform(0.4, 0.8), 0.25, rng.uniform(0.5, 1.1), 0.5, size * shape)
        elif phrase.pause > 0.5 and rng.random() < 0.35:
            add_pulse(out, phrase.start - 0.25, 0.2, rng.uniform(0.1, 0.3), 0.5, lively * rng.uniform(0.2, 0.5) * RAISE)
    return out


def _signs(stage: Stage, saccades: list[Look], rng: np.random.Generator) -> Array:
    """Small signs of life: pondering while eyes are off in a pause, a smile of a listener, lips pressed or wetted."""
    out = np.zeros((stage.frames, K))
    quiet = 1.0 - 0.75 * np.minimum(stage.felt.sum(1), 1.0)
    out += 0.10 * np.clip(0.6 + 0.5 * noise(stage.frames, 1, 4.0, rng), 0, 1) * quiet[:, None] * SMILE
    for look in saccades:
        frame = stage.at(look.time)
        pause = not stage.speaking[frame] and not stage.listening[frame]
        if look.away and look.time > 0 and pause and rng.random() < 0.35:
            add_pulse(out, look.time, 0.3, rng.uniform(0.3, 1.0), 0.5, quiet[frame] * rng.uniform(0.4, 0.9) * PONDER)
    time = float(rng.uniform(0.5, 3.0))
    while time < stage.end:
        frame = stage.at(time)
        size = quiet[frame] * rng.uniform(0.5, 1.0)
        if stage.listening[frame]:
            shape = (SMILE, RAISE, KNIT, PONDER)[rng.choice(4, p=(0.42, 0.28, 0.18, 0.12))]
            add_pulse(
                out, time, rng.uniform(0.25, 0.5), rng.uniform(0.3, 1.6), rng.uniform(0.5, 0.9), 0.75 * size * shape
            )
        elif not stage.speaking[frame]:
            shape = (PRESS, PURSE, SWALLOW, SMILE)[rng.choice(4, p=(0.3, 0.15, 0.2, 0.35))]
            add_pulse(out, time, rng.uniform(0.2, 0.4), rng.uniform(0.2, 0.9), rng.uniform(0.4, 0.7), size * shape)
        time += rng.uniform(2.2, 6.5)
    return out
