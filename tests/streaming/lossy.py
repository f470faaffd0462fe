"""A viewer behind a bad line: its packets take a relay that loses, delays and reorders them, by a seed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np

from bench.line import Condition, Line, Relay
from bench.viewer import Viewer, Voice


@dataclass
class Got:
    """What came: RTP times of pictures, and (RTP time, samples) of sound; both in the order of arrival."""

    pictures: list[int] = field(default_factory=list)
    sounds: list[tuple[int, np.ndarray]] = field(default_factory=list)

    def see(self, picture: av.VideoFrame, rtp: int, now: float) -> None:
        self.pictures.append(rtp)

    def hear(self, samples: np.ndarray, rtp: int, now: float) -> None:
        self.sounds.append((rtp, samples))

    def share_of_pictures(self, last: int) -> float:
        """How many of the pictures came of those due, one every 40 ms of media time, since the ``last`` last of them; 0
        before there are so many. To be waited for: a machine that is held up leaves pictures out too, for a while."""
        seen = self.pictures[-last:]
        return 0.0 if len(seen) < last else len(seen) / (1 + (seen[-1] - seen[0] & 0xFFFFFFFF) / 3600)


@contextlib.asynccontextmanager
async def behind(
    address: str, up: Condition, down: Condition | None = None, *, voice: np.ndarray | None = None, seed: int = 1
) -> AsyncIterator[tuple[Viewer, Got, Relay]]:
    """A viewer at ``address`` who says ``voice`` (n,) s16 over and over, what it gets, and its relay; ``down`` is as
    ``up`` unless given."""
    relay, got = Relay(Line(((0.0, up),), seed), Line(((0.0, down or up),), seed + 1)), Got()
    await relay.start()
    spoken: Any = Voice(np.zeros(48_000, np.int16) if voice is None else voice)
    viewer = Viewer(
        address, voice=spoken, seen=got.see, heard=got.hear, options={"avatar": "ada", "marker": True},
        offer=relay.offer, answer=relay.answer,
    )  # fmt: skip
    heart = asyncio.ensure_future(_beat(viewer))
    try:
        yield await viewer.open(), got, relay
    finally:
        heart.cancel()
        await viewer.close()
        relay.close()


async def _beat(viewer: Viewer) -> None:
    """A viewer that says nothing for long is let go."""
    while True:
        await asyncio.sleep(0.5)
        if hasattr(viewer, "pose"):
            viewer.say("ping", viewer.pose, t=0.0)
