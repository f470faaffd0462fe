"""The whole path from sound to Motion on sound that is not a clean voice: never NaN, never a frozen or gaping mouth.

Gaping: the lips stand open (OPEN_MM) while nobody speaks. Frozen: they do not move (FROZEN of their usual movement)
while somebody does, or head and lids stand still at all.
"""

import wave
from functools import cache
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest

from engine.clock import VOICE_FRAME, VOICE_RATE
from engine.config import EngineConfig, MotionConfig
from engine.engine import Engine
from engine.motion.frame import ACTION_INDEX, Motion
from engine.motion.lips import lip_gap
from engine.parts import Parts
from engine.render.camera import FRAMINGS
from engine.render.geometric import GeometricRenderer
from engine.session import Session
from streaming.micclock import MicClock
from streaming.mictrack import MicReader

SAMPLE = Path(__file__).parents[2] / "streaming" / "web" / "sample.wav"
SECOND = 25  # frames
OPEN_MM = 3.0  # a mouth that wide in silence is seen to be open
STARTLE = SECOND // 2  # frames in which a sound out of nothing may be a word
SETTLE = 8  # frames after the last sound in which the mouth comes to rest
FROZEN = 0.5  # of the spread of the gap that the clean voice makes


class NoPicture:
    """What a session asks of a renderer it never paints with."""

    size, framing = (64, 64), FRAMINGS["upper"]
    default_viewpoint, initial_state = framing.default_viewpoint, staticmethod(lambda: None)


class Unseen(Engine):
    def renderer(self, avatar: str, framing: str | None = None, **_: Any) -> GeometricRenderer:
        return cast(GeometricRenderer, NoPicture())


@cache
def parts() -> Parts:
    return Unseen(EngineConfig(motion=MotionConfig(lookahead=1))).open().parts


def session() -> Session:
    """A fresh session on networks that are loaded once."""
    return Session(parts(), seed=3)


def play(voice: np.ndarray, on: Session | None = None) -> list[Motion]:
    """The Motion of every frame, none of it painted; every number finite and in its range."""
    on, out = on or session(), []
    voice = np.concatenate([voice, np.zeros(-len(voice) % VOICE_FRAME)]).astype(np.float32)
    for start in range(0, len(voice), VOICE_FRAME):
        on.push_voice(voice[start : start + VOICE_FRAME])
        moved = on.move()
        if moved is not None:
            out.append(moved.motion)
            row = moved.motion.pack()
            assert np.isfinite(row).all() and np.array_equal(row, moved.motion.clipped().pack())
            assert np.isfinite(moved.voice).all() and np.isfinite(moved.viseme).all()
    return out


def gaps(motions: list[Motion]) -> np.ndarray:
    return lip_gap(np.stack([m.face for m in motions]))


@cache
def speech() -> np.ndarray:
    """The page's own sample: 8 s of a voice at 48 kHz."""
    with wave.open(str(SAMPLE)) as sound:
        pcm, rate = np.frombuffer(sound.readframes(sound.getnframes()), np.int16) / 32768.0, sound.getframerate()
    size = len(pcm) * VOICE_RATE // rate
    return np.interp(np.arange(size) / VOICE_RATE, np.arange(len(pcm)) / rate, pcm).astype(np.float32)


@cache
def clean() -> np.ndarray:
    return gaps(play(speech()))


def noise(seconds: float, db: float, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=int(seconds * VOICE_RATE))
    return (x * 10 ** (db / 20)).clip(-1, 1).astype(np.float32)


