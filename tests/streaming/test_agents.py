"""Agents over a WebSocket: a voice in, events out, at a running server around the engine's double."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from streaming import agents, hub, protocol
from streaming.config import AgentsConfig, ServerConfig

from .double import DoubleEngine
from .harness import PATIENT, Settings, Viewer, run, serving, sessions, until, until_sessions


@pytest.fixture
def engine(tmp_path: Path) -> DoubleEngine:
    return DoubleEngine(tmp_path, side=64, cost_s=0.0)


@dataclass
class Line:
    """One end of an agent's socket, which keeps what it is told."""

    socket: aiohttp.ClientWebSocketResponse
    messages: list[dict[str, Any]] = field(default_factory=list)
    sounds: list[bytes] = field(default_factory=list)

    async def read(self) -> None:
        async for message in self.socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                self.sounds.append(message.data)
            else:
                self.messages.append(json.loads(message.data))

    async def say(self, kind: str, **fields: Any) -> None:
        await self.socket.send_str(json.dumps({"v": 1, "type": kind, **fields}))

    async def speak(self, id: str, seconds: float, rate: int = 24_000, **fields: Any) -> None:
        await self.say("speech.begin", id=id, rate=rate, **fields)
        time = np.arange(int(seconds * rate)) / rate
        pcm = (16_000 * np.sin(2 * np.pi * 300 * time)).astype("<i2").tobytes()
        for start in range(0, len(pcm), 100_000):
            await self.socket.send_bytes(pcm[start : start + 100_000])
        await self.say("speech.end")

    def heard(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]


@contextlib.asynccontextmanager
async def agent(address: str, session: str, query: str = "", **options: Any) -> AsyncIterator[Line]:
    async with aiohttp.ClientSession() as http:
        async with http.ws_connect(f"{address}v1/sessions/{session}/agent{query}", **options) as socket:
            line = Line(socket)
            reading = asyncio.ensure_future(line.read())
            yield line
        await reading


async def open_session(address: str) -> str:
    async with aiohttp.ClientSession() as http, http.post(f"{address}v1/sessions", json={"type": "agent"}) as response:
        assert response.status == 201, await response.text()
        return str((await response.json())["id"])


async def bare(address: str, session: str) -> socket.socket:
    """An agent's socket with nobody behind it: what comes is not read, and no ping is answered."""
    host, port = address.removeprefix("http://").strip("/").split(":")
    line = socket.create_connection((host, int(port)))
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.setblocking(False)
    head = {"Host": f"{host}:{port}", "Upgrade": "websocket", "Connection": "Upgrade"}
    head |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode()}
    lines = [f"GET /v1/sessions/{session}/agent HTTP/1.1", *(f"{k}: {v}" for k, v in head.items()), "", ""]
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(line, "\r\n".join(lines).encode())
    await loop.sock_recv(line, 1000)
    return line


