"""WHIP out, to an endpoint that decodes: pictures and voice arrive, tokens go nowhere else, servers are found again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from streaming import patches
from streaming.config import OutputsConfig, StreamConfig
from streaming.live import Live, Options
from streaming.outputs import Output, Spec, open_output
from streaming.outputs.whip import ice_servers

from ..double import DoubleEngine
from ..harness import run, until
from .endpoint import Endpoint
from .test_recorder import Hum


@contextlib.asynccontextmanager
async def session(folder: Path) -> AsyncIterator[Live]:
    patches.install(StreamConfig())
    live = Live(DoubleEngine(folder, side=128, cost_s=0.0), Options("ada", "upper", 0), StreamConfig())  # type: ignore[arg-type]
    live.speak(Hum())
    live.start()
    try:
        yield live
    finally:
        await live.close("enough")


def publish(live: Live, url: str, token: str = "", give_up_s: float = 60.0) -> Output:
    return open_output(live, Spec("whip", url=url, token=token), OutputsConfig(give_up_s=give_up_s))


def loudest(there: Endpoint) -> float:
    """Of what came last."""
    return max(float(np.abs(sound).max()) for sound in there.sounds[-10:])


def test_a_session_is_published_seen_and_heard_and_taken_back(tmp_path: Path) -> None:
    async def work() -> None:
        async with Endpoint(token="sesame").serving() as there, session(tmp_path) as live:
            output = publish(live, f"{there.address}/whip/room", "sesame")
            await until(lambda: len(there.pictures) > 12 and len(there.sounds) > 25 and loudest(there) > 8000, 20)
            assert output.state == "running" and output.frames > 12 and output.bytes > 1000
            assert (there.pictures[-1].width, there.pictures[-1].height) == (128, 128)
            await output.close()
            assert output.state == "ended" and not live.outlets
            assert there.requests == [
                ("POST", "/whip/room", "Bearer sesame"),
                ("DELETE", "/resource/1", "Bearer sesame"),
            ]

    run(work())


def test_a_lost_server_is_found_again(tmp_path: Path) -> None:
    async def work() -> None:
        busy = web.Response(status=503, text="<b>busy</b>")
        async with Endpoint(answers=[busy]).serving() as there, session(tmp_path) as live:
            said: list[str] = []
            output = publish(live, there.address)
            output.changed = lambda output: said.append(f"{output.state} {output.error}")
            await until(lambda: len(there.pictures) > 3, 20)
            await there.connections[0].close()
            await until(lambda: output.state == "reconnecting", 20)
            before = len(there.pictures)
            await until(lambda: len(there.connections) == 2 and len(there.pictures) > before + 3, 20)
            assert output.reconnects == 2 and "503" in said[0] and "busy" in said[0] and "<b>" not in said[0]
            await output.close()
            assert len(there.connections) == 2

    run(work())


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_is_followed_on_the_same_host_and_the_token_goes_nowhere_else(tmp_path: Path, status: int) -> None:
    async def work() -> None:
        moved = web.Response(status=status, headers={"Location": "/elsewhere"})
        async with (
            Endpoint(answers=[moved]).serving() as there,
            Endpoint().serving() as other,
            session(tmp_path) as live,
        ):
            output = publish(live, f"{there.address}/whip", "sesame")
            await until(lambda: output.state == "running", 20)
            assert [path for _, path, _ in there.requests] == ["/whip", "/elsewhere"]
            await output.close()
            there.answers.append(web.Response(status=status, headers={"Location": f"{other.address}/trap"}))
            output = publish(live, f"{there.address}/whip", "sesame")
            await until(lambda: output.state == "failed", 20)
            assert "another host" in output.error and not other.requests
            await output.close()

    run(work())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (web.Response(status=401, text="who are you?"), "401 Unauthorized: who are you?"),
        (web.Response(status=201, text="v=0 not an answer", headers={"Location": "/r"}), "cannot be used"),
        (web.Response(status=200, text="hello"), "answered 200"),
    ],
)
def test_a_server_that_refuses_is_quoted(tmp_path: Path, answer: web.Response, words: str) -> None:
    async def work() -> None:
        async with Endpoint(answers=[answer]).serving() as there, session(tmp_path) as live:
            output = publish(live, there.address, "sesame")
            await until(lambda: output.error, 20)
            assert words in output.error and "sesame" not in str(output.told())
            await output.close()

    run(work())


def test_nobody_there_is_told_and_an_end_does_not_wait_for_it(tmp_path: Path) -> None:
    async def work() -> None:
        async with session(tmp_path) as live:
            output = publish(live, "http://127.0.0.1:9/whip")
            await until(lambda: output.state == "reconnecting", 20)
            assert "cannot be reached" in output.error and live.held
            async with asyncio.timeout(10):
                await output.close()
            assert output.state == "ended"

    run(work())


def test_ice_servers_are_read_from_link_headers() -> None:
    found = ice_servers(
        [
            '<stun:stun.example.net>; rel="ice-server"',
            '<turn:turn.example.net?transport=udp>; rel="ice-server"; username="user, one"; credential="a;b"; '
            'credential-type="password", <https://example.net/x>; rel="next"',
            "<http://example.net>; rel=ice-server",
        ]
    )
    assert [(server.urls, server.username, server.credential) for server in found] == [
        ("stun:stun.example.net", None, None),
        ("turn:turn.example.net?transport=udp", "user, one", "a;b"),
    ]
