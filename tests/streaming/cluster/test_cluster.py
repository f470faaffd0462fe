"""A cluster on a real Ray of this machine: a director, a worker, two keepers, an edge. Tests go on with what the one
before left: the first has a second worker added."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import aiohttp
import numpy as np
import pytest

from engine import snapshot
from engine.config import EngineConfig, RenderConfig
from engine.engine import Engine
from engine.schedule.room import Room
from streaming.cluster import launch
from streaming.cluster.blueprint import Blueprint
from streaming.cluster.config import ClusterConfig
from streaming.config import ServerConfig
from streaming.edge import route
from visavis import client
from visavis.config import Config

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow
NAME = "tested"
PATIENCE_S = 90.0  # of a machine that does much else
SETTINGS = Config(
    render=RenderConfig(renderer="geometric", width=64, height=64),
    server=ServerConfig(port=0, linger_s=300.0, max_sessions=8, sessions_per_minute=10_000),
    cluster=ClusterConfig(
        name=NAME,
        min_workers=1,
        max_workers=2,
        cpus=0.5,
        headroom=0.9,
        tail=0.5,
        lost_s=30.0,
        drain_s=300.0,
        keep_s=300.0,
        calm_s=3600.0,
    ),
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where its page is, once two workers serve."""
    launch.connect(SETTINGS.cluster)
    try:
        engine: EngineConfig = SETTINGS.engine
        addresses = launch.launch(Blueprint.of(SETTINGS, functools.partial(Engine, engine)))
        yield addresses[0].rstrip("/")
    finally:
        launch.stop(NAME)
        ray.shutdown()


@pytest.fixture(autouse=True)
def _quiet(url: str) -> None:
    """Every test begins with workers that know of no session."""
    until(lambda: not any(row.get("sessions", 0) for row in status()["workers"]))


def status() -> dict[str, Any]:
    return dict(launch.ask(NAME, "status", seconds=PATIENCE_S))


def serving() -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in status()["workers"] if row["state"] == "serving"}


def until(holds: Callable[[], Any]) -> Any:
    """What ``holds`` says, as soon as that is something."""
    end = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        assert time.monotonic() < end, f"it never came: {status()}"
        time.sleep(0.05)
    return found


async def soon(holds: Callable[[], Awaitable[Any]]) -> Any:
    """The same on an event loop."""
    async with asyncio.timeout(PATIENCE_S):
        while not (found := await holds()):
            await asyncio.sleep(0.02)
    return found


