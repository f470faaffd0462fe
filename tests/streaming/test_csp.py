"""Every page does its work under the content security policy it comes with, and only who may frames or asks it."""

from __future__ import annotations

import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streaming.config import ServerConfig

from .double import DoubleEngine
from .harness import Settings, serving_thread

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required", "--allow-loopback-in-peer-connection",
)  # fmt: skip
WATCH = """addEventListener("securitypolicyviolation", (event) => {
  window.violations = [...(window.violations ?? []), `${event.violatedDirective}: ${event.blockedURI}`];
});"""
INLINE = """() => {
  document.head.append(Object.assign(document.createElement("script"), { textContent: "window.ran = true" }));
  return !window.ran;
}"""
PLAYS = "Array.from(document.querySelectorAll('video, canvas')).some((it) => it.videoWidth > 0 || it.width > 0)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield launched
        launched.close()


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """A web server of somebody else's: it answers everything with a page that frames ?frame=."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            framed = self.path.partition("?frame=")[2]
            body = f'<!doctype html><iframe id="it" src="{framed}"></iframe>'.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def open_page(browser: Any, address: str) -> Any:
    page = browser.new_page()
    page.add_init_script(WATCH)
    page.goto(address)
    return page


def until(page: Any, expression: str) -> None:
    """Playwright's own wait evaluates text in the page, which the policy forbids."""
    for _ in range(300):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{page.url}: {expression} did not come; {violations(page)}")


def violations(page: Any) -> list[str]:
    return list(page.evaluate("window.violations ?? []"))


def test_every_page_works_under_its_policy(browser: Any, tmp_path: Path) -> None:
    engine = DoubleEngine(tmp_path, side=128, cost_s=0.002)
    settings = Settings(server=ServerConfig(port=0, sessions_per_minute=1000, max_sessions=8))
    with serving_thread(engine, settings) as address:
        pages = [open_page(browser, address)]
        pages[0].wait_for_selector("#avatars button")  # the whole script has run
        pages[0].click("#start")
        until(pages[0], "document.getElementById('video').videoWidth > 0")
        session = pages[0].evaluate("fetch('v1/sessions').then((told) => told.json()).then((it) => it.sessions[0].id)")
        for path in ("web/watch.html", "web/source.html"):
            pages.append(open_page(browser, f"{address}{path}?session={session}"))
            until(pages[-1], PLAYS)
        pages.append(open_page(browser, f"{address}selftest"))
        pages[-1].wait_for_load_state("networkidle")
        for page in pages:
            assert violations(page) == [], page.url
            assert page.evaluate(INLINE), "the policy is not there"
            page.close()


def test_only_origins_that_are_listed_frame_or_ask(browser: Any, tmp_path: Path, elsewhere: str) -> None:
    engine = DoubleEngine(tmp_path, side=64, cost_s=0.002)
    for friends, fine in (((), False), ((elsewhere,), True)):
        server = ServerConfig(port=0, embed_origins=friends, allowed_origins=friends)
        with serving_thread(engine, Settings(server=server)) as address:
            page = browser.new_page()
            page.goto(f"{elsewhere}/?frame={address}web/source.html")
            page.wait_for_load_state("load")
            framed = page.frames[-1].evaluate("location.href")
            assert framed.startswith(address) is fine, framed
            asked = f"fetch('{address}v1/avatars', {{headers: {{authorization: 'Bearer x'}}}})"
            assert page.evaluate(f"{asked}.then((told) => told.ok, () => false)") is fine
            script = f"import('{address}web/client.js').then(() => true, () => false)"
            assert page.evaluate(script) is fine
            page.close()
