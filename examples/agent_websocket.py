"""An agent that says what it is told: a line on standard input, a sentence from the avatar. Wants espeak-ng.

    visavis serve --open      # then press Start
    python examples/agent_websocket.py

Speak while it does, and it stops and listens. Put a language model where ``answer`` is, and any synthesizer where
``synthesize`` is.
"""

import argparse
import asyncio
import os
import stat
import sys

from visavis import client

RATE = 22_050  # Hz, of espeak-ng
HEADER = 44  # bytes of its WAV header


async def answer(line: str) -> str:
    """What to say to ``line``: the same again."""
    await asyncio.sleep(0.5)  # a mind at work
    return line


async def synthesize(text: str, segment: client.Segment) -> None:
    """Sends speech as it is made."""
    process = await asyncio.create_subprocess_exec(
        "espeak-ng", "--stdin", "--stdout", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(text.encode())
    process.stdin.close()
    await process.stdout.readexactly(HEADER)
    while pcm := await process.stdout.read(8192):
        await segment.write(pcm)
    await process.wait()


async def listen(agent: client.Agent) -> None:
    """Barge-in: when the viewer speaks, the avatar stops."""
    await agent.listen()
    async for event in agent:
        if isinstance(event, bytes):
            continue  # the viewer's voice, int16 at 16 kHz: for a speech recognizer
        if event["type"] == "viewer" and event["speaking"]:
            await agent.interrupt()
            await agent.state("listening")
        elif event["type"] in ("speech.started", "speech.finished", "error"):
            print(event, file=sys.stderr)


async def main(url: str, session: str | None, lines: asyncio.StreamReader) -> None:
    """Says each of ``lines``."""
    session = session or await client.newest_session(url)
    async with await client.connect(url, session) as agent:
        print(f"session {agent.session}", file=sys.stderr)
        listening = asyncio.ensure_future(listen(agent))
        while line := (await lines.readline()).decode().strip():
            await agent.state("thinking")
            text = await answer(line)
            async with agent.speak(rate=RATE, text=text) as segment:
                await synthesize(text, segment)
            await segment.finished()
        listening.cancel()


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    if stat.S_ISREG(os.fstat(sys.stdin.fileno()).st_mode):  # of a file, which asyncio does not read
        reader.feed_data(sys.stdin.buffer.read())
        reader.feed_eof()
        return reader
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def _run(url: str, session: str | None) -> None:
    await main(url, session, await _standard_input())


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--url", default="http://localhost:8765")
    arguments.add_argument("--session", help="whose mouth; without, the newest session, or else a new one")
    given = arguments.parse_args()
    try:
        asyncio.run(_run(given.url, given.session))
    except (client.Gone, client.Refused) as problem:
        sys.exit(str(problem))
