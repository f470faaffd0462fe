"""What lies between a server and those who call it: tokens, certificate, ports, addresses, STUN and TURN."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from streaming.config import ServerConfig
from streaming.guard import ServeError, check_bind, is_loopback, is_private, with_secrets
from streaming.ice import Connection, ice_servers, turn_urls
from streaming.listen import check_port
from streaming.patches import host_addresses
from visavis.config import Config
from visavis.doctor import Finding

WAIT_S: Final = 6.0
ANSWER_S: Final = 5.0  # for a server on this machine to say who it is
LEAST_BITS: Final = 60.0  # of a token, as its characters tell
SOON_DAYS: Final = 14


def access(config: Config) -> Iterator[Finding]:
    """Whether strangers are kept out."""
    server = config.server
    try:
        check_bind(server)
    except ServeError as problem:
        yield Finding("who may ask", "bad", str(problem), "nothing is served until then")
        return
    if is_private(server):
        yield Finding("who may ask", "ok", f"people at this machine only ({server.host})")
        return
    token = with_secrets(server).token
    bits = guesses(token)
    if bits < LEAST_BITS:
        what = f"server.token: about {bits:.0f} bits"
        yield Finding("who may ask", "bad", what, "make one that nobody guesses: openssl rand -hex 24")
    else:
        yield Finding("who may ask", "ok", f"whoever has the token ({bits:.0f} bits)")


def guesses(secret: str) -> float:
    """Bits of entropy that the letters of ``secret`` show: repeated ones tell little."""
    counts = Counter(secret).values()
    return -sum(n * math.log2(n / len(secret)) for n in counts) if secret else 0.0


def certificate(config: Config) -> Iterator[Finding]:
    """Whether browsers will take it, today and soon."""
    server = config.server
    if not server.tls_cert:
        if not is_loopback(server.host) and not server.behind_proxy:
            do = "set server.tls_cert and server.tls_key, or server.behind_proxy: docs/security.md"
            yield Finding("TLS", "bad", "none: browsers give no microphone to http:// pages of other machines", do)
        else:
            yield Finding("TLS", "ok", "ended by the proxy" if server.behind_proxy else "not needed on this machine")
        return
    yield from examine(Path(server.tls_cert), Path(server.tls_key), server, datetime.now(UTC))


def examine(chain: Path, key: Path, server: ServerConfig, now: datetime) -> Iterator[Finding]:
    """A certificate that is to be good at ``now`` for the server's names."""
    from cryptography import x509

    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(chain, key)
        own = x509.load_pem_x509_certificates(chain.read_bytes())[0]
    except (ssl.SSLError, OSError, ValueError) as problem:
        do = "server.tls_cert must hold the chain, the server's own certificate first; server.tls_key its key"
        yield Finding("TLS", "bad", f"{chain}, {key}: {problem}", do)
        return
    days = (own.not_valid_after_utc - now).total_seconds() / 86_400
    names = _names(own)
    what = f"for {', '.join(names) or 'no name'}; good until {own.not_valid_after_utc:%Y-%m-%d}"
    if own.not_valid_before_utc > now:
        yield Finding("TLS", "bad", f"not good before {own.not_valid_before_utc:%Y-%m-%d %H:%M}", "look at the clock")
    elif days < 0:
        yield Finding("TLS", "bad", f"expired on {own.not_valid_after_utc:%Y-%m-%d}", "renew it, and start again")
    elif days < SOON_DAYS:
        yield Finding("TLS", "note", what, "renew it soon")
    else:
        yield Finding("TLS", "ok", what)
    if own.issuer == own.subject:
        do = "people must trust it by hand; a certificate of a public authority needs none of that"
        yield Finding("TLS", "note", "signed by itself", do)
    unknown = [name for name in server.names if not any(_covers(known, name) for known in names)]
    if unknown:
        yield Finding("TLS", "bad", f"not for {', '.join(unknown)} (server.names)", "have it made for these names")


