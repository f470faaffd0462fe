"""Who may ask: bind rules, token, origin and host checks, a rate limit. Time is an argument where it matters."""

from __future__ import annotations

import hmac
import ipaddress
from collections import deque
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from streaming.config import ServerConfig

LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")
ADDRESSES_KEPT: Final = 4096


class Refusal(Exception):
    """An answer other than success: HTTP ``status``, a ``code`` for programs and a ``message`` for people."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers or {}


class ServeError(ValueError):
    """The server cannot start or go on as configured; the message says what to change."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_bind(config: ServerConfig) -> None:
    """Raises ServeError when ``config`` would let strangers in, or names files that are not there."""
    for name in ("tls_cert", "tls_key"):
        path = getattr(config, name)
        if path and not Path(path).is_file():
            raise ServeError(f"server.{name}: {path} is not a file")
    if is_private(config):
        return
    if len(config.token) < 16:
        how = "behind a proxy" if config.behind_proxy else f"on {config.host}"
        raise ServeError(
            f"listening {how} lets others in: set server.token to a secret of 16 characters or more, "
            "or keep server.host at 127.0.0.1 without a proxy"
        )
    if not config.tls_cert and not config.behind_proxy:
        raise ServeError(
            f"listening on {config.host} without TLS: set server.tls_cert and server.tls_key, "
            "or server.behind_proxy = true if a proxy in front of this server ends TLS"
        )


def is_private(config: ServerConfig) -> bool:
    """Whether only people at this machine reach the server."""
    return is_loopback(config.host) and not config.behind_proxy


def token_fits(config: ServerConfig, authorization: str | None) -> bool:
    """Whether an ``Authorization`` header carries the token; always, when none is configured."""
    given = (authorization or "").removeprefix("Bearer ")
    return not config.token or hmac.compare_digest(given.encode(), config.token.encode())


def host_fits(config: ServerConfig, host: str) -> bool:
    """On a loopback bind only loopback names are answered, so no web page can reach us by re-pointing its own name."""
    return not is_loopback(config.host) or config.behind_proxy or (urlsplit(f"//{host}").hostname or "") in LOCAL_NAMES


def origin_fits(config: ServerConfig, origin: str | None, host: str) -> bool:
    """Whether a page from ``origin`` may open sessions: our own page, one that is listed, or no page at all."""
    return origin is None or origin in config.allowed_origins or urlsplit(origin).netloc == host


def client_address(config: ServerConfig, remote: str | None, forwarded: str | None) -> str:
    """Who is asking: the connection's other end, or what our own proxy says of it (the last X-Forwarded-For)."""
    if config.behind_proxy and forwarded:
        return forwarded.rsplit(",", 1)[-1].strip()
    return remote or ""


class RateLimit:
    """At most ``limit`` events an address in any ``seconds``."""

    def __init__(self, limit: int, seconds: float = 60.0) -> None:
        self._limit, self._seconds = limit, seconds
        self._events: dict[str, deque[float]] = {}

    def allow(self, address: str, now: float) -> float:
        """0 when one more is fine (and counts it), else the seconds to wait."""
        if len(self._events) > ADDRESSES_KEPT:
            self._events = {a: e for a, e in self._events.items() if e and e[-1] > now - self._seconds}
        events = self._events.setdefault(address, deque())
        while events and events[0] <= now - self._seconds:
            events.popleft()
        if len(events) >= self._limit:
            return events[0] + self._seconds - now
        events.append(now)
        return 0.0
