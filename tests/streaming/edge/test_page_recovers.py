"""The page in a real Chromium before an edge, while the process that has its session is killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streaming.edge import server as edge
from streaming.edge.directory import Listed

from ..harness import Settings
from ..pages import MARKS, live
from ..pages import until as soon
from .harness import SECRET

pytestmark = MARKS


class Media:
    """A worker's process, and what starts it again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "media"
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.streaming.edge.doubled", str(self.path), str(self.folder / "engine")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None and self.process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def edge_thread(path: Path) -> Iterator[str]:
    """The address of an edge before the worker at ``path``, on a loop of its own."""
    ready, addresses, loop, stop = threading.Event(), [], asyncio.new_event_loop(), asyncio.Event()

    def told(address: str) -> None:
        addresses.append(address)
        ready.set()

    work = edge.serve(Settings(), Listed({"": f"unix:{path}"}), SECRET, stop, told)
    thread = threading.Thread(target=lambda: loop.run_until_complete(work), daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield addresses[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()


@pytest.fixture(scope="module")
def media() -> Iterator[Media]:
    """Of all tests here; each leaves it running."""
    with tempfile.TemporaryDirectory(prefix="vv-") as folder:
        started = Media(Path(folder))
        yield started
        started.kill()


@pytest.fixture(scope="module")
def address(media: Media) -> Iterator[str]:
    with edge_thread(media.path) as found:
        yield found


def until(page: Any, done: Callable[[], Any], what: str) -> None:
    soon(page, done, what, timeout=25.0)


def brightness(page: Any) -> float:
    """Of the middle of what the stage shows, 0 to 255: the head, or nothing."""
    return float(
        page.evaluate(
            """() => {
        const [still, video] = ["#still", "#video"].map((name) => document.querySelector(name));
        const shown = still.hidden ? video : still;
        const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
        canvas.width = canvas.height = 8;
        context.drawImage(shown, 0, 0, 8, 8);
        return context.getImageData(4, 4, 1, 1).data[1];
    }"""
        )
    )


def test_a_page_whose_worker_is_killed_comes_back_by_itself_as_it_was_left(page: Any, media: Media) -> None:
    page.click("[data-avatar=ben]")
    page.click("#begin")
    live(page)
    page.click("#mute")
    page.focus("#stage")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    yaw = page.evaluate("visavis.orbit.view.yaw")
    until(page, lambda: page.evaluate("visavis.state.voice !== null"), "no microphone")
    until(page, lambda: page.evaluate("visavis.state.connection.clock.offset") is not None, "never connected")
    before = page.evaluate("visavis.state.connection.id")
    track = page.evaluate("visavis.state.voice.track.id")
    media.kill()
    page.wait_for_selector("#again-note:not([hidden])", timeout=20_000)
    assert page.inner_text("#status") == "Reconnecting"
    assert "Reconnecting" in page.inner_text("#again-note")
    assert brightness(page) > 60  # the last picture is there, nothing black
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{folder}/reconnecting.png")
    media.start()
    page.wait_for_selector("#again-note", state="hidden", timeout=30_000)
    until(page, lambda: page.inner_text("#status") == "Connected", "it does not say so")
    assert brightness(page) > 60
    assert page.evaluate("visavis.state.connection.id") != before  # the double keeps no snapshots: it began anew
    assert page.evaluate("[visavis.state.avatar, visavis.state.muted, visavis.orbit.view.yaw]") == ["ben", True, yaw]
    assert page.evaluate("visavis.state.voice.track.id") == track  # nobody is asked for the microphone again
    assert page.is_hidden("#alert")
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{folder}/back.png")


def test_a_line_that_breaks_goes_on_with_the_same_session(page: Any, media: Media) -> None:
    page.click("#begin")
    live(page)
    until(page, lambda: page.evaluate("visavis.state.connection.clock.offset") is not None, "never connected")
    before = page.evaluate("visavis.state.connection.id")
    page.evaluate("visavis.first = visavis.state.connection, visavis.first.control.dispatchEvent(new Event('close'))")
    until(
        page, lambda: page.evaluate("visavis.state.connection !== visavis.first && visavis.state.connection.seen"), "no"
    )
    assert page.evaluate("[visavis.state.connection.id, visavis.state.connection.resumed]") == [before, True]
    until(page, lambda: page.inner_text("#status") == "Connected", "it does not say so")


def test_a_server_that_stays_away_is_given_up_with_words_and_a_button(page: Any, media: Media) -> None:
    page.click("#begin")
    live(page)
    page.evaluate("performance.now = (now => () => now() * 12)(performance.now.bind(performance))")  # 30 s in 2.5
    media.kill()
    page.wait_for_selector("#alert:not([hidden])", timeout=30_000)
    assert "could not be reached for 30 s" in page.inner_text("#alert-text")
    assert page.inner_text("#begin-label") == "Try again" and page.is_visible("#begin")
    assert page.inner_text("#status") == "Connection lost"
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{folder}/given-up.png")
    media.start()
    page.evaluate("delete performance.now")  # its own pace again: it waits for pictures as long as it should
    page.click("#begin")
    live(page)
    assert page.is_hidden("#alert")


def test_stop_ends_the_trying(page: Any, media: Media) -> None:
    page.click("#begin")
    live(page)
    media.kill()
    page.wait_for_selector("#again-note:not([hidden])", timeout=20_000)
    page.click("#start")
    assert page.inner_text("#status") == "Not connected"
    assert page.is_hidden("#again-note") and page.is_hidden("#still")
    media.start()
    page.wait_for_timeout(500)
    assert page.evaluate("visavis.state.connection") is None
