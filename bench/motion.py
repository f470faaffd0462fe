"""Suite ``motion``: visemes, lip closures, lag and stillness of the lip network, next to a loudness baseline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from bench.lipscore import Take, score, take
from bench.prompts import Prompt, asterisk, tts
from bench.report import Measured, Metrics, spread, value
from engine.audio.logmel import LogMel
from engine.clock import FRAME, FRAME_SECONDS, SAMPLE_RATE
from engine.config import MotionConfig
from engine.motion.lips import REST_GAP_MM, VISEMES, LipSync, lip_gap
from training.speech.align import MissingPackage

Array = NDArray[np.float32]
Painted = tuple[Array, Array]  # viseme (T, 15), gap in mm (T,)

STILL_SECONDS = 10
ONSET_FRAMES = 12  # a sound that starts from nothing may be a word for half a second


def run(quick: bool = False, log: Console | None = None) -> Measured:
    """Scores every set that this machine has the speech for. Raises ValueError when it has none."""
    log = log or Console(stderr=True)
    lookahead = MotionConfig().lookahead
    lips, step_ms = LipSync(lookahead), list[float]()

    def ours(pcm: Array) -> Painted:
        return paint_lips(lips, lookahead, pcm, step_ms=step_ms)

    painters: dict[str, Callable[[Array], Painted]] = {"ours": ours, "baseline.loudness": loudness}
    metrics: Metrics = {}
    sets: dict[str, Callable[[], Iterable[Prompt]]] = {"asterisk": lambda: asterisk(full=False), "tts": tts}
    if not quick:
        sets["asterisk_full"] = lambda: asterisk(full=True)
        for other in {0, 1, 2} - {lookahead}:  # what waiting longer, or less, would buy
            painters[f"ours.lookahead{other}"] = partial(paint_lips, LipSync(other), other, step_ms=[])
    for name, prompts in sets.items():
        try:
            takes = [[take(p.spans, *paint(p.pcm)) for paint in painters.values()]
                     for p in track(list(prompts()), f"scoring {name}", console=log)]  # fmt: skip
        except MissingPackage as error:
            log.print(f"[yellow]{name} skipped:[/] {error}")
            continue
        for system, scored in zip(painters, zip(*takes, strict=True), strict=True):
            metrics |= _named(f"{system}.{name}", list(scored))
    if not metrics:
        raise ValueError("no speech to score: install the packages named above")
    for name, sound in still_sounds().items():
        moved = np.abs(ours(sound)[1] - REST_GAP_MM)
        metrics[f"ours.still.{name}_onset_mm"] = value(float(moved[:ONSET_FRAMES].max()), "mm")
        metrics[f"ours.still.{name}_mm"] = value(float(moved[ONSET_FRAMES:].max()), "mm")
    metrics["ours.algorithmic_latency_ms"] = value(1e3 * FRAME_SECONDS * (1 + lookahead), "ms")
    metrics["motion_step_ms"] = spread(step_ms, "ms")
    return Measured(metrics, {"motion step": step_ms})


def _named(prefix: str, takes: list[Take]) -> Metrics:
    return {f"{prefix}.{name}": value(number, unit) for name, (number, unit) in score(takes).items()}


def paint_lips(lips: LipSync, lookahead: int, pcm: Array, *, step_ms: list[float]) -> Painted:
    """What the network paints while pcm (samples,) plays, exactly as a session calls it; times each step."""
    log_mel = LogMel()
    mel_state, state = log_mel.initial_state(), lips.initial_state()
    padded = np.pad(pcm, (0, -pcm.size % FRAME + lookahead * FRAME)).astype(np.float32)
    visemes, gaps = [], []
    for start in range(0, padded.size, FRAME):
        began = time.perf_counter()
        mel, mel_state = log_mel.step(padded[None, start : start + FRAME], mel_state)
        frame, state = lips.step(mel, state)
        step_ms.append(1e3 * (time.perf_counter() - began))
        visemes.append(frame.viseme[0].copy())
        gaps.append(float(lip_gap(frame.face[0])))
    return np.array(visemes[lookahead:]), np.array(gaps[lookahead:], np.float32)


def loudness(pcm: Array) -> Painted:
    """The baseline every talking avatar starts from: mouth opening by loudness relative to a slow peak."""
    frames = pcm.size // FRAME
    power = (pcm[: frames * FRAME].reshape(frames, FRAME) ** 2).mean(1)
    peak, level = 1e-4, np.empty(frames)
    for i, energy in enumerate(power):
        peak = max(peak * 0.998, float(energy))
        level[i] = 10 * np.log10(energy / peak + 1e-9)
    said = np.where(level < -35, VISEMES.index("sil"), np.where(level < -10, VISEMES.index("I"), VISEMES.index("aa")))
    gap = REST_GAP_MM + 12.0 * np.clip((level + 30) / 30, 0, 1)
    return np.eye(len(VISEMES), dtype=np.float32)[said], gap.astype(np.float32)


def still_sounds() -> dict[str, Array]:
    """Sounds a mouth must not answer: digital silence, room noise at -50 and -30 dBFS, and a held chord."""
    size = STILL_SECONDS * SAMPLE_RATE
    noise = np.random.default_rng(0).normal(size=size)
    seconds = np.arange(size) / SAMPLE_RATE
    chord = np.sin(2 * np.pi * np.array([[220.0], [277.18], [329.63], [440.0]]) * seconds).mean(0)
    return {
        "silence": np.zeros(size, np.float32),
        "noise_50db": (noise * 10 ** (-50 / 20)).astype(np.float32),
        "noise_30db": (noise * 10 ** (-30 / 20)).astype(np.float32),
        "chord_20db": (chord * 10 ** (-20 / 20)).astype(np.float32),
    }
