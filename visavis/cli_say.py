"""``visavis say``: a sound file spoken by an avatar of a running server, as an agent would."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape

from engine.clock import VOICE_RATE
from visavis.options import EmotionOption, IntensityOption
from visavis.sound import SoundError, read_voice

out, err = Console(), Console(stderr=True)
LONGEST_S = 3600.0
TOKEN = "VISAVIS_TOKEN"


def say(
    sound: Annotated[Path, typer.Argument(help="Any file with sound.")],
    url: Annotated[str, typer.Option(help="Where the server is.")] = "http://localhost:8765",
    session: Annotated[
        str | None, typer.Option(help="Whose mouth: a session's id; without, the newest one, or else a new one.")
    ] = None,
    text: Annotated[str, typer.Option(help="What is said, so that gestures fit it.")] = "",
    emotion: EmotionOption = None,
    intensity: IntensityOption = None,
    takeover: Annotated[bool, typer.Option("--takeover", help="Take the place of an agent that is there.")] = False,
) -> None:
    """Has an avatar of a running server say a sound file. A server's token is read from VISAVIS_TOKEN."""
    from visavis import client

    try:
        raise typer.Exit(asyncio.run(_say(sound, url, session, text, emotion, intensity, takeover)))
    except (client.Refused, client.Gone, SoundError, OSError) as problem:
        err.print(f"[red]visavis:[/] {escape(str(problem))}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


async def _say(
    sound: Path, url: str, session: str | None, text: str, emotion: str | None, intensity: float | None, takeover: bool
) -> int:
    from visavis import client

    token = os.environ.get(TOKEN, "")
    pieces = read_voice(sound, max_seconds=LONGEST_S)
    first = next(pieces)  # nothing is opened for a file that cannot be read
    if session is None:
        try:
            session = await client.newest_session(url, token)
        except client.Refused:  # a server that others reach tells nobody
            session = None
    async with await client.connect(url, session, token=token, takeover=takeover) as agent:
        out.print(f"session {agent.session}", highlight=False)
        async with agent.speak(rate=VOICE_RATE, text=text, emotion=emotion, intensity=intensity) as segment:
            for piece in (first, *pieces):
                await segment.write(np.rint(np.clip(piece, -1, 1) * 32767).astype("<i2").tobytes())
        heard = await segment.finished()
    how = "interrupted" if heard["interrupted"] else "said"
    out.print(f"{how}: {heard['position']:.2f} s", highlight=False)
    return 0