async def told(url: str, session: str) -> dict[str, Any] | None:
    """What the cluster says of a session; None while it says nothing."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/v1/sessions/{session}") as answer:
        return dict(await answer.json()) if answer.status == 200 else None


async def resume(url: str, session: str) -> dict[str, Any] | None:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/v1/sessions", json={"type": "agent", "resume": session}) as answer,
    ):
        return dict(await answer.json()) if answer.status == 201 else None


async def opened(url: str, **options: Any) -> str:
    """A session, as soon as somebody takes it: a machine that does much else is soon full."""

    async def ask() -> str | None:
        try:
            return await client.open_session(url, **options)
        except client.Refused as refused:
            assert refused.code in ("busy", "restarting"), refused
            return None

    return str(await soon(ask))


async def ended(url: str, *sessions: str) -> None:
    for session in sessions:

        async def ask(session: str = session) -> bool:
            try:
                await client.ask(url, "DELETE", f"v1/sessions/{session}", "")
            except client.Refused as refused:
                assert refused.code == "restarting", refused
                return False
            return True

        assert await soon(ask)


def worker_of(session: str) -> str:
    return session.partition("-")[0]


def speech(seconds: float) -> bytes:
    rng = np.random.default_rng(0)
    beat = 0.5 + 0.5 * np.sin(np.arange(int(seconds * 24_000)) / 1500)
    return (beat * rng.normal(0, 4000, len(beat))).clip(-30_000, 30_000).astype("<i2").tobytes()


async def say(agent: client.Agent, seconds: float) -> dict[str, Any]:
    async with agent.speak(rate=24_000) as segment:
        await segment.write(speech(seconds))
    return dict(await segment.finished())


def keepers() -> list[Any]:
    return [ray.get_actor(f"{NAME}-keeper-{number}", namespace="visavis") for number in range(2)]


async def kept(session: str, among: list[Any]) -> list[int]:
    """What the keepers have of a session, as the pts of their snapshots; none until all have one."""
    found = [await keeper.get.remote(session) for keeper in among]
    if not all(found):
        return []
    return [snapshot.read(data[data.index(snapshot.MAGIC) :]).pts for _, data in found]


def test_a_worker_is_added_when_headroom_is_gone(url: str) -> None:
    async def run() -> None:
        assert status()["wanted"] == len(serving()) == 1
        sessions = []
        while status()["wanted"] == 1:
            assert len(sessions) < SETTINGS.server.max_sessions, f"all places are taken, and no load: {status()}"
            sessions.append(await opened(url))
            await asyncio.sleep(0.5)
        await asyncio.to_thread(until, lambda: len(serving()) == 2)
        assert {worker_of(session) for session in sessions} <= set(serving())  # they stay where they are
        for session in sessions:
            assert await soon(lambda session=session: shown(url, session))
        await ended(url, *sessions)

    asyncio.run(run())


def test_sessions_speak_through_the_edge(url: str) -> None:
    async def run() -> None:
        sessions = [await opened(url, avatar=avatar) for avatar in ("ada", "leo")]
        assert {worker_of(session) for session in sessions} <= set(serving())
        async with contextlib.AsyncExitStack() as stack:
            agents = [await stack.enter_async_context(await client.connect(url, session)) for session in sessions]
            heard = await asyncio.gather(*(say(agent, 0.6) for agent in agents))
            assert all(not one["interrupted"] and one["position"] == pytest.approx(0.6, abs=0.05) for one in heard)
        await ended(url, *sessions)

    asyncio.run(run())


def test_edges_are_told_where_an_avatar_is_in_memory_and_who_has_how_much_room(url: str) -> None:
    async def run() -> None:
        session = await opened(url, avatar="mei")  # whom nobody wore before
        there = worker_of(session)
        rows = await asyncio.to_thread(
            until, lambda: found if len(found := table()) == 2 and any("mei" in row.warm for row in found) else None
        )
        assert [(row.name, row.room.sessions) for row in rows if "mei" in row.warm] == [(there, 1)]
        equal = [replace(row, room=Room(1, 0.5)) for row in rows]
        assert {route.choose(equal, "mei", str(key), now=0.0)[0].name for key in range(20)} == {there}
        await ended(url, session)

    asyncio.run(run())


def table() -> list[route.Worker]:
    return [replace(worker, heard=-age) for worker, age in launch.ask(NAME, "table", seconds=PATIENCE_S) if age < 1.0]


def test_a_killed_workers_session_goes_on_elsewhere_and_others_do_not_notice(url: str) -> None:
    async def run() -> None:
        sessions: dict[str, str] = {}
        more: list[str] = []
        while len(sessions) < 2:  # one on each: those where her avatar is in memory stay until the other has more room
            session = await opened(url, avatar="ada", seed=len(sessions))
            if sessions.setdefault(worker_of(session), session) != session:
                more.append(session)
        await ended(url, *more)
        (killed, lost), (_, other) = sessions.items()
        before, there = await soon(lambda: kept(lost, keepers())), serving()
        async with await client.connect(url, other) as agent:
            speaking = asyncio.ensure_future(say(agent, 3.0))
            os.kill(there[killed]["pid"], signal.SIGKILL)
            begun = time.monotonic()
            answer = await soon(lambda: resume(url, lost))
            assert answer["resumed"] and worker_of(answer["id"]) != killed  # on the spared one, if it has room
            now = await soon(lambda: shown(url, answer["id"]))
            logging.getLogger(__name__).info("shown again %.2f s after the kill", time.monotonic() - begun)
            assert now["pts"] >= max(before) and now["avatar"] == "ada"
            spoken = await speaking
            assert not spoken["interrupted"] and spoken["position"] == pytest.approx(3.0, abs=0.05)
        async with await client.connect(url, answer["id"]) as agent:
            assert not (await say(agent, 0.4))["interrupted"]
        await ended(url, other, answer["id"])

    asyncio.run(run())
    until(lambda: status()["lost"] and len(serving()) == 2)
    assert status()["lost"] == 1


async def shown(url: str, session: str) -> dict[str, Any] | None:
    """What is said of a session once it shows a picture."""
    found = await told(url, session)
    return found if found is not None and found["pts"] >= 0 else None


def test_a_director_that_is_killed_goes_on_with_its_workers(url: str) -> None:
    async def run() -> None:
        session = await opened(url)
        there, director = set(serving()), launch.find(NAME)
        pid = ray.get(director.pid.remote())
        os.kill(pid, signal.SIGKILL)
        assert await soon(lambda: shown(url, session))  # edges go on with what they know
        await asyncio.to_thread(until, lambda: _answers(director, pid))
        await asyncio.to_thread(until, lambda: len(serving()) == 2)
        assert set(serving()) == there
        await ended(url, session)

    asyncio.run(run())


def _answers(director: Any, not_from: int) -> bool:
    try:
        return int(ray.get(director.pid.remote(), timeout=5.0)) != not_from
    except ray.exceptions.RayError:
        return False


def test_a_drained_worker_takes_nothing_new_and_ends_with_its_last_session(url: str) -> None:
    async def run() -> None:
        session = await opened(url)
        drained, before = worker_of(session), status()["lost"]
        launch.ask(NAME, "drain", drained)
        await asyncio.to_thread(until, lambda: len(set(serving()) - {drained}) == 2)  # another takes its place
        for _ in range(3):
            new = await opened(url)
            assert worker_of(new) != drained
            await ended(url, new)
        assert await soon(lambda: shown(url, session))
        await ended(url, session)
        await asyncio.to_thread(until, lambda: drained not in {row["name"] for row in status()["workers"]})
        assert status()["lost"] == before

    asyncio.run(run())


def test_a_worker_that_nobody_has_cannot_be_drained(url: str) -> None:
    with pytest.raises(ValueError, match='no worker "nobody"'):
        launch.ask(NAME, "drain", "nobody")
