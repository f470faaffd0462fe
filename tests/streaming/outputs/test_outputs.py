"""Outputs over HTTP: what may be asked for, where to, and that no answer holds a secret."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from streaming import hub
from streaming.config import OutputsConfig, ServerConfig
from streaming.outputs.outputs import allowed

from ..double import DoubleEngine
from ..harness import Settings, run, serving, until
from .endpoint import Endpoint

TOKEN = "a-token-of-16-and-more"
OPEN = {"type": "agent"}


@pytest.fixture
def engine(tmp_path: Path) -> DoubleEngine:
    return DoubleEngine(tmp_path / "avatars", side=64, cost_s=0.0)


async def ask(http: ClientSession, method: str, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
    async with http.request(method, path, **options) as response:
        return response.status, await response.json()


def test_a_recording_is_opened_told_of_and_closed(engine: DoubleEngine, tmp_path: Path) -> None:
    async def work() -> None:
        settings = Settings(outputs=OutputsConfig(folder=str(tmp_path), per_session=2))
        async with serving(engine, settings) as address, ClientSession(address) as http:
            _, session = await ask(http, "POST", "/v1/sessions", json=OPEN)
            path = f"/v1/sessions/{session['id']}/outputs"
            assert await ask(http, "GET", path) == (200, {"outputs": []})
            status, output = await ask(http, "POST", path, json={"kind": "file", "name": "a.mp4"})
            assert status == 201 and output["to"] == "a.mp4"
            status, refused = await ask(http, "POST", path, json={"kind": "file", "name": "a.mp4"})
            assert status == 400 and "already" in refused["error"]["message"]
            await ask(http, "POST", path, json={"kind": "file"})
            status, _ = await ask(http, "POST", path, json={"kind": "file"})
            assert status == 429
            frames = 0
            while frames < 5:
                _, told = await ask(http, "GET", f"{path}/{output['id']}")
                frames = told["frames"]
            status, ended = await ask(http, "DELETE", f"{path}/{output['id']}")
            assert status == 200 and ended["state"] == "ended" and ended["frames"] >= 5
            assert (tmp_path / "a.mp4").stat().st_size > 1000
            states = ["starting"]
            while "starting" in states:  # each begins on a thread of its own
                states = [one["state"] for one in (await ask(http, "GET", path))[1]["outputs"]]
            assert sorted(states) == ["ended", "running"]
            assert (await ask(http, "GET", f"{path}/nothing"))[0] == 404
        assert len(list(tmp_path.glob("*.mp4"))) == 2  # the server's end finished the other one

    run(work())


BAD_REQUESTS: tuple[tuple[Any, str], ...] = (
    ({"kind": "srt"}, "kind"),
    ({}, "kind"),
    ([], "object"),
    ({"kind": "file", "more": 1}, "more"),
    ({"kind": "file", "url": "rtmp://127.0.0.1/x"}, "url"),
    ({"kind": "rtmp", "name": "a.mp4", "url": "rtmp://127.0.0.1/x"}, "name"),
    ({"kind": "rtmp"}, "rtmp://"),
    ({"kind": "rtmp", "url": "file:///etc/passwd"}, "rtmp://"),
    ({"kind": "rtmp", "url": "http://127.0.0.1/x"}, "rtmp://"),
    ({"kind": "rtsp", "url": "rtsp://"}, "rtsp://"),
    ({"kind": "rtmp", "url": "rtmp://127.0.0.1/a b"}, "rtmp://"),
    ({"kind": "rtmp", "url": "rtmp://127.0.0.1:99999/a"}, "rtmp://"),
    ({"kind": "rtmp", "url": "rtmp://127.0.0.1/a", "token": "x"}, "token"),
    ({"kind": "whip", "url": "ftp://127.0.0.1/a"}, "http://"),
    ({"kind": "whip", "url": 3}, "url"),
    ({"kind": "file", "bitrate": 5}, "bitrate"),
    ({"kind": "file", "bitrate": True}, "bitrate"),
    ({"kind": "file"}, "outputs.folder"),
)


def test_what_cannot_be_is_refused_by_its_name_and_leaves_nothing(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address, ClientSession(address) as http:
            _, session = await ask(http, "POST", "/v1/sessions", json=OPEN)
            path = f"/v1/sessions/{session['id']}/outputs"
            for body, word in BAD_REQUESTS:
                status, refused = await ask(http, "POST", path, json=body)
                assert status == 400 and word in refused["error"]["message"], (body, refused)
            status, refused = await ask(http, "POST", path, data='{"kind": "rtmp", "url": "rtmp://host/secret-key" ')
            assert status == 400 and "secret-key" not in str(refused)
            assert (await ask(http, "POST", "/v1/sessions/none/outputs", json={"kind": "file"}))[0] == 404
            assert await ask(http, "GET", path) == (200, {"outputs": []})

    run(work())


def test_others_send_only_where_the_configuration_says_and_their_keys_are_never_told(
    engine: DoubleEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def work() -> None:
        async with Endpoint(token="sesame").serving() as there:
            server = replace(Settings().server, token=TOKEN, behind_proxy=True)
            settings = Settings(server=server, outputs=OutputsConfig(allowed=(f"{there.address}/whip",)))
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with serving(engine, settings) as address, ClientSession(address.split("#")[0]) as http:
                http.headers.update(headers)
                _, session = await ask(http, "POST", "/v1/sessions", json=OPEN)
                path = f"/v1/sessions/{session['id']}/outputs"
                for url in (f"{there.address}/other", "http://169.254.169.254/", f"{there.address}/whip/../other"):
                    status, refused = await ask(http, "POST", path, json={"kind": "whip", "url": url})
                    assert (status, refused["error"]["code"]) == (403, "not_allowed")
                assert not there.requests
                secret = {"kind": "whip", "url": f"{there.address}/whip/secret-key", "token": "sesame"}
                _, output = await ask(http, "POST", path, json=secret)
                told = [output]
                while told[-1]["state"] != "running":
                    told.append((await ask(http, "GET", f"{path}/{output['id']}"))[1])
                assert (await ask(http, "GET", path, headers={"Authorization": "Bearer another"}))[0] == 401
                assert "secret-key" not in str(told) and "sesame" not in str(told)
            await until(lambda: ("DELETE", "/resource/1", "Bearer sesame") in there.requests)
        assert "secret-key" not in caplog.text and "sesame" not in caplog.text

    run(work())


ALLOWED = ("rtmp://live.example/app", "https://whip.example:8443/in/")


@pytest.mark.parametrize(
    ("url", "fits"),
    [
        ("rtmp://live.example/app/key", True),
        ("rtmp://live.example:1935/app", True),
        ("rtmp://LIVE.example/app/key", True),
        ("rtmp://live.example/application/key", False),
        ("rtmp://live.example.evil/app/key", False),
        ("rtmp://live.example@evil/app/key", False),
        ("rtmp://evil/app/key?rtmp://live.example/app", False),
        ("rtmp://live.example:1936/app/key", False),
        ("rtmps://live.example/app/key", False),
        ("rtmp://live.example/app/../other", False),
        ("rtmp://live.example/app/%2e%2e/other", False),
        ("https://whip.example:8443/in/room?x=1", True),
        ("https://whip.example/in/room", False),
    ],
)
def test_an_address_is_allowed_by_scheme_host_port_and_path(url: str, fits: bool) -> None:
    assert allowed(url, ALLOWED) is fits


def test_a_configuration_that_allows_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="outputs.allowed"):
        OutputsConfig(allowed=("live.example",))
    with pytest.raises(ValueError, match="outputs.bitrate"):
        OutputsConfig(bitrate=5)


def test_every_session_is_recorded_where_that_is_configured(engine: DoubleEngine, tmp_path: Path) -> None:
    async def work() -> None:
        settings = Settings(outputs=OutputsConfig(folder=str(tmp_path), every=True))
        async with serving(engine, settings) as address, ClientSession(address) as http:
            _, session = await ask(http, "POST", "/v1/sessions", json=OPEN)
            path, frames = f"/v1/sessions/{session['id']}/outputs", 0
            while frames < 5:
                _, listed = await ask(http, "GET", path)
                frames = listed["outputs"][0]["frames"] if listed["outputs"] else 0
        (film,) = tmp_path.glob("*.mp4")
        assert film.stat().st_size > 1000

    run(work())
    with pytest.raises(ValueError, match="outputs.folder"):
        OutputsConfig(every=True)


def test_a_private_server_sends_anywhere_and_a_session_ends_with_its_outputs(
    engine: DoubleEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "REAP_S", 0.1)

    async def work() -> None:
        async with Endpoint().serving() as there:
            settings = Settings(server=ServerConfig(port=0, linger_s=2.0))  # in which the output must have come
            async with serving(engine, settings) as address, ClientSession(address) as http:
                _, session = await ask(http, "POST", "/v1/sessions", json=OPEN)
                path = f"/v1/sessions/{session['id']}"
                await ask(http, "POST", f"{path}/outputs", json={"kind": "whip", "url": there.address})
                await until(lambda: len(there.pictures) > 75, 30)  # more than linger_s: it holds the session
                async with http.delete(path) as response:
                    assert response.status == 204
                await until(lambda: len(there.requests) == 2, 20)

    run(work())
