"""kernels/logmel: equals its reference and engine.audio, each row a voice of its own, by frames."""

import numpy as np
import pytest

from engine.audio import logmel as engine_logmel
from engine.audio.resample import TAPS, Decimator
from kernels import logmel, nvrtc
from kernels.logmel import cost, reference
from tests.kernels.batch import compiles
from tests.kernels.conftest import unwritten

ROWS, FRAMES = 5, 4
LOG = 5e-4  # beside a full-scale tone an FFT in single precision knows its quietest bins no better
WINDOW = np.hanning(engine_logmel.WINDOW + 1)[:-1].astype(np.float32)
FILTERS = engine_logmel.mel_filters()


def voices(rate, frame):
    """Noise, a full-scale tone, silence, a click and a burst, (ROWS, FRAMES * frame)."""
    rng, time = np.random.default_rng(2), np.arange(FRAMES * frame)
    sound = np.zeros((ROWS, len(time)))
    sound[0] = rng.normal(0, 0.1, len(time))
    sound[1] = np.sin(2 * np.pi * 440 * time / rate)
    sound[3, 2 * frame + 17] = 1.0
    sound[4, frame:] = rng.uniform(-1, 1, len(time) - frame) * (time[frame:] < 3 * frame)
    return np.clip(sound, -1, 1).astype(np.float32)


def taps():
    return Decimator()._matrix[2 : 2 + TAPS, 0]  # the column of the first output


@pytest.mark.parametrize("arch", nvrtc.ARCHITECTURES)
def test_compiles(arch):
    compiles("logmel", arch)


class OnDevice:
    """``ROWS`` sessions and one row of padding; a step a frame."""

    def __init__(self, device, kernel, struct, inputs, tail, outputs):
        self.device, self.kernel = device, kernel
        self.input, self.output = (unwritten(device, (ROWS + 1, n)) for n in (inputs, outputs))
        self.tail = self.device.zeros((ROWS + 1, tail), np.float32)
        names = {"Decimate": ("voice", "sound"), "LogMel": ("sound", "mel")}[struct]
        rows = [{names[0]: self.input.row(i), "tail": self.tail.row(i), names[1]: self.output.row(i)}
                for i in range(ROWS)]  # fmt: skip
        self.table = self.device.rows("logmel", struct, rows)

    def step(self, samples, *arguments):
        self.input.put(np.vstack([samples, np.full_like(samples[:1], np.nan)]))
        self.device.launch("logmel", self.kernel, (1, 1, ROWS + 1), (256,), self.table, *arguments)
        out = self.output.get()
        assert np.isnan(out[ROWS]).all() and not self.tail.get()[ROWS].any()
        return out[:ROWS]


def test_logmel_equals_the_reference_and_the_engine_frame_by_frame(device):
    sound, gpu = voices(16_000, 640), OnDevice(device, "logmel", "LogMel", 640, 240, 320)
    constants = [gpu.device.array(a) for a in logmel.tables(WINDOW, FILTERS).values()]
    whole, _ = engine_logmel.LogMel().step(sound, engine_logmel.LogMel.initial_state(ROWS))
    tails = [np.zeros(240, np.float32)] * ROWS
    for i in range(FRAMES):
        block = sound[:, 640 * i : 640 * (i + 1)]
        mel = gpu.step(block, *constants, engine_logmel.FLOOR).reshape(ROWS, 4, 80)
        for row in range(ROWS):
            want, tails[row] = reference.logmel(block[row], tails[row], WINDOW, FILTERS, engine_logmel.FLOOR)
            np.testing.assert_allclose(mel[row], want, atol=LOG)
        np.testing.assert_allclose(mel, whole[:, 4 * i : 4 * i + 4], atol=LOG)
        np.testing.assert_array_equal(gpu.tail.get()[:ROWS], tails)


def test_decimation_equals_the_reference_and_the_engine_frame_by_frame(device):
    voice, gpu = voices(48_000, 1920), OnDevice(device, "decimate", "Decimate", 1920, 96, 640)
    whole, _ = Decimator().step(voice, Decimator.initial_state(ROWS))
    constants, tails = gpu.device.array(np.ascontiguousarray(taps())), [np.zeros(96, np.float32)] * ROWS
    for i in range(FRAMES):
        block = voice[:, 1920 * i : 1920 * (i + 1)]
        sound = gpu.step(block, constants)
        for row in range(ROWS):
            want, tails[row] = reference.decimate(block[row], tails[row], taps())
            np.testing.assert_allclose(sound[row], want, atol=2e-6)
        np.testing.assert_allclose(sound, whole[:, 640 * i : 640 * (i + 1)], atol=2e-6)
        np.testing.assert_array_equal(gpu.tail.get()[:ROWS], tails)


def test_filters_are_runs_of_weights():
    made = logmel.tables(WINDOW, FILTERS)
    whole = np.zeros_like(FILTERS)
    for b, first in enumerate(made["first"]):
        run = made["weight"][made["begin"][b] : made["begin"][b + 1]]
        whole[first : first + len(run), b] = run
    np.testing.assert_array_equal(whole, FILTERS)
    assert cost.logmel(1, len(made["weight"]))[0] > 4 * (640 + 320)


def test_filters_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="window"):
        logmel.tables(WINDOW[1:], FILTERS)
    with pytest.raises(ValueError, match="zeros inside"):
        logmel.tables(WINDOW, FILTERS * (np.arange(257) % 2)[:, None])
