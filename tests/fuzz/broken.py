"""Targets that break, so that bench.fuzz can be seen to notice."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

from bench.fuzz_targets import Target


def every(count: int, what: Callable[[], None]) -> Callable[[bytes], Awaitable[bool]]:
    """An answer that does ``what`` on every so manieth input."""
    seen = [0]

    async def answer(data: bytes) -> bool:
        seen[0] += 1
        if seen[0] % count == 0:
            what()
        return True

    return answer


@contextlib.asynccontextmanager
async def raises() -> AsyncIterator[Target]:
    """Raises what is no refusal."""
    yield Target([b"seed"], every(10, lambda: {}["nothing"]))


@contextlib.asynccontextmanager
async def dies() -> AsyncIterator[Target]:
    """Takes its process with it."""
    yield Target([b"seed"], every(15, lambda: os.kill(os.getpid(), signal.SIGSEGV)))


@contextlib.asynccontextmanager
async def leaks() -> AsyncIterator[Target]:
    """Leaves something behind."""

    async def left() -> None:
        raise AssertionError("a session is left")

    yield Target([b"seed"], every(10**9, print), left=left)
