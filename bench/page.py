"""Pictures of the page with a session running: ``python bench/page.py FOLDER``, for the README."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.stream import CHROMIUM, serving

SIZES: Final = {"page": (1280, 800), "page_phone": (390, 844)}


def main(folder: Path) -> None:
    """Writes one PNG a size into ``folder``: the sample plays, the camera stands a little aside."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work, serving(Path(work)) as (address, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(CHROMIUM))
        for name, (width, height) in SIZES.items():
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(address)
            page.wait_for_selector("#avatars img[src]")
            page.click("[data-source=sample]")
            page.click("#begin")
            page.wait_for_selector("#stage.live")
            page.focus("#stage")
            for _ in range(3):
                page.keyboard.press("ArrowRight")
            page.evaluate("document.activeElement.blur()")
            page.wait_for_timeout(6500)  # the hint has faded, the figures have settled
            page.screenshot(path=folder / f"{name}.png", full_page=height > width)
            page.close()
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python bench/page.py FOLDER")
    main(Path(sys.argv[1]))
