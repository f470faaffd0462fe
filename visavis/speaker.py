"""The avatar's voice to a sound device, held back until its picture leaves: headphones, or what calls take for a
microphone."""

from __future__ import annotations

import math
from collections import deque
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.clock import VOICE_RATE
from streaming.tracks import OutFrame
from visavis.playout import Playout
from visavis.portaudio import Direction
from visavis.soundcard import Port
from visavis.tape import Bender, Tape

Voice = NDArray[np.float32]
BEND: Final = 0.005  # at most so much faster or slower: nobody hears it in speech
PULL: Final = 0.2  # 1/s, share of the error that the speed takes back in a second
STEADY_S: Final = 1.0  # what a device says of its own delay wobbles; an error counts once it has been there so long
LEAP_S: Final = 0.06  # an error that is not crept after
QUIET_S: Final = 0.002  # one that is mended at once where nobody speaks
SILENCE: Final = 10 ** (-50 / 20)  # peak
FADE: Final = VOICE_RATE // 200


class Speaker(Port):
    """An outlet of a Live and a port of the sound card. ``tape`` is written on the event loop, read on PortAudio's
    thread."""

    direction: Direction = "output"

    def __init__(self, playout: Playout, wanted: str = "", origin: int = 0) -> None:
        super().__init__(wanted)
        self._playout = playout
        self.tape = Tape(origin)
        self.leaps = 0  # of the sound, while somebody spoke
        self.underruns = 0  # calls for sound that was not there yet
        self.error_s = 0.0  # how late the sound is, over ``STEADY_S``
        self._bender = Bender()
        self._at: float | None = None  # place on the tape of the next sample
        self._left: deque[tuple[float, float]] = deque(maxlen=100)  # (when, place on the tape), by call

    # An outlet of a Live.

    def frame(self, frame: OutFrame) -> None:
        """Pictures go elsewhere."""

    def voice(self, voice: Voice) -> None:
        """More of it."""
        self.tape.write(voice)

    def ended(self, why: str) -> None:
        """Whoever opened it closes it."""

    # A port of the sound card.

    @property
    def block(self) -> int:
        """20 ms: the painter, too, wants the interpreter."""
        return self.rate // 50

    def prepare(self, module: Any) -> None:
        """A new device: nothing is known of its clock."""
        self._bender = Bender(VOICE_RATE / self.rate * (1 + BEND) if self.rate < VOICE_RATE else 1.0)
        self._at, self.error_s = None, 0.0

    def _call(self, data: bytes | None, count: int, times: Any, status: int) -> tuple[bytes, int]:
        now = self.clock()
        self._called = now
        ahead = times["output_buffer_dac_time"] - times["current_time"] if times else 0.0
        if not 0 < ahead < 2:  # some drivers do not tell
            ahead = self.latency_s or count / self.rate
        sound = self.fill(count, now + ahead, now)
        return np.repeat(sound, self.channels).tobytes(), 0  # paContinue

    # When what is heard.

    def fill(self, count: int, heard: float, now: float) -> Voice:
        """(count,) samples at the device's rate, the first of which is heard at ``heard``, asked for at ``now``."""
        step = VOICE_RATE / self.rate
        last = heard + count / self.rate + self._bender.reach / VOICE_RATE
        self._playout.needs("sound", last - self.tape.end / VOICE_RATE, now)
        if not self._playout.known:
            return np.zeros(count, np.float32)
        self._playout.quiet = (
            float(np.abs(self.tape.read(self.tape.end - VOICE_RATE // 2, VOICE_RATE // 2)).max()) < SILENCE
        )
        due = self._playout.position(heard)
        before = self._at
        at, speed = self._follow(due, count / self.rate)
        self.underruns += at + step * speed * count + self._bender.reach > self.tape.end
        sound = self._bender.read(self.tape, at, step * speed, count)
        if before is not None and at != before:  # a leap: from what would have come to what comes now
            fade = np.minimum(np.arange(count) / FADE, 1.0).astype(np.float32)
            sound = sound * fade + self._bender.read(self.tape, before, step, count) * (1 - fade)
        self._left.append((heard, at))
        self._at = at + step * speed * count
        return np.clip(sound, -1, 1).astype(np.float32)

    def _follow(self, due: float, seconds: float) -> tuple[float, float]:
        """(place on the tape, speed) of the next ``seconds``, when ``due`` is what should be heard."""
        if self._at is None:
            return float(round(due)), 1.0
        late = (due - self._at) / VOICE_RATE  # + : what comes is older than what is due
        self.error_s += (late - self.error_s) * min(seconds / STEADY_S, 1.0)
        if abs(late) > LEAP_S or (abs(self.error_s) > QUIET_S and self._silent(due)):
            self.leaps += abs(late) > LEAP_S and not self._silent(due)
            self.error_s = 0.0
            return float(round(due)), 1.0
        return self._at, 1.0 + min(max(PULL * self.error_s, -BEND), BEND)

    def _silent(self, due: float) -> bool:
        """Whether nothing is said from here to there, and for 20 ms after."""
        assert self._at is not None
        low, high = math.floor(min(self._at, due)), math.ceil(max(self._at, due))
        low = max(low, high - VOICE_RATE // 2)
        return float(np.abs(self.tape.read(low - FADE, high - low + VOICE_RATE // 50)).max()) < SILENCE

    def heard_at(self, when: float) -> float | None:
        """Media time (48 kHz samples) that is heard at ``when``; None when it is too far from all that is known."""
        known = [(abs(when - time), when - time, place) for time, place in tuple(self._left)]
        if not known or min(known)[0] > 0.5:
            return None
        _, passed, place = min(known)
        return place + passed * VOICE_RATE
