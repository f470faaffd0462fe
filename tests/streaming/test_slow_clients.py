"""Clients that drip, hold on, unpack to more than they say, or send what no client would."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import time
from pathlib import Path

import pytest
from aiohttp import ClientError

from streaming.config import LimitsConfig

from .double import DoubleEngine
from .harness import run
from .test_access import SECRET, Client, client


@pytest.fixture
def engine(tmp_path: Path) -> DoubleEngine:
    return DoubleEngine(tmp_path, side=64, cost_s=0.001)


async def drip(address: str, sent: bytes, every: float) -> tuple[bytes, float]:
    """Sends bytes one by one until the server ends it: what it said, and after how many seconds."""
    host, port = address.removeprefix("http://").rstrip("/").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    begun, answer = time.monotonic(), asyncio.ensure_future(reader.read())
    for k in range(len(sent)):
        if answer.done():
            break
        writer.write(sent[k : k + 1])
        await asyncio.sleep(every)
    try:
        said = await asyncio.wait_for(answer, 20)
    except ConnectionError:
        said = b""  # ended while a byte was on the way
    writer.close()
    return said, time.monotonic() - begun


def test_clients_that_drip_are_let_go(engine: DoubleEngine) -> None:
    async def work() -> None:
        limits = LimitsConfig(idle_s=0.5, body_s=0.5)
        async with client(engine, limits) as asks:
            head = b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + SECRET.encode()
            body = head + b"\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
            slow, slower = await asyncio.gather(drip(asks.address, head * 20, 0.05), drip(asks.address, head * 20, 0.2))
            assert slow[0] == slower[0] == b""  # no whole head ever came
            host, port = asks.address.removeprefix("http://").rstrip("/").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(body)
            assert b" 408 " in await asyncio.wait_for(reader.readline(), 20)
            writer.close()
            assert (await asks.ask("GET", "v1/health"))[0] == 200

    run(work())


def test_one_address_holds_so_many_connections_and_no_more(engine: DoubleEngine) -> None:
    async def work() -> None:
        limits = LimitsConfig(connections=8)
        async with client(engine, limits) as asks:
            host, port = asks.address.removeprefix("http://").rstrip("/").split(":")
            held = [await asyncio.open_connection(host, int(port)) for _ in range(12)]
            ends = await asyncio.wait_for(
                asyncio.gather(*(_ended(reader) for reader, _ in held[8:])), 20
            )  # those beyond are ended at once
            assert all(ends)
            for _, writer in held:
                writer.close()
            assert await _answered(asks) == 200

    run(work())


async def _answered(asks: Client) -> int:
    """The status of a request that is made again until there is room for its connection."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(ClientError):
                return (await asks.ask("GET", "v1/health"))[0]
            await asyncio.sleep(0.05)


async def _ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


def test_a_body_that_unpacks_to_more_than_it_may_is_refused(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with client(engine) as asks:
            headers = {"Content-Encoding": "gzip", "Authorization": f"Bearer {SECRET}"}
            bomb = gzip.compress(b" " * 10_000_000)
            async with asks.http.post(f"{asks.address}v1/sessions", data=bomb, headers=headers) as response:
                assert response.status in (400, 413)

    run(work())


def test_requests_no_client_would_send_are_answered(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with client(engine) as asks:
            host, port = asks.address.removeprefix("http://").rstrip("/").split(":")
            for line, headers in (
                (b"GET /v1/avatars", b"Host: [::1\r\n"),
                (b"GET //v1/avatars", b"Host: localhost\r\n"),
                (b"GET /%76%31/avatars", b"Host: localhost\r\n"),
                (b"GET /web/..%2f..%2fapp.py", b"Host: localhost\r\n"),
                (b"GET /web/%2e%2e/app.py", b"Host: localhost\r\n"),
                (b"GET /web//etc/passwd", b"Host: localhost\r\n"),
                (b"GET /web/\x00", b"Host: localhost\r\n"),
                (b"GET /web/" + 300 * b"a" + b".js", b"Host: localhost\r\n"),  # longer than a file's name may be
                (b"POST /v1/sessions", b"Host: localhost\r\nOrigin: http://[\r\nContent-Length: 0\r\n"),
                (b"POST /v1/sessions", b"Host: localhost\r\nContent-Length: -1\r\n"),
                (b"POST /v1/sessions", b"Host: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
            ):
                with socket.create_connection((host, int(port))) as raw:
                    raw.setblocking(False)
                    loop = asyncio.get_running_loop()
                    await loop.sock_sendall(raw, line + b" HTTP/1.1\r\n" + headers + b"Connection: close\r\n\r\n")
                    said = await asyncio.wait_for(loop.sock_recv(raw, 65536), 20)
                    assert said.split()[1] in (b"400", b"401", b"403", b"404"), (line, said)

    run(work())
