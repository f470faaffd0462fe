"""Ten hours of voice through the lip network, half an hour through a whole session; nothing grows.

A cycle is a call of real prompts with pauses, then music, noise and a minute of nothing. The lips of the last cycle are
scored as those of the first, and so are its Motion's blinks and head. ``python -m bench.soak_voice --hours N`` for
other lengths.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any, Final, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from bench import prompts, report
from bench.lipscore import painted_take, score
from bench.motion import call
from bench.ours import Talker, at_48k
from bench.prompts import Prompt
from bench.report import Measured, Metrics, value
from bench.sounds import pink
from engine.audio.logmel import LogMel
from engine.clock import FPS, FRAME, FRAME_SECONDS, HOPS_PER_FRAME, SAMPLE_RATE, VOICE_FRAME
from engine.config import MotionConfig
from engine.motion.frame import ACTION_INDEX
from engine.motion.lips import LipSync, lip_gap

Array = NDArray[np.float32]

HOURS: Final = 10.0
SESSION_SHARE: Final = 0.05  # of the hours that a whole session lives through
QUICK_HOURS: Final = 0.25
SILENT_SECONDS: Final = 60
LOUD_SECONDS: Final = 15
NOT_STATE: Final = ("render", "view")  # of a session's state: the picture's


class Minute(NamedTuple):
    """What a state looks like after a cycle: largest size of a number in it, and whether all are finite."""

    largest: float
    finite: bool


def run(quick: bool = False, log: Console | None = None, hours: float | None = None) -> Measured:
    """Raises ValueError when there is no speech, or when hours do not hold two cycles."""
    log = log or Console(stderr=True)
    hours = hours if hours is not None else QUICK_HOURS if quick else HOURS
    try:
        said = call(list(prompts.asterisk(full=False)))
    except prompts.MissingPackage as error:
        raise ValueError(f"no speech to soak in: {error}") from None
    cycle = np.concatenate([said.pcm, _between()])
    metrics = _lips(said, cycle, hours, log)
    metrics |= _session(said, cycle, max(hours * SESSION_SHARE, 2.5 * cycle.size / SAMPLE_RATE / 3600), log)
    return Measured(metrics)


def _between() -> Array:
    """What comes between two calls: chords, pink noise at -20 dBFS, silence. A whole number of frames."""
    rng, size = np.random.default_rng(7), LOUD_SECONDS * SAMPLE_RATE
    at = np.arange(size) / SAMPLE_RATE
    chords = sum(np.sin(2 * np.pi * f * at) for f in (220.0, 277.18, 329.63)) * (0.05 + 0.05 * np.sin(2 * np.pi * at))
    return np.concatenate([chords, 0.1 * pink(size, rng), np.zeros(SILENT_SECONDS * SAMPLE_RATE)]).astype(np.float32)


def _lips(said: Prompt, cycle: Array, hours: float, log: Console) -> Metrics:
    """The lip network alone, as fast as it goes."""
    lookahead = MotionConfig().lookahead
    lips = LipSync(lookahead)
    log_mel = LogMel()
    mel, _ = log_mel.step(cycle[None], log_mel.initial_state())
    mel = np.ascontiguousarray(mel.reshape(-1, 1, HOPS_PER_FRAME, mel.shape[2]))
    frames, cycles = len(mel), _cycles(hours, cycle)
    spoken = said.pcm.size // FRAME
    state, began = lips.initial_state(), time.perf_counter()
    minutes, takes = [], {}
    for number in track(range(cycles), f"lips, {hours:g} h", console=log, transient=True):
        viseme, gap = [], []
        for frame in mel:
            shown, state = lips.step(frame, state)
            if number in (0, cycles - 1):
                viseme.append(_hops(shown))
                gap.append(float(lip_gap(shown.face[0])))
        minutes.append(Minute(float(np.abs(state.memory).max()), bool(np.isfinite(state.memory).all())))
        if viseme:
            # The first frames of a cycle's output belong to the one before: rest, as the last of this one do.
            heard = slice(HOPS_PER_FRAME * lookahead, HOPS_PER_FRAME * (lookahead + spoken))
            takes[number] = painted_take(
                said.spans, np.concatenate(viseme)[heard], np.repeat(gap, HOPS_PER_FRAME)[heard]
            )
    took = time.perf_counter() - began
    first, last = score([takes[0]]).removed, score([takes[cycles - 1]]).removed
    if not all(m.finite for m in minutes):
        raise ValueError("the state of the lips is not finite")
    largest = np.array([m.largest for m in minutes])
    metrics = {
        "lips.hours": value(cycles * frames * FRAME_SECONDS / 3600, "h"),
        "lips.step_ms": value(1e3 * took / (cycles * frames), "ms"),
        "lips.state_bytes": value(state.memory.nbytes, "B"),
        "lips.state_largest_first_half": value(float(largest[: cycles // 2].max()), ""),
        "lips.state_largest_second_half": value(float(largest[cycles // 2 :].max()), ""),
    }
    for name in ("f1_15", "f1_6", "closure_recall", "closure_precision", "opening_corr", "false_open_pct"):
        metrics[f"lips.first.{name}"] = value(first[name], "")
        metrics[f"lips.last.{name}"] = value(last[name], "")
    return metrics


def _hops(frame: Any) -> Array:
    hops = getattr(frame, "hop_viseme", None)
    return np.repeat(frame.viseme, HOPS_PER_FRAME, 0) if hops is None else hops[0].copy()


def _cycles(hours: float, cycle: Array) -> int:
    count = round(hours * 3600 * SAMPLE_RATE / cycle.size)
    if count < 2:
        raise ValueError(f"{hours:g} h is shorter than two cycles of {cycle.size / SAMPLE_RATE:.0f} s")
    return count


def _session(said: Prompt, cycle: Array, hours: float, log: Console) -> Metrics:
    """A whole session that paints nothing: its size, and whether it lives on as it began."""
    talker = Talker(MotionConfig().lookahead)
    session, voice = talker.session(), at_48k(cycle)
    cycles, sizes, lives = _cycles(hours, cycle), list[int](), list[dict[str, float]]()
    for _ in track(range(cycles), f"session, {hours:.2g} h", console=log, transient=True):
        motions = []
        for start in range(0, voice.size, VOICE_FRAME):
            session.push_voice(voice[start : start + VOICE_FRAME])
            moved = session.move()
            if moved is not None:
                motions.append(moved.motion)
        talker.forget()
        sizes.append(sum(footprint(part) for name, part in _parts_of(session.state) if name not in NOT_STATE))
        lives.append(_life(np.stack([m.pack() for m in motions]), np.stack([m.face for m in motions]),
                           np.stack([m.head for m in motions])))  # fmt: skip
    metrics = {
        "session.hours": value(cycles * cycle.size / SAMPLE_RATE / 3600, "h"),
        "session.state_bytes": value(sizes[-1], "B"),
        "session.state_growth_bytes": value(sizes[-1] - sizes[0], "B"),
        "session.inbox_bytes": value(footprint(session.inbox), "B"),
    }
    for name in lives[0]:
        metrics[f"session.first.{name}"] = value(lives[0][name], "")
        metrics[f"session.last.{name}"] = value(lives[-1][name], "")
    return metrics


def _life(rows: Array, face: Array, head: Array) -> dict[str, float]:
    """Blinks a minute, how far the head turns in degrees (standard deviation), and the largest number of all."""
    if not np.isfinite(rows).all():
        raise ValueError("the Motion of a session is not finite")
    lids = face[:, ACTION_INDEX["eyeBlinkLeft"]]
    blinks = ((lids[1:] > 0.6) & (lids[:-1] <= 0.6)).sum()
    return {"blinks_per_minute": float(blinks * 60 * FPS / len(face)),
            "head_spread_deg": float(np.degrees(head[:, :3].std(0).max())),
            "largest": float(np.abs(rows).max())}  # fmt: skip


def _parts_of(state: Any) -> Iterator[tuple[str, Any]]:
    for part in dataclasses.fields(state):
        yield part.name, getattr(state, part.name)


def footprint(thing: Any, seen: set[int] | None = None) -> int:
    """Bytes that ``thing`` and what it holds take up, arrays with their numbers; nothing is counted twice.

    Generators of random numbers count as one object; modules, classes and functions not at all.
    """
    seen = set() if seen is None else seen
    if id(thing) in seen or callable(thing):
        return 0
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        if thing.base is None:
            return sys.getsizeof(thing)
        return sys.getsizeof(thing) + footprint(thing.base, seen)
    size = sys.getsizeof(thing, 0)
    if isinstance(thing, dict):
        return size + sum(footprint(k, seen) + footprint(v, seen) for k, v in thing.items())
    if isinstance(thing, list | tuple | set | frozenset):
        return size + sum(footprint(one, seen) for one in thing)
    inner = [getattr(thing, name) for kind in type(thing).__mro__ for name in _slots(kind) if hasattr(thing, name)]
    return size + sum(footprint(one, seen) for one in (*inner, getattr(thing, "__dict__", {})))


def _slots(kind: type) -> tuple[str, ...]:
    slots = kind.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def main(
    hours: Annotated[float, typer.Option(help="Of voice, through the lip network.")] = HOURS,
) -> None:
    """Soaks and shows."""
    report.show(report.document("soak", run(hours=hours).metrics), Console())


if __name__ == "__main__":
    typer.run(main)
