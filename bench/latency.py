"""Suite ``latency``: one session fed in real time; how long each stage takes, and whether a frame is ever late."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import track

from bench.report import Measured, spread, value
from engine.clock import FPS, FRAME_SECONDS, VOICE_FRAME, VOICE_RATE
from engine.engine import Engine
from engine.session import Session
from visavis.sound import read_voice

PACKET: Final = VOICE_RATE // 50  # 20 ms, what Opus delivers
SAMPLE_VOICE: Final = Path(__file__).parent.parent / "streaming" / "web" / "sample.wav"
STAGES: Final = {
    "motion_step_ms": ("mel", "vad", "motion"),
    "body_pose_ms": ("body",),
    "raster_ms": ("raster",),
    "shade_ms": ("shade",),  # geometric
    "guide_ms": ("guide",),  # neural, as the two that follow
    "network_ms": ("network",),
    "composite_ms": ("composite",),
    "yuv_ms": ("yuv",),
    "watermark_ms": ("watermark",),
}


def run(*, quick: bool, log: Console) -> Measured:
    """60 s (quick: 15 s) of speech, pushed in 20 ms packets by the wall clock; 512 x 512, as configured.

    ``engine_ms`` is from the arrival of the last sample of a frame to the painted frame (I420); the 40 ms that a
    frame's own sound takes to be spoken come before that, and are in ``audio_in_to_frame_out_ms``, counted from
    the frame's first sample. A frame is dropped when it is not painted before the next one's sound is complete.
    """
    engine = Engine()
    engine.warm_up()
    check_determinism(engine)
    session, seconds = engine.open(), 15.0 if quick else 60.0
    voice = speech(seconds)
    times: dict[str, list[float]] = defaultdict(list)
    dropped, start = 0, time.perf_counter()
    for k in track(range(len(voice) // PACKET), description="latency", console=log):
        due = start + (k + 1) * PACKET / VOICE_RATE
        time.sleep(max(0.0, due - time.perf_counter()))
        session.push_voice(voice[k * PACKET : (k + 1) * PACKET])
        while (frame := session.step()) is not None:
            late = 1e3 * (time.perf_counter() - due)
            times["engine_ms"].append(late)
            times["audio_in_to_frame_out_ms"].append(late + 1e3 * FRAME_SECONDS * (1 + session.parts.lookahead))
            for name, stages in STAGES.items():
                if all(stage in frame.stages for stage in stages):
                    times[name].append(sum(frame.stages[stage] for stage in stages))
            dropped += late > 1e3 * FRAME_SECONDS
    metrics = {name: spread(samples, "ms") for name, samples in times.items()}
    metrics["frames_dropped"] = value(dropped, "frames")
    metrics["fps"] = value(len(times["engine_ms"]) / seconds, "frames/s")
    metrics["faster_than_real_time"] = value(1e3 * FRAME_SECONDS / metrics["engine_ms"]["p50"], "x")
    return Measured(metrics, dict(times))


def speech(seconds: float) -> np.ndarray:
    """The bundled sample voice, repeated to ``seconds``: (n,) float32 at 48 kHz."""
    voice = np.concatenate(list(read_voice(SAMPLE_VOICE, max_seconds=600)))
    return np.resize(voice, int(seconds * FPS) * VOICE_FRAME)


def check_determinism(engine: Engine) -> None:
    """Same voice, same seed, other chunking: the same frames, byte for byte. Raises ValueError when not."""
    voice = speech(1.0)
    first, second = (play(engine.open(seed=7), voice, chunk) for chunk in (960, 1111))
    if len(first) != len(second) or not all(np.array_equal(a, b) for a, b in zip(first, second, strict=True)):
        raise ValueError("two runs of one voice and seed differ: the figures would not mean anything")


def play(session: Session, voice: np.ndarray, chunk: int) -> list[np.ndarray]:
    """Every frame of ``voice``, pushed ``chunk`` samples at a time."""
    frames = []
    for start in range(0, len(voice), chunk):
        session.push_voice(voice[start : start + chunk])
        while (frame := session.step()) is not None:
            frames.append(frame.i420.copy())
    return frames
