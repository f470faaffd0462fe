"""The docs site's hook (mkdocs.yml): links that leave docs/ lead to pages made of the repository's own files.

So `[config.toml](../config.toml)` opens the file on a git host and a page with its text on the site, which needs
neither a host nor a network. Modules that docs/api.md links to get a page of their signatures and docstrings.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]
LINK: Final = re.compile(r"(\]\()([^)\s#]*)(#[^)\s]*)?(\))")
FENCE: Final = re.compile(r"^( *)(`{3,}).*?^\1\2[ ]*$", re.S | re.M)
UNSEARCHED: Final = "---\nsearch:\n  exclude: true\n---\n\n"  # text of files would drown the pages
HIDDEN: Final = re.compile(r"(?:(?<=/)|^)\.(?=\w)")
LONGEST: Final = 200_000  # bytes of a file that is shown
LANGUAGES: Final = {".py": "python", ".js": "js", ".mjs": "js", ".toml": "toml", ".json": "json", ".html": "html",
                    ".sh": "sh", ".yml": "yaml", ".yaml": "yaml", ".service": "ini", ".css": "css"}  # fmt: skip
API: Final = "api.md"


def leaves(link: str, page: str) -> str | None:
    """The path in the repository that ``link`` in ``docs/page`` leads to, when that is outside docs/."""
    if not link or "://" in link or link.startswith(("mailto:", "/")):
        return None
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link))
    return None if path.startswith(("docs/", "../")) else path


def prose(text: str) -> str:
    """``text`` without its fenced blocks."""
    return FENCE.sub("", text)


def links(text: str, page: str) -> set[str]:
    """Paths of the repository, outside docs/, that a page links to."""
    return {path for match in LINK.finditer(prose(text)) if (path := leaves(match[2], page)) is not None}


def shown(path: str) -> list[str]:
    """What gets a page when ``path`` is linked to: itself, and the files of a folder."""
    place = ROOT / path
    if place.is_dir():
        return [path, *(f"{path}/{name}" for name in sorted(os.listdir(place)) if readable(place / name))]
    return [path]


def readable(path: Path) -> bool:
    """Whether a page can show ``path``: text, and not too much of it."""
    if not path.is_file() or path.name.startswith(".") or path.stat().st_size > LONGEST:
        return False
    try:
        path.read_bytes().decode()
    except UnicodeDecodeError:
        return False
    return True


def place_of(path: str) -> str:
    """Where the site keeps the page of a repository's path; without the dots that hide a file."""
    return f"source/{HIDDEN.sub('', path)}.md"


def source_page(path: str) -> str:
    """The page that shows a file or lists a folder. Raises ValueError for what cannot be shown."""
    place = ROOT / path
    if place.is_dir():
        names = [name.removeprefix(f"{path}/") for name in shown(path)[1:]]
        rows = [f"- [{name}]({place.name}/{name}.md)" for name in names]
        return "\n".join([f"# {path}/", "", *rows]) + "\n"
    if not readable(place):
        raise ValueError(f"a page links to {path}, which is not there or no text of at most {LONGEST} bytes")
    text = place.read_text(encoding="utf-8")
    if place.suffix == ".md":
        return UNSEARCHED + rooted(text)
    fence = "`" * (max([2, *(len(run) for run in re.findall(r"`+", text))]) + 1)
    return f"{UNSEARCHED}# {path}\n\n{fence}{LANGUAGES.get(place.suffix, 'text')}\n{text.rstrip()}\n{fence}\n"


def rooted(text: str) -> str:
    """A Markdown file of the repository's root as a page of source/: its links are counted from docs/."""

    def turned(match: re.Match[str]) -> str:
        link = match[2]
        if not link or "://" in link:
            return match[0]
        if link.startswith("docs/") and (ROOT / link).is_dir():  # a folder of pages: the first of them
            link = f"{link}/{min(path.name for path in (ROOT / link).glob('*.md'))}"
        where = f"../{link[5:]}" if link.startswith("docs/") else f"{link}.md"
        return f"{match[1]}{where}{match[3] or ''}{match[4]}"

    return LINK.sub(turned, text)


def api_page(path: str) -> str:
    """The page of a module's signatures and docstrings."""
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    source = posixpath.relpath(place_of(path), posixpath.dirname(f"api/{path}"))
    return f"# {module}\n\n[Source]({source})\n\n::: {module}\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages of linked files and of the API's modules."""
    from mkdocs.structure.files import File

    wanted: set[str] = {"README.md"}
    for file in files.documentation_pages():
        found = links(file.content_string, file.src_uri)
        wanted |= found
        if file.src_uri == API:
            for path in sorted(name for name in found if name.endswith(".py")):
                files.append(File.generated(config, f"api/{path}.md", content=api_page(path)))
    for path in list(wanted):
        if path.endswith(".md"):
            wanted |= {match[2] for match in LINK.finditer((ROOT / path).read_text(encoding="utf-8"))
                       if match[2] and "://" not in match[2] and not match[2].startswith("docs/")}  # fmt: skip
    files.append(File.generated(config, "assets/icon.svg", abs_src_path=str(ROOT / "streaming/web/icon.svg")))
    for path in sorted({page for linked in wanted for page in shown(linked)}):
        files.append(File.generated(config, place_of(path), content=source_page(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads links out of docs/ to their pages on the site."""
    here = page.file.src_uri
    if here.startswith(("source/", "api/")):
        return markdown

    def turned(match: re.Match[str]) -> str:
        path = leaves(match[2], here)
        if path is None:
            return match[0]
        api = f"api/{path}.md"
        goal = api if here == API and files.get_file_from_path(api) is not None else place_of(path)
        return f"{match[1]}{posixpath.relpath(goal, posixpath.dirname(here) or '.')}{match[3] or ''}{match[4]}"

    return LINK.sub(turned, markdown)
