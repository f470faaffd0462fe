"""Microphones of all kinds, plugged in and out, on a double of PyAudio."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.clock import VOICE_RATE
from visavis import portaudio, soundcard
from visavis.microphone import Converter, Microphone
from visavis.playout import Playout
from visavis.portaudio import DeviceError
from visavis.soundcard import SoundCard
from visavis.speaker import Speaker

from .sound import Machine

Voice = np.ndarray


def tone(rate: int, seconds: float = 0.5, hertz: float = 440.0) -> Voice:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


class Ear:
    def __init__(self) -> None:
        self.pieces: list[tuple[int, Voice]] = []

    def __call__(self, position: int, voice: Voice) -> None:
        self.pieces.append((position, voice))

    @property
    def voice(self) -> Voice:
        return np.concatenate([voice for _, voice in self.pieces])


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def card(machine: Machine, said: list[str], monkeypatch: pytest.MonkeyPatch) -> SoundCard:
    """A sound card that a test checks by hand, and that may look for devices at any time."""
    monkeypatch.setattr(soundcard, "LOOK_S", 0.0)
    monkeypatch.setattr(SoundCard, "_watch", lambda card: None)
    return SoundCard(said.append)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_rate_and_channels_become_mono_48_khz_and_chunks_make_no_difference(rate: int, channels: int) -> None:
    mono = tone(rate)
    sound = np.repeat(mono[:, None], channels, axis=1)
    whole = Converter(rate, channels).convert(np.ascontiguousarray(sound))
    pieces, converter, step = [], Converter(rate, channels), rate // 97 + 1
    for start in range(0, len(sound), step):
        pieces.append(converter.convert(np.ascontiguousarray(sound[start : start + step]).tobytes()))
    np.testing.assert_allclose(np.concatenate(pieces), whole[: sum(map(len, pieces))], atol=1e-6)
    assert abs(len(whole) - VOICE_RATE // 2) < VOICE_RATE // 50
    spectrum = np.abs(np.fft.rfft(whole[2400:21_600] * np.hanning(19_200)))
    assert abs(np.argmax(spectrum) * VOICE_RATE / 19_200 - 440) < 3
    assert np.abs(whole[2400:21_600]).max() == pytest.approx(0.5, abs=0.01)


def test_integers_and_numbers_that_are_none_become_sound() -> None:
    counted = np.array([[16_384, 0], [-32_768, -32_768]], np.int16)
    np.testing.assert_allclose(Converter(VOICE_RATE, 2).convert(counted), [0.25, -1.0])
    broken = np.array([np.nan, np.inf, -np.inf, 4.0, -4.0], np.float32)
    np.testing.assert_array_equal(Converter(VOICE_RATE, 1).convert(broken), [0, 0, 0, 1, -1])


def test_a_microphone_is_found_by_number_name_and_part_of_the_name(machine: Machine, ear: Ear) -> None:
    machine.plug("Built-in Audio", inputs=2, outputs=2)
    machine.plug("Headset USB", inputs=1, default=True)
    machine.plug("Headset", inputs=1)
    names = [(device.index, device.name, *device.defaults) for device in portaudio.devices()]
    assert names == [(0, "Built-in Audio", False, True), (1, "Headset USB", True, False), (2, "Headset", False, False)]
    for wanted, found in (("", 1), ("0", 0), ("headset", 2), ("built", 0), ("USB", 1)):
        device = portaudio.find(portaudio.devices(), wanted, "input")
        assert device is not None and device.index == found, wanted
    assert portaudio.find(portaudio.devices(), "usb", "output") is None


def test_one_that_is_not_there_is_named_with_those_that_are(machine: Machine, card: SoundCard, ear: Ear) -> None:
    with pytest.raises(DeviceError, match="no microphone: there is none at all"):
        card.start(Microphone(ear))
    machine.plug("Built-in Audio", inputs=2)
    with pytest.raises(DeviceError, match=r'no microphone "Jabra"; there are: 0 "Built-in Audio"'):
        card.start(Microphone(ear, "Jabra"))
    assert not machine.streams


def test_a_device_that_takes_44100_and_stereo_alone_is_heard_at_48000(
    machine: Machine, card: SoundCard, ear: Ear
) -> None:
    machine.plug("Old Card", inputs=2, least=2, rate=44_100, rates=[44_100])
    microphone = Microphone(ear)
    card.start(microphone)
    assert (microphone.rate, microphone.channels, microphone.label) == (44_100, 2, "Old Card")
    sound = np.repeat(tone(44_100, 1.0)[:, None], 2, axis=1)
    for start in range(0, 44_100, 441):
        machine.streams[0].pump(sound[start : start + 441])
    positions = [position for position, _ in ear.pieces]
    assert positions[0] == 0 and positions[-1] + len(ear.pieces[-1][1]) == len(ear.voice)
    assert abs(len(ear.voice) - VOICE_RATE) < 500 and microphone.level_db == pytest.approx(-6, abs=0.5)
    card.stop()
    assert not machine.streams


def test_samples_that_were_lost_leave_a_gap(machine: Machine, card: SoundCard, ear: Ear) -> None:
    machine.plug("Mic", inputs=1)
    microphone, now = Microphone(ear), [100.0]
    microphone.clock = lambda: now[0]
    card.start(microphone)
    for status, late in ((0, 0.0), (0, 0.0), (2, 0.5), (0, 0.0)):
        now[0] += 0.01 + late
        machine.streams[0].pump(np.zeros((480, 1), np.float32), status)
    assert [position for position, _ in ear.pieces] == [0, 480, 960 + 24_000, 1440 + 24_000]
    card.stop()


def test_one_that_is_pulled_out_falls_silent_and_comes_back_at_its_place_in_time(
    machine: Machine,
    card: SoundCard,
    ear: Ear,
    said: list[str],
) -> None:
    machine.plug("Jabra", inputs=1)
    microphone, now = Microphone(ear, "jabra"), [100.0]
    microphone.clock = lambda: now[0]
    card.start(microphone)
    machine.streams[0].pump(np.full((480, 1), 0.1, np.float32))
    card.check()
    assert not said
    machine.unplug("Jabra")
    card.check()
    assert said == ['input "Jabra" is gone; going on without it'] and microphone.label == "none" and not machine.streams
    card.check()
    assert microphone.device is None and len(said) == 1, "nothing is there yet"
    now[0] += 3.0
    machine.plug("Webcam", inputs=2)  # another has its number now
    machine.plug("Jabra", inputs=1)
    card.check()
    assert said[1:] == ['input is "Jabra" now'] and microphone.label == "Jabra"
    now[0] += 0.01
    machine.streams[0].pump(np.full((480, 1), 0.2, np.float32))
    assert [position for position, _ in ear.pieces] == [0, 480 + 3 * VOICE_RATE]
    card.stop()


def test_the_default_one_stands_in_until_the_wanted_one_is_back(
    machine: Machine,
    card: SoundCard,
    ear: Ear,
    said: list[str],
) -> None:
    machine.plug("Built-in", inputs=2, default=True)
    machine.plug("Jabra", inputs=1)
    microphone = Microphone(ear, "1")
    card.start(microphone)
    machine.unplug("Jabra")
    card.check()
    assert microphone.label == "Built-in" and microphone.lost == 1
    card.check()
    assert microphone.label == "Built-in" and len(machine.streams) == 1
    machine.plug("Jabra", inputs=1, first=True)
    card.check()
    assert microphone.label == "Jabra", said
    card.stop()


def test_one_that_is_there_and_cannot_be_opened_is_tried_less_and_less_often(
    machine: Machine, ear: Ear, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SoundCard, "_watch", lambda card: None)
    now = [1000.0]
    monkeypatch.setattr(soundcard.time, "perf_counter", lambda: now[0])
    looks: list[float] = []
    machine.plug("Jabra", inputs=1)
    machine.plug("Cable", outputs=2)
    found = portaudio.devices()
    monkeypatch.setattr(portaudio, "look", lambda: looks.append(now[0]) or found)
    card, cable = SoundCard(said.append), Speaker(Playout(), "cable")
    card.start(Microphone(ear, "jabra"), cable)
    machine.unplug("Jabra")
    machine.plug("Jabra", inputs=1, rates=[1])  # somebody else has it now
    machine.streams[0].active = False
    for _ in range(800):
        now[0] += 0.25
        if machine.streams:
            machine.streams[-1].pump()
        card.check()
    assert 4 <= len(looks) <= 8 and looks == sorted(looks) and looks[-1] - looks[-2] >= 30, looks
    assert cable.label == "Cable" and sum("cannot be opened" in line for line in said) == len(looks)
    card.stop()


def test_a_stream_that_calls_no_more_counts_as_gone(
    machine: Machine, card: SoundCard, ear: Ear, said: list[str]
) -> None:
    machine.plug("Mic", inputs=1)
    microphone, now = Microphone(ear), [100.0]
    microphone.clock = lambda: now[0]
    card.start(microphone)
    now[0] += 1.9
    card.check()
    assert not said
    now[0] += 0.2
    card.check()
    assert said == ['input "Mic" is gone; going on without it', 'input is "Mic" now']
    card.stop()


def test_what_libraries_print_is_not_shown_while_streams_run(capfd: pytest.CaptureFixture[str]) -> None:
    with portaudio.muffled():
        os.write(2, b"Expression 'alsa_snd_pcm' failed")
        print("a warning of ours", file=sys.stderr)
        with portaudio.quiet():
            os.write(2, b"ALSA lib")
    os.write(2, b"after")
    assert capfd.readouterr().err == "a warning of ours\nafter"


def test_a_machine_without_pyaudio_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    with pytest.raises(DeviceError, match=r"pip install 'visavis\[mic\]'"):
        portaudio.library()
    monkeypatch.delitem(sys.modules, "pyaudio")
    (tmp_path / "pyaudio.py").write_text("raise ImportError('libportaudio.so.2: cannot open shared object file')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(DeviceError, match=r"does not find PortAudio \(libportaudio.*portaudio19-dev"):
        portaudio.library()
