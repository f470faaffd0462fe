"""The docs site builds without a warning, every link and anchor leads somewhere, and nothing comes from elsewhere."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.blocks import ROOT
from tools import docsite

pytest.importorskip("material", reason="the site needs the extra docs: pip install -e '.[docs]'")


class Found(HTMLParser):
    """What a page fetches, links to, and can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.anchors |= {told[name] for name in ("id", "name") if name in told}
        if tag in ("script", "img", "iframe", "source") and "src" in told:
            self.fetched.append(told["src"])
        if tag == "link" and told.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.fetched.append(told["href"])
        if tag == "a" and "href" in told:
            self.links.append(told["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("site")
    asked = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(place)]
    built = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-4000:]
    yield place
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Found]:
    return {path: Found(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def test_nothing_is_fetched_from_elsewhere(pages: dict[Path, Found], site: Path) -> None:
    for path, page in pages.items():
        assert not [url for url in page.fetched if "//" in url], path
    for style in site.rglob("*.css"):
        assert not re.findall(r"url\(\s*['\"]?(?:https?:)?//", style.read_text(encoding="utf-8")), style


def test_every_link_and_anchor_leads_somewhere(pages: dict[Path, Found]) -> None:
    for path, page in pages.items():
        for link in page.links + page.fetched:
            url = urlsplit(link)
            if url.scheme or path.name == "404.html":
                continue
            goal = (path.parent / unquote(url.path)).resolve() if url.path else path
            goal = goal / "index.html" if goal.is_dir() else goal
            assert goal.exists(), f"{path}: {link}"
            if url.fragment and goal in pages and not url.fragment.startswith("__"):
                assert unquote(url.fragment) in pages[goal].anchors, f"{path}: {link}"


def test_a_module_of_the_api_page_has_its_functions(site: Path) -> None:
    text = (site / "api/engine/session.py.html").read_text(encoding="utf-8")
    assert "push_voice" in text and "Stops the mouth within 100 ms" in text


def test_a_file_of_the_repository_is_shown(site: Path) -> None:
    assert "sessions_per_minute" in (site / "source/config.toml.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("link", "page", "path"),
    [
        ("../config.toml", "index.md", "config.toml"),
        ("../../engine/avatar.py", "model_cards/avatars.md", "engine/avatar.py"),
        ("../bench.md", "model_cards/avatars.md", None),
        ("images/page.png", "index.md", None),
        ("https://example.org/x", "index.md", None),
        ("../../etc/passwd", "index.md", None),
    ],
)
def test_links_that_leave_the_folder_are_known(link: str, page: str, path: str | None) -> None:
    assert docsite.leaves(link, page) == path


def test_a_link_to_what_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no_such\.py"):
        docsite.source_page("no_such.py")
    with pytest.raises(ValueError, match=r"page\.png"):
        docsite.source_page("docs/images/page.png")


def test_lists_and_tables_become_lists_and_tables(site: Path) -> None:
    for path in site.rglob("*.html"):
        text = re.sub(r"<pre.*?</pre>|<code.*?</code>", "", path.read_text(encoding="utf-8"), flags=re.S)
        wrong = re.findall(r"<p>\|.{0,60}|<p>(?:- |\d+\. ).{0,60}|\n- \*\*.{0,40}", text)
        assert not wrong, f"{path.name}: {wrong} (a list or table needs an empty line before it)"