def music(seconds: float) -> np.ndarray:
    """Chords that change twice a second over a beat, at -14 dBFS."""
    rng, out = np.random.default_rng(5), []
    for _ in range(round(2 * seconds)):
        time = np.arange(VOICE_RATE // 2) / VOICE_RATE
        tones = 110 * 2 ** (rng.choice([0, 3, 4, 7, 9, 12, 16], 4, replace=False) / 12)
        chord = sum(np.sin(2 * np.pi * f * k * time) / k for f in tones for k in (1, 2, 3)) * np.exp(-3 * time)
        beat = rng.normal(size=time.size) * np.exp(-60 * time)
        out.append(0.3 * chord + 0.5 * beat)
    x = np.concatenate(out)
    return (x * 0.2 / x.std()).clip(-1, 1).astype(np.float32)


def hum(seconds: float) -> np.ndarray:
    time = np.arange(int(seconds * VOICE_RATE)) / VOICE_RATE
    return (0.05 * sum(np.sin(2 * np.pi * 50 * k * time) / k for k in (1, 2, 3, 5))).astype(np.float32)


def clicks(seconds: float) -> np.ndarray:
    x = np.zeros(int(seconds * VOICE_RATE), np.float32)
    x[:: VOICE_RATE // 3] = 0.9
    return x


NOBODY = {
    "silence": lambda: np.zeros(6 * VOICE_RATE, np.float32),
    "room": lambda: noise(6, -55),
    "fan": lambda: noise(6, -30),
    "roar": lambda: noise(6, -12),
    "music": lambda: music(6),
    "hum": lambda: hum(6),
    "clicks": lambda: clicks(6),
    "full scale": lambda: np.ones(4 * VOICE_RATE, np.float32),
}


@pytest.mark.parametrize("name", NOBODY)
def test_a_mouth_stays_shut_while_nobody_speaks(name: str) -> None:
    gap = gaps(play(NOBODY[name]()))[STARTLE:]
    assert (gap > OPEN_MM).mean() <= 0.02, f"open {100 * (gap > OPEN_MM).mean():.0f}% of the time"


@pytest.mark.parametrize("name", ["roar", "music", "full scale"])
def test_the_mouth_speaks_again_after_what_was_no_voice(name: str) -> None:
    after = play(np.concatenate([NOBODY[name](), np.zeros(VOICE_RATE, np.float32), speech()]))
    gap = gaps(after)[-len(clean()) :]
    assert np.corrcoef(gap, clean())[0, 1] > 0.8 and gap.std() > FROZEN * clean().std()


def test_the_mouth_rests_soon_after_the_last_word() -> None:
    gap = gaps(play(np.concatenate([speech(), np.zeros(2 * VOICE_RATE, np.float32)])))
    assert (gap[len(clean()) + SETTLE :] < 1.0).all()


def test_a_minute_of_nothing_leaves_lids_and_head_alive_and_the_next_words_as_they_were() -> None:
    silent = 60 * SECOND
    motions = play(np.concatenate([np.zeros(60 * VOICE_RATE, np.float32), speech()]))
    waiting = motions[SECOND:silent]
    lids = np.array([m.face[ACTION_INDEX["eyeBlinkLeft"]] for m in waiting])
    blinks = int(((lids[1:] > 0.6) & (lids[:-1] <= 0.6)).sum())
    assert 3 <= blinks <= 60, blinks
    heads = np.stack([m.head[:3] for m in waiting])
    for start in range(0, len(heads) - 10 * SECOND, 10 * SECOND):
        assert np.degrees(np.ptp(heads[start : start + 10 * SECOND], axis=0)).max() > 0.3, "the head stands still"
    assert (gaps(waiting) < OPEN_MM).all()
    gap = gaps(motions)[silent : silent + len(clean())]
    assert np.corrcoef(gap, clean()[: len(gap)])[0, 1] > 0.95


@pytest.mark.parametrize(("gain", "alike"), [(0.03, 0.7), (4.0, 0.85), (30.0, 0.6)])
def test_a_faint_or_clipped_voice_still_moves_the_mouth(gain: float, alike: float) -> None:
    gap = gaps(play((speech() * gain).clip(-1, 1)))
    assert np.corrcoef(gap, clean())[0, 1] > alike and gap.std() > FROZEN * clean().std()
    assert (gap < 0.5).any() and (gap > 4.0).any()


def lossy(voice: np.ndarray, lost: float, seed: int) -> np.ndarray:
    """``voice`` through the microphone's clock in packets of 20 ms, of which some never come, in bursts of one to
    three."""
    rng, clock, out, gone = np.random.default_rng(seed), MicClock(0.0), [], 0
    for number, start in enumerate(range(0, len(voice) - 959, 960)):
        now = 0.02 * (number + 1)
        if gone == 0 and rng.random() < lost / 2:
            gone = int(rng.integers(1, 4))
        if gone:
            gone -= 1
        else:
            out.append(clock.packet(start, voice[start : start + 960], now))
        out.append(clock.tick(now))
    return np.concatenate(out)


@pytest.mark.parametrize(("lost", "alike"), [(0.05, 0.85), (0.2, 0.6)])
def test_lost_packets_shake_the_mouth_and_do_not_stop_it(lost: float, alike: float) -> None:
    voice = lossy(speech(), lost, seed=1)
    share = (voice[: len(speech())] == 0).mean() - (speech() == 0).mean()
    assert share > 0.5 * lost  # something was lost
    gap = gaps(play(voice))
    common = min(len(gap), len(clean()))
    lags = [np.corrcoef(gap[lag:common], clean()[: common - lag])[0, 1] for lag in range(4)]
    assert max(lags) > alike and gap.std() > FROZEN * clean().std()


def test_a_change_of_sample_rate_is_heard_as_the_same_voice() -> None:
    reader, voice = MicReader(), []
    third = len(speech()) // 3 // 960 * 960
    for number, rate in enumerate((48000, 16000, 8000)):
        part = speech()[number * third : (number + 1) * third]
        size = len(part) * rate // VOICE_RATE
        pcm = np.interp(np.arange(size) / rate, np.arange(len(part)) / VOICE_RATE, part)
        for start in range(0, size, rate // 50):
            frame = av.AudioFrame.from_ndarray(
                (pcm[None, start : start + rate // 50] * 32767).astype(np.int16), "s16", "mono"
            )
            frame.sample_rate, frame.pts = rate, start
            voice += [samples for _, samples in reader.read(frame)]
    heard = np.concatenate(voice)
    assert abs(len(heard) - 3 * third) < 0.1 * VOICE_RATE
    gap = gaps(play(heard))
    common = min(len(gap), len(clean()))
    assert np.corrcoef(gap[:common], clean()[:common])[0, 1] > 0.7 and gap[-SECOND * 2 :].std() > 0.3 * clean().std()


def test_numbers_that_are_none_are_silence() -> None:
    voice = speech().copy()
    voice[::7], voice[3::11] = np.nan, np.inf
    play(voice)  # finite and in range, frame by frame
