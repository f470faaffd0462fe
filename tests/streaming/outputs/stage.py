"""A session of claps for outputs, faster than time: what an output asks of a Live, and nothing more. As a program
(`python -m tests.streaming.outputs.stage FOLDER LIMIT`) it records until it is killed, or a file has LIMIT bytes."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import sys
from typing import Any

from engine.clock import VOICE_FRAME
from streaming.config import OutputsConfig
from streaming.live import Options
from streaming.outputs import Output, Spec, open_output
from streaming.outputs.feed import PICTURES
from streaming.provenance import Statement
from streaming.tracks import OutFrame

from .clap import items

STATEMENT = Statement("ada", "sha256:0", "none")


class Stage:
    """``outlets`` get what ``play`` plays; ``said`` is what was told of outputs."""

    def __init__(self) -> None:
        self.id, self.options, self.opened_as = "stage", Options("ada", "upper", 0), None
        self.closing, self.lookahead, self.edge = False, 0, 0
        self.outlets: list[Output] = []
        self.said: list[dict[str, Any]] = []
        self._given: dict[str, int] = {}  # frames, by output
        self._items = items(10**9, begin=0)

    def add(self, outlet: Output) -> None:
        self.outlets.append(outlet)

    def remove(self, outlet: Output) -> None:
        if outlet in self.outlets:
            self.outlets.remove(outlet)

    def tell(self, message: str) -> None:
        self.said.append(json.loads(message)["output"])

    async def play(self, frames: int, at_most: int = PICTURES - 5) -> None:
        """So many more frames, as fast as the outputs take them: at most ``at_most`` wait."""
        for _ in range(frames):
            item = next(self._items)
            self.edge += VOICE_FRAME
            assert item.picture is not None
            for outlet in tuple(self.outlets):
                outlet.voice(item.voice)
                outlet.frame(OutFrame(item.pts, item.picture, {}))
                self._given[outlet.id] = self._given.get(outlet.id, 0) + 1
            while any(self._given[out.id] - out.frames - out.dropped > at_most for out in self.outlets):
                await asyncio.sleep(0.002)
            await asyncio.sleep(0)


async def main(folder: str, limit: int) -> None:
    """Says how far it is, a line a second of the film."""
    stage = Stage()
    spec = Spec("file", name="cut.mp4", bitrate=300_000)
    output = open_output(stage, spec, OutputsConfig(folder=folder), STATEMENT)  # type: ignore[arg-type]
    if limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file that grows too large is an error, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    while output.state in ("starting", "running"):
        await stage.play(25)
        print(json.dumps(output.told()), flush=True)
        await asyncio.sleep(0)
    await stage.play(25)  # the session goes on without it
    print(json.dumps(output.told()), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
