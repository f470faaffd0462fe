"""Which servers a client is told of, and that the credentials it gets are good for a real TURN server, for a time."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from aioice.candidate import Candidate
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from streaming import patches
from streaming.config import ServerConfig, StreamConfig
from streaming.guard import with_secrets
from streaming.ice import Connection, credentials, ice_servers, own_servers

from .coturn import SECRET, TURNSERVER, coturn
from .double import DoubleEngine
from .harness import PATIENT, Settings, Viewer, free_ports, run, serving, until

needs_coturn = pytest.mark.skipif(TURNSERVER is None, reason="no coturn on this machine (Debian: coturn)")


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(patches, "_host_addresses", lambda v4, v6: [])
    patches.install(StreamConfig())
    monkeypatch.setattr(Connection, "silent", {})
    monkeypatch.setattr(Connection.get_component_candidates, "__defaults__", (20.0,))  # TURN servers here may be slow
    yield
    patches.install(StreamConfig())


@pytest.fixture(scope="module")
def turn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with coturn(tmp_path_factory.mktemp("coturn")) as port:
        yield port


def test_nobody_is_asked_unless_configured() -> None:
    assert ice_servers(ServerConfig(), 0) == []
    assert own_servers(ServerConfig(), 0) == []


def test_fixed_credentials_are_passed_on_and_the_old_key_comes_first() -> None:
    server = ServerConfig(
        stun=("stun:192.0.2.1:3478",), turn_url="turn:192.0.2.1:3478", turn_user="u", turn_credential="c",
        turn=("turns:192.0.2.1:443?transport=tcp", "turn:192.0.2.1:3478"),
    )  # fmt: skip
    stun, first, second = ice_servers(server, 0)
    assert stun == {"urls": "stun:192.0.2.1:3478"}
    assert first == {"urls": "turn:192.0.2.1:3478", "username": "u", "credential": "c"}
    assert second["urls"] == "turns:192.0.2.1:443?transport=tcp"
    assert [entry.urls for entry in own_servers(server, 0)] == [stun["urls"], first["urls"], second["urls"]]


def test_credentials_name_the_moment_they_expire_and_are_the_hmac_of_that() -> None:
    user, word = credentials("secret", 600, 1_000_000, "eve")
    assert user == "1000600:eve"
    # printf %s 1000600:eve | openssl dgst -sha1 -hmac secret -binary | base64
    assert word == "rmawcEIK6G0S3zidDiz+pqjshl8="


def test_the_secret_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")
    (tmp_path / "secret").chmod(0o600)
    config = with_secrets(ServerConfig(turn=("turn:192.0.2.1",), turn_secret_file=str(tmp_path / "secret")))
    [entry] = ice_servers(config, 1_000_000 - 3000)
    assert entry["credential"] == credentials("secret", 3600, 1_000_000 - 3000)[1]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"stun": ("turn:x",)}, "server.stun takes"),
        ({"turn": ("http://x",)}, "server.turn takes"),
        ({"turn_url": "x"}, "server.turn_url must be"),
        ({"turn_secret": "s", "turn_user": "u"}, "leave out server.turn_user"),
        ({"turn_ttl_s": 5.0}, "turn_ttl_s must lie in"),
        ({"public_ip": "my.host"}, "public_ip must be an IP address"),
        ({"media_ports": (40000,)}, "media_ports must be"),
        ({"media_ports": (50000, 40000)}, "media_ports must be"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ServerConfig(**keys)


def settings(port: int, **keys: Any) -> Settings:
    urls = (f"turn:127.0.0.1:{port}?transport=udp", f"turn:127.0.0.1:{port}?transport=tcp")
    server = ServerConfig(port=0, sessions_per_minute=10_000, turn=urls, turn_secret=SECRET, **keys)
    return Settings(server, stream=PATIENT)


async def told(address: str) -> dict[str, Any]:
    async with ClientSession() as http, http.get(f"{address}v1/ice") as response:
        assert response.headers["Cache-Control"] == "no-store"
        return dict(await response.json())


async def relayed(servers: list[dict[str, Any]]) -> list[Candidate]:
    """Candidates that a client with only these servers finds."""
    pc = RTCPeerConnection(
        RTCConfiguration([RTCIceServer(**entry) for entry in servers], iceTransportPolicy=RTCIceTransportPolicy.RELAY)
    )
    pc.createDataChannel("x")
    await pc.setLocalDescription(await pc.createOffer())
    found = list(pc.sctp.transport.transport.iceGatherer.getLocalCandidates())
    await pc.close()
    return found


@needs_coturn
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_client_that_is_only_relayed_sees_the_avatar(turn: int, transport: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(DoubleEngine(tmp_path, side=64), settings(turn)) as address:
            answer = await told(address)
            assert time.time() < answer["expires"] <= time.time() + 3600
            servers = [RTCIceServer(**e) for e in answer["iceServers"] if e["urls"].endswith(transport)]
            viewer = Viewer(address, speaks=False)
            only = RTCConfiguration(servers, iceTransportPolicy=RTCIceTransportPolicy.RELAY)
            await viewer.open(only)
            await until(lambda: len(viewer.pictures) > 5, 30, "no pictures through the relay")
            [pair] = viewer.pc.sctp.transport.transport._connection._nominated.values()
            assert pair.local_candidate.type == "relay"
            await viewer.close()

    run(work())


@needs_coturn
def test_the_server_offers_a_relay_of_its_own(turn: int, tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(DoubleEngine(tmp_path, side=64), settings(turn)) as address:
            viewer = await Viewer(address, speaks=False).open()
            assert " typ relay " in viewer.pc.remoteDescription.sdp
            await viewer.close()

    run(work())


@needs_coturn
def test_credentials_that_expired_or_of_another_secret_are_good_for_nothing(turn: int) -> None:
    async def work() -> None:
        config = settings(turn).server
        assert [c.type for c in await relayed(ice_servers(config, time.time()))] == ["relay"]
        assert await relayed(ice_servers(config, time.time() - config.turn_ttl_s - 60)) == []
        Connection.silent.clear()
        other = ServerConfig(turn=config.turn, turn_secret="another secret")
        assert await relayed(ice_servers(other, time.time())) == []

    run(work())


async def gathered(**keys: Any) -> tuple[Connection, list[Candidate]]:
    connection = Connection(ice_controlling=False, **keys)
    await connection.gather_candidates()
    return connection, connection.local_candidates


def test_media_stays_on_the_ports_it_is_given_until_there_are_none(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        first = free_ports(3)
        server = ServerConfig(media_ports=(first, first + 2))
        patches.install(StreamConfig(), server)
        made = [await gathered(use_ipv6=False) for _ in range(3)]
        assert sorted(found[0].port for _, found in made) == [first, first + 1, first + 2]
        assert not [record for record in caplog.records if record.name.startswith("streaming")]
        _, none = await gathered(use_ipv6=False)
        assert none == []
        assert f"no UDP port of server.media_ports {first}..{first + 2} is free" in caplog.text
        await made[0][0].close()
        again, [candidate] = await gathered(use_ipv6=False)
        assert candidate.port == made[0][1][0].port
        for connection in (again, made[1][0], made[2][0]):
            await connection.close()

    run(work())


def test_others_are_told_the_address_that_they_reach_us_at() -> None:
    async def work() -> None:
        patches.install(StreamConfig(), ServerConfig(public_ip="203.0.113.7"))
        connection, found = await gathered(use_ipv6=True)
        own, own_v6, seen = found
        assert (own.type, own.host, own_v6.host) == ("host", "127.0.0.1", "::1")
        assert (seen.type, seen.host, seen.port) == ("srflx", "203.0.113.7", own.port)
        assert (seen.related_address, seen.related_port) == ("127.0.0.1", own.port)
        assert seen.priority < own.priority
        await connection.close()

    run(work())


@needs_coturn
def test_a_stun_server_tells_what_we_look_like(turn: int) -> None:
    async def work() -> None:
        connection, found = await gathered(use_ipv6=False, stun_server=("127.0.0.1", turn))
        assert [c.type for c in found] == ["host", "srflx"]
        assert found[1].host == "127.0.0.1"
        await connection.close()

    run(work())


def test_a_stun_server_that_never_answers_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
            deaf.bind(("127.0.0.1", 0))
            connection = Connection(False, use_ipv6=False, stun_server=deaf.getsockname())
            found = await asyncio.wait_for(connection.get_component_candidates(1, ["127.0.0.1"], 0.2), 10)
            assert [c.type for c in found] == ["host"]
            await connection.close()

    run(work())


@needs_coturn
def test_a_turn_server_that_gives_nothing_is_left_alone_for_a_while(
    turn: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        server, word = ("127.0.0.1", turn), credentials(SECRET, 60, time.time())
        wrong = {"turn_server": server, "turn_username": word[0], "turn_password": "x", "use_ipv6": False}
        connection, found = await gathered(**wrong)
        assert [c.type for c in found] == ["host"]
        assert f"TURN server 127.0.0.1:{turn} gives us no address" in caplog.text
        await connection.close()
        right = {**wrong, "turn_password": word[1]}
        connection, found = await gathered(**right)
        assert [c.type for c in found] == ["host"]  # not asked
        await connection.close()
        Connection.silent[server] = 0.0  # long ago
        connection, found = await gathered(**right)
        assert [c.type for c in found] == ["host", "relay"]
        assert not Connection.silent
        await connection.close()

    run(work())


def test_two_ends_of_ours_connect() -> None:
    async def work() -> None:
        one, two = Connection(True), Connection(False)
        for connection in (one, two):
            await connection.gather_candidates()
        for near, far in ((one, two), (two, one)):
            for candidate in near.local_candidates:
                await far.add_remote_candidate(candidate)
            await far.add_remote_candidate(None)
            far.remote_username, far.remote_password = near.local_username, near.local_password
        await asyncio.gather(one.connect(), two.connect())
        await one.send(b"hello")
        assert await two.recv() == b"hello"
        await asyncio.gather(one.close(), two.close())

    run(work())


def test_the_answer_names_the_ports(tmp_path: Path) -> None:
    async def work() -> None:
        first = free_ports(8)
        server = ServerConfig(port=0, media_ports=(first, first + 7), public_ip="203.0.113.7")
        async with serving(DoubleEngine(tmp_path, side=64), Settings(server, stream=PATIENT)) as address:
            viewer = await Viewer(address, speaks=False).open()
            sdp: RTCSessionDescription = viewer.pc.remoteDescription
            assert " 203.0.113.7 " in sdp.sdp
            ports = {int(line.split()[5]) for line in sdp.sdp.splitlines() if line.startswith("a=candidate:")}
            assert ports <= set(range(first, first + 8))
            await until(lambda: viewer.pictures, 20, "no picture")
            await viewer.close()

    run(work())
