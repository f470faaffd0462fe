"""Head: it sways while one speaks, nods on accents, drops where a phrase ends, follows the eyes, and says "go on".

Amplitudes: Busso et al. 2007 (a few degrees while speaking). Nods on pitch accents: Hadar et al. 1983, McClave 2000.
Backchannel nods of listeners: Maatman et al. 2005, Poggi et al. 2010 (two or three, at 2 to 3 Hz, getting smaller).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.motion.head import REST_SPREAD, TALK_SPREAD
from training.choreography.curves import add_pulse, noise, spring
from training.choreography.eyes import Look
from training.choreography.stage import Stage

Array = NDArray[Any]
NOD: Final = math.radians(3.6)  # of a prominent syllable, average speaker
NOD_LAG: Final = (0.05, 0.045)  # seconds from the stressed vowel's onset to the lowest point: mean, deviation
DROP: Final = math.radians(1.8)  # at the end of a phrase
FOLLOW: Final = (0.25, 0.55)  # share of a large gaze shift that the head goes along with
FOLLOW_FROM: Final = math.radians(5.0)
BACKCHANNEL: Final = (3.0, 8.0)  # seconds between a listener's nods

# (pitch, yaw, roll) in radians, pitch + down, and (x, y, z) in metres, z + forward; yaw, roll and x to either side.
POSTURE: Final = {
    "neutral": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "happy": (-0.035, 0.02, 0.075, 0.004, 0.002, 0.004),
    "sad": (0.155, 0.05, 0.085, 0.006, -0.006, -0.004),
    "angry": (0.105, 0.02, 0.02, 0.0, -0.002, 0.026),
    "surprised": (-0.085, 0.0, 0.01, 0.0, 0.004, -0.018),
    "fearful": (-0.02, 0.10, 0.055, 0.006, -0.010, -0.030),
    "disgusted": (-0.055, 0.16, 0.075, 0.008, 0.0, -0.022),
    "contempt": (-0.135, 0.10, 0.06, 0.004, 0.004, -0.012),
}
AMOUNT: Final = {"neutral": 1.0, "happy": 1.35, "sad": 0.55, "angry": 1.3, "surprised": 1.1, "fearful": 0.9,
                 "disgusted": 0.9, "contempt": 0.75}  # fmt: skip
TEMPO: Final = {"neutral": 1.0, "happy": 1.25, "sad": 0.6, "angry": 1.35, "surprised": 1.1, "fearful": 1.55,
                "disgusted": 0.95, "contempt": 0.75}  # fmt: skip
TREMBLE: Final = {"neutral": 0.0, "fearful": 0.009, "angry": 0.003}  # radians


def head_track(stage: Stage, saccades: list[Look], rng: np.random.Generator) -> Array:
    """(T, 6) axis-angle and translation of the head, without what it takes to face the viewer."""
    if not stage.frames:
        return np.zeros((0, 6))
    turn = _sway(stage, rng) + _posture(stage, rng)[:, :3]
    turn += _nods(stage, rng) + _backchannels(stage, rng) + _phrases(stage, rng) + _follow(stage, saccades, rng)
    turn += stage.mood(TREMBLE)[:, None] * noise(stage.frames, 3, 0.10, rng) * (0.5, 0.6, 0.5)
    pitch, yaw, roll = turn.T
    # the skull turns about the neck: a little travel comes with the rotation
    travel = np.stack([0.03 * yaw - 0.02 * roll, -0.015 * np.abs(pitch), 0.02 * pitch], axis=1)
    drift = 0.0022 * noise(stage.frames, 3, 2.6, rng) * (1.0, 0.5, 1.0)
    return np.hstack([turn, travel + drift + _posture(stage, rng)[:, 3:]])


def _liveliness(stage: Stage) -> Array:
    """(T,) factor on the size of head motion: 1 for an average speaker."""
    return np.asarray((0.3 + 0.6 * stage.style[:, 1] + 0.8 * stage.style[:, 0] * stage.style[:, 1] + 0.2)
                      * stage.mood(AMOUNT))  # fmt: skip


def _sway(stage: Stage, rng: np.random.Generator) -> Array:
    """(T, 3) wandering toward random targets, livelier with the voice."""
    target, half = np.zeros((stage.frames, 3)), np.zeros(stage.frames)
    time, lively = 0.0, _liveliness(stage)
    while time < stage.end:
        frame = stage.at(time)
        talk = bool(stage.speaking[frame])
        tempo = stage.mood(TEMPO, time)
        spread = TALK_SPREAD if talk else REST_SPREAD * (1.0 if stage.listening[frame] else 1.35)
        wait = float(rng.uniform(0.5, 1.6) if talk else rng.uniform(1.4, 4.2)) / tempo
        last = stage.at(time + wait) + 1
        target[frame:last] = rng.normal(0.0, 1.0, 3) * spread * lively[frame]
        half[frame:last] = (0.2 if talk else 0.42) / tempo
        time += max(wait, 0.08)
    return spring(target, half) + 0.006 * lively[:, None] * noise(stage.frames, 3, 0.7, rng) * (
        0.25 + stage.loudness[:, None]
    )


def _posture(stage: Stage, rng: np.random.Generator) -> Array:
    """(T, 6) how feelings carry the head; which side it leans to changes now and then."""
    rows = np.array([POSTURE[name] for name in POSTURE])
    side = np.ones((stage.frames, 1))
    time, sign = 0.0, float(rng.choice([-1.0, 1.0]))
    while time < stage.end:
        stay = rng.uniform(3.0, 11.0)
        side[stage.at(time) : stage.at(time + stay) + 1] = sign * rng.uniform(0.55, 1.15)
        sign, time = (-sign if rng.random() < 0.6 else sign), time + stay
    side = spring(side, 0.35)
    held = stage.felt @ rows
    depth = 1.0 + 0.14 * noise(stage.frames, 1, 2.5, rng)
    held *= depth
    held[:, [1, 2, 3]] *= side
    return spring(held, 0.1)


def _nods(stage: Stage, rng: np.random.Generator) -> Array:
    """(T, 3) down and back up on stressed syllables; some are a tilt or a turn instead."""
    out, lively = np.zeros((stage.frames, 3)), _liveliness(stage)
    last = -1.0
    for time, prominence in stage.stresses:
        frame = stage.at(time)
        chance = (0.12 + 0.75 * prominence) * (0.45 + 0.8 * stage.style[frame, 1])
        if time - last < 0.32 or rng.random() > chance:
            continue
        last = time
        size = NOD * (0.35 + 0.85 * prominence) * lively[frame] * rng.uniform(0.6, 1.3)
        kind = rng.random()
        axis = (1.0, 0.0, 0.0) if kind < 0.68 else (0.35, rng.choice([-1, 1]) * 0.9, 0.0)
        axis = axis if kind < 0.84 else (0.4, 0.0, rng.choice([-1, 1]) * 0.8)
        tempo = stage.mood(TEMPO, time) ** 0.5
        down, up = rng.uniform(0.16, 0.24) / tempo, rng.uniform(0.24, 0.42) / tempo
        low = time + rng.normal(*NOD_LAG)
        way = size * np.array(axis)
        add_pulse(out, low - down - 0.16, 0.15, 0.0, 0.15, -0.28 * way)  # it is raised a little before
        add_pulse(out, low - down, down, 0.03, up, way)
    return out


def _backchannels(stage: Stage, rng: np.random.Generator) -> Array:
    """(T, 3) nods of somebody who listens: in twos and threes, getting smaller; now and then a tilt."""
    out, lively = np.zeros((stage.frames, 3)), _liveliness(stage)
    time = float(rng.uniform(1.0, 4.0))
    while time < stage.end:
        frame = stage.at(time)
        if stage.listening[frame]:
            if rng.random() < 0.22:
                tilt = np.array([0.02, rng.normal(0, 0.03), rng.choice([-1, 1]) * rng.uniform(0.04, 0.10)])
                add_pulse(out, time, 0.4, rng.uniform(0.6, 2.4), 0.6, tilt)
            else:
                size, period = math.radians(rng.uniform(2.2, 5.0)) * lively[frame], rng.uniform(0.34, 0.5)
                for number in range(int(rng.choice([1, 2, 3], p=(0.3, 0.45, 0.25)))):
                    nod = np.array([size * 0.72**number, 0.0, 0.0])
                    add_pulse(out, time + number * period, 0.5 * period, 0.0, 0.6 * period, nod)
        time += rng.uniform(*BACKCHANNEL) / stage.mood(TEMPO, time)
    return out


def _phrases(stage: Stage, rng: np.random.Generator) -> Array:
    """(T, 3) the head is raised to begin, and comes down with the voice; at the end of a question it stays up."""
    out, lively = np.zeros((stage.frames, 3)), _liveliness(stage)
    for phrase in stage.phrases:
        size = DROP * lively[stage.at(phrase.start)] * rng.uniform(0.4, 1.3)
        if phrase.pause > 0.3 and rng.random() < 0.7:
            add_pulse(out, phrase.start - 0.35, 0.4, 0.1, 0.7, (-0.8 * size, 0.0, 0.0))
        if phrase.question:
            tilt = rng.choice([-1, 1]) * rng.uniform(0.02, 0.07)
            add_pulse(out, phrase.stop - 0.5, 0.45, rng.uniform(0.3, 0.9), 0.7, (-1.1 * size, 0.0, tilt))
        elif rng.random() < 0.75:
            add_pulse(out, phrase.stop - 0.35, 0.35, rng.uniform(0.05, 0.5), 0.6, (size, 0.0, 0.0))
    return out


def _follow(stage: Stage, saccades: list[Look], rng: np.random.Generator) -> Array:
    """(T, 3) a share of large gaze shifts, later and slower than the eyes."""
    target = np.zeros((stage.frames, 3))
    for look, after in zip(saccades, [*saccades[1:], Look(stage.end, 0.0, 0.0, away=False)], strict=True):
        size = math.hypot(look.yaw, look.pitch)
        if look.away and size > FOLLOW_FROM:
            share = rng.uniform(*FOLLOW)
            here = slice(stage.at(look.time + 0.06), stage.at(after.time + 0.06))
            target[here, 0], target[here, 1] = -0.8 * share * look.pitch, share * look.yaw
    return spring(target, 0.12)
