"""Who may connect."""

from __future__ import annotations

from pathlib import Path

import pytest

from streaming.config import ServerConfig, StreamConfig
from streaming.guard import (
    RateLimit,
    ServeError,
    check_bind,
    client_address,
    host_fits,
    is_loopback,
    origin_fits,
    token_fits,
)

SECRET = "a-secret-of-enough-length"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_nothing(host: str) -> None:
    assert is_loopback(host)
    check_bind(ServerConfig(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_other_addresses_need_a_token_and_tls(host: str, tmp_path: Path) -> None:
    with pytest.raises(ServeError, match="server.token"):
        check_bind(ServerConfig(host=host))
    with pytest.raises(ServeError, match="server.token"):
        check_bind(ServerConfig(host=host, token="short", behind_proxy=True))
    with pytest.raises(ServeError, match="TLS"):
        check_bind(ServerConfig(host=host, token=SECRET))
    check_bind(ServerConfig(host=host, token=SECRET, behind_proxy=True))
    pem = tmp_path / "x.pem"
    pem.write_text("")
    check_bind(ServerConfig(host=host, token=SECRET, tls_cert=str(pem), tls_key=str(pem)))


def test_a_proxy_on_this_machine_brings_strangers_too() -> None:
    with pytest.raises(ServeError, match="behind a proxy"):
        check_bind(ServerConfig(behind_proxy=True))
    proxied = ServerConfig(behind_proxy=True, token=SECRET)
    check_bind(proxied)
    assert host_fits(proxied, "avatar.example")
    assert client_address(proxied, "127.0.0.1", "203.0.113.9, 198.51.100.4") == "198.51.100.4"
    assert client_address(ServerConfig(), "127.0.0.1", "203.0.113.9") == "127.0.0.1"


def test_tls_files_that_are_not_there_are_named() -> None:
    with pytest.raises(ServeError, match="nowhere.pem"):
        check_bind(ServerConfig(tls_cert="nowhere.pem", tls_key="nowhere.pem"))


def test_bad_settings_are_refused_by_name() -> None:
    for bad in ({"port": 70000}, {"tls_cert": "x"}, {"max_sessions": 0}):
        with pytest.raises(ValueError, match=f"server.{next(iter(bad))}"):
            ServerConfig(**bad)  # type: ignore[arg-type]
    for bad in ({"codec": "av1"}, {"bitrate_floor": 9_000_000}):
        with pytest.raises(ValueError, match=f"stream.{next(iter(bad))}"):
            StreamConfig(**bad)  # type: ignore[arg-type]


def test_token() -> None:
    config = ServerConfig(token=SECRET)
    assert token_fits(config, f"Bearer {SECRET}")
    assert not token_fits(config, f"Bearer {SECRET}x")
    assert not token_fits(config, "Bearer é")
    assert not token_fits(config, None)
    assert token_fits(ServerConfig(), None)


def test_a_loopback_server_answers_to_loopback_names_only() -> None:
    config = ServerConfig()
    for host in ("localhost:8765", "127.0.0.1", "[::1]:80"):
        assert host_fits(config, host)
    for host in ("evil.example", "localhost.evil.example:8765", ""):
        assert not host_fits(config, host)
    assert host_fits(ServerConfig(host="0.0.0.0"), "avatar.example")


def test_origin() -> None:
    config = ServerConfig(allowed_origins=("https://friend.example",))
    assert origin_fits(config, None, "localhost:8765")
    assert origin_fits(config, "http://localhost:8765", "localhost:8765")
    assert origin_fits(config, "https://friend.example", "localhost:8765")
    for origin in ("https://evil.example", "null", "http://localhost:9999"):
        assert not origin_fits(config, origin, "localhost:8765")


def test_the_rate_limit_is_per_address_and_forgets_after_a_minute() -> None:
    limit = RateLimit(3)
    assert [limit.allow("a", t) for t in (0, 1, 2)] == [0, 0, 0]
    assert limit.allow("a", 10) == pytest.approx(50)
    assert limit.allow("b", 10) == 0
    assert limit.allow("a", 60.5) == 0


def test_many_addresses_do_not_pile_up() -> None:
    limit = RateLimit(3)
    for k in range(20_000):
        limit.allow(f"10.0.{k // 256}.{k % 256}", k * 0.1)
    assert len(limit._events) < 6000
