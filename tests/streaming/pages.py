"""The page in a real headless Chromium, against a real server with the engine's double: what its tests share."""

from __future__ import annotations

import json
import re
import shutil
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from .double import DoubleEngine
from .harness import serving_thread

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.skipif(find_spec("playwright") is None, reason="playwright is not installed"),
]
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync",
    "--use-fake-device-for-media-stream", "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(driver: Any) -> Iterator[Any]:
    launched = driver.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, "--use-fake-ui-for-media-stream"])
    yield launched
    launched.close()


@pytest.fixture
def engine(tmp_path: Path) -> DoubleEngine:
    return DoubleEngine(tmp_path, side=128, cost_s=0.002)


@pytest.fixture
def address(engine: DoubleEngine) -> Iterator[str]:
    with serving_thread(engine) as found:
        yield found


@contextmanager
def without_errors(opened: Any, address: str, awaited: str) -> Iterator[Any]:
    """The page at ``address`` in the tab ``opened``, once it has ``awaited``; no script of it may fail."""
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.goto(f"{address}?bench")
    opened.wait_for_selector(awaited)
    yield opened
    opened.close()
    assert not problems


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    with without_errors(browser.new_page(bypass_csp=True), address, "#avatars button") as found:
        yield found


GOODBYES = {"left", "asked", "connection_closed"}  # ends that a page told of itself, as /metrics calls them
LIVE = """() => {
    const line = visavis.state.connection, shown = document.querySelector("#stage").classList.contains("live");
    return shown && line?.greeted && line.pose.readyState === "open";
}"""


def live(page: Any) -> None:
    """Waits for the picture, and for the line that takes what is clicked next: either may be there first."""
    page.wait_for_function(LIVE, timeout=30_000)


def sessions(address: str) -> int:
    with urllib.request.urlopen(f"{address}v1/health") as answer:
        return int(json.load(answer)["sessions"])


def until_sessions(page: Any, address: str, count: int, timeout: float) -> None:
    begun = time.monotonic()
    while sessions(address) != count:
        assert time.monotonic() - begun < timeout, f"{sessions(address)} sessions after {timeout} s"
        page.wait_for_timeout(20)


def until_left(page: Any, address: str) -> None:
    """Waits until no session is left, and sees that each ended by a goodbye, not for want of a heartbeat."""
    until_sessions(page, address, 0, 20.0)
    with urllib.request.urlopen(f"{address}metrics") as answer:
        ends = re.findall(r'visavis_sessions_closed_total\{reason="(\w+)"\}', answer.read().decode())
    assert ends and set(ends) <= GOODBYES, ends


def until(page: Any, done: Any, what: str, timeout: float = 20.0) -> None:
    begun = time.monotonic()
    while not done():
        assert time.monotonic() - begun < timeout, what
        page.wait_for_timeout(20)
