"""Going live from the page, in a real headless Chromium: the browser source, the links, the picture's quality."""

from __future__ import annotations

import shutil
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
    "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--no-first-run", "--use-fake-ui-for-media-stream",
    "--disable-background-networking", "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip
SECRET = "open sesame, please"
CORNER_AND_HEAD = """() => {
  const { canvas, gl, drawn } = window.visavisGlass, { width, height } = canvas;
  window.visavisGlass.draw();
  const at = (x, y) => {
    const pixel = new Uint8Array(4);
    gl.readPixels(x, y, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
    return [...pixel];
  };
  return { width, height, drawn, corner: at(3, height - 4), head: at(width / 2, height * .6) };
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def engine(tmp_path: Path) -> DoubleEngine:
    return DoubleEngine(tmp_path, side=128, cost_s=0.002)


def begin(browser: Any, address: str) -> Any:
    """The page with a running session."""
    page = browser.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#avatars button")  # with ?bench clicks are heard some time after the page has loaded
    page.click("[data-source=sample]")
    page.click("#begin")
    page.wait_for_selector("#stage.live", timeout=20_000)
    assert problems == []
    return page


def see_through(source: Any) -> dict[str, Any]:
    """What the browser source draws once it draws."""
    source.wait_for_function("() => window.visavisGlass?.drawn > 3", timeout=20_000)
    return source.evaluate(CORNER_AND_HEAD)


def test_the_browser_source_shows_the_newest_session_with_nothing_behind_it(browser: Any, engine: DoubleEngine) -> None:
    with serving_thread(engine) as address:
        source = browser.new_page()
        source.goto(f"{address}web/source.html")
        source.wait_for_function("() => document.getElementById('words').textContent.includes('Nobody is there yet')")
        page = begin(browser, address)
        page.wait_for_selector("#live-links:not([hidden])")
        assert page.input_value("#source-link") == f"{address}web/source.html"
        seen = see_through(source)
        assert (seen["width"], seen["height"]) == (128, 128)
        assert seen["corner"] == [0, 0, 0, 0] and seen["head"][3] == 255 and seen["head"][1] > 90
        source.wait_for_function("() => document.getElementById('words').hidden")  # it may be seen before
        shown = page.evaluate("() => [video.videoWidth, video.videoHeight]")
        assert shown == [128, 128]  # the page's own picture is as it was
        page.click("#start")
        source.wait_for_function("() => !document.getElementById('words').hidden", timeout=20_000)
        assert source.evaluate(CORNER_AND_HEAD)["head"][3] in (0, 255)
        source.close()
        page.close()


def test_a_server_with_a_token_gives_links_that_may_only_watch_one_session(browser: Any, engine: DoubleEngine) -> None:
    settings = Settings(server=ServerConfig(port=0, behind_proxy=True, token=SECRET))
    with serving_thread(engine, settings) as address:
        page = begin(browser, address)
        page.wait_for_selector("#live-links:not([hidden])")
        link = page.input_value("#source-link")
        assert "?session=" in link and "#token=" in link and SECRET.split()[0] not in link
        source = browser.new_page()
        source.goto(link)
        assert see_through(source)["head"][3] == 255
        refused = source.evaluate(
            """async (link) => {
              const token = new URLSearchParams(new URL(link).hash.slice(1)).get("token");
              const headers = { authorization: `Bearer ${token}` };
              const id = new URL(link).searchParams.get("session");
              return (await fetch(`../v1/sessions/${id}`, { method: "DELETE", headers })).status;
            }""",
            link,
        )
        assert refused == 403
        source.close()
        page.close()


def test_a_light_picture_is_smaller_and_steadier_playback_holds_both_tracks(browser: Any, engine: DoubleEngine) -> None:
    engine.side = 512
    with serving_thread(engine) as address:
        page = begin(browser, f"{address}?bench")
        page.wait_for_function("() => video.videoHeight === 512", timeout=20_000)
        page.click("[data-quality=light]")
        page.wait_for_function("() => video.videoHeight === 256", timeout=20_000)
        page.fill("#steady", "200")
        page.wait_for_function(
            "() => visavis.state.connection.pc.getReceivers().every((r) => r.jitterBufferTarget >= 200)", timeout=20_000
        )
        page.close()
