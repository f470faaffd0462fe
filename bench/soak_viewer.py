"""One viewer for hours, as a process of its own: speaks, looks around, changes its mind, and says what it got.

``python -m bench.soak_viewer ADDRESS SECONDS PPM``: a line of JSON on the standard output for every click that was seen
and heard (``skew``), and every ten seconds one with counts (``got``).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import sys
import tempfile
import time
import wave
from collections import deque
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray

from bench.stream import write_voice
from bench.viewer import Clicks, Viewer, Voice, read_strip
from streaming import patches
from streaming.config import StreamConfig

VOICE_S: Final = 300.0  # of voice, round and round
PAIR_S: Final = 0.4  # a click seen and one heard are the same when no further apart
FREEZE_S: Final = 0.2
COUNT_EVERY_S: Final = 10.0
INTERRUPT_EVERY_S: Final = 45.0
CHANGES: Final[tuple[tuple[str, dict[str, Any]], ...]] = (  # what somebody does in a long conversation, one every 20 s
    ("avatar", {"id": "leo"}), ("emotion", {"name": "happy", "intensity": 0.6}), ("gaze", {"at": "viewer"}),
    ("avatar", {"id": "ada"}), ("background", {"show": "#204060"}), ("strength", {"head": 0.7, "gesture": 1.2}),
    ("framing", {"name": "head"}), ("emotion", {"name": "neutral"}), ("listening", {"on": True}),
    ("framing", {"name": "upper"}), ("background", {"show": "blur"}), ("listening", {"on": False}),
    ("actions", {"weights": {"browInnerUp": 0.7}}), ("actions", {"weights": {}}), ("gaze", {"at": "free"}),
    ("chance", {"temperature": 1.0, "seed": 5}), ("background", {"show": "avatar"}), ("style", {"energy": 0.7}),
)  # fmt: skip


class Watch:
    """What has been got, on one event loop."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.seen: deque[tuple[float, float]] = deque(maxlen=64)  # clicks: media time, arrival
        self.heard: deque[tuple[float, float]] = deque(maxlen=64)
        self.clicks = Clicks()
        self.frames = self.freezes = self.unread = self.sounds = 0
        self.loudest_gap = 0.0  # longest time without a picture since the last count
        self.last = time.monotonic()
        self.told: dict[str, Any] = {}
        self.ages: list[float] = []  # ms from the beginning of a frame's making to its arrival

    def see(self, frame: av.VideoFrame, rtp: int, now: float) -> None:
        """A picture has come."""
        self.frames += 1
        gap, self.last = now - self.last, now
        self.freezes += gap > FREEZE_S
        self.loudest_gap = max(self.loudest_gap, gap)
        strip = read_strip(np.asarray(frame.to_ndarray()[: frame.height]))
        if strip is None:
            self.unread += 1
            return
        self.ages.append(((int(time.time() * 1e4) - strip.stamp) & 0xFFFFFFFF) / 10)
        moment = self.viewer.pictures_line.moment(rtp)
        if strip.onset and moment is not None:
            offset = (strip.onset - 1) / 1000
            self.seen.append((moment + offset, now + offset))
            self.pair()

    def hear(self, samples: NDArray[np.int16], rtp: int, now: float) -> None:
        """20 ms of sound have come."""
        self.sounds += 1
        begin = self.viewer.voice_line.moment(rtp)
        if begin is None:
            return
        click = self.clicks.find(samples, begin)
        if click is not None:
            self.heard.append((click, now + click - begin))
            self.pair()

    def pair(self) -> None:
        """Says the skew of every click that has now been both seen and heard."""
        while self.seen and self.heard:
            (seen, seen_at), (heard, heard_at) = self.seen[0], self.heard[0]
            if seen - heard > PAIR_S:
                self.heard.popleft()
            elif heard - seen > PAIR_S:
                self.seen.popleft()
            else:
                say(skew=1e3 * (heard - seen), arrived=1e3 * (heard_at - seen_at))
                self.seen.popleft()
                self.heard.popleft()

    def count(self) -> None:
        """Says the counts so far."""
        ages, self.ages = self.ages, []
        say(
            got=self.frames, sounds=self.sounds, freezes=self.freezes, unread=self.unread,
            gap_ms=1e3 * self.loudest_gap, age_ms=float(np.median(ages)) if ages else None,
            skipped=self.told.get("skipped"), dropped_ms=self.told.get("dropped_ms"), rate=self.told.get("rate"),
        )  # fmt: skip
        self.loudest_gap = 0.0


def say(**fields: Any) -> None:
    """One line for whoever started this."""
    print(json.dumps({"at": time.monotonic(), **fields}), flush=True)


def read_wav(path: Path) -> NDArray[np.int16]:
    """(n,) of a mono 16-bit file."""
    with wave.open(str(path), "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


async def live(address: str, seconds: float, ppm: float) -> None:
    """Raises OSError when the session ends before its time."""
    with tempfile.TemporaryDirectory() as folder:
        voice = Voice(read_wav(write_voice(Path(folder) / "voice.wav", VOICE_S)), ppm)
    viewer = Viewer(address, voice=voice, options={"avatar": "ada", "marker": True, "seed": 1})
    watch = Watch(viewer)
    viewer._seen, viewer._heard = watch.see, watch.hear
    ended: list[str] = []

    def hear(message: dict[str, Any]) -> None:
        if message["type"] == "stamps":
            watch.told = message
        elif message["type"] == "bye":
            ended.append(message["reason"])
        elif message["type"] == "error":
            say(error=message)

    viewer.on_message = hear
    await viewer.open()
    begun = counted = changed = stopped = time.monotonic()
    changes = itertools.cycle(CHANGES)
    for k in itertools.count():
        await asyncio.sleep(0.1)
        now = time.monotonic()
        if now - begun > seconds:
            break
        if ended or viewer.pc.connectionState in ("failed", "closed"):
            raise OSError(f"the session ended after {now - begun:.0f} s: {ended or viewer.pc.connectionState}")
        viewer.say("viewpoint", viewer.pose, yaw=0.3 * math.sin(k / 20), pitch=0.0, distance=1.4, seq=k)
        if k % 10 == 0:
            viewer.say("ping", viewer.pose, t=now)
        if now - counted > COUNT_EVERY_S:
            counted = now
            watch.count()
        if now - changed > 20:
            changed = now
            kind, fields = next(changes)
            viewer.say(kind, **fields)
        if now - stopped > INTERRUPT_EVERY_S:
            stopped = now
            viewer.say("interrupt")
    viewer.say("bye")
    await asyncio.sleep(0.2)
    await viewer.close()


def main() -> None:
    """Lives."""
    address, seconds, ppm = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    patches.install(StreamConfig())
    asyncio.run(live(address, seconds, ppm))


if __name__ == "__main__":
    main()