def _names(own: Any) -> list[str]:
    from cryptography import x509

    try:
        said = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*said.get_values_for_type(x509.DNSName), *map(str, said.get_values_for_type(x509.IPAddress))]


def _covers(known: str, name: str) -> bool:
    return known == name or (known.startswith("*.") and name.partition(".")[2] == known[2:])


def port(config: Config) -> Iterator[Finding]:
    """Whether the page's port can be had, or is ours already."""
    server = config.server
    where = f"{server.host}:{server.port}"
    try:
        check_bind(server)
    except ServeError:  # told of before
        return
    try:
        check_port(server)
    except ServeError as problem:
        if "is busy" in str(problem) and _is_visavis(server):
            yield Finding("port", "ok", f"{where}: a Visavis server is there")
        else:
            yield Finding("port", "bad", str(problem), "nothing is served until then")
        return
    yield Finding("port", "ok", f"{where} is free")


def _is_visavis(server: ServerConfig) -> bool:
    import http.client

    host = "127.0.0.1" if server.host in ("0.0.0.0", "", "localhost") else server.host
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE  # asked of this machine, and told nothing
    connection = (
        http.client.HTTPSConnection(host, server.port, timeout=ANSWER_S, context=trust)
        if server.tls_cert
        else http.client.HTTPConnection(host, server.port, timeout=ANSWER_S)
    )
    try:
        connection.request("GET", "/v1/health", headers={"Host": "localhost"})
        return b'"sessions"' in connection.getresponse().read(4096)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def addresses(config: Config) -> Iterator[Finding]:
    """Where viewers will send their media."""
    server, found = config.server, host_addresses(True, True)
    shown = ", ".join([*found, *([f"{server.public_ip} (server.public_ip)"] if server.public_ip else [])])
    if is_private(server):
        yield Finding("addresses", "ok", shown)
    elif not server.public_ip and not any(ipaddress.ip_address(a.split("%")[0]).is_global for a in found):
        if server.stun or turn_urls(server):
            yield Finding("addresses", "ok", f"{shown}: none is public; STUN or TURN is there for that")
        else:
            do = "for callers of other networks set server.public_ip (1:1 NAT, containers) or server.turn"
            yield Finding("addresses", "note", f"{shown}: reached from the same network only", do)
    else:
        yield Finding("addresses", "ok", shown)


def media_ports(config: Config) -> Iterator[Finding]:
    """UDP ports that a firewall lets through."""
    server = config.server
    if not server.media_ports:
        if not is_private(server):
            do = "to open few of them in a firewall: server.media_ports = [40000, 40100]"
            yield Finding("media ports", "note", "any UDP port", do)
        return
    first, last = server.media_ports
    busy = [number for number in range(first, last + 1) if not _udp_free(number)]
    free, wanted = last - first + 1 - len(busy), len(host_addresses(True, True)) * server.max_sessions
    what = f"UDP {first} to {last}: {free} free"
    if free == 0:
        yield Finding("media ports", "bad", what, "choose others: server.media_ports")
    elif free < server.max_sessions:
        yield Finding("media ports", "bad", what, f"{server.max_sessions} sessions need at least as many")
    elif free < wanted:
        do = f"{wanted} would let every session offer every address of this machine"
        yield Finding("media ports", "note", what, do)
    else:
        yield Finding("media ports", "ok", what)


