"""What passes an edge: every kind of body both ways, headers of the message alone, one meaning of a path."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, web

from streaming.config import LimitsConfig, ServerConfig
from streaming.edge import relay

from ..harness import Settings, run, until
from .harness import SECRET, before

BIG = 3 * relay.WHOLE + 7


def pattern(size: int) -> bytes:
    return (b"0123456789abcdefghi" * (size // 19 + 1))[:size]


async def echo(request: web.Request) -> web.StreamResponse:
    """Says what came: line, headers, and the body's length and digest."""
    digest, length = hashlib.sha256(), 0
    async for piece in request.content.iter_any():
        digest.update(piece)
        length += len(piece)
    told = {"target": request.raw_path, "method": request.method, "headers": list(request.headers.items())}
    return web.json_response({**told, "length": length, "digest": digest.hexdigest()}, headers={"X-Seen": "1"})


async def big(request: web.Request) -> web.StreamResponse:
    return web.Response(body=pattern(BIG), headers={"ETag": '"e"'})


async def drops(request: web.Request) -> web.StreamResponse:
    """A line each tenth of a second, as they come; then it breaks off, or ends."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for k in range(3):
        await response.write(f"data: {k}\n\n".encode())
        await asyncio.sleep(0.05)
    if request.query.get("breaks"):
        assert request.transport is not None
        request.transport.abort()
    return response


async def empty(request: web.Request) -> web.StreamResponse:
    return web.Response(status=int(request.query["status"]), headers={"ETag": '"e"'})


def application(**more: Any) -> web.Application:
    app = web.Application(client_max_size=1 << 30)
    app.router.add_get("/v1/big", big)
    app.router.add_get("/v1/drops", drops)
    app.router.add_get("/v1/empty", empty)
    for path, handler in more.items():
        app.router.add_route("*", f"/v1/{path}", handler)
    app.router.add_route("*", "/{path:.*}", echo)
    return app


async def pieces(size: int) -> AsyncIterator[bytes]:
    data = pattern(size)
    for start in range(0, size, 4096):
        yield data[start : start + 4096]


async def raw(address: str, sent: bytes) -> bytes:
    """The answer to bytes as they are."""
    host, port = address.removeprefix("http://").rstrip("/").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    said = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return said


def get(path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", *headers, "Connection: close"]
    return "\r\n".join([*lines, "", ""]).encode()


def body(said: bytes) -> Any:
    return json.loads(said.partition(b"\r\n\r\n")[2])


def test_bodies_arrive_whole_whether_their_length_is_known_or_not() -> None:
    async def work() -> None:
        async with before(application()) as address, ClientSession() as http:
            form = {"Content-Type": "multipart/form-data; boundary=x"}
            for sent, headers, size in (
                (b"", {}, 0), (pattern(1000), {}, 1000), (pieces(20_001), {}, 20_001),
                (pattern(BIG), form, BIG), (pieces(BIG), form, BIG),
            ):  # fmt: skip
                async with http.post(f"{address}v1/echo?a=%20b", data=sent, headers=headers) as answer:
                    told = await answer.json()
                    assert answer.headers["X-Seen"] == "1"
                assert told["target"] == "/v1/echo?a=%20b"
                assert (told["length"], told["digest"]) == (size, hashlib.sha256(pattern(size)).hexdigest())

    run(work())


def test_answers_arrive_as_they_come_and_one_that_breaks_off_is_not_taken_for_whole() -> None:
    async def work() -> None:
        async with before(application()) as address, ClientSession() as http:
            async with http.get(f"{address}v1/big") as answer:
                assert answer.headers["Content-Length"] == str(BIG) and answer.headers["ETag"] == '"e"'
                assert await answer.read() == pattern(BIG)
            async with http.head(f"{address}v1/big") as answer:
                assert answer.headers["Content-Length"] == str(BIG) and await answer.read() == b""
            async with http.get(f"{address}v1/drops") as answer:
                assert (await answer.content.readuntil(b"\n\n")) == b"data: 0\n\n"  # before the rest is there
                assert (await answer.read()).endswith(b"data: 2\n\n")
            with pytest.raises(ClientError):
                async with http.get(f"{address}v1/drops?breaks=1") as answer:
                    await answer.read()
            for status in (204, 304):
                async with http.get(f"{address}v1/empty?status={status}") as answer:
                    assert (answer.status, answer.headers["ETag"], await answer.read()) == (status, '"e"', b"")

    run(work())


def test_headers_of_the_connection_stay_on_it_and_who_asks_is_the_edges_word() -> None:
    async def work() -> None:
        async with before(application()) as address:
            said = await raw(
                address,
                get(
                    "/v1/echo", "Keep-Alive: 5", "TE: trailers", "Proxy-Authorization: basic x", "X-Own: 1",
                    "Connection: X-Hop, Authorization", "X-Hop: 1", "X-Forwarded-For: 203.0.113.1",
                    "X-Forwarded-For: 203.0.113.2", "X-Forwarded-Proto: https", "Forwarded: for=203.0.113.3",
                    "X-Real-IP: 203.0.113.4", f"X-Visavis-Edge: {'f' * 32}", "Accept: a", "Accept: b",
                ),
            )  # fmt: skip
            seen = body(said)["headers"]
            names = [name.lower() for name, _ in seen]
            assert not set(names) & {"keep-alive", "te", "proxy-authorization", "x-hop", "forwarded", "x-real-ip"}
            for name, value in (
                ("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "http"), ("x-visavis-edge", SECRET),
                ("x-own", "1"), ("host", "localhost"),
            ):  # fmt: skip
                assert [each for key, each in seen if key.lower() == name] == [value]
            assert [each for key, each in seen if key == "Accept"] == ["a", "b"]
            assert SECRET.encode() not in said.partition(b"\r\n\r\n")[0]

    run(work())


@pytest.mark.parametrize(
    "path",
    [
        "/v1/sessions/../worker", "/v1/sessions/x/../../worker", "/v1/./worker", "/v1//worker", "//v1/worker",
        "/v1/sessions/%2e%2e/worker", "/v1%2fworker", "/v1/sessions/a%5cb", "/v1/a\\b", "/v1/%00", "/web/../app.py",
        "/web/%2e%2e/app.py", "http://127.0.0.1/v1/worker",
    ],
)  # fmt: skip
def test_a_path_that_could_mean_two_things_is_refused_at_the_edge(path: str) -> None:
    async def work() -> None:
        async with before(application()) as address:
            said = await raw(address, get(path))
            assert said.startswith(b"HTTP/1.1 400 ")
            assert b"bad_path" in said or b"Bad Request" in said  # the parser's words, or ours

    run(work())


@pytest.mark.parametrize("path", ["/v1/worker", "/v1/worker/", "/v1/%77orker", "/elsewhere", f"/web/{'a' * 300}.js"])
def test_what_is_for_edges_alone_or_nowhere_is_not_found(path: str) -> None:
    async def work() -> None:
        async with before(application()) as address, ClientSession() as http:
            said = await raw(address, get(path))
            assert said.startswith(b"HTTP/1.1 404 "), said
            assert "error" in body(said)
            async with http.post(f"{address}v1/worker") as answer:
                assert answer.status == 404

    run(work())


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked", "Content-Length: 5\r\nContent-Length: 6",
        "Transfer-Encoding: xchunked", "Content-Length: +5", "Transfer-Encoding : chunked",
    ],
)  # fmt: skip
def test_a_request_whose_length_is_unclear_never_reaches_a_worker(head: str) -> None:
    async def work() -> None:
        seen = 0

        async def count(request: web.Request) -> web.StreamResponse:
            nonlocal seen
            seen += 1
            return web.Response()

        async with before(application(smuggled=count)) as address:
            inner = "GET /v1/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
            sent = f"POST /v1/smuggled HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n0\r\n\r\n{inner}"
            said = await raw(address, sent.encode())
            assert said.startswith(b"HTTP/1.0 400 ") and said.count(b"HTTP/1.") == 1
            assert seen == 0

    run(work())


def test_a_client_that_sends_or_reads_slowly_holds_no_worker() -> None:
    async def work() -> None:
        begun = ended = 0

        async def count(request: web.Request) -> web.StreamResponse:
            nonlocal begun, ended
            begun += 1
            await request.read()
            response = web.Response(body=pattern(relay.WHOLE))
            await response.prepare(request)
            await response.write_eof()
            ended += 1
            return response

        settings = Settings(limits=LimitsConfig(body_s=0.5))
        async with before(application(count=count), settings) as address:
            host, port = address.removeprefix("http://").rstrip("/").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"POST /v1/count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx")
            assert b" 408 " in await asyncio.wait_for(reader.readline(), 20)
            assert begun == 0
            writer.close()
            reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
            writer.write(get("/v1/count"))  # and reads nothing
            await until(lambda: ended, what="it waits for the client")
            assert ended == 1
            assert len(await asyncio.wait_for(reader.read(), 20)) > relay.WHOLE  # it is all there when he wants it
            writer.close()

    run(work())


def test_one_who_takes_nothing_of_a_large_answer_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "SLOW_S", 0.3)

    async def work() -> None:
        sent, over = 0, asyncio.Event()

        async def endless(request: web.Request) -> web.StreamResponse:
            nonlocal sent
            response = web.StreamResponse()
            await response.prepare(request)
            try:
                while True:
                    await response.write(bytes(65_536))
                    sent += 65_536
            finally:
                over.set()

        async with before(application(endless=endless)) as address:
            host, port = address.removeprefix("http://").rstrip("/").split(":")
            _, writer = await asyncio.open_connection(host, int(port), limit=1024)
            writer.write(get("/v1/endless"))
            await asyncio.wait_for(over.wait(), 20)
            assert sent < 64 << 20  # what sockets hold, and no more
            writer.close()

    run(work())


def test_the_edges_own_pages_come_in_parts_and_only_when_they_changed() -> None:
    async def work() -> None:
        async with before(application()) as address, ClientSession() as http:
            async with http.get(f"{address}web/app.js") as answer:
                whole, tag = await answer.read(), answer.headers["ETag"]
                assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
            async with http.get(f"{address}web/app.js", headers={"Range": "bytes=10-19"}) as answer:
                assert (answer.status, await answer.read()) == (206, whole[10:20])
            async with http.get(f"{address}web/app.js", headers={"If-None-Match": tag}) as answer:
                assert answer.status == 304
            for path in ("", "selftest"):
                async with http.get(address + path) as answer:
                    assert answer.status == 200 and "<!doctype html>" in await answer.text()

    run(work())


def test_another_hosts_name_and_too_many_requests_end_at_the_edge() -> None:
    async def work() -> None:
        server = ServerConfig(port=0, behind_proxy=True, token="t" * 16, names=("ours.example",))
        settings = Settings(server=server, limits=LimitsConfig(requests_per_minute=3))
        async with before(application(), settings) as address, ClientSession() as http:
            base = address.partition("#")[0]
            async with http.get(base, headers={"Host": "evil.example"}) as answer:
                assert (answer.status, (await answer.json())["error"]["code"]) == (403, "bad_host")
            status = 0
            for k in range(5):  # whoever writes what he likes before his proxy's word is still one address
                headers = {"Host": "ours.example", "X-Forwarded-For": f"203.0.113.{k}, 198.51.100.7"}
                async with http.get(f"{base}v1/echo", headers=headers) as answer:
                    status = answer.status
                    if status == 200:
                        seen = dict((await answer.json())["headers"])
                        assert seen["X-Forwarded-For"] == "198.51.100.7"
            assert status == 429

    run(work())
