"""What an agent hears of the viewer: the microphone as 16 kHz PCM, and whether a voice is in it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.audio.resample import BLOCK, Decimator
from engine.audio.vad import CHUNK, Vad
from engine.clock import SAMPLE_RATE
from engine.motion.turn import SPEECH_HANG, SPEECH_OFF, SPEECH_ON

Voice = NDArray[np.float32]
CHUNK_S: Final = CHUNK / SAMPLE_RATE
DEAF_S: Final = 0.5  # a microphone that gives nothing for so long says nothing


class Ears:
    """One agent's. ``speaking``: whether the viewer does."""

    def __init__(self, vad: Vad) -> None:
        self._decimator, self._vad = Decimator(), vad
        self._low, self._voice = self._decimator.initial_state(), vad.initial_state()
        self._rest = np.zeros(0, np.float32)
        self._quiet_s = 0.0
        self._heard_at = 0.0
        self.speaking = False

    def hear(self, samples: Voice, now: float) -> bytes:
        """(n,) more at 48 kHz -> int16 little-endian at 16 kHz, as far as it is ready."""
        self._heard_at = now
        line = np.concatenate([self._rest, np.clip(samples, -1.0, 1.0)])
        count = len(line) // BLOCK * BLOCK
        self._rest = line[count:]
        if not count:
            return b""
        sound, self._low = self._decimator.step(line[None, :count], self._low)
        chances, self._voice = self._vad.step(sound, self._voice)
        for chance in chances[0].tolist():
            self._follow(chance)
        return np.clip(np.rint(sound[0] * 32767.0), -32768, 32767).astype("<i2").tobytes()

    def _follow(self, chance: float) -> None:
        self._quiet_s = 0.0 if chance >= SPEECH_OFF else self._quiet_s + CHUNK_S
        if chance >= SPEECH_ON:
            self.speaking = True
        elif self._quiet_s > SPEECH_HANG:
            self.speaking = False

    def wait(self, now: float) -> None:
        """Call now and then: somebody whose microphone is gone does not speak."""
        if now - self._heard_at > DEAF_S:
            self.speaking = False
