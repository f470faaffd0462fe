"""No secret of a server reaches a line of its log or an answer, whatever happens."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, WSServerHandshakeError

from streaming import logs
from streaming.config import ServerConfig, TokenConfig
from streaming.guard import with_secrets

from .double import DoubleEngine
from .harness import Settings, run, serving, until

TOKEN, NAMED, KEY, TURN = "first-secret-of-all", "second-secret-of-all", "third-secret-" + "k" * 32, "fourth-secret"
SECRETS = (TOKEN, NAMED, KEY, TURN)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = tuple(root.handlers), root.level
    kept = io.StringIO()
    server = ServerConfig(token=TOKEN, token_key=KEY, tokens=(TokenConfig("eve", NAMED),), turn_credential=TURN)
    handler = logs.setup("json", "debug", logs.secrets_of(server), kept)
    for found in tuple(handler.filters):
        if isinstance(found, logs.Repeats):
            handler.removeFilter(found)  # every line, here
    yield kept
    root.handlers[:] = before
    root.setLevel(level)


def test_a_session_with_all_its_troubles_tells_no_secret(tmp_path: Path, lines: io.StringIO) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    server = ServerConfig(
        port=0, token_file=str(file), token_key=KEY, tokens=(TokenConfig("eve", NAMED),), max_sessions=2,
        turn_url="turn:127.0.0.1:9?transport=udp", turn_user="eve", turn_credential=TURN, connect_timeout_s=30.0,
    )  # fmt: skip
    engine, answers = DoubleEngine(tmp_path, side=64, cost_s=0.001), []

    async def ask(http: ClientSession, method: str, url: str, token: str, **options: Any) -> Any:
        async with http.request(method, url, headers={"Authorization": f"Bearer {token}"}, **options) as response:
            body = await response.text()
            answers.append(body if response.status >= 400 else "")
            return json.loads(body) if "json" in response.content_type else body

    async def work() -> None:
        async with serving(engine, Settings(server=server)) as told, ClientSession() as http:
            address = told.partition("#")[0]
            made = await ask(http, "POST", f"{address}v1/tokens", TOKEN, json={"scopes": ["open", "speak"]})
            signed.append(made["token"])
            for token in (TOKEN, NAMED, made["token"], made["token"] + "x", "wrong", TOKEN[:-1]):
                await ask(http, "GET", f"{address}v1/avatars?token={token}", token)
                await ask(http, "GET", f"{address}v1/avatars/{token}", NAMED)
                await ask(http, "POST", f"{address}v1/sessions", token, data=f'{{"sdp": "{token}", "type": "offer"}}')
                await ask(http, "POST", f"{address}v1/sessions", token, json={"type": token[:40], "sdp": ""})
                with contextlib.suppress(WSServerHandshakeError):
                    await http.ws_connect(f"{address}v1/sessions/none/agent", protocols=[f"token.{token}"])
            before = engine.opened[-1:]
            session = await ask(http, "POST", f"{address}v1/sessions", TOKEN, json={"type": "agent"})
            await until(lambda: engine.opened[-1:] != before, what="no session opened")
            engine.opened[-1].fail = True
            await until(lambda: "the engine stopped" in lines.getvalue(), what="nothing is said of it")
            await ask(http, "DELETE", f"{address}v1/sessions/{session['id']}", TOKEN)
            logging.getLogger("streaming").error("told of %s", {"authorization": f"Bearer {made['token']}"})

    signed: list[str] = []
    run(work())
    told = lines.getvalue()
    assert len(told.splitlines()) > 3 and "the engine stopped" in told
    for secret in (*SECRETS, *signed):
        for line in told.splitlines():
            assert secret not in line, line
    for secret in SECRETS:
        for answer in answers:
            assert secret not in answer, answer


def test_an_error_that_quotes_a_secret_is_told_without_it(tmp_path: Path, lines: io.StringIO) -> None:
    async def work() -> None:
        async with serving(engine, Settings(server=ServerConfig(port=0, turn_credential=TURN))) as address:
            body = {"type": "agent", "avatar": TURN}
            async with ClientSession() as http, http.post(f"{address}v1/sessions", json=body) as response:
                told = (await response.json())["error"]["message"]
                assert logs.HIDDEN in told and TURN not in told

    engine = DoubleEngine(tmp_path, side=64, cost_s=0.001)
    run(work())


def test_every_secret_of_the_configuration_is_known_to_the_log() -> None:
    server = ServerConfig()
    fields = [name for name, field in ServerConfig.__dataclass_fields__.items() if not field.repr]
    assert {"token", "token_key", "turn_credential"} <= set(fields)
    for name in fields:
        one = with_secrets(ServerConfig(**{**{n: getattr(server, n) for n in fields}, name: "s" * 40}))
        assert logs.secrets_of(one) == ["s" * 40], name
