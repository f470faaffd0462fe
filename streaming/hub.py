"""All sessions of one process: who may still open one, who is at it, and an end for those that nobody has a use for."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import replace
from typing import Final

from engine.engine import Engine
from engine.schedule.room import Room
from streaming import claim
from streaming.config import LimitsConfig, ServerConfig, StreamConfig
from streaming.guard import Refusal, is_private
from streaming.limits import Limits
from streaming.live import Live, Options, Watcher
from streaming.peer import Peer
from streaming.snapshots import Snapshots
from streaming.tokens import Asker, asking

REAP_S: Final = 1.0
LOST: Final = ("no heartbeat", "connection", "not connected in time", "the server stops")  # ends that nobody wanted


class Hub:
    """Lives and their peers, on the event loop. ``watchers`` hear of every Live: add to it before the first opens."""

    def __init__(self, engine: Engine, server: ServerConfig, stream: StreamConfig) -> None:
        self.engine, self.server, self.stream = engine, server, stream
        self.lives: dict[str, Live] = {}
        self.peers: dict[str, Peer] = {}
        self.owners: dict[str, Asker | None] = {}  # who opened each of the lives; None: this process did
        self.limits = Limits(LimitsConfig(), is_private(server))
        self.watchers: list[Watcher] = []
        self.snapshots: Snapshots | None = None  # where sessions leave what they could go on from
        self.draining = False  # told to stop: what runs goes on, nothing new begins
        self._guests: dict[Peer, Asker | None] = {}  # who watches without having opened
        self._reaper: asyncio.Task[None] | None = None

    def open(self, options: Options) -> Live:
        """A new session, painting. Raises Refusal when all places are taken, all that the asker may have, or all
        that the engine can paint in time; SnapshotError for a snapshot that it cannot go on from."""
        if self.draining:
            raise Refusal(503, "draining", "this server is about to stop and takes no new sessions")
        if len(self.lives) >= self.server.max_sessions:
            full = f"all {self.server.max_sessions} sessions are taken; try again when someone has left"
            raise Refusal(503, "full", full, {"Retry-After": "5"})
        self.limits.session(asking.get(), self.owners.values())
        room = expected(self.engine.room(), len(self.lives))
        if room.refusal is not None and not options.resumed:  # who was let in once is not cut off in mid-sentence
            raise Refusal(503, "busy", room.refusal, {"Retry-After": str(max(math.ceil(room.retry_after_s), 1))})
        kept = None if self.snapshots is None else self._keep
        live = Live(self.engine, options, self.stream, tuple(self.watchers), self._forget, kept)
        self.lives[live.id], self.owners[live.id] = live, asking.get()
        try:
            live.start()
        except BaseException:  # a machine that has no thread left
            self._forget(live)
            raise
        return live

    def connect(self, live: Live, *, steers: bool = True, alpha: bool = False) -> Peer:
        """A WebRTC connection to ``live``; its ``answer`` comes next. Raises Refusal for one viewer too many."""
        if not steers:
            self.limits.viewer(asking.get(), self._guests.values())
        peer = Peer(live, self.server, self.stream, self._leave, steers=steers, alpha=alpha)
        if not steers:
            self._guests[peer] = asking.get()
        self.peers[peer.id] = peer
        return peer

    def reconnect(self, live: Live) -> Peer:
        """The same in the place of the connection that steers ``live``, which goes."""
        old = self.peers.pop(live.id, None)
        if old is not None:
            old.step_down()
            old.end("another connection took its place")
        return self.connect(live)

    def get(self, name: str) -> Live:
        """The session with this id. Raises Refusal when there is none."""
        live = self.lives.get(name)
        if live is None or live.closing:
            raise Refusal(404, "no_session", "no such session; it may have ended already")
        return live

    async def end(self, name: str, why: str) -> None:
        """Ends a session and everybody's connection to it. Raises Refusal when there is none."""
        live = self.get(name)
        peers = [peer for peer in self.peers.values() if peer.live is live]
        await asyncio.gather(live.close(why), *(peer.close(why) for peer in peers))

    async def start(self) -> None:
        """Begins to look after sessions that nobody holds."""
        self._reaper = asyncio.get_running_loop().create_task(self._reap())

    async def stop(self, why: str = "the server stops") -> None:
        """Ends all of them."""
        self.draining = True
        if self._reaper is not None:
            self._reaper.cancel()
        peers, lives = tuple(self.peers.values()), tuple(self.lives.values())
        await asyncio.gather(*(peer.close(why) for peer in peers), *(live.close(why) for live in lives))

    async def _reap(self) -> None:
        """Ends what has had no viewer, no agent and no output for ``linger_s``."""
        alone: dict[str, float] = {}
        while True:
            await asyncio.sleep(REAP_S)
            now = time.monotonic()
            alone = {name: alone.get(name, now) for name, live in self.lives.items() if not live.held}
            for name, since in alone.items():
                if now - since > self.server.linger_s:
                    self.lives[name].end(f"nobody was there for {self.server.linger_s:g} s")

    def _keep(self, live: Live, data: bytes) -> None:
        if self.snapshots is not None and not live.closing:
            self.snapshots.put(live.id, claim.sign(self.owners.get(live.id), data))

    def _forget(self, live: Live) -> None:
        if self.snapshots is not None and not live.why.startswith(LOST):
            self.snapshots.over(live.id)
        self.lives.pop(live.id, None)
        self.owners.pop(live.id, None)

    def _leave(self, peer: Peer) -> None:
        if self.peers.get(peer.id) is peer:
            del self.peers[peer.id]
        self._guests.pop(peer, None)


def expected(room: Room, sessions: int) -> Room:
    """``room`` once all ``sessions`` are there, of which the engine may not know them all: several may come at once."""
    coming = sessions - room.sessions
    if room.refusal is not None or coming <= 0 or not room.sessions:
        return room
    each = max(1.0 - room.headroom, 0.0) / room.sessions
    left = room.headroom - coming * each
    if left >= each:
        return replace(room, sessions=sessions, headroom=left)
    why = f"{coming} sessions are just being opened, and there may be no room for one more; try again in a second"
    return Room(sessions, left, why, 1.0)
