"""Who may connect."""

from __future__ import annotations

from pathlib import Path

import pytest

from streaming.config import LimitsConfig, ServerConfig, StreamConfig, TokenConfig
from streaming.guard import (
    ADDRESSES_KEPT,
    RateLimit,
    ServeError,
    check_bind,
    client_address,
    counted_as,
    host_fits,
    is_loopback,
    origin_fits,
    token_fits,
    with_secrets,
)
from streaming.limits import Buckets

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


def test_only_a_trusted_proxy_says_who_asks() -> None:
    config = ServerConfig(behind_proxy=True, token=SECRET, trusted_proxies=("127.0.0.1", "10.1.0.0/16", "fd00::/8"))
    for remote, forwarded, who in (
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),  # not our proxy: it says what it likes
        ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "1.2.3.4, 203.0.113.9", "203.0.113.9"),  # what comes before, the client wrote itself
        ("127.0.0.1", "1.2.3.4, 203.0.113.9, 10.1.2.3", "203.0.113.9"),  # two proxies of ours
        ("::ffff:127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("127.0.0.1", "203.0.113.9:80", "203.0.113.9"),
        ("127.0.0.1", "<script>", "unknown"),
        ("127.0.0.1", None, "127.0.0.1"),
    ):
        assert client_address(config, remote, forwarded) == who
    assert counted_as("2001:db8::7") == counted_as("2001:db8::8") != counted_as("2001:db8:0:1::7")
    assert counted_as("::ffff:192.0.2.1") == counted_as("192.0.2.1")


def test_a_secret_comes_from_a_file_that_nobody_else_can_read(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(SECRET + "\n")
    for mode, words in ((0o644, "can read"), (0o620, "can change"), (0o602, "can change")):
        file.chmod(mode)
        with pytest.raises(ServeError, match=words):
            check_bind(ServerConfig(token_file=str(file)))
    file.chmod(0o640)
    config = with_secrets(ServerConfig(token_file=str(file), tokens=(TokenConfig("eve", file=str(file)),)))
    assert config.token == config.tokens[0].secret == SECRET
    assert token_fits(ServerConfig(token_file=str(file)), f"Bearer {SECRET}")
    file.write_text("\n")
    for path, words in (
        (str(file), "empty"),
        (str(tmp_path / "nowhere"), "No such file"),
        (str(tmp_path), "directory"),
    ):
        with pytest.raises(ServeError, match=words):
            check_bind(ServerConfig(token_file=path))
    with pytest.raises(ServeError, match="both given"):
        check_bind(ServerConfig(token=SECRET, token_file=str(file)))
    with pytest.raises(ServeError, match="32 characters"):
        check_bind(ServerConfig(token_key="short"))
    with pytest.raises(ServeError, match="eve"):
        check_bind(ServerConfig(tokens=(TokenConfig("eve", "short"),)))


def test_no_secret_shows_when_a_setting_is_printed() -> None:
    config = ServerConfig(token=SECRET, token_key=SECRET, tokens=(TokenConfig("eve", SECRET),), turn_credential=SECRET)
    assert SECRET not in repr(config)


def test_tls_files_that_are_not_there_are_named() -> None:
    with pytest.raises(ServeError, match="nowhere.pem"):
        check_bind(ServerConfig(tls_cert="nowhere.pem", tls_key="nowhere.pem"))


def test_bad_settings_are_refused_by_name() -> None:
    twice = (TokenConfig("eve", SECRET), TokenConfig("eve", SECRET))
    for bad in (
        {"port": 70000},
        {"tls_cert": "x"},
        {"max_sessions": 0},
        {"trusted_proxies": ("here",)},
        {"tokens": twice},
        {"allowed_origins": ("https://x.example/path",)},
        {"embed_origins": ("https://x.example; script-src *",)},
        {"embed_origins": ("*",)},
    ):
        with pytest.raises(ValueError, match=f"server.{next(iter(bad))}"):
            ServerConfig(**bad)  # type: ignore[arg-type]
    for field in ("sessions_per_address", "idle_s"):
        with pytest.raises(ValueError, match=f"limits.{field}"):
            LimitsConfig(**{field: 0})
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
    for host in ("evil.example", "localhost.evil.example:8765", "", "[::1", "localhost:x@evil.example"):
        assert not host_fits(config, host)
    assert host_fits(ServerConfig(host="0.0.0.0"), "avatar.example")
    named = ServerConfig(host="0.0.0.0", names=("avatar.example",))
    assert host_fits(named, "avatar.example:443") and not host_fits(named, "evil.example")


def test_origin() -> None:
    config = ServerConfig(allowed_origins=("https://friend.example",))
    assert origin_fits(config, None, "localhost:8765")
    assert origin_fits(config, "http://localhost:8765", "localhost:8765")
    assert origin_fits(config, "https://friend.example", "localhost:8765")
    for origin in ("https://evil.example", "null", "http://localhost:9999", "http://[", ""):
        assert not origin_fits(config, origin, "localhost:8765")


def test_the_rate_limit_is_per_address_and_forgets_after_a_minute() -> None:
    limit = RateLimit(3)
    assert [limit.allow("a", t) for t in (0, 1, 2)] == [0, 0, 0]
    assert limit.allow("a", 10) == pytest.approx(50)
    assert limit.allow("b", 10) == 0
    assert limit.allow("a", 60.5) == 0


def test_many_addresses_do_not_pile_up() -> None:
    limit, buckets = RateLimit(3), Buckets(1.0, 3.0)
    for k in range(20_000):
        limit.allow(f"10.0.{k // 256}.{k % 256}", k * 1e-3)
        buckets.take(k, k * 1e-3)
    assert len(limit._events) <= ADDRESSES_KEPT
    assert len(buckets) <= ADDRESSES_KEPT


def test_a_bucket_fills_again_and_says_how_long_that_takes() -> None:
    buckets = Buckets(rate=10.0, burst=20.0)
    assert buckets.take("a", 0.0, 20.0) == 0
    assert buckets.take("a", 0.0, 5.0) == pytest.approx(0.5)
    assert buckets.take("b", 0.0, 5.0) == 0
    assert buckets.take("a", 0.5, 5.0) == 0
    assert buckets.take("a", 10.0, 1000.0) == pytest.approx(98)  # more than it ever holds
