"""The agents' client, and ``visavis say``, at a running server around the engine's double."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from typer.testing import CliRunner

from streaming.config import AgentsConfig, ServerConfig
from tests.streaming.double import DoubleEngine
from tests.streaming.harness import Settings, Viewer, run, serving, serving_thread
from tests.visavis.test_sound import tone, write
from visavis import client
from visavis.cli import app

ROOT = Path(__file__).parents[2]


@pytest.fixture
def engine(tmp_path: Path) -> DoubleEngine:
    return DoubleEngine(tmp_path, side=64, cost_s=0.0)


def sound(seconds: float, rate: int = 24_000) -> bytes:
    return np.full(int(seconds * rate), 8000, "<i2").tobytes()


def test_an_agent_speaks_sets_states_and_reads_what_becomes_of_it(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address:
            async with await client.connect(address, avatar="ben") as agent:
                await agent.state("thinking")
                async with agent.speak(text="Hello.", emotion="happy", intensity=0.4) as segment:
                    for _ in range(10):
                        await segment.write(sound(0.03))
                heard = await segment.finished()
                assert heard["position"] == pytest.approx(0.3, abs=1e-3) and not heard["interrupted"]
            kinds = [event["type"] async for event in agent if isinstance(event, dict)]
            told = [kind for kind in kinds if kind not in ("hello", "speech.queued")]
            assert told[:4] == ["state", "state", "speech.started", "speech.finished"] and "hello" in kinds
            assert engine.opened[-1].parts.renderer.avatar == "ben"
            with pytest.raises(client.Gone):
                await agent.state("idle")

    run(work())


def test_more_than_the_server_keeps_is_written_at_the_pace_of_speech(
    engine: DoubleEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        short = Settings(agents=AgentsConfig(max_queue_s=1.0))
        async with serving(engine, short) as address, await client.connect(address) as agent:
            async with agent.speak() as segment:
                await segment.write(sound(2.0))
            heard = await segment.finished()
            assert heard["position"] == pytest.approx(2.0, abs=1e-3)

    monkeypatch.setattr(client, "AHEAD_MS", 400.0)
    monkeypatch.setattr(client, "PIECE", 9600)
    run(work())


def test_an_interruption_ends_the_writing_and_the_next_segment_is_said(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address, await client.connect(address) as agent:
            async with agent.speak() as segment:
                writing = asyncio.ensure_future(segment.write(sound(60.0)))
                async for event in agent:
                    if isinstance(event, dict) and event["type"] == "speech.started":
                        break
                await agent.interrupt()
                heard = await segment.finished()
                await writing
            assert heard["interrupted"] and 0 < heard["position"] < 30
            async with agent.speak() as segment:
                await segment.write(sound(0.2))
            assert not (await segment.finished())["interrupted"]

    run(work())


def test_an_agent_that_listens_gets_the_viewers_voice(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address:
            viewer = await Viewer(address).open()
            async with await client.connect(address, viewer.id) as agent:
                await agent.listen()
                heard = b""
                async for event in agent:
                    heard += event if isinstance(event, bytes) else b""
                    if len(heard) > 16_000:
                        break
                assert np.abs(np.frombuffer(heard, "<i2")).max() > 4000
                await viewer.close()
                async for event in agent:
                    assert isinstance(event, bytes) or event["type"] in ("viewer", "bye", "hello", "speech.queued")

    run(work())


def test_refusals_say_what_is_wrong(engine: DoubleEngine) -> None:
    async def work() -> None:
        with pytest.raises(client.Gone, match="cannot reach"):
            await client.connect("http://127.0.0.1:9")
        with pytest.raises(client.Gone, match="begins with http://"):
            await client.connect("localhost:8765")
        settings = Settings(server=ServerConfig(port=0, token="a secret of nobody"))
        async with serving(engine, settings) as address:
            with pytest.raises(client.Refused, match="token"):
                await client.connect(address)
            with pytest.raises(client.Refused, match="no avatar"):
                await client.connect(address, token="a secret of nobody", avatar="nobody")
            with pytest.raises(client.Refused, match="no such session"):
                await client.connect(address, "nothing", token="a secret of nobody")
            async with await client.connect(address, token="a secret of nobody") as agent:
                with pytest.raises(client.Refused, match="8000"):
                    async with agent.speak(rate=4000) as segment:
                        await segment.finished()

    run(work())


def test_say_speaks_a_file_through_the_newest_session_or_one_of_its_own(engine: DoubleEngine, tmp_path: Path) -> None:
    path = str(write(tmp_path / "voice.wav", tone(0.4, 16_000)[None], 16_000))
    with serving_thread(engine) as address:
        result = CliRunner().invoke(app, ["say", path, "--url", address])
        assert result.exit_code == 0, result.output
        assert "said: 0.40 s" in result.output
        wrong = CliRunner().invoke(app, ["say", path, "--url", address, "--emotion", "bored"])
        assert wrong.exit_code == 1 and "neutral" in wrong.output
    gone = CliRunner().invoke(app, ["say", path, "--url", address])
    assert gone.exit_code == 1 and "cannot reach" in gone.output


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="no espeak-ng on this machine")
def test_the_example_says_its_lines_through_the_newest_session(
    engine: DoubleEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("agent_websocket", ROOT / "examples" / "agent_websocket.py")
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)

    async def work() -> None:
        async with serving(engine) as address:
            session = await client.open_session(address)
            lines = asyncio.StreamReader()
            lines.feed_data(b"Good morning.\nYes.\n")
            lines.feed_eof()
            await example.main(address, None, lines)
            assert session in capsys.readouterr().err  # the newest one
            assert not engine.opened[-1].controls.manner.thinking

    run(work())


def test_words_of_the_server_that_are_none_leave_nobody_waiting() -> None:
    async def nonsense(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("visavis.v1",))
        await socket.prepare(request)
        await socket.receive()
        await socket.send_str('{"type": "error"}')
        async for _ in socket:
            pass
        return socket

    async def work() -> None:
        application = web.Application()
        application.router.add_get("/v1/sessions/x/agent", nonsense)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            async with await client.connect(f"http://127.0.0.1:{runner.addresses[0][1]}", "x") as agent:
                segment = agent.speak()
                with pytest.raises(client.Gone, match="does not understand"):
                    async with segment:
                        await segment.finished()
                assert [event async for event in agent] == []
        finally:
            await runner.cleanup()

    run(work(), timeout=20)
