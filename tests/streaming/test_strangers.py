"""What comes without having proved anything: datagrams to a session's ports, and offers that ask too much."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest
from aiohttp import ClientSession

from bench.fuzz_server import offers
from streaming import signalling
from streaming.app import HUB
from streaming.server import start

from .double import DoubleEngine
from .harness import PATIENT, Settings, Viewer, run, serving, until

CHROMIUM = offers()[0].decode()


def test_a_stranger_s_datagrams_neither_reach_nor_end_a_session(tmp_path: Path) -> None:
    async def work() -> None:
        engine = DoubleEngine(tmp_path, side=64, cost_s=0.001)
        async with serving(engine, Settings(stream=PATIENT)) as address:
            viewer = await Viewer(address).open()
            await until(lambda: len(viewer.pictures) > 3, what="no pictures")
            lines = [line.split() for line in viewer.pc.remoteDescription.sdp.split("\r\n") if "a=candidate" in line]
            places = {(words[4], int(words[5])) for words in lines}
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                for host, port in places:
                    if ":" not in host:
                        for data in (b"", b"\x15\xfe\xfd" + bytes(12), b"\x80" * 40, b"\x00\x01" + bytes(18)):
                            stranger.sendto(data, (host, port))
            seen = len(viewer.pictures)
            await until(lambda: len(viewer.pictures) > seen + 10, what="the session stopped")
            await viewer.close()

    run(work())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda sdp: sdp.replace("a=mid:1", "a=mid:0"), "mid of its own"),
        (lambda sdp: sdp.replace("a=group:BUNDLE 0 1 2", "a=group:BUNDLE 0 9"), "bundles"),
        (lambda sdp: "\r\n".join(line for line in sdp.split("\r\n") if "fingerprint" not in line), "fingerprint"),
        (lambda sdp: "\r\n".join(line for line in sdp.split("\r\n") if "ice-pwd" not in line), "ice-pwd"),
        (
            lambda sdp: sdp + "".join(f"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:x{k}\r\n" for k in range(9)),
            "at most 8",
        ),
        (lambda sdp: sdp + "a=candidate:1 1 UDP 1 127.0.0.1 9 typ host\r\n" * 65, "64 candidates"),
        (lambda sdp: sdp + "m=text 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:7\r\n", "unknown kind"),
        (lambda sdp: sdp.replace("a=rtpmap:111 opus/48000/2", "a=rtpmap:999999 opus/48000/2"), "cannot be used"),
    ],
)
def test_offers_that_aiortc_would_break_on_are_refused(tmp_path: Path, change, words: str) -> None:  # type: ignore[no-untyped-def]
    async def work() -> None:
        runner, address = await start(Settings(), DoubleEngine(tmp_path, side=64, cost_s=0.001))  # type: ignore[arg-type]
        hub = runner.app[HUB]  # type: ignore[index]
        async with ClientSession() as http:
            body = {"sdp": change(CHROMIUM), "type": "offer"}
            async with http.post(f"{address}v1/sessions", json=body) as response:
                told = json.loads(await response.read())
                assert (response.status, told["error"]["code"]) == (400, "bad_offer"), told
                assert words in told["error"]["message"]
        await asyncio.sleep(0)
        assert not hub.lives and not hub.peers and not hub.owners
        await runner.cleanup()

    run(work())


def test_what_browsers_offer_is_fine() -> None:
    for offer in offers():
        signalling.check(offer.decode())
