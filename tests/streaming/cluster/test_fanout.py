"""One avatar, many viewers: published once to a media server, which has the viewers."""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path

from streaming.config import OutputsConfig
from streaming.encoders import H264Encoder, VoiceEncoder, Vp8Encoder
from streaming.outputs import Spec, open_output
from tests.streaming.cluster.sfu import Sfu, watching
from tests.streaming.harness import run, until
from tests.streaming.outputs.test_whip import session


def encoders() -> int:
    """Of ours, in this process; the stand-in's are aiortc's own."""
    gc.collect()
    return sum(type(thing) in (Vp8Encoder, H264Encoder, VoiceEncoder) for thing in gc.get_objects())


def test_what_a_publisher_does_does_not_grow_with_viewers(tmp_path: Path) -> None:
    async def work() -> None:
        before = encoders()
        async with Sfu().serving() as there, session(tmp_path) as live:
            output = open_output(live, Spec("whip", url=f"{there.address}/whip"), OutputsConfig())
            await until(lambda: output.frames > 5, 20)
            await until(lambda: encoders() - before >= 2, 20)  # the voice may begin after the pictures
            assert encoders() - before == 2  # one for pictures, one for the voice
            async with contextlib.AsyncExitStack() as viewers:
                seen: list[list[int]] = [[] for _ in range(3)]
                for pictures in seen:
                    await viewers.enter_async_context(watching(there.address, pictures))
                await until(lambda: all(len(pictures) > 5 for pictures in seen), 30)
                assert encoders() - before == 2 and len(live.outlets) == len(there.published) == 1
                assert output.reconnects == 0
            await output.close()

    run(work())
