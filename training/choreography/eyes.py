"""Eyes: where they look, and blinks. Seconds, shares and amplitudes are those of published measurements.

Mutual gaze, aversion, amplitudes and the main sequence: Lee, Badler and Badler, Eyes Alive (SIGGRAPH 2002). When one
looks away and back: Kendon 1967; Andrist et al. 2014. Blinks: Bentivoglio et al. 1997 (17 a minute at rest, 26 in
conversation), VanderWerf et al. 2003 (shape), Evinger et al. 1994 (with gaze shifts).
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.clock import FRAME_SECONDS
from engine.motion.blink import CLOSING, HOLD, OPENING, REST_RATE, SPREAD, TALK_RATE, lid_curve
from engine.motion.gaze import (
    AWAY_LISTEN,
    AWAY_TALK,
    DIRECTIONS,
    FIXATION,
    LARGEST,
    MUTUAL_LISTEN,
    MUTUAL_TALK,
)
from training.choreography.stage import Stage

Array = NDArray[Any]
AWAY_IDLE, MUTUAL_IDLE = (2.2, 1.2), (3.4, 1.8)  # nobody talks: eyes wander
LISTEN_RATE: Final = 0.30  # blinks a second; between rest and talk
THINK: Final = 0.5  # chance that eyes leave the viewer at the start of a turn or in a pause for thought
BLINK_AT_END: Final = 0.32  # chance of a blink where a phrase ends
DOUBLE, PARTIAL = 0.06, 0.10  # of blinks
SOONEST: Final = 0.45  # seconds between blinks
LARGE: Final = math.radians(4.5)  # a gaze shift from here on may bring a blink

# How feelings look at one: factors on the times away and at the viewer, where the eyes tend (yaw, pitch in radians;
# yaw to either side), how wide fixations wander, and blinks.
AWAY_LONGER: Final = {"neutral": 1.0, "happy": 0.7, "sad": 2.4, "angry": 0.5, "surprised": 0.5, "fearful": 0.6,
                      "disgusted": 1.8, "contempt": 1.3}  # fmt: skip
MUTUAL_LONGER: Final = {"neutral": 1.0, "happy": 1.2, "sad": 0.45, "angry": 2.0, "surprised": 1.6, "fearful": 0.4,
                        "disgusted": 0.6, "contempt": 0.9}  # fmt: skip
TEND: Final = {"neutral": (0.0, 0.0), "happy": (0.04, 0.0), "sad": (0.07, -0.22), "angry": (0.02, -0.02),
               "surprised": (0.0, 0.03), "fearful": (0.20, 0.02), "disgusted": (0.17, -0.08),
               "contempt": (0.16, 0.03)}  # fmt: skip
DROOP: Final = {"neutral": 0.0, "sad": -0.06, "contempt": -0.02}  # pitch of eyes even at the viewer
WANDER: Final = {"neutral": 1.0, "sad": 0.7, "angry": 0.5, "surprised": 0.7, "fearful": 1.7, "contempt": 0.7}
BLINKS: Final = {"neutral": 1.0, "happy": 1.0, "sad": 0.85, "angry": 0.5, "surprised": 0.65, "fearful": 1.45,
                 "disgusted": 1.15, "contempt": 0.75}  # fmt: skip
SLOW_LIDS: Final = {"neutral": 1.0, "sad": 1.25, "contempt": 1.15, "fearful": 0.9, "angry": 0.95}


class Look(NamedTuple):
    """A saccade: its second, and where it goes, radians from the viewer; whether away from the viewer."""

    time: float
    yaw: float
    pitch: float
    away: bool


def looks(stage: Stage, rng: np.random.Generator) -> list[Look]:
    """All saccades of a stage, in time."""
    spans = _aversions(stage, rng)
    out = [Look(-1.0, *_near(stage, 0.0, rng), away=False)]
    time, index = float(rng.uniform(0.1, 0.5)), 0
    while time < stage.end:
        while index < len(spans) and spans[index][1] <= time:
            index += 1
        inside = index < len(spans) and spans[index][0] <= time
        edge = spans[index][1] if inside else spans[index][0] if index < len(spans) else stage.end + 1.0
        if inside and not out[-1].away:
            out.append(Look(time, *_aside(stage, time, spans[index][2], rng), away=True))
        elif inside:
            base = out[-1]
            wide = 1.6 * FIXATION * stage.mood(WANDER, time)
            out.append(Look(time, base.yaw + rng.normal(0, wide), base.pitch + rng.normal(0, 0.7 * wide), away=True))
        else:
            out.append(Look(time, *_near(stage, time, rng), away=False))
        fixation = math.exp(rng.normal(math.log(0.55), 0.5)) / max(stage.mood(WANDER, time), 0.4)
        time = min(time + min(max(fixation, 0.16), 2.5), edge if edge > time else time + 0.2)
    return out


def _aversions(stage: Stage, rng: np.random.Generator) -> list[tuple[float, float, bool]]:
    """Stretches (start, stop, thinking) in which the eyes are off the viewer."""
    out: list[tuple[float, float, bool]] = []
    time = float(rng.uniform(0.8, 4.0))
    while time < stage.end:  # an alternating renewal process, whoever talks
        frame = stage.at(time)
        if stage.speaking[frame]:
            near, away = MUTUAL_TALK, AWAY_TALK
        elif stage.listening[frame]:
            near, away = MUTUAL_LISTEN, AWAY_LISTEN
        else:
            near, away = MUTUAL_IDLE, AWAY_IDLE
        stay = _draw(away, rng) * stage.mood(AWAY_LONGER, time)
        out.append((time, time + stay, False))
        time += stay + _draw(near, rng) * stage.mood(MUTUAL_LONGER, time)
    for phrase in stage.phrases:  # thinking before one speaks
        if phrase.pause > 0.25 and rng.random() < THINK * (0.6 if phrase.pause < 0.7 else 1.0):
            start = phrase.start - rng.uniform(0.1, min(0.6, phrase.pause))
            out.append((start, min(start + rng.uniform(0.6, 1.6), phrase.stop - 0.3), True))
    out.sort()
    keep: list[tuple[float, float, bool]] = []
    for start, stop, think in out:
        for phrase in stage.phrases:  # and back at the viewer where a phrase ends
            if start < phrase.stop - 0.25 < stop and phrase.stop - phrase.start > 0.8 and rng.random() < 0.75:
                stop = phrase.stop - 0.25
        if keep and start < keep[-1][1] + 0.3:
            continue
        if stop - start > 0.25:
            keep.append((start, stop, think))
    return keep


def _draw(span: tuple[float, float], rng: np.random.Generator) -> float:
    return float(np.clip(rng.normal(*span), 0.3, 3.0 * span[0]))


def _near(stage: Stage, time: float, rng: np.random.Generator) -> tuple[float, float]:
    """Somewhere on the viewer's face: an eye, the other one, the mouth."""
    wide = FIXATION * stage.mood(WANDER, time)
    spot = ((-0.018, 0.008), (0.018, 0.008), (0.0, -0.028))[rng.choice(3, p=(0.4, 0.4, 0.2))]
    droop = stage.mood(DROOP, time)
    return spot[0] + rng.normal(0.0, 0.5 * wide), spot[1] + droop + rng.normal(0.0, 0.4 * wide)


