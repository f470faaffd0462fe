"""The HTTP side: bad input gets a named, helpful error, and a session that runs never notices."""

from __future__ import annotations

import datetime
import json
import re
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from streaming.config import ServerConfig
from streaming.guard import ServeError
from streaming.listen import page_address
from streaming.server import serve, start

from .double import DoubleEngine
from .harness import PATIENT, Settings, Viewer, run, serving, until, until_sessions

SECRET = "a-secret-of-enough-length"


@pytest.fixture
def engine(tmp_path: Path) -> DoubleEngine:
    return DoubleEngine(tmp_path, side=64, cost_s=0.001)


async def ask(address: str, method: str, path: str, **options: Any) -> tuple[int, Any]:
    async with ClientSession() as http, http.request(method, address + path, **options) as response:
        body = await response.read()
        return response.status, json.loads(body) if response.content_type == "application/json" else body


AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n"
PRINT = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32) + "\r\n"
ICE = "a=ice-ufrag:abcd\r\na=ice-pwd:" + "p" * 22 + "\r\n" + PRINT + "a=setup:actpass\r\n"
HEAD = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        (b"not json", 400, "bad_json", "not JSON"),
        (b"[" * 50_000, 400, "bad_json", "not JSON"),
        (b"[]", 400, "bad_json", "object"),
        (b"{}", 400, "bad_field", "sdp"),
        ({"sdp": 5, "type": "offer"}, 400, "bad_field", "sdp"),
        ({"sdp": "x", "type": "answer"}, 400, "bad_field", "offer"),
        ({"sdp": "x", "type": "offer", "framing": "feet"}, 400, "bad_field", "upper"),
        ({"sdp": "x", "type": "offer", "seed": -1}, 400, "bad_field", "seed"),
        ({"sdp": "x", "type": "offer", "seed": True}, 400, "bad_field", "seed"),
        ({"sdp": "x", "type": "offer", "extra": 1}, 400, "bad_field", "extra"),
        ({"type": "agent", "avatar": "nobody"}, 404, "no_avatar", "ada"),
        ({"type": "agent", "avatar": "../../etc"}, 404, "no_avatar", "ada"),
        ({"sdp": "", "type": "offer"}, 400, "bad_offer", "offer"),
        ({"sdp": "hello", "type": "offer"}, 400, "bad_offer", "offer"),
        ({"sdp": "v=0\r\nm=audio\r\n", "type": "offer"}, 400, "bad_offer", "offer"),
        ({"sdp": HEAD + AUDIO, "type": "offer"}, 400, "bad_offer", "offer"),
        ({"sdp": HEAD + AUDIO + ICE, "type": "offer"}, 400, "bad_offer", "video"),
        ({"sdp": HEAD + (AUDIO + ICE).replace("opus/48000/2", "opus/x"), "type": "offer"}, 400, "bad_offer", "offer"),
        ({"sdp": "v=0\r\n" + "a=x\r\n" * 100_000, "type": "offer"}, 413, "too_large", "128 kB"),
    ],
)  # fmt: skip
def test_a_bad_offer_is_refused_by_name(engine: DoubleEngine, body: Any, status: int, code: str, words: str) -> None:
    async def work() -> None:
        async with serving(engine) as address:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            got, answer = await ask(address, "POST", "v1/sessions", data=data)
            assert (got, answer["error"]["code"]) == (status, code)
            assert words in answer["error"]["message"]
            assert (await ask(address, "GET", "v1/health"))[1]["sessions"] == 0

    run(work())


