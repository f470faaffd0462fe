"""Sessions over HTTP, beyond the offer: opened by an agent, listed on a private server."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import ClientSession

from streaming.config import ServerConfig

from .double import DoubleEngine
from .harness import Settings, run, serving, sessions

SECRET = "a token of some length"


@pytest.fixture
def engine(tmp_path: Path) -> DoubleEngine:
    return DoubleEngine(tmp_path, side=64, cost_s=0.001)


def test_an_agent_opens_a_session_without_an_offer_and_it_is_listed_until_it_ends(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address, ClientSession() as http:
            for avatar in ("ada", "ben"):
                async with http.post(f"{address}v1/sessions", json={"type": "agent", "avatar": avatar}) as response:
                    assert response.status == 201
                    opened = await response.json()
            async with http.get(f"{address}v1/sessions") as response:
                found = (await response.json())["sessions"]
            assert [one["avatar"] for one in found] == ["ada", "ben"] and found[-1]["id"] == opened["id"]
            async with http.delete(f"{address}v1/sessions/{opened['id']}") as response:
                assert response.status == 204
            assert await sessions(address) == 1

    run(work())


def test_a_server_that_others_reach_lists_no_sessions(engine: DoubleEngine) -> None:
    async def work() -> None:
        settings = Settings(server=ServerConfig(port=0, behind_proxy=True, token=SECRET))
        async with serving(engine, settings) as told, ClientSession() as http:
            address = told.split("#")[0]
            async with http.get(f"{address}v1/sessions", headers={"Authorization": f"Bearer {SECRET}"}) as response:
                assert (response.status, (await response.json())["error"]["code"]) == (403, "not_private")

    run(work())


def test_an_agents_session_takes_no_sdp(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address, ClientSession() as http:
            body = {"type": "agent", "sdp": "v=0"}
            async with http.post(f"{address}v1/sessions", json=body) as response:
                assert (response.status, (await response.json())["error"]["code"]) == (400, "bad_field")

    run(work())
