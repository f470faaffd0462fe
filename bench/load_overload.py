"""Three times as many as fit: what becomes of those who were let in, and what the others are told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import numpy as np
from rich.console import Console

from bench.load_clients import Client, Turned, _read, until_seen
from bench.load_live import Row, client, told, voice, watch
from bench.load_server import Mode, Server, running
from streaming import patches
from streaming.config import StreamConfig

TIMES: Final = 3  # openings, for each session that fits
FILL_S: Final = 3.0  # between two who come while there is room
TWICE: Final = 2  # refused so often, the server is full
ASK_S: Final = 30.0


@dataclass
class Answers:
    """What those who asked were told. ``refused``: (status, code, words, Retry-After) of each; times in ms."""

    asked: int = 0
    let_in: list[str] = field(default_factory=list)  # ids of sessions that were opened after all
    refused: list[Turned] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)  # neither in nor refused with words
    times: list[float] = field(default_factory=list)

    @property
    def clear(self) -> int:
        """Refusals that a program and a person understand: 503 or 429, a code, a sentence, when to try again."""
        return sum(
            t.status in (429, 503) and t.code != "none" and len(t.words) > 20 and (t.retry_after or "").isdigit()
            for t in self.refused
        )

    def words(self) -> list[str]:
        """One refusal of each kind, as it was said."""
        kinds = {(t.status, t.code): f"Retry-After {t.retry_after}: {t.words}" for t in reversed(self.refused)}
        return [f"{status} {code}, {said}" for (status, code), said in kinds.items()]


@dataclass(frozen=True)
class Found:
    """Rows of those who were in: before, while others asked, and of those who were let in when all came at once."""

    before: Row
    during: Row
    answers: Answers
    burst: Row | None
    burst_answers: Answers
    full: bool  # whether the server ever refused by itself


def worst_p95(row: Row) -> float:
    """The p95 (ms) of the session that has the worst, from voice to picture."""
    return max((float(np.percentile(v.late, 95)) for v in row.verdicts if v.late), default=float("nan"))


async def ask(address: str, answers: Answers) -> None:
    """One opening without a client behind it: it paints, and nobody looks."""
    answers.asked += 1
    begun = time.monotonic()
    limit = aiohttp.ClientTimeout(ASK_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit) as http,
            http.post(f"{address}v1/sessions", json={"type": "agent"}) as response,
        ):
            answers.let_in.append(str((await _read(response))["id"]))
    except Turned as turned:
        answers.refused.append(turned)
    except (aiohttp.ClientError, TimeoutError) as problem:
        answers.unclear.append(f"{type(problem).__name__}: {problem}")
    answers.times.append(1e3 * (time.monotonic() - begun))


async def fill(server: Server, most: int) -> tuple[list[Client], bool]:
    """Clients that come one after the other until the server refuses, or ``most`` are in."""
    said, clients, refused = voice(), list[Client](), 0
    while len(clients) < most and refused < TWICE:
        try:
            clients.append(await client("websocket", server.address, len(clients), said).open())
            await until_seen(clients)
        except Turned:
            refused += 1
        await asyncio.sleep(FILL_S)
    return clients, refused > 0


async def press(address: str, many: int, seconds: float, answers: Answers) -> None:
    """Half of ``many`` ask at once, the others one after the other in ``seconds``."""
    await asyncio.gather(*(ask(address, answers) for _ in range(many // 2)))
    begun, rest = time.monotonic(), many - many // 2
    for k in range(rest):
        await asyncio.sleep(max(begun + (k + 1) * seconds / (rest + 1) - time.monotonic(), 0.0))
        await ask(address, answers)


async def dismiss(address: str, answers: Answers) -> None:
    """Ends the sessions that were opened by ``ask``."""
    async with aiohttp.ClientSession() as http:
        for name in answers.let_in:
            with contextlib.suppress(aiohttp.ClientError):
                async with http.delete(f"{address}v1/sessions/{name}"):
                    pass


async def _overload(server: Server, seconds: float, most: int, log: Console) -> Found:
    clients, full = await fill(server, most)
    answers, later = Answers(), Answers()
    try:
        if not clients:
            raise OSError("the server takes no session at all")
        log.print(f"{len(clients)} are in{'' if full else ', and nothing was refused'}")
        before = await watch(clients, server, seconds)
        log.print(told("before", before))
        pressing = asyncio.ensure_future(press(server.address, TIMES * len(clients), 0.8 * seconds, answers))
        during = await watch(clients, server, seconds)
        await pressing
        log.print(told("while others ask", during))
        await dismiss(server.address, answers)
    finally:
        await asyncio.gather(*(one.close() for one in clients), return_exceptions=True)
    await asyncio.sleep(2.0)
    burst = await _burst(server, TIMES * len(clients), seconds, later)
    if burst is not None:
        log.print(told("all at once", burst))
    return Found(before, during, answers, burst, later, full)


async def _burst(server: Server, many: int, seconds: float, answers: Answers) -> Row | None:
    """``many`` clients at once at an empty server; None when nobody gets in."""
    said = voice()
    wanted = [client("websocket", server.address, k, said) for k in range(many)]
    answers.asked = many
    came: list[Any] = await asyncio.gather(*(one.open() for one in wanted), return_exceptions=True)
    for result in came:
        if isinstance(result, Turned):
            answers.refused.append(result)
        elif isinstance(result, BaseException):
            answers.unclear.append(f"{type(result).__name__}: {result}")
    clients = [one for one, result in zip(wanted, came, strict=True) if one is result]
    answers.let_in = [one.id for one in clients]
    try:
        if not clients:
            return None
        await until_seen(clients, 60.0)
        await asyncio.sleep(FILL_S)
        return await watch(clients, server, seconds)
    finally:
        await asyncio.gather(*(one.close() for one in clients), return_exceptions=True)


def run(mode: Mode, seconds: float, most: int, log: Console) -> Found:
    """Fills a server, then presses, then tries all at once. Raises OSError when the server does not start."""
    patches.install(StreamConfig())
    with running(mode) as server:
        return asyncio.run(_overload(server, seconds, most, log))
