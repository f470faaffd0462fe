"""Real sessions of a real server: 1, 2, 3 ... clients that speak and watch, until it does not keep up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from bench.load_clients import Caller, Client, Listener, Record, Turned, until_seen
from bench.load_inprocess import speech
from bench.load_server import Mode, Server, running
from bench.load_traces import Painted, Verdict, jitter, judge
from streaming import patches
from streaming.config import StreamConfig

Kind = Literal["websocket", "webrtc"]
SETTLE_S: Final = 3.0
BEYOND: Final = 1  # numbers of sessions that are tried after the first that was too many
AVATARS: Final = ("ada", "leo", "kofi", "mei", "nora", "omar", "zoe", "maya")


@dataclass(frozen=True)
class Row:
    """What ``sessions`` clients got at once: ``verdicts`` by when frames were painted, ``delivered`` by when they had
    arrived at the client, both against the arrival of their voice at the server. Lists of ms; cores busy."""

    sessions: int
    verdicts: tuple[Verdict, ...]
    delivered: tuple[Verdict, ...]
    jitter: tuple[float, ...]
    skews: tuple[float, ...]
    voice_ahead: tuple[float, ...]
    dropped_ms: float
    cores: float
    client_cores: float
    headroom: float | None = None
    refusal: str | None = None


def voice() -> NDArray[np.int16]:
    """What is said: (n,) s16 at 48 kHz."""
    return np.asarray(np.rint(np.clip(speech(), -1, 1) * 32767), np.int16)


def client(kind: Kind, address: str, number: int, said: NDArray[np.int16]) -> Client:
    """One of them, not connected yet; each says another part of ``said``."""
    options = {"avatar": AVATARS[number % len(AVATARS)], "seed": number + 1}
    part = np.roll(said, -number * 140_000)
    return (Caller if kind == "webrtc" else Listener)(address, part, options)


def ramp(
    kind: Kind, mode: Mode, seconds: float, counts: range, log: Console
) -> tuple[list[Row], OSError | None, dict[int, str]]:  # fmt: skip
    """Rows for each of ``counts`` clients, to the last, a refusal, or some beyond what keeps up; why no more came, and
    the server's processes. Raises OSError when the server does not start, or nobody ever sees anything."""
    patches.install(StreamConfig())
    with running(mode) as server:
        return asyncio.run(_ramp(kind, server, seconds, counts, log))


async def _ramp(
    kind: Kind, server: Server, seconds: float, counts: range, log: Console
) -> tuple[list[Row], OSError | None, dict[int, str]]:
    said, rows, failed = voice(), list[Row](), 0
    clients: list[Client] = []
    refusal: OSError | None = None
    try:
        while len(clients) < counts[-1] and failed <= BEYOND and refusal is None:
            refusal = await _one_more(kind, server, clients, said)
            if refusal is not None and not clients:
                raise refusal
            if refusal is not None and rows:
                break
            if refusal is None and len(clients) not in counts:
                continue
            await asyncio.sleep(SETTLE_S)
            row = await watch(clients, server, seconds)
            rows.append(row)
            failed += not all(v.keeps_up for v in row.verdicts)
            log.print(told(kind, row))
        return rows, refusal, server.family()
    finally:
        await asyncio.gather(*(one.close() for one in clients), return_exceptions=True)


async def _one_more(kind: Kind, server: Server, clients: list[Client], said: NDArray[np.int16]) -> OSError | None:
    """Adds one to ``clients``; why not, when it is refused, or taken and shown nothing: that is too many, too."""
    try:
        clients.append(await client(kind, server.address, len(clients), said).open())
        await until_seen(clients)
    except OSError as problem:
        return problem
    return None


async def watch(clients: Sequence[Client], server: Server, seconds: float) -> Row:
    """The next ``seconds`` of all of them."""
    begin, before, own = time.monotonic(), server.cpu(), time.process_time()
    dropped = sum(one.record.dropped_ms for one in clients)
    marks = [len(one.record.skews) for one in clients]
    await asyncio.sleep(seconds)
    cores = server.cores_since(before, begin)
    end = begin + seconds
    client_cores = (time.process_time() - own) / (time.monotonic() - begin)
    await asyncio.sleep(0.5)  # stamps come five frames at a time
    records = [one.record for one in clients]
    return Row(
        sessions=len(clients),
        verdicts=tuple(judge(within(r.rows(), begin, end), begin, end) for r in records),
        delivered=tuple(judge(within(r.rows(delivered=True), begin, end), begin, end) for r in records),
        jitter=tuple(ms for r in records for ms in _jitter(r, begin, end)),
        skews=tuple(ms for r, mark in zip(records, marks, strict=True) for ms in r.skews[mark:]),
        voice_ahead=tuple(ms for r in records for ms in voice_ahead(r, begin, end)),
        dropped_ms=sum(one.record.dropped_ms for one in clients) - dropped,
        cores=cores,
        client_cores=client_cores,
    )


def within(rows: Sequence[Painted], begin: float, end: float) -> list[Painted]:
    """Those around the stretch: the rest of a long record need not be looked at again."""
    return [row for row in rows if begin - 1 <= row.due < end + 1]


def _jitter(record: Record, begin: float, end: float) -> list[float]:
    seen = [(p.media, p.arrived) for p in record.pictures if begin <= p.arrived < end and p.media is not None]
    return jitter([media for media, _ in seen], [at for _, at in seen])


def voice_ahead(record: Record, begin: float, end: float) -> list[float]:
    """How long (ms) a viewer has had a picture's voice when the picture comes: what it holds back for lips to match."""
    heard = [(media, at) for at, media in record.voice if media is not None]
    if len(heard) < 2:
        return []
    media, at = (np.array(column) for column in zip(*sorted(heard), strict=True))
    seen = [
        (p.media, p.arrived) for p in record.pictures
        if p.media is not None and begin <= p.arrived < end and media[0] <= p.media <= media[-1]
    ]  # fmt: skip
    return [1e3 * (arrived - float(np.interp(moment, media, at))) for moment, arrived in seen]


def told(kind: str, row: Row) -> str:
    """One line of it."""
    late = [ms for v in row.verdicts for ms in v.late]
    p50, p99 = np.percentile(late, (50, 99)) if late else (np.nan, np.nan)
    return (
        f"{kind}: {row.sessions} sessions: {min(v.fps for v in row.verdicts):.1f} fps at least, "
        f"{100 * max(v.missed_share for v in row.verdicts):.1f} % missed at most, painted {p50:.0f} ms (p99 {p99:.0f}) "
        f"after the voice, server {row.cores:.2f} cores, clients {row.client_cores:.2f}"
    )


def plain(turned: Turned) -> dict[str, Any]:
    """A refusal for JSON."""
    return {"status": turned.status, "code": turned.code, "words": turned.words, "retry_after": turned.retry_after}
