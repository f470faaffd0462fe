"""What users install has licences that let us, and no version that the committed list knows a hole in."""

from __future__ import annotations

import datetime
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.version import Version

from tools import audit

KNOWN = json.loads(audit.LIST.read_text("utf-8"))


def test_licences_of_everything_that_users_install_are_allowed() -> None:
    found = audit.installed()
    assert {"aiohttp", "aiortc", "numpy", "pillow", "pyjwt", "pyopenssl"} <= found.keys()  # those of dependencies too
    assert audit.licences(found) == []


def test_nothing_installed_has_a_hole_that_the_list_knows() -> None:
    print(audit.age(KNOWN, datetime.date.today()))
    assert audit.holes(audit.installed(), KNOWN) == []


def test_the_least_versions_that_we_ask_for_have_none_either() -> None:
    for needed in audit.asked_for():
        least = [Version(part.version) for part in needed.specifier if part.operator in (">=", "==", "~=")]
        for entry in KNOWN["packages"].get(audit.canonical(needed.name), ()):
            assert least and max(least) >= Version(entry["fixed"]), (
                f"{needed}: {entry['id']}, fixed in {entry['fixed']}"
            )


@pytest.mark.parametrize(
    ("words", "fine"),
    [
        ("Apache-2.0", True), ("MIT License", True), ("BSD-3-Clause AND MIT AND Zlib", True), ("GPL-3.0-only", False),
        ("GPL-2.0 OR MIT", True), ("MIT AND GPL-2.0", False), ("", False), ("LGPL-2.1", False), ("Proprietary", False),
    ],
)  # fmt: skip
def test_licences_are_told_apart(words: str, fine: bool) -> None:
    assert audit.allowed(words) is fine


def test_a_version_with_a_hole_is_named() -> None:
    found = {"aiohttp": distribution("aiohttp")}
    version = found["aiohttp"].version
    for entry, wrong in (
        ({"id": "X-1", "fixed": "999", "about": "all"}, True),
        ({"id": "X-2", "about": "no fix yet"}, True),
        ({"id": "X-3", "introduced": "999", "about": "later ones"}, False),
        ({"id": "X-4", "fixed": version, "about": "fixed in this one"}, False),
    ):
        assert bool(audit.holes(found, {"packages": {"aiohttp": [entry]}})) is wrong


def test_the_list_is_asked_for_anew_and_an_old_one_says_so(tmp_path: Path) -> None:
    class Osv(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            events = [{"introduced": "1.0"}, {"fixed": "2.0"}, {"introduced": "3.0"}, {"fixed": "3.1"}]
            span = {"type": "ECOSYSTEM", "events": events}
            affected = [{"package": {"ecosystem": "PyPI", "name": asked["package"]["name"]}, "ranges": [span]}]
            holes = [
                {"id": "GHSA-1", "aliases": ["CVE-1"], "summary": "one", "affected": affected},
                {"id": "GHSA-2", "withdrawn": "2026-01-01", "affected": affected},
            ]
            more = {} if "page_token" in asked else {"next_page_token": "2"}
            body = json.dumps({"vulns": holes, **more}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Osv)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    path = tmp_path / "advisories.json"
    audit.update(path, {"aiohttp": distribution("aiohttp")}, f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    told = json.loads(path.read_text("utf-8"))
    spans = [(entry["introduced"], entry["fixed"]) for entry in told["packages"]["aiohttp"]]
    assert spans == [("1.0", "2.0"), ("3.0", "3.1")] * 2
    assert audit.age(told, datetime.date.today()).startswith("advisories of")
    assert "--update" in audit.age({"updated": "2020-01-01", "source": "x"}, datetime.date(2026, 1, 1))
