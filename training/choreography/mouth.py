"""Phones to mouth actions: dominance-function coarticulation with closures that are guaranteed.

Each phone pulls on three groups of actions (jaw, lip rounding, lip spreading) with a strength and a reach of its
own; a pose is the dominance-weighted mean (Cohen & Massaro 1993, eq. 1-3). Jaw and lips are separate groups, as in
JALI (Edwards et al. 2016): a bilabial closes the lips over whatever the jaw is doing. Closure (P B M) and the
labiodental pose (F V) are not blended: they are tracks of their own, composed on top by `engine.motion.generator`, so
that no neighbour can hold the lips apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.clock import HOPS_PER_FRAME
from engine.motion.frame import ACTION_INDEX, K
from training.speech.phones import PHONES, Span

Array = NDArray[np.float32]

JAW, ROUND, SPREAD = range(3)
GROUP_ACTIONS: Final = (
    ("jawOpen", "tongueOut"),
    ("mouthFunnel", "mouthPucker"),
    ("mouthStretch", "mouthSmile", "mouthLowerDown", "mouthUpperUp"),
)
TWO_SIDED: Final = frozenset(GROUP_ACTIONS[SPREAD])


class Gesture(NamedTuple):
    """One phone's pull: action targets, and its strength on (jaw, rounding, spreading)."""

    targets: dict[str, float]
    strength: tuple[float, float, float]


def _g(jaw: float, strength: tuple[float, float, float], **targets: float) -> Gesture:
    return Gesture({"jawOpen": jaw, **targets}, strength)


# Actions that come in pairs are spelled without their side.
_IY = {"mouthSmile": 0.3, "mouthStretch": 0.4, "mouthLowerDown": 0.35, "mouthUpperUp": 0.25}
_IH = {"mouthSmile": 0.12, "mouthStretch": 0.28, "mouthLowerDown": 0.3, "mouthUpperUp": 0.18}
_EH = {"mouthSmile": 0.08, "mouthStretch": 0.28, "mouthLowerDown": 0.3, "mouthUpperUp": 0.18}
_SH = {"mouthFunnel": 0.42, "mouthPucker": 0.38, "mouthUpperUp": 0.12, "mouthLowerDown": 0.12}
_ALVEOLAR = {"mouthStretch": 0.15, "mouthLowerDown": 0.2, "mouthUpperUp": 0.1}
_VOWEL = (1.0, 1.0, 1.0)
GESTURES: Final[dict[str, Gesture]] = {
    "SIL": _g(0.0, (0.5, 0.4, 0.4)),
    "AA": _g(0.31, _VOWEL, mouthLowerDown=0.25, mouthUpperUp=0.15),
    "AE": _g(0.27, _VOWEL, mouthStretch=0.28, mouthLowerDown=0.32, mouthUpperUp=0.2),
    "AH": _g(0.20, (0.8, 0.7, 0.7), mouthLowerDown=0.2, mouthUpperUp=0.1),
    "AO": _g(0.23, _VOWEL, mouthFunnel=0.3, mouthPucker=0.3),
    "EH": _g(0.18, (0.9, 0.8, 0.9), **_EH),
    "ER": _g(0.09, (0.9, 0.9, 0.8), mouthFunnel=0.35, mouthPucker=0.3, mouthLowerDown=0.1),
    "IH": _g(0.10, (0.8, 0.7, 0.8), **_IH),
    "IY": _g(0.07, (0.9, 0.9, 1.0), **_IY),
    "UH": _g(0.10, (0.9, 1.0, 0.9), mouthFunnel=0.3, mouthPucker=0.45),
    "UW": _g(0.06, (1.0, 1.3, 1.0), mouthFunnel=0.22, mouthPucker=0.8),
    "OH": _g(0.17, (1.0, 1.1, 1.0), mouthFunnel=0.4, mouthPucker=0.45),
    "W": _g(0.04, (0.8, 1.4, 1.0), mouthFunnel=0.15, mouthPucker=0.85),
    "Y": _g(0.05, (0.6, 0.6, 0.8), **_IY),
    "R": _g(0.06, (0.7, 0.8, 0.5), mouthFunnel=0.38, mouthPucker=0.35),
    "L": _g(0.12, (0.6, 0.1, 0.2), **_ALVEOLAR),
    "N": _g(0.07, (0.7, 0.06, 0.15), **_ALVEOLAR),
    "T": _g(0.05, (1.0, 0.06, 0.2), **_ALVEOLAR),
    "D": _g(0.06, (0.9, 0.06, 0.2), **_ALVEOLAR),
    "S": _g(0.03, (1.3, 0.25, 0.5), mouthStretch=0.32, mouthSmile=0.08, mouthLowerDown=0.35, mouthUpperUp=0.18),
    "SH": _g(0.04, (1.2, 1.0, 0.6), **_SH),
    "TH": _g(0.10, (0.8, 0.15, 0.3), tongueOut=0.25, mouthStretch=0.12, mouthLowerDown=0.2, mouthUpperUp=0.1),
    "DH": _g(0.09, (0.7, 0.1, 0.25), tongueOut=0.15, mouthStretch=0.12, mouthLowerDown=0.2, mouthUpperUp=0.1),
    "K": _g(0.11, (0.5, 0.06, 0.12), mouthLowerDown=0.15, mouthUpperUp=0.08),
    "F": _g(0.06, (0.7, 0.1, 0.2)),
    "P": _g(0.07, (0.5, 0.05, 0.08)),
}  # fmt: skip
SAME_AS: Final = {"Z": "S", "ZH": "SH", "CH": "SH", "JH": "SH", "G": "K", "NG": "K", "V": "F", "B": "P", "M": "P"}
GLIDES: Final = {"AY": ("AA", "IY"), "AW": ("AE", "UW"), "EY": ("EH", "IY"), "OW": ("OH", "UW"), "OY": ("OH", "IY")}
GLIDE_TURN: Final = 0.55

