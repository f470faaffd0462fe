"""The page of a viewer in a real headless Chromium: one session by WHEP, its end, and what it says without one."""

from __future__ import annotations

import json
import shutil
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from .double import DoubleEngine
from .harness import Settings, serving_thread

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
TOKEN = "a-token-of-16-and-more"
LIVE = """document.querySelector('video').currentTime > 0.5 && document.querySelector('#status').textContent === 'Live'
    && document.querySelector('#words').hidden"""
TOLD = """() => {
    const words = document.querySelector('#words');
    window.told = [];
    new MutationObserver(() => told.push(words.textContent)).observe(words, { childList: true });
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        yield launched
        launched.close()


def until(page: Any, condition: str) -> None:
    """Waits for a condition in the page, under its own content security policy (wait_for_function would evaluate)."""
    begun = time.monotonic()
    while not page.evaluate(condition):
        assert time.monotonic() - begun < 20, condition
        page.wait_for_timeout(50)


def ask(method: str, address: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
    with urllib.request.urlopen(urllib.request.Request(address, data, headers, method=method)) as answer:
        return dict(json.loads(answer.read() or b"{}"))


def test_a_viewer_watches_with_a_token_for_that_alone_until_the_end(browser: Any, tmp_path: Path) -> None:
    server = replace(Settings().server, token=TOKEN)
    with serving_thread(DoubleEngine(tmp_path, side=128, cost_s=0.002), Settings(server=server)) as opened:
        address = opened.split("#")[0]
        session = ask("POST", f"{address}v1/sessions", {"type": "agent"})["id"]
        token = ask("POST", f"{address}v1/tokens", {"scopes": ["watch"], "session": session, "ttl_s": 60})["token"]
        page = browser.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{address}web/watch.html?session={session}#token={token}")
        until(page, LIVE)
        page.evaluate(TOLD)
        assert page.evaluate("document.querySelector('video').videoWidth") == 128
        ask("DELETE", f"{address}v1/sessions/{session}")
        until(page, "told.some((words) => words.includes('session is over'))")  # it says more as soon as it asks again
        assert page.inner_text("#status") != "Live"
        page.goto(f"{address}web/watch.html?session={session}&again=1#token=wrong")
        until(page, "document.querySelector('#status').dataset.state === 'lost'")
        assert "token" in page.inner_text("#words")
        page.goto(f"{address}web/watch.html")
        until(page, "document.querySelector('#words').textContent.includes('no session')")
        assert not problems
