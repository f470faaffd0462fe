"""A bad line between a viewer and the server: packets get lost, late, out of order, twice, or queue behind each other.

``Line`` decides what becomes of each packet, by seed and by the time that it is told. ``Relay`` carries UDP between a
viewer and the server through one Line each way, so that any WebRTC client, a browser too, can be put behind it.
"""

from __future__ import annotations

import asyncio
import random
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

HEAD_BYTES: Final = 28  # IP and UDP, which count on a narrow line too


@dataclass(frozen=True, slots=True)
class Condition:
    """What a line is like. Times in ms, ``rate`` in bit/s (0: any)."""

    loss: float = 0.0  # share of packets that never come
    burst: float = 1.0  # mean number lost in a row (Gilbert's model; 1: each on its own)
    delay: float = 0.0
    jitter: float = 0.0  # added to the delay, evenly from 0 to this
    overtaking: bool = True  # whether a packet may come before one that was sent earlier
    duplicate: float = 0.0  # share that comes twice
    rate: float = 0.0
    queue: float = 200.0  # what would wait longer for its turn on a narrow line is dropped


@dataclass
class Line:
    """One direction. ``plan``: (from second, condition), in order, the first from 0."""

    plan: Sequence[tuple[float, Condition]]
    seed: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self.begun: float | None = None  # when the first packet came
        self._bad = False
        self._free = 0.0  # when the narrow line has sent what it has
        self._last = 0.0  # when the last packet arrives
        self.packets = self.lost = self.dropped = 0

    def condition(self, now: float) -> Condition:
        """What holds at ``now`` (s)."""
        passed = now - (now if self.begun is None else self.begun)
        return next(condition for begin, condition in reversed(self.plan) if passed >= begin)

    def carry(self, now: float, size: int) -> tuple[float, ...]:
        """When a packet of ``size`` bytes that is sent at ``now`` (s) arrives: never, once, or twice."""
        self.begun = now if self.begun is None else self.begun
        condition = self.condition(now)
        self.packets += 1
        if self._loses(condition):
            self.lost += 1
            return ()
        at = now
        if condition.rate:
            begin = max(self._free, now)
            if begin - now > condition.queue / 1e3:
                self.dropped += 1
                return ()
            at = self._free = begin + 8 * (size + HEAD_BYTES) / condition.rate
        at += (condition.delay + self._random.uniform(0, condition.jitter)) / 1e3
        if not condition.overtaking:
            at = max(at, self._last)
        self._last = max(self._last, at)
        twice = condition.duplicate and self._random.random() < condition.duplicate
        return (at, at + 0.001) if twice else (at,)

    def _loses(self, condition: Condition) -> bool:
        """Gilbert's two states: in the bad one everything is lost, and it lasts ``burst`` packets on average."""
        if condition.loss <= 0:
            self._bad = False
            return False
        if condition.burst <= 1:
            return self._random.random() < condition.loss
        leave = 1 / condition.burst
        enter = leave * condition.loss / (1 - condition.loss)
        self._bad = self._random.random() < (1 - leave if self._bad else enter)
        return self._bad


class _Port(asyncio.DatagramProtocol):
    """One of the relay's two sockets."""

    def __init__(self, relay: Relay, up: bool) -> None:
        self._relay, self._up = relay, up

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._relay.take(data, addr, self._up)

    def error_received(self, exc: Exception) -> None:
        """A closed port at the other end is no matter of the line's."""


class Relay:
    """Stands between one viewer and the server. ``offer`` and ``answer`` rewrite the two SDPs so that all media takes
    this way."""

    def __init__(self, up: Line, down: Line) -> None:
        self.up, self.down = up, down  # to the server, to the viewer
        self._server: tuple[str, int] | None = None
        self._viewer: Any = None
        self._front: Any = None
        self._back: Any = None

    async def start(self) -> None:
        """Opens the two sockets, on loopback."""
        self._loop = asyncio.get_running_loop()
        self._front, _ = await self._loop.create_datagram_endpoint(lambda: _Port(self, True), ("127.0.0.1", 0))
        self._back, _ = await self._loop.create_datagram_endpoint(lambda: _Port(self, False), ("0.0.0.0", 0))

    def offer(self, sdp: str) -> str:
        """The viewer's offer without its addresses: the server learns the relay's from the checks."""
        return re.sub(r"a=(candidate|end-of-candidates)[^\r\n]*\r?\n", "", sdp)

    def answer(self, sdp: str) -> str:
        """The server's answer with the relay's address in place of its own. Raises ValueError when it has none."""
        found = [line.split() for line in re.findall(r"a=candidate:[^\r\n]*", sdp)]
        hosts = [c for c in found if c[2].lower() == "udp" and c[7] == "host" and ":" not in c[4]]
        if not hosts:
            raise ValueError("the answer has no IPv4 host candidate to relay to")
        first = hosts[0]
        self._server = (first[4], int(first[5]))
        port = self._front.get_extra_info("sockname")[1]
        mine = " ".join([*first[:4], "127.0.0.1", str(port), *first[6:8]])
        sections = re.split(r"(?=^m=)", sdp, flags=re.MULTILINE)
        return "".join(self._readdress(section, mine) for section in sections)

    @staticmethod
    def _readdress(section: str, mine: str) -> str:
        had = "a=candidate:" in section
        section = re.sub(r"a=candidate[^\r\n]*\r?\n", "", section)
        return section.rstrip("\r\n") + f"\r\n{mine}\r\n" if had else section

    def take(self, data: bytes, sender: Any, up: bool) -> None:
        """A datagram that has come to one of the sockets."""
        if up:
            self._viewer = sender
        target = self._server if up else self._viewer
        if target is None:
            return
        port, line = (self._back, self.up) if up else (self._front, self.down)
        now = self._loop.time()
        for at in line.carry(now, len(data)):
            if at <= now:
                port.sendto(data, target)
            else:
                self._loop.call_at(at, self._send, port, data, target)

    @staticmethod
    def _send(port: Any, data: bytes, target: Any) -> None:
        if not port.is_closing():
            port.sendto(data, target)

    def close(self) -> None:
        """No packet passes any more."""
        for port in (self._front, self._back):
            if port is not None:
                port.close()


class RelayThread:
    """A Relay on a loop of its own, for callers that block."""

    def __init__(self, up: Line, down: Line) -> None:
        self.relay = Relay(up, down)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)

    def __enter__(self) -> Relay:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.relay.start(), self._loop).result(10)
        return self.relay

    def __exit__(self, *problem: object) -> None:
        self._loop.call_soon_threadsafe(self.relay.close)
        self._loop.call_soon_threadsafe(self._loop.call_later, 0.1, self._loop.stop)  # the sockets close in between
        self._thread.join(10)
        self._loop.close()
