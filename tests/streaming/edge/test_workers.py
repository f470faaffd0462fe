"""Several workers behind one edge: sessions land and stay, lists are put together, one that is away is said to be."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientSession, UnixConnector, web

from streaming.config import LimitsConfig, PortraitConfig, ServerConfig
from streaming.edge.route import worker_of
from streaming.edge.sockets import RESTART

from ..double import DoubleEngine
from ..harness import PATIENT, Settings, Viewer, run, sessions, until
from ..sending import ENROL, ended, in_folder, send, told
from ..test_access import SECRET as TOKEN
from ..test_access import public
from ..test_agents import agent
from .harness import SECRET, before, edged


@pytest.fixture
def engines(tmp_path: Path) -> dict[str, DoubleEngine]:
    return {name: DoubleEngine(tmp_path / name, side=64, cost_s=0.0) for name in ("w1", "w2")}


async def ask(http: ClientSession, url: str, method: str = "GET", **options: Any) -> tuple[int, Any]:
    async with http.request(method, url, **options) as answer:
        raw = await answer.read()
        return answer.status, json.loads(raw) if raw and "json" in answer.content_type else raw


async def opened(http: ClientSession, address: str, **fields: Any) -> str:
    status, said = await ask(http, f"{address}v1/sessions", "POST", json={"type": "agent", **fields})
    assert status == 201, said
    return str(said["id"])


def test_a_session_stays_where_it_was_opened_and_lists_and_figures_are_of_all(engines: dict[str, DoubleEngine]) -> None:
    async def work() -> None:
        async with edged(engines, Settings(stream=PATIENT)) as (address, workers), ClientSession() as http:
            names = [await opened(http, address) for _ in range(6)]
            while len({worker_of(name) for name in names}) < 2:  # of equals, chance chooses
                assert len(names) < 60, "nothing is ever sent to the other"
                names.append(await opened(http, address))
            for worker, its in workers.items():
                assert sorted(its.hub.lives) == sorted(name for name in names if worker_of(name) == worker)
            assert await sessions(address) == len(names)
            listed = (await ask(http, f"{address}v1/sessions"))[1]["sessions"]
            assert sorted(each["id"] for each in listed) == sorted(names)
            assert [each["age_s"] for each in listed] == sorted((each["age_s"] for each in listed), reverse=True)
            for name in names[:2]:
                assert (await ask(http, f"{address}v1/sessions/{name}"))[1]["state"] == "alive"
                async with agent(address, name, protocols=("visavis.v1",)) as line:
                    assert line.socket.protocol == "visavis.v1"
                    await line.speak("a", 0.1)
                    await until(lambda line=line: line.heard("speech.finished"), what="the agent was not heard")
                    await line.socket.close()
            figures = ""
            async with asyncio.timeout(20):
                while 'visavis_edge_workers{state="up"} 2.0' not in figures:  # one may be late to tell
                    figures = (await ask(http, f"{address}metrics"))[1].decode()
            for name in ("w1", "w2"):
                assert "visavis_build_info{" in figures and f'worker="{name}"' in figures
            assert figures.count("# TYPE visavis_sessions gauge") <= 1
            for name in names:
                assert (await ask(http, f"{address}v1/sessions/{name}", "DELETE"))[0] == 204
            assert (await ask(http, f"{address}v1/sessions/{names[0]}"))[1]["error"]["code"] == "no_session"
            assert (await ask(http, f"{address}v1/sessions/w9-{'0' * 24}"))[0] == 404
            assert await sessions(address) == 0

    run(work())


def test_a_worker_that_is_away_is_said_to_be_and_found_again(engines: dict[str, DoubleEngine]) -> None:
    async def work() -> None:
        one = {"": engines["w1"]}
        async with edged(one, Settings(stream=PATIENT)) as (address, workers), ClientSession() as http:
            name = await opened(http, address)
            async with http.ws_connect(f"{address}v1/sessions/{name}/agent") as socket:
                await workers[""].stop()
                while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                    pass
                assert socket.close_code in (1000, RESTART)  # its goodbye, or the edge's
            for method, path in (("GET", f"v1/sessions/{name}"), ("POST", "v1/sessions"), ("GET", "v1/ice")):
                async with http.request(method, address + path, json={} if method == "POST" else None) as answer:
                    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
                    assert (await answer.json())["error"]["code"] == "restarting"
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(f"{address}v1/sessions/{name}/agent")
            assert refused.value.status == 503
            assert (await ask(http, f"{address}readyz")) == (503, {"status": "not ready", "reasons": ["restarting"]})
            assert (await ask(http, f"{address}healthz"))[0] == 200
            assert (await ask(http, address))[0] == 200  # the page is the edge's own
            await workers[""].start()
            await opened(http, address)
            assert (await ask(http, f"{address}readyz"))[0] == 200

    run(work())


def test_a_full_or_draining_worker_is_passed_over_and_the_last_refusal_says_when_to_ask_again(
    engines: dict[str, DoubleEngine],
) -> None:
    async def work() -> None:
        settings = Settings(server=ServerConfig(port=0, max_sessions=2, sessions_per_minute=10_000))
        async with edged(engines, settings) as (address, workers), ClientSession() as http:
            workers["w1"].hub.draining = True
            names = [await opened(http, address) for _ in range(2)]  # whatever the table says by now
            assert {worker_of(name) for name in names} == {"w2"}
            message = ""
            async with asyncio.timeout(20):
                while "sessions are taken" not in message:  # of two refusals the last is told, until the table knows
                    async with http.post(f"{address}v1/sessions", json={"type": "agent"}) as answer:
                        assert answer.status == 503 and int(answer.headers["Retry-After"]) >= 1
                        message = (await answer.json())["error"]["message"]
                    await asyncio.sleep(0.02)
            assert (await ask(http, f"{address}readyz"))[1]["reasons"] == ["draining", "full"]
            workers["w1"].hub.draining = False
            status, said = 503, {}
            for _ in range(400):  # the table is asked anew four times a second
                if status == 201:
                    break
                await asyncio.sleep(0.05)
                status, said = await ask(http, f"{address}v1/sessions", "POST", json={"type": "agent"})
            assert worker_of(said["id"]) == "w1"

    run(work())


def test_what_only_one_worker_has_is_found_whoever_is_asked_first(
    engines: dict[str, DoubleEngine], tmp_path: Path
) -> None:
    async def work() -> None:
        portrait = PortraitConfig(folder=str(tmp_path / "kept"), per_hour=100)
        async with edged(engines, Settings(portrait=portrait), ENROL) as (address, workers), ClientSession() as http:
            status, job = await send(address, "well")
            assert status == 202, job
            made = await told(address, job["id"], ended)
            assert made["state"] == "done"
            assert (await ask(http, f"{address}v1/avatars/{job['id']}"))[1]["own"] is True
            assert (await ask(http, address + made["report"]))[1].startswith(b"\x89PNG")
            worn = await opened(http, address, avatar=job["id"])
            assert workers[worker_of(worn)].hub.lives[worn].options.avatar == job["id"]
            assert (await ask(http, f"{address}v1/avatars/nobody"))[1]["error"]["code"] == "no_avatar"
            assert (await ask(http, f"{address}v1/avatars/{job['id']}", "DELETE"))[0] == 204
            assert in_folder(tmp_path / "kept") == []

    run(work())


def test_a_worker_answers_nobody_but_the_edge_and_believes_only_its_word(engines: dict[str, DoubleEngine]) -> None:
    async def work() -> None:
        settings = Settings(server=public(), limits=LimitsConfig(sessions_per_address=1))
        async with edged({"": engines["w1"]}, settings) as (address, workers), ClientSession() as http:
            base, bearer = address.partition("#")[0], {"Authorization": f"Bearer {TOKEN}"}
            body = {"type": "agent"}
            async with ClientSession(connector=UnixConnector(str(workers[""].path))) as direct:
                for headers in ({}, {"X-Visavis-Edge": "x" * 32}, {"X-Visavis-Edge": SECRET[:-1]}):
                    for path in ("v1/worker", "v1/avatars", "", "metrics"):
                        status, said = await ask(direct, f"http://w/{path}", headers={**headers, **bearer})
                        assert (status, said["error"]["code"]) == (403, "not_the_edge")
                status, said = await ask(direct, "http://w/v1/worker", headers={"X-Visavis-Edge": SECRET})
                assert (status, said["sessions"], said["draining"], said["refusal"]) == (200, 0, False, None)
            for who, status in (("203.0.113.1", 201), ("203.0.113.2", 201), ("203.0.113.1", 429)):
                headers = {**bearer, "X-Forwarded-For": f"198.51.100.1, {who}"}  # our proxy adds the last
                async with http.post(f"{base}v1/sessions", json=body, headers=headers) as answer:
                    assert answer.status == status
            assert sorted(owner.address for owner in workers[""].hub.owners.values() if owner) == [
                "203.0.113.1", "203.0.113.2",
            ]  # fmt: skip
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(f"{base}v1/sessions/{'0' * 24}/agent", protocols=["visavis.v1", "token.wrong"])
            assert refused.value.status == 401
            async with http.get(
                f"{base}v1/sessions/{'0' * 24}/agent",
                headers={"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                         "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="},
            ) as answer:  # fmt: skip
                assert (answer.status, (await answer.json())["error"]["code"]) == (401, "bad_token")
                assert "X-Visavis-Refusal" not in answer.headers
            assert (await ask(http, f"{base}metrics"))[0] == 401

    run(work())


def test_headers_that_guard_the_page_come_once(engines: dict[str, DoubleEngine]) -> None:
    async def work() -> None:
        async with edged({"": engines["w1"]}) as (address, _), ClientSession() as http:
            for path in ("", "v1/avatars", "v1/nothing", "web/app.js", "v1/avatars/ada/preview.png"):
                async with http.get(address + path) as answer:
                    for name in ("Content-Security-Policy", "X-Content-Type-Options", "Server", "Cache-Control"):
                        assert len(answer.headers.getall(name)) == 1, (path, name)
            async with http.get(f"{address}v1/avatars/ada/preview.png", headers={"Range": "bytes=0-3"}) as answer:
                assert (answer.status, await answer.read()) == (206, b"\x89PNG")

    run(work())


def test_closing_words_and_codes_of_a_websocket_pass_both_ways(engines: dict[str, DoubleEngine]) -> None:
    async def work() -> None:
        async with edged({"": engines["w1"]}, Settings(stream=PATIENT)) as (address, workers), ClientSession() as http:
            name = await opened(http, address)
            where = f"{address}v1/sessions/{name}/agent"
            async with http.ws_connect(where) as first:
                async with http.ws_connect(where) as second:  # one at a time
                    assert json.loads((await second.receive()).data)["code"] == "agent_there"
                    message = await second.receive()
                    assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 4409, "agent_there")
                await first.ping(b"?")
                await first.send_bytes(bytes(600_000))  # more than a worker takes
                code = None
                while (message := await first.receive()).type is not aiohttp.WSMsgType.CLOSED:
                    code = message.data if message.type is aiohttp.WSMsgType.CLOSE else code
                assert (code or first.close_code) == 1009
            async with http.ws_connect(where) as third:
                await third.close(code=4000, message=b"enough")
            live = workers[""].hub.lives[name]
            await until(lambda: live.source is None, what="the worker never heard that its agent left")

    run(work())


def test_a_websocket_whose_worker_dies_says_that_it_is_being_started_again() -> None:
    async def dies(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("here")
        assert request.transport is not None
        request.transport.abort()
        return socket

    async def work() -> None:
        app = web.Application()
        app.router.add_get("/v1/sessions/{id}/agent", dies)
        async with before(app) as address, ClientSession() as http:
            socket = await http.ws_connect(f"{address}v1/sessions/{'0' * 24}/agent")
            assert await socket.receive_str() == "here"
            message = await socket.receive()
            assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, RESTART, "restarting")

    run(work())


def test_a_viewer_talks_with_its_worker_and_not_with_the_edge(engines: dict[str, DoubleEngine]) -> None:
    async def work() -> None:
        async with edged(engines, Settings(stream=PATIENT)) as (address, _):
            viewer = await Viewer(address).open()
            await until(lambda: len(viewer.pictures) > 3 and viewer.heard("hello"), what="no pictures")
            assert viewer.heard("hello")[0]["session"] == viewer.id
            async with (
                ClientSession() as http,
                http.post(
                    f"{address}v1/sessions/{viewer.id}/whep", data="x", headers={"Content-Type": "application/sdp"}
                ) as answer,
            ):
                assert (answer.status, (await answer.json())["error"]["code"]) == (400, "bad_offer")
            await viewer.close()
            await asyncio.sleep(0)

    run(work())
