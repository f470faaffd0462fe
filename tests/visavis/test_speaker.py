"""Sound that leaves with its picture, on devices whose clocks and delays are known because they are simulated."""

from __future__ import annotations

import numpy as np
import pytest

from engine.clock import FRAME, VOICE_FRAME, VOICE_RATE
from visavis.playout import Playout, Skew
from visavis.speaker import Speaker
from visavis.tape import Bender, Tape


def noise(count: int, seed: int = 0) -> np.ndarray:
    return (0.3 * np.random.default_rng(seed).standard_normal(count)).astype(np.float32)


def test_a_tape_gives_back_what_was_written_and_silence_elsewhere() -> None:
    tape, voice = Tape(origin=1000, capacity=4000), noise(2500)
    for start in range(0, 2500, 70):
        tape.write(voice[start : start + 70])
    np.testing.assert_array_equal(tape.read(1600, 1900), voice[600:2500])
    assert not tape.read(0, 1000).any() and not tape.read(3500, 10).any()
    assert not tape.read(1400, 100).any(), "what is too old to be safe from the writer is silence"


def test_a_bender_copies_at_speed_one_and_bends_a_tone_without_a_trace() -> None:
    tape, time = Tape(), np.arange(VOICE_RATE) / VOICE_RATE
    tape.write(np.sin(2 * np.pi * 1000 * time).astype(np.float32))
    bender = Bender()
    np.testing.assert_allclose(bender.read(tape, 500.0, 1.0, 960), tape.read(500, 960), atol=1e-6)
    pieces, at = [], 500.25
    for _ in range(40):
        pieces.append(bender.read(tape, at, 1.003, 480))
        at += 1.003 * 480
    bent = np.concatenate(pieces)
    ideal = np.sin(2 * np.pi * 1000 * (500.25 + 1.003 * np.arange(len(bent))) / VOICE_RATE)
    assert np.abs(bent - ideal).max() < 1e-4


def test_a_slower_device_hears_no_aliases() -> None:
    tape, time = Tape(), np.arange(VOICE_RATE) / VOICE_RATE
    tape.write(np.sin(2 * np.pi * 11_000 * time).astype(np.float32))
    assert np.abs(Bender(3.0).read(tape, 1000.0, 3.0, 4000)).max() < 1e-3  # 16 kHz has nothing above 8