def test_bad_input_does_not_touch_a_running_session(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address:
            viewer = await Viewer(address).open()
            await until(lambda: len(viewer.pictures) > 5, what="no pictures")
            for body in (b"\x00" * 1000, b"{}", json.dumps({"sdp": "v=0", "type": "offer"}).encode(), b"x" * 500_000):
                await ask(address, "POST", "v1/sessions", data=body)
            seen = len(viewer.pictures)
            await until(lambda: len(viewer.pictures) > seen + 10, what="the session stopped")
            assert (await ask(address, "GET", "v1/health"))[1]["sessions"] == 1
            await viewer.close()

    run(work())


def test_avatars_previews_and_the_page_are_there(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine) as address:
            status, found = await ask(address, "GET", "v1/avatars")
            assert [avatar["id"] for avatar in found["avatars"]] == ["ada", "ben"]
            assert "path" not in found["avatars"][0]
            assert (await ask(address, "GET", "v1/avatars/ben/preview.png"))[1].startswith(b"\x89PNG")
            assert (await ask(address, "GET", "v1/avatars/nobody/preview.png"))[0] == 404
            assert (await ask(address, "GET", "v1/avatars/..%2f..%2fada/preview.png"))[0] == 404
            status, page = await ask(address, "GET", "")
            assert status == 200
            assert b"Visavis" in page
            assert (await ask(address, "GET", "web/app.js"))[0] == 200
            assert (await ask(address, "GET", "web/../server.py"))[0] == 404
            assert (await ask(address, "GET", "web/%2e%2e/server.py"))[0] in (403, 404)
            assert (await ask(address, "DELETE", "v1/sessions/nothing"))[0] == 404
            assert (await ask(address, "GET", "v1/nothing"))[1]["error"]["code"] == "not_found"
            async with ClientSession() as http, http.get(address) as response:
                assert "default-src 'self'" in response.headers["Content-Security-Policy"]

    run(work())


def test_the_page_asks_nothing_outside_its_own_server() -> None:
    web = Path(__file__).parents[2] / "streaming" / "web"
    calls = re.compile(r"""(?:src|href|url|fetch|import|from)\s*[=(]?\s*["'(]?\s*(?:https?:)?//""")
    for path in web.glob("*.*"):
        if path.suffix in (".html", ".js", ".css"):
            assert not calls.search(path.read_text("utf-8")), path


def test_a_full_server_says_so_and_has_room_again_later(engine: DoubleEngine) -> None:
    async def work() -> None:
        settings = Settings(server=ServerConfig(port=0, max_sessions=1, sessions_per_minute=1000), stream=PATIENT)
        async with serving(engine, settings) as address:
            viewer = await Viewer(address).open()
            body = {"sdp": viewer.pc.localDescription.sdp, "type": "offer"}
            async with ClientSession() as http, http.post(f"{address}v1/sessions", json=body) as response:
                assert response.status == 503
                assert response.headers["Retry-After"]
                assert "1 sessions are taken" in (await response.json())["error"]["message"]
            assert (await ask(address, "DELETE", f"v1/sessions/{viewer.id}"))[0] == 204
            await viewer.close()
            again = await Viewer(address).open()
            await until(lambda: again.pictures, what="no room after the first left")
            await again.close()

    run(work())


def test_too_many_new_sessions_a_minute_are_turned_away(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine, Settings(server=ServerConfig(port=0, sessions_per_minute=3))) as address:
            statuses = [(await ask(address, "POST", "v1/sessions", data=b"{}"))[0] for _ in range(5)]
            assert statuses == [400, 400, 400, 429, 429]

    run(work())


def test_token_origin_and_host_are_checked(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with serving(engine, Settings(server=ServerConfig(port=0, token=SECRET))) as told:
            address = told.partition("#")[0]
            for headers in ({}, {"Authorization": "Bearer wrong"}):
                status, answer = await ask(address, "GET", "v1/avatars", headers=headers)
                assert (status, answer["error"]["code"]) == (401, "bad_token")
            good = {"Authorization": f"Bearer {SECRET}"}
            assert (await ask(address, "GET", "v1/avatars", headers=good))[0] == 200
            assert (await ask(address, "GET", ""))[0] == 200  # the page itself holds no secret
            assert (await ask(address, "GET", "v1/health"))[0] == 200
            evil = {**good, "Origin": "https://evil.example"}
            assert (await ask(address, "POST", "v1/sessions", data=b"{}", headers=evil))[0] == 403
            assert (await ask(address, "GET", "v1/avatars", headers={**good, "Host": "evil.example"}))[0] == 403

    run(work())


def test_an_offer_that_never_connects_is_let_go(engine: DoubleEngine) -> None:
    async def work() -> None:
        settings = Settings(server=ServerConfig(port=0, connect_timeout_s=3.0))  # of which the answer takes a part
        async with serving(engine, settings) as address:
            viewer = Viewer(address, speaks=False)
            await viewer.open()
            await viewer.vanish()
            await until_sessions(address, 0, 20)
            await viewer.close()

    run(work())


def test_a_busy_port_is_explained_in_one_line(engine: DoubleEngine) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ServeError) as problem:
            serve(Settings(server=ServerConfig(port=port)), engine)  # type: ignore[arg-type]
    assert f"port {port} is busy" in str(problem.value)
    assert f"--port {port + 1}" in str(problem.value)
    assert "\n" not in str(problem.value)


def test_an_address_of_another_machine_is_explained(engine: DoubleEngine) -> None:
    async def work() -> None:
        server = ServerConfig(host="192.0.2.250", port=0, token=SECRET, behind_proxy=True)
        with pytest.raises(ServeError, match="not an address of this machine"):
            await start(Settings(server=server), engine)  # type: ignore[arg-type]

    run(work())


def test_tls_is_served_with_the_given_certificate(engine: DoubleEngine, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(1))
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    cert, secret = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    secret.write_bytes(key.private_bytes(*plain))

    async def work() -> None:
        settings = Settings(server=ServerConfig(port=0, tls_cert=str(cert), tls_key=str(secret)))
        async with serving(engine, settings) as address:
            assert address.startswith("https://localhost:")
            trusting = ssl.create_default_context(cafile=str(cert))
            async with ClientSession() as http, http.get(f"{address}v1/health", ssl=trusting) as response:
                assert (await response.json())["status"] == "ok"

    run(work())


def test_the_address_told_is_one_a_browser_can_open() -> None:
    assert page_address(ServerConfig(), 80) == "http://localhost:80/"
    open_to_all = ServerConfig(host="0.0.0.0", token="a b#secret-of-some-length", behind_proxy=True)
    address = page_address(open_to_all, 99)
    assert "0.0.0.0" not in address
    assert address.endswith(":99/#token=a%20b%23secret-of-some-length")


def test_tls_files_that_hold_no_certificate_are_explained(engine: DoubleEngine, tmp_path: Path) -> None:
    pem = tmp_path / "bad.pem"
    pem.write_text("not a certificate")

    async def work() -> None:
        with pytest.raises(ServeError, match="tls_cert"):
            await start(Settings(server=ServerConfig(port=0, tls_cert=str(pem), tls_key=str(pem))), engine)  # type: ignore[arg-type]

    run(work())