def test_an_agent_speaks_and_is_told_when_it_was_heard(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address, agent(address, await open_session(address)) as line:
            await until(lambda: line.messages)  # what is reported meanwhile would be told before it
            await line.speak("one", 0.3, text="Hello.", emotion="happy", intensity=0.5)
            await until(lambda: line.heard("speech.finished"))
            (started,), (finished,) = line.heard("speech.started"), line.heard("speech.finished")
            assert started["id"] == finished["id"] == "one" and not finished["interrupted"]
            assert finished["position"] == pytest.approx(0.3, abs=1e-3)
            assert finished["pts"] - started["pts"] == pytest.approx(0.3 * 16_000, abs=320)
            assert line.messages[0]["type"] == "hello"
            await until(lambda: [state["name"] for state in line.heard("state")] == ["speaking", "idle"])
            assert engine.opened[-1].controls.manner.emotion == "happy"
            await until(lambda: (line.heard("speech.queued") or [{"queued_ms": 1}])[-1]["queued_ms"] == 0)
            last = line.heard("speech.queued")[-1]
            assert (last["free_ms"], last["received"]) == (120_000, 14_400)
            assert not line.heard("error")

    run(work())


def test_a_viewer_hears_the_agent_and_not_himself_and_the_agent_hears_him(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine, Settings(stream=PATIENT)) as address:
            viewer = await Viewer(address).open()  # its microphone is a tone
            await until(lambda: viewer.pictures and viewer.heard("hello"))

            def loudest(last: int = 0) -> float:
                return max((float(np.abs(sound).max()) for sound in viewer.sounds[-last:]), default=0.0)

            async with agent(address, viewer.id) as line:
                await line.say("listen", on=True)
                await until(lambda: len(line.sounds) > 20)
                tone = np.frombuffer(b"".join(line.sounds[10:20]), "<i2").astype(float)
                spectrum = np.abs(np.fft.rfft(tone))
                assert np.argmax(spectrum) * 16_000 / len(tone) == pytest.approx(440, abs=20)
                viewer.sounds.clear()
                await until(lambda: len(viewer.sounds) > 30 and loudest(25) < 100, what="somebody speaks")
                viewer.sounds.clear()
                await line.speak("one", 0.5)
                await until(lambda: line.heard("speech.finished"))
                await until(lambda: loudest() > 2000, what="the agent is not heard")  # its sound may come after its end
                await until(lambda: [state["name"] for state in viewer.heard("state")] == ["speaking", "idle"])
            viewer.sounds.clear()
            await until(lambda: len(viewer.sounds) > 30 and loudest(5) > 2000)
            await viewer.close()

    run(work())


def test_barge_in_tells_what_was_heard_and_what_is_said_next_is_heard(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address, agent(address, await open_session(address)) as line:
            await line.speak("long", 20.0)
            await line.speak("never", 1.0)
            await until(lambda: line.heard("speech.started"))
            await line.say("interrupt")
            took = await until(lambda: len(line.heard("speech.finished")) == 2)
            first, second = line.heard("speech.finished")
            assert took < 10.0 and first["interrupted"] and second["interrupted"]
            assert 0 < first["position"] < 10 and second["position"] == 0 and second["id"] == "never"
            await line.speak("again", 0.2)
            await until(lambda: len(line.heard("speech.finished")) == 3)
            assert not line.heard("speech.finished")[-1]["interrupted"]
            assert not engine.opened[-1].hushed

    run(work())


def test_states_are_set_told_and_let_go(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address:
            viewer = await Viewer(address, speaks=False).open()
            await until(lambda: viewer.pictures and viewer.heard("hello"))  # or it misses the first state
            async with agent(address, viewer.id) as line:
                await line.say("state", name="listening")
                await until(lambda: engine.opened[-1].controls.manner.listening)
                await line.say("state", name="thinking")
                await until(lambda: engine.opened[-1].controls.manner.thinking)
                await line.say("state", name="bored")
                await until(lambda: line.heard("error"))
                assert "thinking" in line.heard("error")[0]["message"]
            await until(lambda: not engine.opened[-1].controls.manner.thinking, what="the agent's state outlives it")
            await until(lambda: [state["name"] for state in viewer.heard("state")] == ["listening", "thinking", "idle"])
            await viewer.close()

    run(work())


def test_a_second_agent_is_refused_unless_it_takes_over(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address:
            session = await open_session(address)
            async with agent(address, session) as first:
                async with agent(address, session) as second:
                    await until(lambda: second.socket.closed)
                    assert second.socket.close_code == 4409 and "takeover" in second.heard("error")[0]["message"]
                await first.speak("mine", 20.0)
                await until(lambda: first.heard("speech.started"))
                async with agent(address, session, "?takeover=1") as third:
                    await until(lambda: first.socket.closed)
                    assert first.heard("bye")[0]["reason"] == "another agent took over"
                    assert first.heard("speech.finished")[0]["interrupted"]
                    await third.speak("his", 0.1)
                    await until(lambda: third.heard("speech.finished"))

    run(work())


def test_what_cannot_be_done_is_refused_in_words_and_breaks_nothing(engine: DoubleEngine) -> None:
    async def work() -> None:
        settings = Settings(agents=AgentsConfig(max_queue_s=1.0))
        async with serving(engine, settings) as address, agent(address, await open_session(address)) as line:
            await line.socket.send_bytes(b"\0" * 100)
            await line.socket.send_str("nonsense")
            await line.say("speech.begin", id="a", rate=4000)
            await line.say("speech.begin", id="a", rate="fast")
            await line.say("listen")
            await line.say("sing")
            await line.speak("b", 1.5)
            await until(lambda: len(line.heard("error")) == 7)
            codes = [error["code"] for error in line.heard("error")]
            assert codes == [
                "no_segment", "bad_json", "bad_segment", "bad_field", "bad_field", "unknown_type", "queue_full",
            ]  # fmt: skip
            await line.speak("c", 0.1)
            await until(lambda: any(event["id"] == "c" for event in line.heard("speech.finished")))

    run(work())


def test_a_message_that_is_too_large_ends_the_agent_and_not_the_session(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address:
            session = await open_session(address)
            async with agent(address, session) as line:
                await line.say("speech.begin", id="a", rate=24_000)
                await line.socket.send_bytes(b"\0" * 600_000)
                await until(lambda: line.socket.closed)
                assert line.socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
            async with agent(address, session) as line:
                await line.speak("b", 0.1)
                await until(lambda: line.heard("speech.finished"))

    run(work())


def test_an_agent_that_does_not_read_is_dropped_and_holds_nobody_up(
    engine: DoubleEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    wordy = protocol.encode("error", code="bad_field", message=60_000 * "x", about="x")
    monkeypatch.setattr(agents.protocol, "error", lambda problem: wordy)  # or filling the line's buffers takes long
    monkeypatch.setattr(agents, "WAITING", 32)

    async def work() -> None:
        async with serving(engine, Settings(stream=PATIENT)) as address:
            viewer = await Viewer(address).open()
            await until(lambda: viewer.pictures)
            line, loop = await bare(address, viewer.id), asyncio.get_running_loop()
            wrong = b'{"v":1,"type":"x"}'
            frame = bytes([0x81, 0x80 | len(wrong), 0, 0, 0, 0]) + wrong  # masked with zeros
            begun, count = loop.time(), len(viewer.pictures)
            with pytest.raises(ConnectionError):
                while loop.time() - begun < 40:  # each is answered by words that nobody reads
                    await loop.sock_sendall(line, 50 * frame)
            line.close()
            await until(lambda: len(viewer.pictures) > count + 10)
            async with agent(address, viewer.id) as other:
                await other.speak("a", 0.1)
                await until(lambda: other.heard("speech.finished"))
            await viewer.close()

    run(work())


def test_an_agent_that_vanished_is_noticed_and_its_place_is_free(
    engine: DoubleEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "PING_S", 2.0)  # and half as long for the answer, which the next agent must keep to

    async def work() -> None:
        async with serving(engine) as address:
            session = await open_session(address)
            line = await bare(address, session)
            begun = time.monotonic()
            while True:
                async with agent(address, session) as other:
                    await until(lambda: other.messages)
                    if not other.heard("error"):
                        await other.speak("a", 0.1)
                        await until(lambda: other.heard("speech.finished"))
                        break
                assert time.monotonic() - begun < 20
            line.close()

    run(work())


def test_the_session_ends_with_a_word_to_its_agent_and_goes_on_without_it(
    engine: DoubleEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "REAP_S", 0.1)

    async def work() -> None:
        settings = Settings(server=ServerConfig(port=0, linger_s=2.0))  # in which an agent must have come
        async with serving(engine, settings) as address, aiohttp.ClientSession() as http:
            session = await open_session(address)
            async with agent(address, session) as line:
                await asyncio.sleep(3.0)
                assert await sessions(address) == 1  # the agent holds it, though nobody watches
                await http.delete(f"{address}v1/sessions/{session}")
                await until(lambda: line.socket.closed)
                assert [bye["reason"] for bye in line.heard("bye")] == ["asked to"]
            async with http.get(f"{address}v1/sessions/{session}/agent") as response:
                assert response.status == 404
            session = await open_session(address)
            async with agent(address, session):
                pass
            await until_sessions(address, 0, 20)

    run(work())


def test_pages_from_elsewhere_and_strangers_are_not_let_in(engine: DoubleEngine) -> None:
    async def work() -> None:
        settings = Settings(server=ServerConfig(port=0, token="a secret of nobody"))
        async with serving(engine, settings) as address, aiohttp.ClientSession() as http:
            address, head = address.split("#")[0], {"Authorization": "Bearer a secret of nobody"}
            async with http.post(f"{address}v1/sessions", json={"type": "agent"}, headers=head) as response:
                where = f"{address}v1/sessions/{(await response.json())['id']}/agent"
            for headers, protocols in (({}, ()), ({**head, "Origin": "https://evil.example"}, ()), ({}, ("token.no",))):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await http.ws_connect(where, headers=headers, protocols=protocols)
                assert refused.value.status in (401, 403)
            offered = ("visavis.v1", "token.a%20secret%20of%20nobody")
            async with http.ws_connect(where, protocols=offered) as page:
                assert page.protocol == "visavis.v1"

    run(work())
