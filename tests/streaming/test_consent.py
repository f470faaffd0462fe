"""Whether a client is still there: who is on a bad line is, who vanished is not, and nobody is held to have agreed for
ever."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import aioice.ice
import pytest

from streaming import ice
from streaming.config import StreamConfig
from streaming.ice import Connection

from .double import DoubleEngine
from .harness import Settings, run, serving, until
from .lossy import Condition, behind


class Client(Connection):
    """An end whose client ``sends`` packets, or ``answers`` checks, or neither; ``ended`` once it was given up."""

    def __init__(self, sends: bool, answers: bool) -> None:
        super().__init__(ice_controlling=False)
        self._answers, self.ended, self.checks = answers, False, 0
        self._sending = asyncio.ensure_future(self._send()) if sends else None

    async def _send(self) -> None:
        while True:
            self.heard = time.monotonic()
            await asyncio.sleep(0.001)

    async def _agrees(self) -> bool:
        self.checks += 1
        await asyncio.sleep(0.002)
        return self._answers

    async def close(self) -> None:
        self.ended = True


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.02)
    monkeypatch.setattr(aioice.ice, "CONSENT_FAILURES", 4)
    monkeypatch.setattr(ice, "CONSENT_S", 1.0)


@pytest.mark.parametrize(
    ("sends", "answers", "least"), [(False, False, 0.08), (True, False, 1.0)], ids=["vanished", "never-agrees"]
)
def test_who_is_gone_is_given_up(sends: bool, answers: bool, least: float) -> None:
    async def work() -> None:
        begun, client = time.monotonic(), Client(sends, answers)
        await client.query_consent()
        assert client.ended and time.monotonic() - begun >= least

    run(work())


def test_who_answers_stays_and_is_asked_again_and_again() -> None:
    async def work() -> None:
        client = Client(sends=True, answers=True)
        asking = asyncio.ensure_future(client.query_consent())
        begun = time.monotonic()
        await until(lambda: client.checks > 20 and time.monotonic() - begun > 3 * ice.CONSENT_S)
        assert not client.ended
        asking.cancel()

    run(work())


def test_a_server_that_stood_still_does_not_hold_that_against_its_clients() -> None:
    async def work() -> None:
        client = Client(sends=True, answers=True)
        asking = asyncio.ensure_future(client.query_consent())
        for _ in range(5):
            await asyncio.sleep(0.05)
            time.sleep(0.3)  # nobody reads what came
        await asyncio.sleep(0.05)
        assert not client.ended
        asking.cancel()

    run(work())


def test_a_line_whose_answers_take_longer_than_a_check_waits_for_keeps_its_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        settings = Settings(stream=StreamConfig(heartbeat_s=600, consent_interval_s=0.3))
        async with serving(DoubleEngine(tmp_path, side=64, cost_s=0.001), settings) as address:
            slow = Condition(delay=400, overtaking=False)
            async with behind(address, slow) as (viewer, got, _):
                # aioice's four checks, half a second each, would have ended it three times in so many seconds
                await until(
                    lambda: len(got.pictures) > 1 and got.pictures[-1] - got.pictures[0] & 2**32 - 1 > 9 * 90_000
                )
                assert viewer.pc.connectionState == "connected"

    run(work(), 120)