def _aside(stage: Stage, time: float, thinking: bool, rng: np.random.Generator) -> tuple[float, float]:
    """Away from the viewer."""
    if thinking:  # up and aside, sometimes down
        amplitude = math.radians(rng.uniform(6.0, 14.0))
        angle = math.radians(rng.choice([40.0, 140.0, 25.0, 155.0, 215.0, 325.0]) + rng.uniform(-15, 15))
    else:
        percent = rng.uniform(0.5, 12.0)
        amplitude = min(math.radians(-6.9 * math.log(percent / 15.7)), LARGEST)  # Eyes Alive, eq. 1
        angles, weights = zip(*DIRECTIONS, strict=True)
        angle = math.radians(rng.choice(angles, p=weights) + rng.uniform(-20, 20))
    side = 1.0 if rng.random() < 0.5 else -1.0
    felt = stage.felt[stage.at(time)]
    tend = np.array([TEND[name] for name in TEND])
    pull = felt @ tend
    much = float(np.hypot(*pull)) > 0.06
    yaw = (0.6 if much else 1.0) * amplitude * math.cos(angle) + side * pull[0] * rng.uniform(0.6, 1.3)
    pitch = (0.4 if much else 0.7) * amplitude * math.sin(angle) + pull[1] * rng.uniform(0.6, 1.2)
    return float(np.clip(yaw, -0.42, 0.42)), float(np.clip(pitch, -0.36, 0.25))