class Card:
    """A loudspeaker with a crystal of its own and a driver that says its delay with a wobble; it keeps when the first
    sample of each piece was truly heard."""

    def __init__(self, speaker: Speaker, rate: int, ppm: float, delay_s: float, wobble_s: float) -> None:
        speaker.rate, speaker.channels = rate, 1
        speaker.prepare(None)
        self.speaker, self.delay, self.wobble = speaker, delay_s, wobble_s
        self.true_rate = rate * (1 + ppm * 1e-6)
        self.next = 0.0
        self.random = np.random.default_rng(4)
        self.heard: list[tuple[float, np.ndarray]] = []

    def run(self, now: float) -> None:
        while self.next <= now:
            told = self.next + self.delay + self.random.uniform(-self.wobble, self.wobble)
            piece = self.speaker.fill(self.speaker.block, told, self.next)
            self.heard.append((self.next + self.delay, piece))
            self.next += self.speaker.block / self.true_rate

    def clicks(self) -> np.ndarray:
        """When clicks were truly heard, s."""
        sound = np.concatenate([piece for _, piece in self.heard])
        times = np.concatenate([when + np.arange(len(piece)) / self.true_rate for when, piece in self.heard])
        loud = np.flatnonzero(np.abs(sound) > 0.4)
        groups = np.split(loud, np.flatnonzero(np.diff(loud) > VOICE_RATE // 10) + 1)
        return np.array([times[group[np.argmax(np.abs(sound[group]))]] for group in groups if len(group)])


def simulate(
    minutes: float, *, rate: int = VOICE_RATE, ppm: float = 0.0, mic_ppm: float = 0.0, murmur: float = 0.01,
    slower: float = 0.0,
) -> tuple[np.ndarray, Speaker, Skew]:  # fmt: skip
    """Skew (ms) of each click against its own picture, of a voice that clicks once a second and never falls silent."""
    playout, random, skew = Playout(), np.random.default_rng(1), Skew()
    speaker = Speaker(playout)
    card = Card(speaker, rate, ppm, delay_s=0.03, wobble_s=0.004)
    left: dict[int, float] = {}
    count = int(minutes * 60 * 25)
    hum = murmur * random.standard_normal(VOICE_FRAME).astype(np.float32)
    for index in range(count):
        came = (index + 1) * 0.04 * (1 - mic_ppm * 1e-6)  # the microphone's crystal makes media time
        card.run(came)
        voice = hum.copy()
        if index % 25 == 0:
            voice[:3] = 0.9
        speaker.voice(voice)
        painted = came + 0.066 + random.uniform(0, 0.02) + slower * min(index / 1000, 1.0)
        playout.painted(index * FRAME, painted)
        left[index] = max(painted, playout.due(index * VOICE_FRAME))
        place = speaker.heard_at(left[index])
        if place is not None:
            skew.add((index * VOICE_FRAME - place) * 1e3 / VOICE_RATE)
    card.run(came + 0.2)
    clicks, begins = card.clicks(), range(0, count, 25)
    seen = np.array([left[index] for index in begins])
    nearest = np.array([clicks[np.argmin(np.abs(clicks - when))] for when in seen])
    return 1e3 * (nearest - seen)[2:-1], speaker, skew


@pytest.mark.parametrize(("ppm", "mic_ppm"), [(300, -100), (-300, 100)])
def test_sound_stays_with_its_picture_whatever_the_crystals_do(ppm: float, mic_ppm: float) -> None:
    apart, speaker, skew = simulate(2.0, ppm=ppm, mic_ppm=mic_ppm)
    assert len(apart) > 110
    assert np.abs(apart).max() < 20 and abs(np.median(apart)) < 6, (np.abs(apart).max(), np.median(apart))
    assert speaker.leaps == 0 and speaker.underruns <= 25
    assert skew.median is not None and abs(skew.median - np.median(apart)) < 6, "what is said is what is so"


def test_a_slow_loudspeaker_at_44100_stays_in_step_too() -> None:
    apart, speaker, _ = simulate(1.0, rate=44_100, ppm=200)
    assert np.abs(apart).max() < 20 and speaker.leaps == 0


def test_pictures_that_become_slower_take_the_sound_with_them() -> None:
    apart, speaker, _ = simulate(1.5, slower=0.06)
    assert np.abs(apart).max() < 20 and speaker.leaps == 0


def test_where_nobody_speaks_an_error_is_mended_at_once() -> None:
    playout = Playout()
    speaker = Speaker(playout)
    speaker.rate, speaker.channels = VOICE_RATE, 1
    speaker.prepare(None)
    speaker.voice(np.zeros(VOICE_RATE, np.float32))
    playout.painted(0, 0.1)
    for index in range(10):
        speaker.fill(960, 0.12 + 0.02 * index, 0.1 + 0.02 * index)
    assert speaker.heard_at(0.3) == pytest.approx(playout.position(0.3), abs=1)
    for index in range(10, 30):  # the device says that it is 30 ms later than it said
        speaker.fill(960, 0.15 + 0.02 * index, 0.1 + 0.02 * index)
    assert speaker.heard_at(0.73) == pytest.approx(playout.position(0.73), abs=0.003 * VOICE_RATE)
    assert speaker.leaps == 0


def test_before_the_first_picture_nothing_is_heard() -> None:
    speaker = Speaker(Playout())
    speaker.rate, speaker.channels = VOICE_RATE, 2
    speaker.prepare(None)
    speaker.voice(noise(VOICE_RATE))
    times = {"current_time": 5.0, "output_buffer_dac_time": 0.0}
    data, _ = speaker._call(None, 960, times, 0)
    assert len(data) == 960 * 2 * 4 and not any(data)


def test_the_line_waits_for_pictures_as_slow_as_nearly_all_and_forgets_a_slow_start() -> None:
    playout = Playout()
    for index in range(25):
        playout.painted(index * FRAME, index * 0.04 + (0.6 if index < 10 else 0.1))
    assert playout.due(0) == pytest.approx(0.604, abs=1e-3)
    playout.quiet = True
    for index in range(25, 100):
        playout.painted(index * FRAME, index * 0.04 + 0.1)
    assert playout.due(0) == pytest.approx(0.104, abs=1e-6)
    playout.quiet, before = False, playout.due(0)
    for index in range(100, 200):
        assert playout.painted(index * FRAME, index * 0.04 + 0.15) == (playout.due(0) >= 0.15)
    assert before + 0.005 < playout.due(0) <= before + 0.02, "nobody hears it bend"
    before = playout.due(0)
    assert not playout.painted(200 * FRAME, 200 * 0.04 + 9.0)
    assert playout.due(0) < before + 0.01, "one that is very late moves nothing"


def test_a_stall_longer_than_the_tape_moves_nothing_on_it() -> None:
    """A program that was stopped and goes on hears all it missed at once."""
    tape, sound = Tape(capacity=VOICE_RATE), noise(3 * VOICE_RATE)
    for start, end in ((0, 1000), (1000, 2 * VOICE_RATE), (2 * VOICE_RATE, 2 * VOICE_RATE + 960)):
        tape.write(sound[start:end])
    assert tape.end == 2 * VOICE_RATE + 960
    np.testing.assert_array_equal(tape.read(tape.end - 5000, 5000), sound[tape.end - 5000 : tape.end])
