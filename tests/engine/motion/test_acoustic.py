import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.audio.logmel import LogMel
from engine.motion.acoustic import (
    CEPSTRA,
    DELAY,
    FEATURES,
    FLOOR,
    GAUSSIANS,
    PHONES,
    SCALE,
    SHAPES,
    STATES,
    Acoustic,
    AcousticState,
)

RNG = np.random.default_rng(0)


def fresh(batch: int) -> AcousticState:
    return AcousticState(*(torch.zeros(batch, *shape) for shape in SHAPES))


def random_model() -> tuple[Acoustic, np.ndarray, np.ndarray, np.ndarray]:
    """A front end with made-up Gaussians, and these: mean and variance (3, 5376, 13), mixture (3, 42, 128, 3)."""
    mean = RNG.normal(size=(3, PHONES * GAUSSIANS, CEPSTRA)) * 4
    variance = RNG.uniform(5, 60, mean.shape)
    mixture = RNG.dirichlet(np.ones(GAUSSIANS), (3, PHONES, STATES)).transpose(0, 1, 3, 2)
    front, inverse = Acoustic(), 0.5 / variance
    constant = -0.5 * np.log(2 * np.pi * variance).sum(2) - (mean**2 * inverse).sum(2)
    front.linear.copy_(torch.from_numpy(np.concatenate([2 * mean * inverse, -inverse], 2).transpose(0, 2, 1)))
    front.constant.copy_(torch.from_numpy(constant[:, None]))
    front.mixture.copy_(torch.from_numpy(mixture))
    front.filters.copy_(torch.rand(80, 25) + 0.1)
    front.transform.copy_(torch.randn(25, 13) * 2)
    return front, mean, variance, mixture


FRONT, MEAN, VARIANCE, MIXTURE = random_model()


def boring_likelihood(x: np.ndarray) -> np.ndarray:
    """log p(x | state), one Gaussian at a time: x (3, 13) -> (126,)."""
    total = np.zeros(FEATURES)
    for stream in range(3):
        away = ((x[stream] - MEAN[stream]) ** 2 / VARIANCE[stream]).sum(1)
        log = -0.5 * (away + np.log(2 * np.pi * VARIANCE[stream]).sum(1))
        for phone in range(PHONES):
            rows = log[phone * GAUSSIANS : (phone + 1) * GAUSSIANS, None] + np.log(MIXTURE[stream, phone] + 1e-300)
            total[3 * phone : 3 * phone + 3] += np.logaddexp.reduce(rows, axis=0)
    return total


@pytest.mark.parametrize("rows", [1, 67])
def test_likelihoods_equal_their_reference(rows: int) -> None:
    x = RNG.normal(size=(3, rows, CEPSTRA)).astype(np.float32) * 4
    ours = FRONT.likelihood(torch.from_numpy(x)).numpy()
    for row in range(0, rows, 11):
        true = boring_likelihood(x[:, row].astype(float))
        near = true > true.max() + FLOOR
        assert np.allclose((ours[row] - ours[row].max())[near], (true - true.max())[near], atol=2e-3)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_chunked_equals_whole(chunks: list[int]) -> None:
    mel = torch.rand(2, 4 * sum(chunks), 80, generator=torch.Generator().manual_seed(sum(chunks))) * 2 - 1
    whole, last = FRONT(mel, fresh(2))
    state, parts, start = fresh(2), [], 0
    for frames in chunks:
        part, state = FRONT(mel[:, start : start + 4 * frames], state)
        parts.append(part)
        start += 4 * frames
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-4)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(state, last, strict=True))


def test_scores_are_relative_to_the_best_state_and_bounded() -> None:
    score, state = FRONT(torch.rand(1, 40, 80) * 3 - 2, fresh(1))
    assert torch.equal(score.amax(2), torch.zeros(1, 40)) and float(score.min()) >= FLOOR * SCALE
    silent, _ = FRONT(torch.full((1, 400, 80), -2.0), state)
    assert torch.isfinite(silent).all()


def test_a_louder_and_brighter_microphone_is_forgotten() -> None:
    """The running mean takes out what a microphone does: a gain a band, constant in time."""
    phonetic = pytest.importorskip("training.motion_acoustic").acoustic
    pytest.importorskip("pocketsphinx")
    front, time = phonetic(), np.arange(16000 * 24) / 16000
    pitch = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * time)) / 16000
    voice = sum(np.sin(k * pitch) / k * (1 + np.sin(2 * np.pi * 0.3 * k * time)) for k in range(1, 30)) * 0.05
    log_mel = LogMel()
    plain, _ = log_mel.step(voice[None].astype(np.float32), log_mel.initial_state())
    mel = torch.from_numpy(plain)
    tilt = torch.linspace(0.0, 0.5, 80)
    first, second = (front(m, fresh(1))[0] for m in (mel, mel + tilt))
    difference = (first - second).abs().mean(2)[0]
    assert float(difference[-400:].mean()) < 0.35 * float(difference[DELAY : DELAY + 100].mean())


def test_the_acoustic_model_is_a_set_of_distributions() -> None:
    pytest.importorskip("pocketsphinx")
    from training.motion_acoustic import acoustic

    front = acoustic()
    assert torch.allclose(front.mixture.sum(2), torch.ones(3, PHONES, STATES), atol=0.1)  # quantized to 10 %
    assert torch.isfinite(front.linear).all() and torch.isfinite(front.constant).all()
    assert (front.linear[:, CEPSTRA:] < 0).all()  # precisions
    assert float(front.filters.min()) >= 0.0


def test_other_files_are_refused_by_name(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from training.motion_acoustic import _gaussians, _mixtures

    (tmp_path / "means").write_bytes(b"s3\nendhdr\n" + bytes(64))
    with pytest.raises(ValueError, match="means: expected"):
        _gaussians(tmp_path / "means")
    (tmp_path / "sendump").write_bytes(bytes(40))
    with pytest.raises(ValueError, match="sendump"):
        _mixtures(tmp_path / "sendump")
