"""Chunked equals whole, bit for bit, for every stateful audio module."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.audio.delay import DelayLine
from engine.audio.logmel import BINS, LogMel
from engine.audio.resample import Decimator
from engine.audio.vad import CHUNK, Vad
from engine.clock import FRAME, SAMPLE_RATE, VOICE_RATE

chunks = st.lists(st.integers(0, 5), min_size=1, max_size=8)


def noise(n: int, batch: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, (batch, n)).astype(np.float32)


def in_pieces(module, state, samples: np.ndarray, sizes: list[int]) -> np.ndarray:
    out, start = [], 0
    for size in sizes:
        y, state = module.step(samples[:, start : start + size], state)
        out.append(y)
        start += size
    return np.concatenate(out, axis=1)


@settings(deadline=None, max_examples=40)
@given(chunks)
def test_log_mel_of_chunks_equals_log_mel_of_the_whole(sizes: list[int]) -> None:
    module, pieces = LogMel(), [size * FRAME for size in sizes]
    samples = noise(sum(pieces))
    whole, _ = module.step(samples, module.initial_state(2))
    assert whole.shape == (2, sum(pieces) // 160, BINS)
    assert np.array_equal(in_pieces(module, module.initial_state(2), samples, pieces), whole)


@settings(deadline=None, max_examples=40)
@given(chunks)
def test_decimated_chunks_equal_the_decimated_whole(sizes: list[int]) -> None:
    module, pieces = Decimator(), [size * 480 for size in sizes]
    samples = noise(sum(pieces))
    whole, _ = module.step(samples, module.initial_state(2))
    assert np.array_equal(in_pieces(module, module.initial_state(2), samples, pieces), whole)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 700), min_size=1, max_size=8), st.integers(0, 900))
def test_the_delay_line_delays_by_exactly_its_length_for_any_chunking(sizes: list[int], delay: int) -> None:
    module, samples = DelayLine(delay), noise(sum(sizes))
    out = in_pieces(module, module.initial_state(2), samples, sizes)
    expected = np.concatenate([np.zeros((2, delay), np.float32), samples], axis=1)[:, : sum(sizes)]
    assert np.array_equal(out, expected)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(0, 1500), min_size=1, max_size=6))
def test_vad_of_chunks_equals_vad_of_the_whole(sizes: list[int]) -> None:
    module, samples = Vad(), noise(sum(sizes), batch=1)
    whole, _ = module.step(samples, module.initial_state())
    assert whole.shape == (1, sum(sizes) // CHUNK)
    assert np.array_equal(in_pieces(module, module.initial_state(), samples, sizes), whole)


def test_log_mel_never_looks_ahead() -> None:
    module, samples = LogMel(), noise(4 * FRAME, batch=1)
    changed = samples.copy()
    changed[:, 2 * FRAME + 160 :] = 0.5
    a, _ = module.step(samples, module.initial_state())
    b, _ = module.step(changed, module.initial_state())
    assert np.array_equal(a[:, :9], b[:, :9]) and not np.array_equal(a[:, 9:], b[:, 9:])


def test_log_mel_puts_a_tone_into_its_mel_bin() -> None:
    time = np.arange(10 * FRAME) / SAMPLE_RATE
    peaks = []
    for hertz in (200, 1000, 4000):
        mel, _ = LogMel().step(np.sin(2 * np.pi * hertz * time)[None].astype(np.float32), LogMel.initial_state())
        peaks.append(int(mel[0, 8:].mean(0).argmax()))
    assert peaks == sorted(peaks) and peaks[0] < 15 < peaks[1] < 45 < peaks[2]


def test_the_decimator_passes_speech_and_stops_what_would_alias() -> None:
    time = np.arange(VOICE_RATE) / VOICE_RATE
    level = {}
    for hertz in (300, 3000, 10_000, 15_000):
        tone = np.sin(2 * np.pi * hertz * time)[None].astype(np.float32)
        out, _ = Decimator().step(tone, Decimator.initial_state())
        level[hertz] = float(np.abs(out[0, 1000:]).max())
    assert level[300] == pytest.approx(1, abs=0.02) and level[3000] == pytest.approx(1, abs=0.02)
    assert level[10_000] < 1e-3 and level[15_000] < 1e-3


def test_reset_forgets_only_the_masked_rows() -> None:
    module, samples = LogMel(), noise(2 * FRAME)
    _, state = module.step(samples, module.initial_state(2))
    state.reset(np.array([True, False]))
    fresh, _ = module.step(samples, module.initial_state(2))
    after, _ = module.step(samples, state)
    assert np.array_equal(after[0], fresh[0]) and not np.array_equal(after[1], fresh[1])


def test_silence_is_not_speech() -> None:
    vad = Vad()
    chances, _ = vad.step(np.zeros((1, SAMPLE_RATE), np.float32), vad.initial_state())
    assert chances.max() < 0.2


@pytest.mark.parametrize("shape", [(FRAME,), (1, FRAME + 1)])
def test_a_wrong_shape_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"takes \(B, n"):
        LogMel().step(np.zeros(shape, np.float32), LogMel.initial_state())
