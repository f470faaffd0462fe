"""Log lines: whose they are, what they hide, and that a fault 25 times a second does not fill a disk."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import ClientSession

from streaming import logs
from streaming.config import ObserveConfig, ServerConfig, StreamConfig, TokenConfig
from streaming.hub import Hub
from streaming.live import Options

from .double import DoubleEngine
from .harness import Settings, run, serving, until, until_sessions


@pytest.fixture
def lines(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What is logged, as JSON lines of level info; the process' logging is as before afterwards."""
    root = logging.getLogger()
    handlers, level = tuple(root.handlers), root.level
    out = io.StringIO()
    logs.setup("json", "info", ["the-whole-secret"], out)
    yield out
    root.handlers[:] = handlers
    root.setLevel(level)


def read(out: io.StringIO) -> list[dict[str, str]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_its_error(lines: io.StringIO) -> None:
    try:
        raise ValueError("no such\nthing")
    except ValueError:
        logging.getLogger("a.b").exception("it failed:\n%d", 3)
    (line,) = [line for line in read(lines) if line["logger"] == "a.b"]  # threads of other tests may have their say
    assert line["level"] == "error" and line["logger"] == "a.b" and line["message"] == "it failed:\n3"
    assert "ValueError: no such" in line["error"] and line["time"].endswith("Z")


def test_text_of_a_client_cannot_begin_a_line_of_its_own() -> None:
    record = logging.LogRecord("a", logging.WARNING, "", 0, "client %s", ("x\n2026-01-01 ERROR forged\r",), None)
    text = logs.TextLines(()).format(record)
    assert "\n" not in text and "\r" not in text and "x\\n2026" in text


@pytest.mark.parametrize(
    "words",
    ["password=hunter2", "Authorization: Bearer hunter2", "https://host/#token=hunter2", '{"token": "hunter2"}',
     "the-whole-secret", "turn credential = hunter2"],
)  # fmt: skip
def test_secrets_are_hidden_in_words_and_in_tracebacks(words: str, lines: io.StringIO) -> None:
    try:
        raise RuntimeError(words)
    except RuntimeError:
        logging.getLogger("a").exception("it was %s", words)
    told = lines.getvalue()
    assert "hunter2" not in told and "the-whole-secret" not in told and told.count(logs.HIDDEN) >= 2


def test_what_a_server_holds_secret_is_known() -> None:
    token = TokenConfig("shop", "secret-of-the-shop")
    config = ServerConfig(token="t" * 20, turn_user="u", turn_credential="c" * 9, tokens=(token,))
    assert set(logs.secrets_of(config)) == {"t" * 20, "c" * 9, "secret-of-the-shop"}


def test_repeats_are_counted_instead_of_written() -> None:
    now = [0.0]
    repeats = logs.Repeats(burst=2, window=10.0, clock=lambda: now[0])

    def record(words: str, line: int = 1) -> logging.LogRecord:
        return logging.LogRecord("a", logging.ERROR, "", line, words, (), None)

    written = [repeats.filter(record("same")) for _ in range(100)]
    assert sum(written) == 2 and written[:2] == [True, True]
    assert repeats.filter(record("other"))
    now[0] = 11.0
    again = record("same")
    assert repeats.filter(again) and again.left_out == 98  # type: ignore[attr-defined]
    assert "(98 more like it were left out)" in logs.TextLines(()).format(again)
    for number in range(2000):
        repeats.filter(record(f"kind {number}"))
    assert len(repeats._kinds) <= logs.KINDS


def test_what_a_session_does_carries_its_id_in_tasks_callbacks_and_its_thread(
    lines: io.StringIO, tmp_path: Path
) -> None:
    async def work() -> None:
        engine = DoubleEngine(tmp_path)
        hub = Hub(engine, ServerConfig(), StreamConfig())  # type: ignore[arg-type]
        lives = [hub.open(Options("ada", "upper", 0)) for _ in range(2)]
        await until(lambda: all(live.shown_pts > 0 for live in lives))
        for session in engine.opened:
            session.fail = True
        await until(lambda: not hub.lives)
        told = read(lines)
        for live in lives:
            mine = [line for line in told if line.get("session") == live.id]
            assert any(line["logger"] == "streaming.worker" and "out of paint" in line["error"] for line in mine)
            assert any(line["logger"] == "streaming.live" and live.id in line["message"] for line in mine)

    run(work())


def test_a_request_has_an_id_and_an_access_line_without_its_query(lines: io.StringIO, tmp_path: Path) -> None:
    async def work() -> None:
        settings = Settings(observe=ObserveConfig(access_log=True))
        async with serving(DoubleEngine(tmp_path), settings) as address, ClientSession() as http:
            async with http.get(f"{address}v1/health?token=abc") as response:
                await response.read()
            async with http.post(f"{address}v1/sessions", json={"type": "agent"}) as response:
                name = (await response.json())["id"]
            async with http.delete(f"{address}v1/sessions/{name}") as response:
                assert response.status == 204
            await until_sessions(address, 0, 20)
        access = [line for line in read(lines) if line["logger"] == "visavis.access"]  # written after the answers
        health = next(line for line in access if line["path"] == "/v1/health")
        opened, closed = (next(x for x in access if x["method"] == method) for method in ("POST", "DELETE"))
        assert health["path"] == "/v1/health" and "abc" not in lines.getvalue()
        assert opened["status"] == 201 and opened["session"] == name == closed["session"]  # type: ignore[comparison-overlap]
        assert "session" not in health
        assert len({line["request"] for line in (health, opened, closed)}) == 3

    run(work())


def test_lines_of_other_tasks_have_no_session(lines: io.StringIO, tmp_path: Path) -> None:
    async def work() -> None:
        hub = Hub(DoubleEngine(tmp_path), ServerConfig(), StreamConfig())  # type: ignore[arg-type]

        async def request() -> None:
            hub.open(Options("ada", "upper", 0))

        await asyncio.create_task(request())
        logging.getLogger("elsewhere").warning("hello")
        await hub.stop()
        (line,) = [line for line in read(lines) if line["logger"] == "elsewhere"]
        assert "session" not in line

    run(work())