def gaze_track(stage: Stage, saccades: list[Look]) -> Array:
    """(T, 2) yaw and pitch of the eyes relative to the viewer's direction: steps along the main sequence."""
    at = np.array([look.time for look in saccades])
    to = np.array([(look.yaw, look.pitch) for look in saccades])
    row = np.clip(np.searchsorted(at, stage.times, side="right") - 1, 0, None)
    before = to[np.maximum(row - 1, 0)]
    amplitude = np.degrees(np.hypot(*(to[row] - before).T))
    way = np.clip((stage.times - at[row]) / (0.025 + 0.0024 * amplitude), 0.0, 1.0)[:, None]  # eq. 2
    return np.asarray(before + (to[row] - before) * way * way * (3.0 - 2.0 * way))


def blink_times(stage: Stage, saccades: list[Look], rng: np.random.Generator) -> list[float]:
    """Seconds at which lids begin to fall."""
    wanted: list[tuple[float, float]] = []  # time, chance
    for one, other in zip(saccades, saccades[1:], strict=False):
        size = math.hypot(other.yaw - one.yaw, other.pitch - one.pitch)
        if size > LARGE:
            wanted.append((other.time - 0.03, min(0.22 + 1.2 * (size - LARGE), 0.6)))
    wanted += [(p.stop + rng.uniform(-0.05, 0.25), BLINK_AT_END) for p in stage.phrases]
    wanted = sorted((t, c) for t, c in wanted if t > 0.1)
    out: list[float] = []
    time, last, index = 0.0, -10.0, 0
    left = float(rng.uniform(0.2, 1.6))  # of the wait for the next spontaneous blink, in mean waits
    step = 0.04
    while time < stage.end:
        frame = stage.at(time)
        rate = TALK_RATE if stage.speaking[frame] else LISTEN_RATE if stage.listening[frame] else REST_RATE
        feeling = stage.mood(BLINKS, time)
        left -= step * rate * feeling * 0.92
        due = left <= 0.0
        while index < len(wanted) and wanted[index][0] <= time:
            # a blink that was due soon comes with the shift; one that has just been does not
            due |= left < 1.1 and rng.random() < wanted[index][1] * min(feeling, 1.2)
            index += 1
        if due and time - last > SOONEST:
            out.append(time)
            last = time
            left = math.exp(rng.normal(-0.5 * SPREAD**2, SPREAD))
            if rng.random() < DOUBLE:
                out.append(time + CLOSING + HOLD + OPENING + float(rng.uniform(0.06, 0.16)))
                last = out[-1]
        time += step
    return out


def lid_track(stage: Stage, blinks: list[float], rng: np.random.Generator) -> Array:
    """(T,) closure of the lids in [0, 1] by blinks."""
    out = np.zeros(stage.frames)
    for time in blinks:
        slow = stage.mood(SLOW_LIDS, time) * rng.uniform(0.9, 1.15)
        depth = rng.uniform(0.55, 0.8) if rng.random() < PARTIAL else 1.0
        whole = (CLOSING + HOLD + OPENING) * slow
        first = max(int((time - 0.02) / FRAME_SECONDS), 0)
        for frame in range(first, min(int((time + whole) / FRAME_SECONDS) + 2, stage.frames)):
            since = stage.times[frame] - time
            if 0.0 < since < whole:
                out[frame] = max(out[frame], depth * lid_curve(since / slow))
    return out