# e-folding reach of a gesture beyond its own span, in hops of 10 ms: (before, after) per group. Rounding is
# prepared early; jaw and spreading follow the sound.
REACH: Final = ((4.0, 4.5), (7.0, 5.5), (4.0, 4.5))
CORE: Final = 0.3  # share of a span at each end in which the gesture is already giving way

# How much of a bilabial's span the lips are shut: a stop's label holds its burst too.
SHUT: Final = {"P": 0.7, "B": 0.8, "M": 0.95, "F": 0.9, "V": 0.9}
ATTACK, RELEASE = 5.0, 4.5  # hops over which the lips come together and part
BILABIAL, LABIODENTAL = frozenset({"P", "B", "M"}), frozenset({"F", "V"})


@dataclass(frozen=True, slots=True)
class MouthTargets:
    """What a mouth should do in T frames: open (T, K) without closures, closure (T,), labiodental (T,), in [0, 1]."""

    open: Array
    closure: Array
    labiodental: Array


def mouth_targets(spans: Sequence[Span], frames: int, start: float = 0.0) -> MouthTargets:
    """The mouth of each frame, at the centre of [start + 4 i, start + 4 i + 4) hops, for a track of phones.

    Where a frame centre would miss a short closure, the frame that holds most of it is closed all the same.
    """
    edges = start + HOPS_PER_FRAME * np.arange(frames + 1, dtype=np.float64)
    centres = (edges[:-1] + edges[1:]) / 2
    return MouthTargets(_blend(spans, centres), _track(spans, edges, BILABIAL), _track(spans, edges, LABIODENTAL))


def _pieces(spans: Sequence[Span]) -> list[tuple[float, float, Gesture]]:
    """Spans as gestures: diphthongs in two parts, HH in the shape of its successor."""
    out: list[tuple[float, float, Gesture]] = []
    for index, (start, stop, phone) in enumerate(spans):
        name = PHONES[phone]
        if name == "HH":
            name = PHONES[spans[index + 1].phone] if index + 1 < len(spans) else "SIL"
            name = GLIDES[name][0] if name in GLIDES else ("AH" if name == "HH" else name)
        if name in GLIDES:
            turn = start + GLIDE_TURN * (stop - start)
            first, second = GLIDES[name]
            out += [(start, turn, GESTURES[first]), (turn, stop, GESTURES[second])]
        else:
            out.append((start, stop, GESTURES[SAME_AS.get(name, name)]))
    return out


def _blend(spans: Sequence[Span], times: NDArray[np.float64]) -> Array:
    """Dominance-weighted mean of the gesture targets at ``times`` (T,) in hops: (T, K)."""
    pose = np.zeros((times.size, K), np.float32)
    pieces = _pieces(spans)
    if not pieces:
        return pose
    start, stop = (np.array([piece[i] for piece in pieces], np.float64) for i in (0, 1))
    give = CORE * (stop - start)
    before = np.maximum(0.0, (start + give)[None] - times[:, None])  # (T, N)
    after = np.maximum(0.0, times[:, None] - (stop - give)[None])
    for group, actions in enumerate(GROUP_ACTIONS):
        strength = np.array([piece[2].strength[group] for piece in pieces])
        lead, lag = REACH[group]
        dominance = strength * np.exp(-before / lead - after / lag) + 1e-12
        dominance /= dominance.sum(1, keepdims=True)
        for action in actions:
            value = dominance @ np.array([piece[2].targets.get(action, 0.0) for piece in pieces])
            for name in (f"{action}Left", f"{action}Right") if action in TWO_SIDED else (action,):
                pose[:, ACTION_INDEX[name]] = value
    return pose


def _track(spans: Sequence[Span], edges: NDArray[np.float64], names: frozenset[str]) -> Array:
    """Closure envelope per frame: 1 while shut, raised-cosine ramps, and never a shut span without a shut frame."""
    centres = (edges[:-1] + edges[1:]) / 2
    track = np.zeros(centres.size, np.float32)
    for start, stop, phone in spans:
        name = PHONES[phone]
        if name not in names:
            continue
        end = start + SHUT[name] * (stop - start)
        ahead, behind = np.maximum(0, start - centres) / ATTACK, np.maximum(0, centres - end) / RELEASE
        ramp = 0.5 + 0.5 * np.cos(np.pi * np.minimum(1.0, ahead + behind))
        held = np.minimum(edges[1:], end) - np.maximum(edges[:-1], start)
        ramp[held >= HOPS_PER_FRAME / 2] = 1.0
        if held.size and held.max() > 0:
            ramp[int(held.argmax())] = 1.0
        track = np.maximum(track, ramp.astype(np.float32))
    return track
