"""Films of the choreography: a spoken sentence or a sound file, an avatar that performs it, an MP4 to look at."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from subprocess import SubprocessError
from typing import Any, Final

import av
import numpy as np
import torch
from numpy.typing import NDArray

from engine.audio.logmel import LogMel
from engine.avatar import Avatar
from engine.clock import FPS, FRAME, HOP, HOPS_PER_FRAME, SAMPLE_RATE
from engine.motion.blend import blend
from engine.motion.emotion import lip_gain
from engine.motion.frame import K
from engine.motion.generator import LEARNED, Compose
from engine.motion.lips import LipSync
from training.choreography.arms import Skeleton
from training.choreography.curves import spring
from training.choreography.make import stage_spans, stresses_of, words_of
from training.choreography.meaning import Chooser
from training.choreography.mouth import mouth_targets
from training.choreography.performance import act
from training.choreography.show import Camera, motion_of
from training.choreography.stage import Script, Stage
from training.speech.align import forget
from training.speech.corpus import Utterance, describe
from training.speech.phones import Span
from training.speech.voices import synthesize, voice_named

Array = NDArray[Any]
LOOKAHEAD: Final = 2  # frames of the lip network, for sound whose words are not known
LOUD: Final = 0.12  # of the loudest tenth: louder is voice, for sound without words
TEXT_VOICES: Final = ("flite_slt", "festival_slt", "kokoro_af_heart")  # the first that is installed speaks


@dataclass(frozen=True, slots=True)
class Spoken:
    """pcm (samples,) float32 at 16 kHz and the script it is performed by; ``lips`` (T, K), ``level`` (T,)."""

    pcm: Array
    script: Script
    lips: Array


def from_text(text: str, emotion: str, intensity: float, style: tuple[float, ...], voice: str = "") -> Spoken:
    """Speaks and aligns ``text``. Raises ValueError when no voice is installed or the text cannot be aligned."""
    last: Exception | None = None
    for name in (voice,) if voice else TEXT_VOICES:
        try:
            made = voice_named(name)
            (samples, rate), *_ = synthesize(made, [text], random.Random(0))
        except (ValueError, OSError, SubprocessError) as error:
            last = error
            continue
        count = int(len(samples) * SAMPLE_RATE / rate)
        pcm = np.interp(np.arange(count) * rate / SAMPLE_RATE, np.arange(len(samples)), samples)
        pcm = np.pad(0.7 * pcm / max(float(np.abs(pcm).max()), 1e-6), (SAMPLE_RATE // 2, SAMPLE_RATE))
        return _described(pcm, text, emotion, intensity, style, name)
    raise ValueError(f"no voice could say it: {last}")


def from_sound(path: Path, text: str, emotion: str, intensity: float, style: tuple[float, ...]) -> Spoken:
    """A sound file; with ``text``, its transcript, choreographed by words, else by loudness."""
    pcm = read_sound(path)
    if text:
        return _described(pcm, text, emotion, intensity, style, "flite_slt")
    frames = len(pcm) // FRAME
    pcm = pcm[: frames * FRAME]
    spans, stresses = _by_loudness(pcm)
    script = Script(frames, spans, stresses=stresses, emotion=emotion, intensity=intensity, style=style)
    return Spoken(pcm, script, _network_lips(pcm, lip_gain(emotion, intensity)))


def read_sound(path: Path) -> Array:
    """(samples,) float32 mono at 16 kHz. Raises ValueError when there is no sound in the file."""
    parts = []
    try:
        with av.open(str(path)) as container:
            resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
            for frame in container.decode(audio=0):
                parts += [out.to_ndarray()[0] for out in resampler.resample(frame)]
            parts += [out.to_ndarray()[0] for out in resampler.resample(None)]
    except (OSError, IndexError, av.error.FFmpegError) as error:
        raise ValueError(f"{path}: no sound to perform ({error})") from error
    if not parts:
        raise ValueError(f"{path}: no sound to perform (it is empty)")
    return np.nan_to_num(np.concatenate(parts))


def _described(pcm: Array, text: str, emotion: str, intensity: float, style: tuple[float, ...], voice: str) -> Spoken:
    frames = len(pcm) // FRAME
    pcm = pcm[: frames * FRAME]
    forget()
    one: Utterance | None = describe(voice_named(voice), text, np.clip(pcm * 32767, -32768, 32767).astype(np.int16))
    if one is None:
        raise ValueError(f"the words do not fit the sound, or it is not English: {text!r}")
    meaning, meant = Chooser().sentence(text, words_of(one), stresses_of(one))
    script = Script(frames, one.spans, words_of(one), stresses_of(one), emotion, intensity, style, meaning,
                    question=text.rstrip().endswith("?"), meant=meant)  # fmt: skip
    target = mouth_targets(stage_spans([script], frames), frames)
    open_pose = target.open.copy()
    open_pose[:, LEARNED] = np.clip(open_pose[:, LEARNED] * lip_gain(emotion, intensity), 0.0, 1.0)
    lips = Compose()(*map(torch.from_numpy, (open_pose, target.closure, target.labiodental))).numpy()
    return Spoken(pcm, script, lips)


def _by_loudness(pcm: Array) -> tuple[list[Span], Array]:
    """Voice as one long vowel where it is loud, and stresses at the peaks of loudness."""
    hops = len(pcm) // HOP
    power = np.sqrt((pcm[: hops * HOP].reshape(hops, HOP) ** 2).mean(1))
    level = np.convolve(power, np.hanning(13)[1:-1] / np.hanning(13).sum(), "same")
    loud = level > LOUD * max(float(np.percentile(level, 90)), 1e-4)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(np.int8), [0]]))).reshape(-1, 2)
    spans = [Span(int(a), int(b), 1) for a, b in edges if b - a > 4]
    slow = np.convolve(power, np.hanning(81) / np.hanning(81).sum(), "same")
    peaks = [i for i in range(10, hops - 10) if level[i] == level[i - 10 : i + 11].max() and level[i] > 1.15 * slow[i]]
    heights = np.array([level[i] for i in peaks])
    rank = heights.argsort().argsort() / max(len(peaks) - 1, 1) if len(peaks) else heights
    return spans, np.stack([np.array(peaks, float) / 100.0, rank], axis=1).reshape(-1, 2)


def _network_lips(pcm: Array, gain: Array) -> Array:
    """(T, K) by the lip network, its lookahead taken out."""
    log_mel, lips = LogMel(), LipSync(lookahead=LOOKAHEAD)
    ahead = np.pad(pcm.astype(np.float32), (0, LOOKAHEAD * FRAME))
    mel, _ = log_mel.step(ahead[None], log_mel.initial_state())
    state, out = lips.initial_state(), np.zeros((len(ahead) // FRAME, K), np.float32)
    for frame, row in enumerate(mel[0].reshape(-1, HOPS_PER_FRAME, mel.shape[-1])):
        heard, state = lips.step(row[None], state, gain)
        out[frame] = heard.face[0]
    return out[LOOKAHEAD:]


def film(
    spoken: Spoken, avatar: Avatar, path: Path, *, seed: int, size: int, framing: str,
    report: Callable[[int, int], None],
) -> None:  # fmt: skip
    """Performs, paints and writes an MP4, whole or not at all. Raises ValueError when the folder is not there."""
    if not path.parent.is_dir():
        raise ValueError(f"{path}: the folder {path.parent} does not exist; make it first")
    stage = Stage.of([spoken.script])
    done = act(stage, seed, Skeleton.of(avatar))
    level = np.clip(spring(stage.speaking.astype(float)[:, None], 0.05)[:, 0], 0.0, 1.0)
    camera = Camera(avatar, size, framing)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.part.mp4")
    try:
        with av.open(str(partial), "w", format="mp4") as container:
            video: Any = container.add_stream("h264", rate=FPS)
            video.width = video.height = size
            video.pix_fmt, video.options = "yuv420p", {"crf": "20", "preset": "veryfast"}
            sound: Any = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
            for frame in range(stage.frames):
                motion = motion_of(done, frame)
                face = blend(spoken.lips[frame], motion.face, level=float(level[frame]))
                motion.face[:] = face
                picture = av.VideoFrame.from_ndarray(camera.take(motion), format="rgb24")
                picture.pts, picture.time_base = frame, Fraction(1, FPS)
                container.mux(video.encode(picture))
                piece = spoken.pcm[None, frame * FRAME : (frame + 1) * FRAME].astype(np.float32)
                heard = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), format="fltp", layout="mono")
                heard.sample_rate, heard.pts, heard.time_base = SAMPLE_RATE, frame * FRAME, Fraction(1, SAMPLE_RATE)
                container.mux(sound.encode(heard))
                report(frame + 1, stage.frames)
            for stream in (video, sound):
                container.mux(stream.encode(None))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
