"""Enrolment as a process of its own, for whoever must not be held up by it or trust what it reads (the server).

    python -m training.portrait.worker --out=FOLDER --id=ID --name=NAME --consent=TEXT < photo.jpg

Prints JSON lines: {"step": ..., "share": 0..1} as it goes, then {"done": {"id", "warnings", "report"}} (exit 0) or
{"error": ...} (exit 3). FOLDER appears whole or not at all.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, Final, TextIO

MEMORY: Final = 4 << 30  # bytes of data this process may hold


def main(arguments: list[str] | None = None) -> int:
    """Runs one enrolment; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("out", "id", "name", "consent"):
        parser.add_argument(f"--{name}", required=True)
    wanted = parser.parse_args(arguments)
    _bound()
    lines = _quiet()
    try:
        from training.bake.prior import BakeError
        from training.portrait import enrol, photo
        from training.portrait.bake import About
    except ImportError as error:
        return _say(lines, {"error": f"making avatars needs {error.name}: pip install visavis[portrait]"}, 3)
    about = About(wanted.id, wanted.name, wanted.consent, "")
    try:
        data = sys.stdin.buffer.read(photo.MOST_BYTES + 1)
        made = enrol.enrol(data, about, lambda step, share: _step(lines, step, share))
        enrol.write(made, Path(wanted.out))
    except MemoryError:
        return _say(lines, {"error": "this photograph needs too much memory: choose a smaller one"}, 3)
    except (ValueError, BakeError, OSError) as error:
        return _say(lines, {"error": str(error)}, 3)
    return _say(lines, {"done": {"id": wanted.id, "warnings": list(made.warnings), "report": "report.png"}}, 0)


def _step(lines: TextIO, step: str, share: float) -> None:
    _say(lines, {"step": step, "share": round(share, 3)}, 0)


def _say(lines: TextIO, line: dict[str, Any], status: int) -> int:
    print(json.dumps(line), file=lines, flush=True)
    return status


def _quiet() -> TextIO:
    """Where to write lines; whatever else prints (libraries, in C too) goes to stderr."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return lines


def _bound() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    except (ImportError, ValueError, OSError):
        pass  # not on this system: the caller's time limit stays


if __name__ == "__main__":
    sys.exit(main())
