"""What one address or one token may take: requests, bytes, sessions, viewers, connections, guesses. No table grows."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Any

from aiohttp import web

from streaming.config import LimitsConfig
from streaming.guard import ADDRESSES_KEPT, RateLimit, Refusal, counted_as
from streaming.tokens import Asker


class Buckets:
    """A token bucket a key: ``burst`` at once, and ``rate`` a second after that. Time is an argument."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._levels: dict[Hashable, tuple[float, float]] = {}

    def take(self, key: Hashable, now: float, amount: float = 1.0) -> float:
        """0 when ``amount`` was there (and took it), else the seconds until it would be, were there no top."""
        level, at = self._levels.pop(key, (self._burst, now))
        level = min(level + (now - at) * self._rate, self._burst)
        wait = 0.0 if amount <= level else (amount - level) / self._rate
        self._levels[key] = (level if wait else level - amount, now)  # the dict is in the order of the last word
        if len(self._levels) > ADDRESSES_KEPT:
            del self._levels[next(iter(self._levels))]
        return wait

    def __len__(self) -> int:
        return len(self._levels)


class Guesses:
    """Slows down whoever tries tokens. An address that was wrong too often is not listened to any more, but for tokens
    that were right from there before: nobody can lock out whoever is already in."""

    def __init__(self, per_minute: int) -> None:
        self._wrong = RateLimit(per_minute)
        self._right: dict[tuple[str, bytes], None] = {}

    def before(self, address: str, token: str, now: float) -> None:
        """Before ``token`` is looked at. Raises Refusal."""
        key = self._key(address, token)
        if key in self._right:
            self._right[key] = self._right.pop(key)
            return
        wait = self._wrong.peek(address, now)
        if wait > 0:
            raise Refusal(
                429, "too_many", f"too many wrong tokens came from your address; wait {wait:.0f} s",
                {"Retry-After": str(int(wait) + 1)},
            )  # fmt: skip

    def wrong(self, address: str, now: float) -> None:
        """It was none of ours."""
        self._wrong.allow(address, now)

    def right(self, address: str, token: str) -> None:
        """It was one of ours."""
        self._right[self._key(address, token)] = None
        if len(self._right) > ADDRESSES_KEPT:
            del self._right[next(iter(self._right))]

    def _key(self, address: str, token: str) -> tuple[str, bytes]:
        return counted_as(address), hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class Limits:
    """The limits of one server; ``private``: only this machine reaches it, and no address is counted."""

    def __init__(self, config: LimitsConfig, private: bool) -> None:
        self._config, self._private = config, private
        self._requests = Buckets(config.requests_per_minute / 60, config.requests_per_minute)
        hour = config.upload_mb_per_hour * 1e6
        self._bytes = Buckets(hour / 3600, hour)
        self.guesses = Guesses(config.failed_tokens_per_minute)

    def request(self, address: str, length: int, now: float) -> None:
        """One more request with a body of ``length`` bytes. Raises Refusal."""
        if self._private:
            return
        key = counted_as(address)
        if wait := self._requests.take(key, now):
            raise _too_many(f"at most {self._config.requests_per_minute} requests a minute", wait)
        if wait := self._bytes.take(key, now, max(length, 0)):
            raise _too_many(f"at most {self._config.upload_mb_per_hour:g} MB an hour come from one address", wait)

    def session(self, asker: Asker | None, others: Iterable[Asker | None]) -> None:
        """One more session, when ``others`` opened those that run. Raises Refusal."""
        if asker is None:
            return
        mine = [other for other in others if other is not None]
        key = counted_as(asker.address)
        here = sum(counted_as(other.address) == key for other in mine)
        if not self._private and here >= self._config.sessions_per_address:
            raise _too_many(f"{self._config.sessions_per_address} sessions of your address are open", 5)
        same = sum((other.name, other.id) == (asker.name, asker.id) for other in mine)
        if not asker.may("server") and same >= self._config.sessions_per_token:
            raise _too_many(f"{self._config.sessions_per_token} sessions of this token are open", 5)

    def viewer(self, asker: Asker | None, others: Iterable[Asker | None]) -> None:
        """One more connection that watches. Raises Refusal."""
        if asker is None or self._private:
            return
        key = counted_as(asker.address)
        here = sum(other is not None and counted_as(other.address) == key for other in others)
        if here >= self._config.viewers_per_address:
            raise _too_many(f"{self._config.viewers_per_address} viewers of your address are there", 5)


def _too_many(what: str, wait: float) -> Refusal:
    return Refusal(429, "too_many", f"{what}; wait {wait:.0f} s", {"Retry-After": str(int(wait) + 1)})


def bound_connections(server: web.Server, config: LimitsConfig, counted: bool) -> None:
    """Ends connections beyond what one address, and everybody together, may hold: ``server`` is AppRunner.server's.
    ``counted``: addresses are people's own, not a proxy's or this machine's."""
    held: dict[Any, str] = {}
    counts: Counter[str] = Counter()
    made, lost = server.connection_made, server.connection_lost

    def connection_made(handler: Any, transport: asyncio.Transport) -> None:
        peer = transport.get_extra_info("peername")
        address = counted_as(str(peer[0]) if isinstance(peer, tuple) and peer else "")
        held[handler] = address
        counts[address] += 1
        made(handler, transport)
        if len(held) > config.connections or (counted and counts[address] > config.connections_per_address):
            transport.abort()

    def connection_lost(handler: Any, exc: BaseException | None = None) -> None:
        if (address := held.pop(handler, None)) is not None:
            counts[address] -= 1
            if not counts[address]:
                del counts[address]
        lost(handler, exc)

    server.connection_made = connection_made  # type: ignore[method-assign]
    server.connection_lost = connection_lost  # type: ignore[method-assign, assignment]
