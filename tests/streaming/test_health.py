"""Alive, ready, and the end: a server that is told to stop lets its sessions finish, and says so."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from streaming.app import Server
from streaming.config import PortraitConfig, ServerConfig, StreamConfig
from streaming.health import FAILURES, FORGIVEN_S, Health
from streaming.hub import Hub
from streaming.listen import Stop
from streaming.live import Options
from streaming.portraits import NoRoom, Portraits
from streaming.server import drain

from .double import DoubleEngine
from .harness import Settings, run, serving, until


@pytest.fixture
def engine(tmp_path: Path) -> DoubleEngine:
    return DoubleEngine(tmp_path)


async def get(http: ClientSession, address: str) -> tuple[int, Any]:
    async with http.get(address) as response:
        return response.status, await response.json()


def test_a_full_server_is_alive_but_not_ready(engine: DoubleEngine) -> None:
    async def work() -> None:
        settings = Settings(server=ServerConfig(port=0, max_sessions=1))
        async with serving(engine, settings) as address, ClientSession() as http:
            assert await get(http, f"{address}readyz") == (200, {"status": "ready", "reasons": []})
            async with http.post(f"{address}v1/sessions", json={"type": "agent"}) as response:
                name = (await response.json())["id"]
            assert await get(http, f"{address}readyz") == (503, {"status": "not ready", "reasons": ["full"]})
            assert (await get(http, f"{address}healthz"))[0] == 200
            await (await http.delete(f"{address}v1/sessions/{name}")).read()
            assert (await get(http, f"{address}readyz"))[0] == 200

    run(work())


def test_health_is_told_to_whoever_asks_though_everything_else_needs_a_token(engine: DoubleEngine) -> None:
    async def work() -> None:
        settings = Settings(server=ServerConfig(port=0, behind_proxy=True, token="a-token-of-enough-letters"))
        async with serving(engine, settings) as address, ClientSession() as http:
            address = address.split("#")[0]
            assert (await get(http, f"{address}healthz"))[0] == 200 == (await get(http, f"{address}readyz"))[0]
            assert (await get(http, f"{address}v1/avatars"))[0] == 401

    run(work())


def test_an_engine_that_lets_sessions_down_is_not_ready_for_a_while(engine: DoubleEngine) -> None:
    async def work() -> None:
        now = [100.0]
        hub = Hub(engine, ServerConfig(), StreamConfig())  # type: ignore[arg-type]
        health = Health(hub, lambda: now[0])
        engine.fail_open = True
        for count in range(FAILURES):
            assert health.reasons() == [], count
            hub.open(Options("ada", "upper", 0))
            await until(lambda: not hub.lives)
        assert health.reasons() == ["engine"]
        now[0] += FORGIVEN_S + 1
        assert health.reasons() == []
        now[0] -= FORGIVEN_S
        engine.fail_open = False
        live = hub.open(Options("ada", "upper", 0))
        await until(lambda: live.shown_pts >= 0)
        assert health.reasons() == []  # it paints again
        await hub.stop()

    run(work())


def test_a_server_that_drains_takes_nobody_new_and_ends_with_its_last_session(engine: DoubleEngine) -> None:
    async def work() -> None:
        hub = Hub(engine, ServerConfig(), StreamConfig())  # type: ignore[arg-type]
        health = Health(hub)
        live = hub.open(Options("ada", "upper", 0))
        draining = asyncio.create_task(drain(hub, 60.0, asyncio.Event()))
        await until(lambda: health.reasons() == ["draining"])
        assert not draining.done() and not live.closing
        await live.close("asked to")
        await asyncio.wait_for(draining, 20)

    run(work())


def test_a_server_that_is_about_to_stop_takes_no_photographs(engine: DoubleEngine, tmp_path: Path) -> None:
    async def work() -> None:
        portraits = Portraits(PortraitConfig(folder=str(tmp_path)), engine)  # type: ignore[arg-type]
        server = Server(engine, Settings(), portraits)  # type: ignore[arg-type]
        with portraits.place():
            pass
        server.hub.draining = True
        with pytest.raises(NoRoom, match="about to stop"), portraits.place():
            pass

    run(work())


@pytest.mark.parametrize(("signals", "at_once"), [((signal.SIGTERM,), False), ((signal.SIGTERM, signal.SIGTERM), True),
                                                  ((signal.SIGINT,), True)])  # fmt: skip
def test_one_signal_to_end_lets_sessions_finish_and_a_second_does_not(
    signals: tuple[int, ...], at_once: bool, engine: DoubleEngine
) -> None:
    async def work() -> None:
        hub, stop = Hub(engine, ServerConfig(), StreamConfig()), Stop()  # type: ignore[arg-type]
        live = hub.open(Options("ada", "upper", 0))
        loop = asyncio.get_running_loop()
        stop.listen(loop)
        try:
            for number in signals:
                os.kill(os.getpid(), number)
                await stop.told.wait()
                await asyncio.sleep(0.05)
            draining = asyncio.create_task(drain(hub, 60.0, stop.now))
            await asyncio.sleep(0.3)
            assert draining.done() == at_once
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
        await live.close("asked to")
        await asyncio.wait_for(draining, 20)

    run(work())


def test_a_drain_ends_when_its_time_is_over(engine: DoubleEngine) -> None:
    async def work() -> None:
        hub = Hub(engine, ServerConfig(), StreamConfig())  # type: ignore[arg-type]
        hub.open(Options("ada", "upper", 0))
        await asyncio.wait_for(drain(hub, 0.2, asyncio.Event()), 20)
        assert hub.lives and hub.draining
        await hub.stop()

    run(work())


def test_signals_are_heard_where_the_loop_cannot_hear_them_itself() -> None:
    async def work() -> None:
        class Windows:
            def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
                self.call_soon_threadsafe = loop.call_soon_threadsafe

            def add_signal_handler(self, *_: object) -> None:
                raise NotImplementedError

        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        stop = Stop()
        stop.listen(Windows(asyncio.get_running_loop()))  # type: ignore[arg-type]
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(stop.told.wait(), 20)
            assert not stop.now.is_set()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    run(work())
