"""The client for web pages, by its example, in a real headless Chromium, served from another origin than the server."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
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
    "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip
ROOT = Path(__file__).parents[2]
TONE = """(seconds) => { const pcm = new Float32Array(24000 * seconds);
  for (let k = 0; k < pcm.length; k++) pcm[k] = 0.5 * Math.sin(2 * Math.PI * 300 * k / 24000); return pcm; }"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None: ...


@pytest.fixture
def site() -> Iterator[str]:
    """The origin of somebody else's site, which has our client and its example."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(ROOT)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_page_from_elsewhere_shows_an_avatar_and_speaks_through_it(tmp_path: Path, site: str) -> None:
    engine = DoubleEngine(tmp_path, side=128, cost_s=0.002)
    settings = Settings(server=ServerConfig(port=0, token="a secret of nobody", allowed_origins=(site,)))
    with serving_thread(engine, settings) as address, playwright.sync_playwright() as driver:
        address = address.split("#")[0]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{site}/examples/agent.html?server={address}#token=a+secret+of+nobody")
        page.wait_for_function("window.avatar")  # its script waits for our client, and the page for neither
        page.click("#start")
        page.wait_for_function("document.querySelector('#log').textContent.includes('hello')", timeout=30_000)
        page.wait_for_function("document.querySelector('#video').videoWidth > 0", timeout=30_000)

        said = page.evaluate(f"""async () => {{
          avatar.listen(false); // or the fake microphone's beeps interrupt
          const sounds = []; avatar.addEventListener("sound", ({{ detail }}) => sounds.push(detail.pcm.length));
          const segment = avatar.speak({{ text: "Hello.", emotion: "happy" }});
          for (let k = 0; k < 10; k++) await segment.write(({TONE})(0.04));
          segment.end();
          const first = await segment.finished;
          const long = avatar.speak();
          const writing = long.write(({TONE})(30));
          await new Promise((resolve) => avatar.addEventListener("speech.started", resolve, {{ once: true }}));
          avatar.interrupt();
          const second = await long.finished;
          await writing;
          long.end();
          const third = await avatar.say(await fetch("../streaming/web/sample.wav").then((answer) => answer.blob())
            .then((wav) => wav.slice(0, 44 + 2 * 8000)));
          const wrong = await avatar.speak({{ rate: 4000 }}).finished.catch((problem) => problem.message);
          avatar.listen(true);
          while (sounds.length < 5) await new Promise((resolve) => setTimeout(resolve, 20));
          return {{ first, second, third, wrong, sounds: sounds.length }};
        }}""")
        assert said["first"]["position"] == pytest.approx(0.4, abs=1e-3) and not said["first"]["interrupted"]
        assert said["second"]["interrupted"] and said["second"]["position"] < 20
        assert said["third"]["position"] > 0.1 and not said["third"]["interrupted"]
        assert "8000" in said["wrong"] and said["sounds"] >= 5

        page.evaluate("avatar.close()")
        page.wait_for_function("document.querySelector('#log').textContent.includes('closed')", timeout=20_000)
        browser.close()
        assert not problems


def test_a_page_that_is_not_let_in_is_told_so(tmp_path: Path, site: str) -> None:
    with serving_thread(DoubleEngine(tmp_path, side=64)) as address, playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.goto(f"{site}/examples/agent.html?server={address}")
        page.wait_for_function("window.avatar")
        page.click("#start")
        page.wait_for_function("document.querySelector('#log').textContent.includes('allowed_origins')", timeout=20_000)
        browser.close()
