"""The doctor finds what is wrong, names it, says what to do; and finds nothing where all is well."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from streaming import patches
from streaming.config import OutputsConfig, ServerConfig, StreamConfig
from streaming.ice import ice_servers
from tests.streaming.coturn import SECRET, TURNSERVER, coturn
from tests.streaming.double import DoubleEngine
from tests.streaming.harness import Settings, serving_thread
from visavis import doctor, doctor_machine, doctor_network, doctor_server
from visavis.cli import app
from visavis.config import Config
from visavis.doctor import Finding

GOOD_TOKEN = "Zq3vKx81LmWp06RtYc57"
needs_coturn = pytest.mark.skipif(TURNSERVER is None, reason="no coturn on this machine (Debian: coturn)")


def config(**server: Any) -> Config:
    return Config(server=ServerConfig(**server))


def verdicts(findings: Any) -> list[str]:
    return [finding.verdict for finding in findings]


def one(findings: Any) -> Finding:
    [finding] = list(findings)
    return finding


def test_a_machine_as_it_comes_is_looked_at_whole() -> None:
    found = list(doctor.look(config(port=0), speed=False))
    abouts = [finding.about for finding in found]
    assert {"Python", "packages", "models", "memory", "TLS", "port", "addresses", "STUN and TURN"} <= set(abouts)
    assert not [f for f in found if f.verdict == "bad" and f.about not in ("memory", "disk")]
    assert all(finding.do for finding in found if finding.verdict == "bad")


def test_a_check_that_breaks_is_told_of_and_the_rest_goes_on() -> None:
    def broken() -> Iterator[Finding]:
        yield Finding("x", "ok", "fine so far")
        raise RuntimeError("out of order")

    fine, problem = doctor.guarded("x", broken)
    assert (fine.verdict, problem.verdict) == ("ok", "bad")
    assert "out of order" in problem.what


def test_strangers_are_kept_out() -> None:
    assert one(doctor_network.access(config())).verdict == "ok"
    assert "set server.token" in one(doctor_network.access(config(host="0.0.0.0", behind_proxy=True))).what
    weak = one(doctor_network.access(config(behind_proxy=True, token="aaaaaaaaaaaaaaaaaaaaaaaaaaaa")))
    assert (weak.verdict, "openssl rand" in weak.do) == ("bad", True)
    assert one(doctor_network.access(config(behind_proxy=True, token=GOOD_TOKEN))).verdict == "ok"


def certificate(folder: Path, *, days: float = 90.0, begins: float = -1.0, name: str = "ada.test") -> tuple[str, str]:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority")])
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        .serial_number(7).not_valid_before(now + timedelta(days=begins)).not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False).sign(key, hashes.SHA256())
    )  # fmt: skip
    chain, private = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return str(chain), str(private)


@pytest.mark.parametrize(
    ("made", "names", "verdict", "words"),
    [
        ({}, ("ada.test",), "ok", "for ada.test; good until"),
        ({"name": "*.ada.test"}, ("www.ada.test",), "ok", "for *.ada.test"),
        ({"days": -0.5}, (), "bad", "expired on"),
        ({"begins": 1.0}, (), "bad", "not good before"),
        ({"days": 3.0}, (), "note", "good until"),
        ({}, ("eve.test",), "bad", "not for eve.test"),
        ({"name": "*.ada.test"}, ("ada.test",), "bad", "not for ada.test"),
    ],
)
def test_certificates_are_read(
    made: dict[str, Any], names: tuple[str, ...], verdict: str, words: str, tmp_path: Path
) -> None:
    chain, key = certificate(tmp_path, **made)
    found = list(doctor_network.certificate(config(host="0.0.0.0", tls_cert=chain, tls_key=key, names=names)))
    worst = min(found, key=lambda finding: ("bad", "note", "ok").index(finding.verdict))
    assert worst.verdict == verdict
    assert words in worst.what


def test_a_certificate_with_somebody_elses_key_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    chain, _ = certificate(tmp_path)
    _, key = certificate(tmp_path / "other")
    assert one(doctor_network.certificate(config(tls_cert=chain, tls_key=key))).verdict == "bad"


def test_a_busy_port_is_told_of_and_our_own_server_known(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        found = one(doctor_network.port(config(port=other.getsockname()[1])))
        assert (found.verdict, "is busy" in found.what) == ("bad", True)
    with serving_thread(DoubleEngine(tmp_path, side=64)) as address:
        found = one(doctor_network.port(config(port=int(address.split(":")[2].strip("/")))))
        assert (found.verdict, "a Visavis server is there" in found.what) == ("ok", True)


def test_media_ports_that_others_hold_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_network, "host_addresses", lambda v4, v6: ["192.0.2.2"])
    assert not list(doctor_network.media_ports(config()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("", 0))
        port = held.getsockname()[1]
        assert one(doctor_network.media_ports(config(media_ports=(port, port)))).verdict == "bad"
    monkeypatch.setattr(doctor_network, "_udp_free", lambda number: True)
    assert one(doctor_network.media_ports(config(media_ports=(40000, 40002)))).verdict == "bad"  # 4 sessions
    assert one(doctor_network.media_ports(config(media_ports=(40000, 40003)))).verdict == "ok"
    monkeypatch.setattr(doctor_network, "host_addresses", lambda v4, v6: ["192.0.2.2", "192.0.2.3"])
    assert one(doctor_network.media_ports(config(media_ports=(40000, 40003)))).verdict == "note"


def test_a_server_for_others_without_a_public_address_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_network, "host_addresses", lambda v4, v6: ["10.0.0.2"])
    public = {"behind_proxy": True, "token": GOOD_TOKEN}
    assert one(doctor_network.addresses(config())).verdict == "ok"
    assert one(doctor_network.addresses(config(**public))).verdict == "note"
    assert one(doctor_network.addresses(config(**public, public_ip="203.0.113.7"))).verdict == "ok"
    assert one(doctor_network.addresses(config(**public, turn=("turn:192.0.2.9",)))).verdict == "ok"


def test_a_folder_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    assert not list(doctor_machine.disk(Config()))
    missing = Config(outputs=OutputsConfig(folder=str(tmp_path / "nowhere")))
    assert "mkdir" in one(doctor_machine.disk(missing)).do
    assert "GB are free" in one(doctor_machine.disk(Config(outputs=OutputsConfig(folder=str(tmp_path))))).what


def ask(*servers: dict[str, Any]) -> list[Finding]:
    return asyncio.run(doctor_network.ask_all(list(servers)))


@pytest.fixture
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "_host_addresses", lambda v4, v6: [])
    patches.install(StreamConfig())


@pytest.fixture(autouse=True)
def short_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_server, "WATCHED_S", 1.0)


@needs_coturn
def test_stun_and_turn_servers_are_really_asked(tmp_path: Path, only_loopback: None) -> None:
    with coturn(tmp_path) as port:
        server = ServerConfig(
            stun=(f"stun:127.0.0.1:{port}",), turn_secret=SECRET,
            turn=(f"turn:127.0.0.1:{port}", f"turn:127.0.0.1:{port}?transport=tcp"),
        )  # fmt: skip
        stun, udp, tcp = ask(*ice_servers(server, time.time()))
        assert (stun.verdict, "it sees us as 127.0.0.1" in stun.what) == ("ok", True)
        assert verdicts([udp, tcp]) == ["ok", "ok"]
        assert "it relays for us from 127.0.0.1" in udp.what
        [refused] = ask(*ice_servers(ServerConfig(turn=server.turn[:1], turn_secret="x"), time.time()))
        assert (refused.verdict, refused.what) == ("bad", "it refuses our credentials")
        [late] = ask(*ice_servers(ServerConfig(turn=server.turn[:1], turn_secret=SECRET), time.time() - 7200))
        assert "both clocks must be right" in late.do


@needs_coturn
def test_blocked_udp_is_told_apart_from_a_server_that_is_down(
    tmp_path: Path, only_loopback: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_network, "WAIT_S", 5.0)  # for the one that answers; the other never does
    with coturn(tmp_path, "--no-udp") as port:
        turn = (f"turn:127.0.0.1:{port}", f"turn:127.0.0.1:{port}?transport=tcp")
        found = ask(*ice_servers(ServerConfig(turn=turn, turn_secret=SECRET), time.time()))
        assert verdicts(found) == ["bad", "ok", "bad"]
        assert (found[2].about, "blocked" in found[2].what) == ("UDP", True)
    found = ask(*ice_servers(ServerConfig(turn=turn, turn_secret=SECRET), time.time()))
    assert "nothing listens there" in found[1].what
    assert len(found) == 2


def test_a_name_that_does_not_exist_is_told_of() -> None:
    [found] = ask({"urls": "turn:nowhere.invalid:3478", "username": "u", "credential": "c"})
    assert 'there is no "nowhere.invalid"' in found.what


def test_a_running_server_is_called_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_server, "WATCHED_S", 4.0)  # voice and data channel may begin after the pictures
    with serving_thread(DoubleEngine(tmp_path, side=64, cost_s=0.001)) as address:
        found = list(doctor_server.look(address, ""))
    abouts = {finding.about: finding for finding in found}
    assert {"server", "token", "media", "voice", "messages"} <= set(abouts)
    assert not [f for f in found if f.verdict == "bad" and f.about != "pictures"], found  # how many is the machine's


def test_a_server_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    engine = DoubleEngine(tmp_path, side=64)
    with serving_thread(engine, Settings(ServerConfig(port=0, token=GOOD_TOKEN))) as address:
        *_, token = doctor_server.look(address, "")
        assert (token.about, token.verdict, "VISAVIS_TOKEN" in token.do) == ("token", "bad", True)
        assert verdicts(doctor_server.look(f"{address}#token=x", GOOD_TOKEN))[:2] == ["ok", "ok"]
    [gone] = doctor_server.look(address, "")
    assert (gone.about, gone.verdict) == ("server", "bad")


def test_the_command_tells_programs_and_fails_when_something_is_bad(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[server]\nport = 0\n")
    done = CliRunner().invoke(app, ["doctor", "--no-speed", "--json", "--config", str(path)])
    told = json.loads(done.stdout)
    assert done.exit_code == (0 if told["well"] else 1)
    assert {"about", "verdict", "what", "do"} == set(told["findings"][0])
    path.write_text('[server]\nport = 0\nbehind_proxy = true\ntoken = "aaaaaaaaaaaaaaaaaaaaa"\n')
    done = CliRunner().invoke(app, ["doctor", "--no-speed", "--config", str(path)])
    assert done.exit_code == 1
    assert "make one that nobody guesses" in done.stdout
