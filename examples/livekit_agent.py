"""A voice agent with a face in a LiveKit room: python examples/livekit_agent.py dev

Needs `pip install 'visavis[livekit]'` and LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET in the environment. Ears,
mind and voice are LiveKit's hosted ones here; take any other plugin. The avatar is painted in the agent's own process,
or in a worker (livekit_avatar_worker.py) when VISAVIS_WORKER and VISAVIS_SECRET say where that is.
"""

import os
from typing import Any

from livekit import rtc
from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobProcess, cli

from streaming.integrations.livekit import AvatarSession, RemoteAvatarSession, shared_engine


def prewarm(process: JobProcess) -> None:
    """Before the first call comes, so that nobody waits for it."""
    if not os.environ.get("VISAVIS_WORKER"):
        process.userdata["engine"] = shared_engine()


server = AgentServer(setup_fnc=prewarm, initialize_process_timeout=120)


async def talk(session: AgentSession, room: rtc.Room, engine: Any = None) -> AvatarSession | RemoteAvatarSession:
    """Gives ``session`` a face in ``room``, which is connected, and starts it."""
    worker = os.environ.get("VISAVIS_WORKER")
    avatar = (
        RemoteAvatarSession(worker, os.environ["VISAVIS_SECRET"], avatar="leo")
        if worker
        else AvatarSession(engine=engine, avatar="leo")
    )
    await avatar.start(session, room=room)
    await session.start(Agent(instructions="You are a friendly guide. Answer in one or two sentences."), room=room)
    return avatar


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    """One call."""
    await ctx.connect()
    session = AgentSession(stt="deepgram/nova-3", llm="openai/gpt-4.1-mini", tts="cartesia/sonic-3")
    await talk(session, ctx.room, ctx.proc.userdata.get("engine"))
    session.generate_reply(instructions="Greet the user.")


if __name__ == "__main__":
    cli.run_app(server)
