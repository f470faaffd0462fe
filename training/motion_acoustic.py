"""Reads pocketsphinx's US English acoustic model (BSD-2-Clause) into `engine.motion.acoustic.Acoustic`.

File formats: Sphinx-3 model files (means, variances: text header, then little-endian counts and floats) and the
quantized mixture weights of PocketSphinx ("sendump"); features as its `feat.params` asks for.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls

from engine.audio.logmel import mel_filters
from engine.clock import SAMPLE_RATE
from engine.motion.acoustic import CEPSTRA, FILTERS, GAUSSIANS, PHONES, STATES, STREAMS, Acoustic
from training.speech.align import MissingPackage

Array = NDArray[np.float64]

LOW_HZ, HIGH_HZ, LIFTER, PREEMPHASIS, FFT = 130.0, 6800.0, 22, 0.97, 512  # feat.params and the defaults behind it
LEAST_VARIANCE = 1e-4
WEIGHT_UNIT = 1024 * np.log(1.0001)  # nats in one step of a quantized weight
# Mean cepstrum of speech in the training corpus at a usual level; where the running mean of a session begins.
SPEECH_MEAN = (-51.4, 4.1, 9.4, 19.3, -2.3, -2.8, 0.6, -5.4, -3.2, -1.0, 2.5, 0.7, 4.9)


def acoustic() -> Acoustic:
    """The front end with the acoustic model in place. Raises MissingPackage without pocketsphinx, ValueError for
    model files that are not what this reads."""
    try:
        from pocketsphinx import get_model_path
    except ImportError as error:
        raise MissingPackage("the acoustic model comes with pocketsphinx: pip install pocketsphinx==5.1.1") from error
    folder = Path(get_model_path("en-us/en-us"))
    mean, variance = (_gaussians(folder / name) for name in ("means", "variances"))  # (42, 3, 128, 13)
    variance = np.maximum(variance, LEAST_VARIANCE)
    mixture = _mixtures(folder / "sendump")  # (3, 42, 128, 3)
    front, inverse = Acoustic(), 0.5 / variance
    linear = np.concatenate([2 * mean * inverse, -inverse], axis=3)  # (42, 3, 128, 26)
    constant = -0.5 * np.log(2 * np.pi * variance).sum(3) - (mean**2 * inverse).sum(3)
    values = {
        "filters": _filters(), "transform": _transform(), "mean": np.array(SPEECH_MEAN), "mixture": mixture,
        "linear": linear.transpose(1, 3, 0, 2).reshape(STREAMS, 2 * CEPSTRA, PHONES * GAUSSIANS),
        "constant": constant.transpose(1, 0, 2).reshape(STREAMS, 1, PHONES * GAUSSIANS),
    }  # fmt: skip
    front.load_state_dict({name: torch.from_numpy(np.ascontiguousarray(v)).float() for name, v in values.items()})
    return front


def _gaussians(path: Path) -> Array:
    """Means or variances (phones, streams, Gaussians, 13) of a Sphinx-3 file."""
    data = path.read_bytes()
    start = data.index(b"endhdr\n") + 7
    magic, *counts = struct.unpack_from("<4i", data, start)
    expected = (PHONES, STREAMS, GAUSSIANS)
    if magic != 0x11223344 or tuple(counts) != expected:
        raise ValueError(f"{path}: expected {expected} little-endian Gaussians, found {counts} with mark {magic:#x}")
    start += 16 + 4 * STREAMS + 4  # the lengths of the streams, and how many floats follow
    values = np.frombuffer(data, "<f4", PHONES * STREAMS * GAUSSIANS * CEPSTRA, start)
    return values.reshape(*expected, CEPSTRA).astype(np.float64)


def _mixtures(path: Path) -> Array:
    """Mixture weights (streams, phones, Gaussians, states) of the context-independent states, which come first."""
    data, at = path.read_bytes(), 0
    while (length := struct.unpack_from("<i", data, at)[0]) > 0:
        at += 4 + length
    _, states = struct.unpack_from("<2i", data, at + 4)
    at += 12
    if len(data) - at != STREAMS * GAUSSIANS * states:
        raise ValueError(f"{path}: {len(data) - at} bytes of weights for {states} states are not 8 bits each")
    steps = np.frombuffer(data, np.uint8, offset=at).reshape(STREAMS, GAUSSIANS, states)[:, :, : PHONES * STATES]
    return np.exp(-WEIGHT_UNIT * steps).reshape(STREAMS, GAUSSIANS, PHONES, STATES).transpose(0, 2, 1, 3)


def _filters() -> Array:
    """(80, 25): the acoustic model's filters on a pre-emphasised spectrum, as weighted sums of our log-mel's."""
    hz = np.arange(FFT // 2 + 1) * SAMPLE_RATE / FFT
    edges = 700 * (10 ** (np.linspace(_mel(LOW_HZ), _mel(HIGH_HZ), FILTERS + 2) / 2595) - 1)
    edges = np.round(edges * FFT / SAMPLE_RATE) * SAMPLE_RATE / FFT
    rising = (hz[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz[:, None]) / (edges[2:] - edges[1:-1])
    wanted = np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])
    wanted *= np.abs(1 - PREEMPHASIS * np.exp(-2j * np.pi * hz / SAMPLE_RATE))[:, None] ** 2
    ours = mel_filters().astype(np.float64)
    return np.stack([nnls(ours, column)[0] for column in wanted.T], axis=1)


def _mel(hz: float) -> float:
    return float(2595 * np.log10(1 + hz / 700))


def _transform() -> Array:
    """(25, 13): orthonormal DCT-II and sine lifter."""
    order, row = np.arange(CEPSTRA), np.arange(FILTERS)[:, None]
    dct = np.cos(np.pi * order * (row + 0.5) / FILTERS) * np.sqrt(2 / FILTERS)
    dct[:, 0] *= np.sqrt(0.5)
    return np.asarray(dct * (1 + LIFTER / 2 * np.sin(np.pi * order / LIFTER)))