def _udp_free(number: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        try:
            trial.bind(("", number))
        except OSError:
            return False
    return True


def ice(config: Config) -> Iterator[Finding]:
    """Whether each STUN and TURN server answers, and takes our credentials."""
    server = with_secrets(config.server)
    if not server.stun and not turn_urls(server):
        if is_private(server):
            yield Finding("STUN and TURN", "ok", "none, and none is needed on one machine")
        else:
            do = "callers whose network blocks UDP need a TURN server: docs/network.md"
            yield Finding("STUN and TURN", "note", "none", do)
        return
    yield from asyncio.run(ask_all(ice_servers(server, time.time())))


async def ask_all(servers: list[dict[str, Any]]) -> list[Finding]:
    """One finding for each server; and one when UDP is blocked on the way to all of them."""
    found = await asyncio.gather(*(_ask(entry) for entry in servers))
    by_udp = [f for f in found if not _is_stream(f.about)]
    by_tcp = [f for f in found if _is_stream(f.about)]
    if by_udp and all("no answer" in f.what for f in by_udp) and any(f.verdict == "ok" for f in by_tcp):
        do = "open UDP to these servers; until then media goes by TCP, which stutters when packets get lost"
        found.append(Finding("UDP", "bad", "blocked on the way to every server", do))
    return found


def _is_stream(url: str) -> bool:
    return url.startswith("turns:") or url.endswith("transport=tcp")


async def _ask(entry: dict[str, Any]) -> Finding:
    url = str(entry["urls"])
    begun = time.monotonic()
    try:
        async with asyncio.timeout(WAIT_S):
            said = await (_stun(url) if url.startswith("stun") else _turn(url, entry))
    except TimeoutError:
        return Finding(url, "bad", f"no answer in {WAIT_S:g} s", "is it running, and does a firewall let it through?")
    except _Refused as problem:
        return Finding(url, "bad", problem.what, problem.do)
    except (OSError, ValueError) as problem:
        return Finding(url, "bad", str(problem)[:200] or type(problem).__name__, "look at its address and port")
    return Finding(url, "ok", f"{said}, after {1e3 * (time.monotonic() - begun):.0f} ms")


class _Refused(Exception):
    def __init__(self, what: str, do: str) -> None:
        super().__init__(what)
        self.what, self.do = what, do


async def _stun(url: str) -> str:
    from aiortc.rtcicetransport import parse_stun_turn_uri

    parsed = parse_stun_turn_uri(url)
    await _resolve(parsed["host"])
    connection = Connection(True, stun_server=(parsed["host"], parsed["port"]), use_ipv6=False)
    try:
        await connection.gather_candidates()
        seen = [c for c in connection.local_candidates if c.type == "srflx" and c.host != Connection.public_ip]
    finally:
        await connection.close()
    if not seen:
        raise TimeoutError
    return f"it sees us as {seen[0].host}"


async def _turn(url: str, entry: dict[str, Any]) -> str:
    from aioice import stun, turn
    from aiortc.rtcicetransport import parse_stun_turn_uri

    parsed = parse_stun_turn_uri(url)
    await _resolve(parsed["host"])
    try:
        transport, _ = await turn.create_turn_endpoint(
            asyncio.DatagramProtocol, (parsed["host"], parsed["port"]), entry["username"], entry["credential"],
            ssl=True if parsed["scheme"] == "turns" else None, transport=parsed["transport"],
        )  # fmt: skip
    except stun.TransactionFailed as problem:
        raise _Refused(*_why(problem.response.error_code)) from problem
    except stun.TransactionTimeout:
        raise TimeoutError from None
    except ssl.SSLError as problem:
        raise _Refused(f"its certificate is not trusted: {problem}"[:200], "renew it, or use turn: over TCP") from None
    except ConnectionRefusedError:
        raise _Refused("nothing listens there", "start it, or look at its address and port") from None
    relayed = transport.get_extra_info("sockname")
    transport.close()
    await asyncio.sleep(0.05)  # it says goodbye, so that the server keeps nothing for us
    return f"it relays for us from {relayed[0]}"


def _why(code: int | None) -> tuple[str, str]:
    if code in (401, 441):
        do = "server.turn_secret must be its static-auth-secret, or turn_user and turn_credential a user of it; "
        return "it refuses our credentials", do + "and both clocks must be right"
    if code == 486:
        return "all it allows us is taken", "raise its user-quota and total-quota"
    return f"it answers with error {code}", "its log says why"


async def _resolve(host: str) -> None:
    try:
        await asyncio.get_running_loop().getaddrinfo(host, None)
    except socket.gaierror:
        raise _Refused(f'there is no "{host}"', "look at its name, and at this machine's DNS") from None
