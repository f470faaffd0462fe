"""PyAudio's API over devices that a file describes, for tests: no PortAudio, no sound card.

The file (environment FAKE_SOUND, JSON) is a list of {"name", "inputs", "outputs", "rate", "rates", "default"}. As with
PortAudio, devices are seen when the library starts, not before all who use it have ended; a stream whose device has
gone from the file stops. In real time microphones hear a second of silence, a second of a tone, and so on.
"""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

paFloat32, paInt16, paContinue = 1, 8, 0
_users = 0
_seen: list[dict[str, Any]] = []
streams: list[Stream] = []


def _described() -> list[dict[str, Any]]:
    path = os.environ.get("FAKE_SOUND")
    return json.loads(Path(path).read_text()) if path else []


class Stream:
    """Calls back in real time, or when a test calls ``pump``."""

    def __init__(self, device: dict[str, Any], wish: dict[str, Any]) -> None:
        self.device, self.wish, self.active, self.closed = device, wish, False, False
        self.block, self.rate, self.channels = wish["frames_per_buffer"], wish["rate"], wish["channels"]
        self.played: list[np.ndarray] = []
        self.count = 0

    def start_stream(self) -> None:
        self.active = True
        if not os.environ.get("FAKE_SOUND_MANUAL"):
            threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        due = time.perf_counter()
        while not self.closed and self.is_active():
            self.pump(self.tone() if self.wish["input"] else None)
            due += self.block / self.rate
            time.sleep(max(due - time.perf_counter(), 0))

    def tone(self) -> np.ndarray:
        at = self.count + np.arange(self.block)
        loud = (at // self.rate) % 2  # a second of silence, a second of tone
        sound = (0.3 * np.sin(2 * np.pi * 220 * at / self.rate) * loud).astype(np.float32)
        return np.repeat(sound[:, None], self.channels, axis=1)

    def pump(self, sound: np.ndarray | None = None, status: int = 0, delay: float = 0.02) -> None:
        """One call: of a microphone that heard ``sound`` (n, channels), or of a loudspeaker."""
        count = self.block if sound is None else len(sound)
        now = time.time()
        times = {"current_time": now, "input_buffer_adc_time": now - delay, "output_buffer_dac_time": now + delay}
        data, _ = self.wish["stream_callback"](None if sound is None else sound.tobytes(), count, times, status)
        self.count += count
        if sound is None:
            played = np.frombuffer(data, np.float32).reshape(-1, self.channels)
            assert len(played) == count
            self.played = [*self.played[-500:], played]

    def is_active(self) -> bool:
        return self.active and any(device["name"] == self.device["name"] for device in _described())

    def get_input_latency(self) -> float:
        return 0.01

    def get_output_latency(self) -> float:
        return 0.02

    def close(self) -> None:
        self.active, self.closed = False, True


class PyAudio:
    def __init__(self) -> None:
        global _users, _seen
        if _users == 0:
            _seen = _described()
        _users += 1

    def terminate(self) -> None:
        global _users
        _users -= 1

    def get_host_api_count(self) -> int:
        return 1

    def _default(self, way: str) -> int:
        fitting = [i for i, device in enumerate(_seen) if device.get(way)]
        return next((i for i in fitting if _seen[i].get("default")), fitting[0] if fitting else -1)

    def get_host_api_info_by_index(self, index: int) -> dict[str, Any]:
        defaults = {"defaultInputDevice": self._default("inputs"), "defaultOutputDevice": self._default("outputs")}
        return {"index": 0, "name": "ALSA", **defaults}

    def get_device_count(self) -> int:
        return len(_seen)

    def get_device_info_by_index(self, index: int) -> dict[str, Any]:
        device = _seen[index]
        return {
            "index": index, "name": device["name"], "hostApi": 0, "maxInputChannels": device.get("inputs", 0),
            "maxOutputChannels": device.get("outputs", 0), "defaultSampleRate": float(device.get("rate", 48_000)),
        }  # fmt: skip

    def open(self, **wish: Any) -> Stream:
        index = wish["input_device_index"] if wish["input"] else wish["output_device_index"]
        device = _seen[index]
        most = device.get("inputs" if wish["input"] else "outputs", 0)
        if wish["rate"] not in device.get("rates", [wish["rate"]]):
            raise OSError(-9997, "Invalid sample rate")
        if wish["channels"] > most or wish["channels"] < device.get("least", 1):
            raise OSError(-9998, "Invalid number of channels")
        if not any(described["name"] == device["name"] for described in _described()):
            raise OSError(-9996, "Device unavailable")
        stream = Stream(device, wish)
        streams.append(stream)
        return stream
