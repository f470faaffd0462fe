"""Tokens, scopes, whose session it is, origins, limits, slow clients: on a server as strangers reach it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import ClientSession
from multidict import CIMultiDict

from streaming.config import LimitsConfig, PortraitConfig, ServerConfig, TokenConfig
from streaming.server import start

from .double import DoubleEngine
from .harness import Settings, run, serving

SECRET = "a-secret-of-enough-length"
STUDIO, OTHER = "studio-secret-of-enough-length", "other-secret-of-enough-length"
KEY = "k" * 40
NAMED = (TokenConfig("studio", STUDIO), TokenConfig("other", OTHER), TokenConfig("eye", "e" * 20, scopes=("watch",)))
FRIEND = "https://friend.example"


def public(**server: Any) -> ServerConfig:
    """A server as behind a proxy on this machine: X-Forwarded-For says who asks."""
    given = {"token": SECRET, "tokens": NAMED, "behind_proxy": True, "token_key": KEY, "max_sessions": 8}
    return ServerConfig(port=0, sessions_per_minute=10_000, allowed_origins=(FRIEND,), **{**given, **server})


@pytest.fixture
def engine(tmp_path: Path) -> DoubleEngine:
    return DoubleEngine(tmp_path, side=64, cost_s=0.001)


class Client:
    def __init__(self, http: ClientSession, address: str) -> None:
        self.http, self.address = http, address

    async def ask(
        self, method: str, path: str, token: str = SECRET, who: str = "203.0.113.9", body: Any = None, **headers: str
    ) -> tuple[int, Any, Any]:
        """Status, body and headers of an answer."""
        given = {"X-Forwarded-For": who, **({"Authorization": f"Bearer {token}"} if token else {}), **headers}
        async with self.http.request(method, self.address + path, json=body, headers=given) as response:
            raw = await response.read()
            told = json.loads(raw) if raw and response.content_type == "application/json" else raw
            return response.status, told, response.headers

    async def token(self, by: str = SECRET, **fields: Any) -> str:
        status, told, _ = await self.ask("POST", "v1/tokens", by, body=fields)
        assert status == 201, told
        return str(told["token"])

    async def open(self, token: str = SECRET, who: str = "203.0.113.9") -> str:
        status, told, _ = await self.ask("POST", "v1/sessions", token, who, {"type": "agent"})
        assert status == 201, told
        return str(told["id"])


@asynccontextmanager
async def client(engine: DoubleEngine, limits: LimitsConfig | None = None, **server: Any) -> AsyncIterator[Client]:
    settings = Settings(server=public(**server), portrait=PortraitConfig(enabled=False))
    if limits is not None:
        settings.limits = limits
    async with serving(engine, settings) as told, ClientSession() as http:
        yield Client(http, told.partition("#")[0])


async def routes(engine: DoubleEngine) -> list[tuple[str, str]]:
    """(method, pattern) of everything a server answers."""
    runner, _ = await start(Settings(server=public()), engine)  # type: ignore[arg-type]
    found = [
        (route.method, route.resource.canonical) for route in runner.app.router.routes() if route.resource is not None
    ]
    await runner.cleanup()
    return found


# What anybody may ask for.
PUBLIC = {"/", "/web/{name}", "/source", "/watch", "/selftest", "/v1/health", "/healthz", "/readyz"}


def test_every_route_but_those_named_here_asks_for_a_token(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with client(engine) as asks:
            closed = [route for route in await routes(engine) if route[1] not in PUBLIC]
            assert len(closed) >= 10
            for method, pattern in closed:
                if method == "OPTIONS":
                    continue
                path = pattern.replace("{", "").replace("}", "").lstrip("/")
                for token in ("", "wrong-token"):
                    status, told, _ = await asks.ask(
                        "GET" if method == "*" else method, path, token, f"198.51.100.{len(path)}"
                    )
                    assert status == 401, (method, pattern, told)

    run(work())


def test_a_token_for_one_session_reaches_no_other_by_any_route(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with client(engine) as asks:
            mine, theirs = await asks.open(), await asks.open()
            bound = await asks.token(session=mine, scopes=["open", "watch", "speak", "output"])
            tried = 0
            for method, pattern in await routes(engine):
                if not pattern.startswith("/v1/sessions/{") or method in ("OPTIONS", "HEAD"):
                    continue
                first, _, rest = pattern.removeprefix("/v1/sessions/{").partition("}")
                path = f"v1/sessions/{theirs}{rest.replace('{', '').replace('}', '')}"
                status, told, _ = await asks.ask(method, path, bound)
                assert (status, told["error"]["code"]) in ((403, "other_session"), (403, "bad_scope")), (
                    method,
                    pattern,
                )
                tried += 1
            assert tried >= 1
            assert (await asks.ask("POST", "v1/sessions", bound, body={"type": "agent"}))[0] == 403
            assert (await asks.ask("POST", "v1/tokens", bound, body={}))[1]["error"]["code"] == "bad_scope"
            assert (await asks.ask("GET", "v1/sessions", bound))[0] == 403
            assert (await asks.ask("GET", "v1/health"))[1]["sessions"] == 2
            assert (await asks.ask("DELETE", f"v1/sessions/{mine}", bound))[0] == 204

    run(work())


def test_named_tokens_reach_only_what_they_opened(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with client(engine) as asks:
            mine = await asks.open(STUDIO)
            status, told, _ = await asks.ask("DELETE", f"v1/sessions/{mine}", OTHER)
            assert (status, told["error"]["code"]) == (404, "no_session")  # as if there were none
            assert (await asks.ask("POST", "v1/tokens", OTHER, body={"session": mine}))[0] == 404
            guest = await asks.token(STUDIO, scopes=["open"])
            assert (await asks.ask("DELETE", f"v1/sessions/{mine}", guest))[0] == 404
            its = await asks.open(guest)
            assert (await asks.ask("DELETE", f"v1/sessions/{its}", STUDIO))[0] == 204  # whoever signed for it may
            assert (await asks.ask("DELETE", f"v1/sessions/{mine}", "e" * 20))[1]["error"]["code"] == "bad_scope"
            assert (await asks.ask("DELETE", f"v1/sessions/{mine}", SECRET))[0] == 204

    run(work())


def test_short_lived_tokens_are_refused_when_over_forged_or_for_more_than_their_maker_may(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with client(engine) as asks:
            good = jwt.decode(await asks.token(scopes=["watch"]), KEY, ["HS256"], audience="visavis")
            for change, key, code in (
                ({}, KEY, ""),
                ({"exp": int(time.time()) - 1}, KEY, "expired_token"),
                ({}, "x" * 40, "bad_token"),
                ({"aud": "another"}, KEY, "bad_token"),
                ({"scope": ["watch"]}, KEY, "bad_token"),
                ({"exp": None}, KEY, "bad_token"),
            ):
                claims = {name: value for name, value in {**good, **change}.items() if value is not None}
                status, told, _ = await asks.ask("GET", "v1/avatars", jwt.encode(claims, key, "HS256"))
                assert (status, told.get("error", {}).get("code", "")) == (401 if code else 200, code), told
            none = jwt.encode(good, None, algorithm="none")
            assert (await asks.ask("GET", "v1/avatars", none))[0] == 401
            more = jwt.encode({**good, "scope": "server mint open"}, KEY, "HS256")
            assert (await asks.ask("POST", "v1/tokens", more, body={}))[1]["error"]["code"] == "bad_scope"
            assert (await asks.ask("POST", "v1/tokens", "e" * 20, body={"scopes": ["watch"]}))[0] == 403
            for bad in (
                {"ttl_s": 0},
                {"ttl_s": 1e9},
                {"scopes": ["server"]},
                {"scopes": "open"},
                {"x": 1},
                {"session": 3},
            ):
                status, told, _ = await asks.ask("POST", "v1/tokens", body=bad)
                assert (status, told["error"]["code"]) == (400, "bad_field"), bad

    run(work())


def test_a_websocket_of_a_page_elsewhere_is_refused_and_a_token_may_ride_as_a_subprotocol(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with client(engine) as asks:
            mine = await asks.open()
            path = f"v1/sessions/{mine}/agent"
            upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
            upgrade["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
            evil = await asks.ask("GET", path, **upgrade, Origin="https://evil.example")
            assert (evil[0], evil[1]["error"]["code"]) == (403, "bad_origin")
            assert (await asks.ask("GET", path, "", **upgrade, Origin=FRIEND))[0] == 401
            offered = {"Sec-WebSocket-Protocol": f"visavis.v1, token.{SECRET}"}
            assert (await asks.ask("GET", path, "", **{**upgrade, "Upgrade": "h2c"}, **offered))[0] == 401

    run(work())


def test_pages_that_are_allowed_get_cors_and_others_get_nothing(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with client(engine) as asks:
            asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
            status, _, headers = await asks.ask("OPTIONS", "v1/sessions", "", Origin=FRIEND, **asked)
            assert status == 204
            assert headers["Access-Control-Allow-Origin"] == FRIEND
            assert "authorization" in headers["Access-Control-Allow-Headers"].lower()
            assert "Access-Control-Allow-Credentials" not in headers
            for origin in ("https://evil.example", "null", "http://["):
                status, _, headers = await asks.ask("OPTIONS", "v1/sessions", "", Origin=origin, **asked)
                assert status == 403
                assert "Access-Control-Allow-Origin" not in headers
                assert (await asks.ask("GET", "v1/avatars", Origin=origin))[0] == 403
            status, _, headers = await asks.ask("GET", "v1/avatars", "wrong", Origin=FRIEND)
            assert (status, headers["Access-Control-Allow-Origin"], headers["Vary"]) == (401, FRIEND, "Origin")

    run(work())


def test_every_answer_says_what_a_browser_may_do_with_it(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with client(engine) as asks:
            for path in ("", "web/app.js", "v1/avatars", "v1/nothing", "nothing"):
                _, _, headers = await asks.ask("GET", path)
                policy = headers["Content-Security-Policy"]
                assert "unsafe" not in policy and "frame-ancestors 'none'" in policy
                assert headers["X-Content-Type-Options"] == "nosniff"
                assert "microphone=(self)" in headers["Permissions-Policy"]
                assert headers["Server"] == "visavis"
        async with client(engine, embed_origins=(FRIEND,)) as asks:
            _, _, headers = await asks.ask("GET", "")
            assert f"frame-ancestors 'self' {FRIEND}" in headers["Content-Security-Policy"]

    run(work())


def test_sessions_are_counted_by_address_and_by_token(engine: DoubleEngine) -> None:
    async def work() -> None:
        limits = LimitsConfig(sessions_per_address=2, sessions_per_token=3)
        async with client(engine, limits) as asks:
            first = await asks.open(STUDIO, "2001:db8::1")
            await asks.open(OTHER, "2001:db8::2")
            status, told, headers = await asks.ask("POST", "v1/sessions", STUDIO, "2001:db8::3", {"type": "agent"})
            assert (status, told["error"]["code"]) == (429, "too_many")  # one line of a provider is one address
            assert headers["Retry-After"]
            for who in ("192.0.2.1", "192.0.2.2"):
                await asks.open(STUDIO, who)
            assert (await asks.ask("POST", "v1/sessions", STUDIO, "192.0.2.3", {"type": "agent"}))[0] == 429
            assert (await asks.ask("DELETE", f"v1/sessions/{first}", STUDIO))[0] == 204
            await asks.open(STUDIO, "192.0.2.3")

    run(work())


def test_requests_and_bytes_are_counted_by_address(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with client(engine, LimitsConfig(requests_per_minute=5, upload_mb_per_hour=0.1)) as asks:
            statuses = [(await asks.ask("GET", "v1/avatars"))[0] for _ in range(7)]
            assert statuses[:5] == [200] * 5 and statuses[6] == 429
            assert (await asks.ask("GET", "v1/avatars", who="192.0.2.1"))[0] == 200
            big = {"type": "agent", "avatar": "x" * 90_000}
            assert (await asks.ask("POST", "v1/sessions", who="192.0.2.2", body=big))[0] != 429
            assert (await asks.ask("POST", "v1/sessions", who="192.0.2.2", body=big))[0] == 429

    run(work())


def test_a_body_of_unsaid_length_counts_as_the_longest(engine: DoubleEngine) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"{}"

    async def work() -> None:
        async with client(engine, LimitsConfig(upload_mb_per_hour=0.2)) as asks:
            headers = {"Authorization": f"Bearer {SECRET}", "X-Forwarded-For": "192.0.2.1"}
            statuses = []
            for _ in range(3):
                async with asks.http.post(f"{asks.address}v1/sessions", data=chunks(), headers=headers) as response:
                    statuses.append(response.status)
            assert statuses == [400, 429, 429]
            form = {**headers, "X-Forwarded-For": "192.0.2.2", "Content-Type": "multipart/form-data; boundary=x"}
            async with asks.http.post(f"{asks.address}v1/portraits", data=chunks(), headers=form) as response:
                assert (response.status, (await response.json())["error"]["code"]) == (411, "no_length")

    run(work())


def test_a_proxy_that_writes_a_line_of_its_own_is_heard_and_not_the_client_s(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with client(engine, LimitsConfig(requests_per_minute=2)) as asks:
            statuses = []
            for k in range(4):
                lines = CIMultiDict(Authorization=f"Bearer {SECRET}")
                lines.add("X-Forwarded-For", f"192.0.2.{k}")
                lines.add("X-Forwarded-For", "203.0.113.9")
                async with asks.http.get(f"{asks.address}v1/avatars", headers=lines) as response:
                    statuses.append(response.status)
            assert statuses == [200, 200, 429, 429]

    run(work())


def test_whoever_guesses_is_slowed_down_and_locks_nobody_out(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with client(engine, LimitsConfig(failed_tokens_per_minute=4)) as asks:
            assert (await asks.ask("GET", "v1/avatars"))[0] == 200
            statuses = [(await asks.ask("GET", "v1/avatars", f"guess-{k}"))[0] for k in range(6)]
            assert statuses == [401] * 4 + [429] * 2
            assert (await asks.ask("GET", "v1/avatars", STUDIO))[0] == 429  # not even a right one, from there, now
            assert (await asks.ask("GET", "v1/avatars"))[0] == 200  # but for who was in before
            assert (await asks.ask("GET", "v1/avatars", STUDIO, "192.0.2.7"))[0] == 200

    run(work())
