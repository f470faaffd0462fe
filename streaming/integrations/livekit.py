"""LiveKit Agents: an avatar that speaks for an AgentSession, in its process or in a worker of its own (docs/agents.md).

Written for livekit-agents 1.8 (extra ``livekit``).
"""

from __future__ import annotations

import os
from typing import Any, Final

import aiohttp

from engine.engine import Engine
from streaming.integrations.livekit_runner import Playback, VisavisVideoGenerator, perform
from streaming.integrations.player import Player, shared_engine
from streaming.live import EngineFailure

try:
    from livekit import api, rtc
    from livekit.agents import AgentSession, AgentStateChangedEvent
    from livekit.agents.types import ATTRIBUTE_PUBLISH_ON_BEHALF
    from livekit.agents.voice import avatar
    from livekit.agents.voice.avatar import AvatarRunner, DataStreamAudioOutput, QueueAudioOutput
except ImportError as problem:
    raise ImportError(f"{problem}; LiveKit needs its extra: pip install 'visavis[livekit]'") from problem

__all__ = ["AvatarSession", "Playback", "RemoteAvatarSession", "VisavisVideoGenerator", "perform", "shared_engine"]
IDENTITY: Final = "visavis-avatar"  # of a worker in the room
LAUNCH_S: Final = 30.0  # longest wait for a worker


class AvatarSession(avatar.AvatarSession[Any]):
    """The avatar in the agent's own process: its tracks are the agent's.

        session = AgentSession(...)
        await AvatarSession(avatar="leo").start(session, room=ctx.room)
        await session.start(...)

    ``engine``: one that is warm already (`shared_engine`, made in the worker's prewarm); else this process's own.
    """

    def __init__(
        self, *, engine: Engine | None = None, avatar: str = "", framing: str = "upper", seed: int = 0
    ) -> None:
        super().__init__()
        self.player = Player(engine, avatar=avatar, framing=framing, seed=seed)
        self._runner: AvatarRunner | None = None
        self._speaker: AgentSession[Any] | None = None

    @property
    def avatar_identity(self) -> str:
        """The agent's own: it is its participant that shows the avatar."""
        return "" if self._room is None or not self._room.isconnected() else self._room.local_participant.identity

    @property
    def provider(self) -> str:
        """For metrics."""
        return "visavis"

    async def start(self, agent_session: AgentSession[Any], room: rtc.Room) -> None:
        """Shows the avatar in ``room`` and gives it the voice of ``agent_session``; call it before that starts. Raises
        EngineFailure when there is no such avatar; the session can go on without."""
        await super().start(agent_session, room)
        try:
            await self.player.start()
        except EngineFailure:
            await self.aclose()
            raise
        voice = QueueAudioOutput(wait_playback_start=True)
        self._runner = perform(room, self.player, voice)
        await self._runner.start()
        agent_session.output.replace_audio_tail(voice)
        agent_session.on("agent_state_changed", self._note_state)
        self._speaker = agent_session

    def _note_state(self, event: AgentStateChangedEvent) -> None:
        show_state(self.player, event.new_state)

    async def aclose(self) -> None:
        """Takes the avatar out of the room; the agent stays."""
        if self._speaker is not None:
            self._speaker.off("agent_state_changed", self._note_state)
            self._speaker = None
        room, self._room = self._room, None  # the base would have its participant removed: that is the agent
        if room is not None:
            room.off("connection_state_changed", self._on_connection_state_changed)
        await super().aclose()
        if self._runner is not None:
            await self._runner.aclose()
            self._runner = None
        await self.player.close()


class RemoteAvatarSession(avatar.AvatarSession[Any]):
    """The avatar in a worker (livekit_worker.py), which joins the room as a participant of its own and publishes on
    behalf of the agent.

    ``worker``: its address, as "http://host:port"; ``secret``: what it was started with. Address, key and secret of
    LiveKit are those of the environment (LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET) when none are given.
    """

    def __init__(
        self,
        worker: str,
        secret: str,
        *,
        avatar: str = "",
        identity: str = IDENTITY,
        url: str = "",
        api_key: str = "",
        api_secret: str = "",
    ) -> None:
        super().__init__()
        self._worker, self._secret, self._avatar, self._identity = worker.rstrip("/"), secret, avatar, identity
        self._url = url or os.environ.get("LIVEKIT_URL", "")
        self._key = api_key or os.environ.get("LIVEKIT_API_KEY", "")
        self._key_secret = api_secret or os.environ.get("LIVEKIT_API_SECRET", "")
        if not (self._url and self._key and self._key_secret):
            raise ValueError("LiveKit's url, api_key and api_secret must be given, or be in the environment")

    @property
    def avatar_identity(self) -> str:
        """The worker's."""
        return self._identity

    @property
    def provider(self) -> str:
        """For metrics."""
        return "visavis"

    async def start(self, agent_session: AgentSession[Any], room: rtc.Room) -> None:
        """Has the worker join ``room``, which must be connected, and sends it the voice of ``agent_session``. Raises
        RuntimeError with what the worker says when it does not want to."""
        await super().start(agent_session, room)
        await self._launch(room)
        agent_session.output.replace_audio_tail(
            DataStreamAudioOutput(
                room,
                destination_identity=self._identity,
                wait_remote_track=rtc.TrackKind.KIND_VIDEO,
                clear_buffer_timeout=2.0,
                wait_playback_start=True,
            )
        )

    def token(self, room: rtc.Room) -> str:
        """What lets the worker into ``room``, and in nothing else."""
        return (
            api.AccessToken(self._key, self._key_secret)
            .with_kind("agent")
            .with_identity(self._identity)
            .with_name(self._identity)
            .with_grants(api.VideoGrants(room_join=True, room=room.name))
            .with_attributes({ATTRIBUTE_PUBLISH_ON_BEHALF: room.local_participant.identity})
            .to_jwt()
        )

    async def _launch(self, room: rtc.Room) -> None:
        body = {
            "url": self._url,
            "token": self.token(room),
            "agent": room.local_participant.identity,
            "avatar": self._avatar,
        }
        headers = {"Authorization": f"Bearer {self._secret}"}
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(LAUNCH_S)) as http,
                http.post(f"{self._worker}/launch", json=body, headers=headers) as response,
            ):
                if response.status != 201:
                    said = (await response.text())[:300]
                    raise RuntimeError(f"the avatar worker answered {response.status}: {said}")
        except (aiohttp.ClientError, TimeoutError) as problem:
            what = str(problem) or f"no answer within {LAUNCH_S:g} s"
            raise RuntimeError(f"no avatar worker at {self._worker}: {what}") from problem


def show_state(player: Player, state: str | None) -> None:
    """Has the avatar look as the agent is: "speaking" it does by itself, with the first sound."""
    if state is not None and state != "speaking":
        player.show(state)
