"""What is fuzzed at a session that runs: its data channels, its media as from a client with the keys, its UDP ports."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator
from typing import Any, Final

from bench.fuzz_server import SETTLE_S, Broken, Trouble, emptied, served
from bench.fuzz_targets import Target, message_seeds
from streaming.control import Allowance
from streaming.hub import Hub
from tests.streaming.harness import Viewer


class Connected:
    """A viewer at a server, and the server's end of its connection; opened again whenever it went."""

    def __init__(self, address: str, hub: Hub, trouble: Trouble) -> None:
        self.address, self.hub, self.trouble = address, hub, trouble
        self.viewer: Viewer | None = None

    async def peer(self) -> Any:
        """The server's RTCPeerConnection."""
        if self.viewer is None or self.viewer.id not in self.hub.peers:
            if self.viewer is not None:
                await self.viewer.close()
            self.viewer = await Viewer(self.address).open()
            await _until(lambda: bool(self.viewer and self.viewer.pictures), "a viewer saw nothing")
        return self.hub.peers[self.viewer.id]._connection

    async def close(self) -> None:
        """The viewer leaves."""
        if self.viewer is not None:
            await self.viewer.close()


async def _until(done: Any, what: str) -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while not done():
        if loop.time() - begun > SETTLE_S:
            raise Broken(what)
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def channel() -> AsyncIterator[Target]:
    """Messages on a data channel of a session that runs. It runs on."""
    async with served(connect_timeout_s=10.0) as (address, hub, trouble):
        there = Connected(address, hub, trouble)

        async def answer(data: bytes) -> bool:
            await there.peer()
            assert there.viewer is not None
            peer: Any = hub.peers[there.viewer.id]
            peer._control._allowance = Allowance(1e9, 0.0)  # what is too fast is dropped: here every one is to be read
            told: list[str] = []
            send, peer._control.send = peer._control.send, lambda label, text: told.append(text)
            peer._control.receive(data if data[-1:] < b"0" else data.decode("utf-8", "replace"), "control")
            peer._control.send = send
            await asyncio.sleep(0)
            trouble.check()
            return not any('"type":"error"' in one for one in told)

        yield Target(message_seeds(), answer, (b'"type"', b'"v":1'), emptied(hub, trouble))
        await there.close()


@contextlib.asynccontextmanager
async def media() -> AsyncIterator[Target]:
    """RTP, RTCP and SCTP as if a client that has the keys had sent them."""
    async with served(connect_timeout_s=10.0) as (address, hub, trouble):
        there = Connected(address, hub, trouble)
        connection = await there.peer()
        seeds = await _overheard(connection)

        async def answer(data: bytes) -> bool:
            connection = await there.peer()
            transport = connection.getReceivers()[0].transport
            kind, packet = data[:1], data[1:]
            try:
                if kind == b"s":
                    await transport._data_receiver._handle_data(packet)
                elif kind == b"c":
                    await transport._handle_rtcp_data(packet)
                else:
                    await transport._handle_rtp_data(packet, 0)
            except (ConnectionError, ValueError):
                return False  # aiortc's own refusals: the connection ends, or the packet is dropped
            trouble.check()
            return True

        yield Target(seeds, answer, (b"\x80\xc8", b"\x81\xc9", b"\x8f\xce"), emptied(hub, trouble))
        await there.close()


async def _overheard(connection: Any) -> list[bytes]:
    """Packets that a server got of a real client, each behind a letter for its kind."""
    transport, heard = connection.getReceivers()[0].transport, []
    rtp, rtcp, data = transport._handle_rtp_data, transport._handle_rtcp_data, transport._data_receiver._handle_data

    async def on_rtp(packet: bytes, arrival_time_ms: int) -> None:
        heard.append(b"r" + packet)
        await rtp(packet, arrival_time_ms)

    async def on_rtcp(packet: bytes) -> None:
        heard.append(b"c" + packet)
        await rtcp(packet)

    async def on_data(packet: bytes) -> None:
        heard.append(b"s" + packet)
        await data(packet)

    transport._handle_rtp_data, transport._handle_rtcp_data = on_rtp, on_rtcp
    transport._data_receiver._handle_data = on_data
    await _until(lambda: {b"r", b"c"} <= {packet[:1] for packet in heard}, "a client sent no RTP or RTCP")
    transport._handle_rtp_data, transport._handle_rtcp_data = rtp, rtcp
    transport._data_receiver._handle_data = data
    sctp = [b"s" + bytes.fromhex("1388138800000000000000000300001400000000000200000000000000000000")]
    return [*heard[:40], *sctp]


STUN: Final = bytes.fromhex("000100002112a442") + b"fuzzfuzzfuzz"


@contextlib.asynccontextmanager
async def datagram() -> AsyncIterator[Target]:
    """UDP datagrams from anybody to the ports of a session that runs: STUN, DTLS, RTP. The session does not end."""
    async with served(connect_timeout_s=10.0) as (address, hub, trouble):
        there = Connected(address, hub, trouble)
        connection = await there.peer()
        places = [
            (candidate.ip, candidate.port)
            for candidate in connection.getReceivers()[0].transport.transport.iceGatherer.getLocalCandidates()
            if ":" not in candidate.ip
        ]
        assert there.viewer is not None
        first, rng = there.viewer.id, random.Random(0)
        hello = bytes.fromhex("16feff0000000000000000002e0100002200000000000000220303") + bytes(40)
        long = STUN[:2] + (20).to_bytes(2, "big") + STUN[4:] + bytes.fromhex("00060010") + b"abcd:efghijklmno"
        seeds = [
            STUN,
            long,
            hello,
            b"\x80\x60" + bytes(30),
            b"\x80\xc8\x00\x06" + bytes(24),
            b"\x14\xfe\xfd" + bytes(20),
        ]
        sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

        async def answer(data: bytes) -> bool:
            with contextlib.suppress(OSError):
                sending.sendto(data[:1400], rng.choice(places))
            await asyncio.sleep(0)
            trouble.check()
            if first not in hub.peers:
                raise Broken("a stranger's datagram ended a session")
            return True

        yield Target(seeds, answer, (b"\x21\x12\xa4\x42", b"\x00\x06", b"\x00\x08", b"\x80\x28"), emptied(hub, trouble))
        sending.close()
        await there.close()
