"""Peers that need a browser's audio graph: a page in headless Chromium hears one file after another."""

from __future__ import annotations

import contextlib
import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.cues import Cue, write_cues

CHROMIUM: Final = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


@contextlib.contextmanager
def _serving(folder: Path) -> Iterator[str]:
    """Files of ``folder`` on a free port of the loopback."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, name="peer files", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def drive(folder: Path, page: Path, work: Path, jobs: list[dict[str, str]]) -> float:
    """Lets ``page``, served beside the peer's node_modules in ``folder``, hear every job; seconds of computing.

    Raises BrokenPeer when the page fails, MissingPeer without playwright.
    """
    from bench.peers import BrokenPeer, MissingPeer

    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise MissingPeer("peers in a browser need playwright: pip install 'visavis[dev]'") from None
    shutil.copy(page, work / "page.html")
    (work / "node_modules").symlink_to(folder / "node_modules")
    seconds = 0.0
    with _serving(work) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(CHROMIUM))
        try:
            tab = browser.new_page()
            tab.goto(f"{address}/page.html")
            tab.wait_for_function("window.hear !== undefined")
            for job in jobs:
                heard = tab.evaluate("url => window.hear(url)", f"/{Path(job['wav']).name}")
                write_cues(Path(job["out"]), [Cue(float(time), str(name)) for time, name in heard["cues"]])
                seconds += float(heard["seconds"])
        except Error as error:
            raise BrokenPeer(f"{page.stem} failed in Chromium: {str(error)[-400:]}") from None
        finally:
            browser.close()
    return seconds
