"""One question to all workers at once, and their answers put together."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import ClientError, web
from multidict import CIMultiDict

from streaming.edge.figures import together
from streaming.edge.link import Link
from streaming.edge.passing import back
from streaming.edge.route import Worker

PATIENCE_S: Final = 2.0  # for the slowest
PLAIN: Final = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus' text format


@dataclass(frozen=True, slots=True)
class Answer:
    """What one worker said."""

    worker: Worker
    status: int
    headers: CIMultiDict[str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """Its body; {} when that is no object."""
        try:
            told = json.loads(self.body)
        except ValueError:
            return {}
        return told if isinstance(told, dict) else {}

    def response(self) -> web.Response:
        """The same, for whoever asked."""
        return web.Response(status=self.status, headers=self.headers, body=self.body)


async def ask(link: Link, workers: Iterable[Worker], path: str, headers: CIMultiDict[str]) -> list[Answer]:
    """GET ``path`` of all of them: the answers that came in time, in the workers' order."""
    found = await asyncio.gather(*(_ask(link, worker, path, headers) for worker in workers))
    return [answer for answer in found if answer is not None]


def figures(texts: dict[str, str]) -> str:
    """The figures of all workers by name, as one text."""
    return together(texts) if texts else ""


async def _ask(link: Link, worker: Worker, path: str, headers: CIMultiDict[str]) -> Answer | None:
    try:
        async with asyncio.timeout(PATIENCE_S), link.ask(worker.address, "GET", path, headers) as answer:
            return Answer(worker, answer.status, back(answer.headers), await answer.read())
    except (ClientError, OSError, TimeoutError):
        return None
