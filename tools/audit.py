"""What users install, looked over: licences, and versions with known holes.

    python tools/audit.py            offline: what is installed here, against tools/advisories.json
    python tools/audit.py --update   asks OSV (https://osv.dev) for that list first

The list is as old as it says, and knows nothing that was found since: `make audit` asks pip-audit as well. Neither
looks into the libraries that wheels carry inside (FFmpeg in PyAV, libjpeg in Pillow, OpenSSL in cryptography).
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
import tomllib
import urllib.request
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.version import Version

PROJECT: Final = Path(__file__).parents[1] / "pyproject.toml"
LIST: Final = Path(__file__).with_name("advisories.json")
OSV: Final = "https://api.osv.dev/v1/query"
OLD_DAYS: Final = 60
# What a licence may be called for us to hand a package on to users; text fields are matched by their beginning.
ALLOWED: Final = re.compile(
    r"(?i)(apache|mit|bsd|0bsd|2-clause|3-clause|isc|psf|python software foundation|cc0|public domain|zlib|unlicense|"
    r"the unlicense|new bsd|simplified bsd|modified bsd|hpnd|mit-cmu|mit-0|llvm-exception|blueoak|bsl-1\.0|boost)"
)


def asked_for(extras: tuple[str, ...] = ("portrait",)) -> list[Requirement]:
    """What pyproject.toml asks for here, with ``extras``."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for name in extras for line in project["optional-dependencies"][name])]
    needed = [Requirement(line) for line in lines]
    return [one for one in needed if one.marker is None or one.marker.evaluate()]


def installed() -> dict[str, Distribution]:
    """Every distribution that `make setup` brings, by its name, as installed here."""
    found: dict[str, Distribution] = {}
    waiting = [(one.name, frozenset(one.extras)) for one in asked_for()]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            one = distribution(name)
        except PackageNotFoundError:
            continue  # another system's
        found[canonical(name)] = one
        for line in one.requires or ():
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *wanted)):
                waiting.append((needed.name, frozenset(needed.extras)))
    return found


def canonical(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licence(one: Distribution) -> str:
    """What a distribution says its licence is; empty when it does not."""
    about = one.metadata
    if expression := about.get("License-Expression"):
        return str(expression)
    classified = [
        line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or () if line.startswith("License")
    ]
    classified = [line for line in classified if line != "OSI Approved"]
    text = str(about.get("License") or "").strip().split("\n")[0][:100]
    return " OR ".join(classified) or (text if text != "UNKNOWN" else "")


def allowed(words: str) -> bool:
    """Whether a licence, an SPDX expression or a name, lets us hand the package on; of alternatives one is enough."""
    choices = re.split(r"(?i)\s+or\s+", words.replace("(", " ").replace(")", " ").strip())
    return any(
        all(ALLOWED.match(part.strip()) for part in re.split(r"(?i)\s+and\s+|\s+with\s+|;|,", choice) if part.strip())
        for choice in choices
        if choice.strip()
    )


def licences(found: dict[str, Distribution]) -> list[str]:
    """What is wrong with the licences, in words."""
    told = {name: licence(one) for name, one in found.items()}
    return [f"{name}: licence {said or 'not said'}" for name, said in sorted(told.items()) if not allowed(said)]


def holes(found: dict[str, Distribution], known: dict[str, Any]) -> list[str]:
    """Installed versions that ``known`` has an advisory for, in words."""
    said = []
    for name, one in sorted(found.items()):
        version = Version(one.version)
        for entry in known["packages"].get(name, ()):
            fixed = entry.get("fixed")
            if Version(entry.get("introduced", "0")) <= version and (fixed is None or version < Version(fixed)):
                said.append(f"{name} {version}: {entry['id']} ({entry['about']}); fixed in {fixed or 'no version yet'}")
    return said


def age(known: dict[str, Any], today: datetime.date) -> str:
    """How old the list is, in words."""
    days = (today - datetime.date.fromisoformat(known["updated"])).days
    hint = f"; older than {OLD_DAYS} days: python tools/audit.py --update" if days > OLD_DAYS else ""
    return f"advisories of {known['updated']} ({days} days old), from {known['source']}{hint}"


def asked(name: str, url: str = OSV) -> list[dict[str, str]]:
    """What OSV knows of a package: one entry a range of versions, withdrawn ones left out."""
    entries: list[dict[str, str]] = []
    page = ""
    while True:
        body = {"package": {"name": name, "ecosystem": "PyPI"}, **({"page_token": page} if page else {})}
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            told = json.load(response)
        for hole in told.get("vulns", ()):
            if "withdrawn" not in hole:
                entries += _ranges(hole, name)
        page = told.get("next_page_token", "")
        if not page:
            return entries


def _ranges(hole: dict[str, Any], name: str) -> list[dict[str, str]]:
    about = str(hole.get("summary") or hole.get("details") or "").strip().split("\n")[0][:160]
    entries, said = [], hole.get("aliases") or []
    number = next((alias for alias in said if alias.startswith("CVE-")), hole["id"])
    for part in hole.get("affected", ()):
        package = part.get("package", {})
        if package.get("ecosystem") != "PyPI" or canonical(package.get("name", "")) != name:
            continue
        for span in part.get("ranges", ()):
            if span.get("type") != "ECOSYSTEM":
                continue
            begun = "0"
            for event in span.get("events", ()):
                begun = event.get("introduced", begun)
                if "fixed" in event:
                    entries.append({"id": number, "introduced": begun, "fixed": event["fixed"], "about": about})
            if not any("fixed" in event for event in span.get("events", ())):
                entries.append({"id": number, "introduced": begun, "about": about})
    return entries


def update(path: Path, found: dict[str, Distribution], url: str = OSV) -> None:
    """Writes a new list of everything that is known of ``found``."""
    packages = {name: entries for name in sorted(found) if (entries := asked(name, url))}
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    text = json.dumps({"updated": today, "source": url, "packages": packages}, indent=1, ensure_ascii=False)
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)


def main() -> int:
    """The command line; the status is 1 when something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="ask OSV first")
    parser.add_argument("--osv", default=OSV, help="where to ask")
    wanted = parser.parse_args()
    found = installed()
    if wanted.update:
        try:
            update(LIST, found, wanted.osv)
        except OSError as problem:
            print(f"OSV cannot be asked ({problem}); the old list is used", file=sys.stderr)
    known = json.loads(LIST.read_text(encoding="utf-8"))
    wrong = licences(found) + holes(found, known)
    print(f"{len(found)} packages; {age(known, datetime.datetime.now(datetime.UTC).date())}")
    print("\n".join(wrong) or "nothing is wrong with them, as far as this list knows")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
