"""Who may ask: bind rules, secrets from files, host and origin checks, addresses, a rate limit. Time is an argument."""

from __future__ import annotations

import hmac
import ipaddress
import os
import stat
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from multidict import CIMultiDictProxy

from streaming.config import ServerConfig

LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")
ADDRESSES_KEPT: Final = 4096
LEAST_SECRET: Final = 16  # characters
SECRETS_FOLDER: Final = Path("/run/secrets")  # where containers put them, readable by everybody inside


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
    config = with_secrets(config)
    for named in config.tokens:
        if len(named.secret) < LEAST_SECRET:
            raise ServeError(f'server.tokens "{named.name}": a secret has {LEAST_SECRET} characters or more')
    if is_private(config):
        return
    if len(config.token) < LEAST_SECRET:
        how = "behind a proxy" if config.behind_proxy else f"on {config.host}"
        raise ServeError(
            f"listening {how} lets others in: set server.token (or server.token_file) to a secret of {LEAST_SECRET} "
            "characters or more, or keep server.host at 127.0.0.1 without a proxy"
        )
    if not config.tls_cert and not config.behind_proxy:
        raise ServeError(
            f"listening on {config.host} without TLS: set server.tls_cert and server.tls_key, "
            "or server.behind_proxy = true if a proxy in front of this server ends TLS"
        )


def is_private(config: ServerConfig) -> bool:
    """Whether only people at this machine reach the server."""
    return is_loopback(config.host) and not config.behind_proxy


def server_token(config: ServerConfig) -> str:
    """The token that opens everything; empty when there is none. Raises ServeError."""
    return _either(config, "token")


def token_key(config: ServerConfig) -> str:
    """What signs short-lived tokens, if it is configured. Raises ServeError."""
    key = _either(config, "token_key")
    if key and len(key) < 32:
        raise ServeError("server.token_key: a key has 32 characters or more; `openssl rand -hex 32` makes one")
    return key


def with_secrets(config: ServerConfig) -> ServerConfig:
    """``config`` with the secrets that files hold in the place of the files' names. Raises ServeError."""
    return replace(
        config, token=server_token(config), token_file="", token_key=token_key(config), token_key_file="",
        turn_secret=_either(config, "turn_secret"), turn_secret_file="",
        tokens=tuple(
            replace(named, secret=named.secret or read_secret(named.file, f'server.tokens "{named.name}"'), file="")
            for named in config.tokens
        ),
    )  # fmt: skip


def _either(config: ServerConfig, name: str) -> str:
    given, file = getattr(config, name), getattr(config, f"{name}_file")
    if given and file:
        raise ServeError(f"server.{name} and server.{name}_file are both given: keep one")
    return str(given or (read_secret(file, f"server.{name}_file") if file else ""))


def read_secret(path: str, where: str) -> str:
    """The first line of a file that other users of this machine can neither read nor write. Raises ServeError."""
    try:
        with open(path, encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            line = file.readline(4096).strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise ServeError(f"{where}: {path} cannot be read: {getattr(problem, 'strerror', None) or problem}") from None
    if not stat.S_ISREG(status.st_mode):
        raise ServeError(f"{where}: {path} is not a file")
    if os.name == "posix" and SECRETS_FOLDER not in Path(path).absolute().parents:
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ServeError(f"{where}: other users can change {path}; say: chmod 600 {path}")
        if status.st_mode & stat.S_IROTH:
            raise ServeError(f"{where}: every user of this machine can read {path}; say: chmod 600 {path}")
    if not line:
        raise ServeError(f"{where}: the first line of {path} is empty")
    return line


def token_fits(config: ServerConfig, authorization: str | None) -> bool:
    """Whether an ``Authorization`` header carries the server's token; always, when there is none."""
    token = server_token(config)
    return not token or hmac.compare_digest((authorization or "").removeprefix("Bearer ").encode(), token.encode())


def host_fits(config: ServerConfig, host: str) -> bool:
    """On a loopback bind only loopback names are answered, so no web page can reach us by re-pointing its own name;
    with ``server.names`` only those are."""
    name = _name(host)
    if name in LOCAL_NAMES:
        return True
    if config.names:
        return name in config.names
    return not is_loopback(config.host) or config.behind_proxy


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def origin_fits(config: ServerConfig, origin: str | None, host: str) -> bool:
    """Whether a page from ``origin`` may ask for anything: our own page, one that is listed, or no page at all."""
    if origin is None or origin in config.allowed_origins:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.netloc == host != "" and (parts.scheme == "https" or not config.tls_cert)


def client_address(config: ServerConfig, remote: str | None, forwarded: str | None) -> str:
    """Who is asking: the connection's other end, or when that is a proxy we trust, whom it says it asks for: the last
    address in X-Forwarded-For that is no such proxy itself. What stands before it anybody can have written."""
    said = [part.strip() for part in (forwarded or "").split(",") if part.strip()] if config.behind_proxy else []
    address = remote or ""
    while said and _trusted(config, address):
        address = _bare(said.pop())
    return address


def forwarded_for(headers: CIMultiDictProxy[str]) -> str:
    """What proxies say of whom they ask for: some add to the client's line, others write one of their own below it."""
    return ",".join(headers.getall("X-Forwarded-For", []))


def _trusted(config: ServerConfig, address: str) -> bool:
    try:
        given = ipaddress.ip_address(address)
    except ValueError:
        return not address  # a socket of this machine has none
    if isinstance(given, ipaddress.IPv6Address) and given.ipv4_mapped is not None:
        given = given.ipv4_mapped
    return any(given in ipaddress.ip_network(network) for network in config.trusted_proxies)


def _bare(said: str) -> str:
    """An address without port and brackets; "unknown" for what is none."""
    bare = said[1:].partition("]")[0] if said.startswith("[") else said
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return "unknown"


def counted_as(address: str) -> str:
    """Under which name an address is counted: one line of a provider has 2**64 of IPv6's."""
    try:
        given = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(given, ipaddress.IPv4Address):
        return str(given)
    return str(given.ipv4_mapped or ipaddress.ip_network((given, 64), strict=False))


class RateLimit:
    """At most ``limit`` events an address in any ``seconds``; the addresses heard of longest ago are forgotten."""

    def __init__(self, limit: int, seconds: float = 60.0) -> None:
        self._limit, self._seconds = limit, seconds
        self._events: dict[str, deque[float]] = {}

    def allow(self, address: str, now: float) -> float:
        """0 when one more is fine (and counts it), else the seconds to wait."""
        wait, key = self.peek(address, now), counted_as(address)
        events = self._events.pop(key, None) or deque()
        self._events[key] = events  # the dict is in the order of the last word
        if len(self._events) > ADDRESSES_KEPT:
            del self._events[next(iter(self._events))]
        if not wait:
            events.append(now)
        return wait

    def peek(self, address: str, now: float) -> float:
        """The same, and counts nothing."""
        events = self._events.get(counted_as(address), deque())
        while events and events[0] <= now - self._seconds:
            events.popleft()
        return events[0] + self._seconds - now if len(events) >= self._limit else 0.0
