"""``visavis doctor``: what a call needs, looked at one after the other, with what to do."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from visavis.doctor import Finding

out = Console()
TOKEN = "VISAVIS_TOKEN"
MARKS = {"ok": "[green]✓[/]", "note": "[yellow]![/]", "bad": "[red]✗[/]"}


def doctor(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="A config.toml; the defaults without it.")
    ] = None,
    server: Annotated[
        str | None, typer.Option(help="Look at a running server from here instead, e.g. https://host:8765.")
    ] = None,
    speed: Annotated[bool, typer.Option(help="Also paint a few seconds and time them.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of sentences.")] = False,
) -> None:
    """Say whether everything that a call needs is well, and what to do otherwise. Exit status: 0 well, 1 not.

    With --server a real call is made from this machine; a server's token is read from VISAVIS_TOKEN.
    """
    from visavis import doctor as checks
    from visavis import doctor_server
    from visavis.config import load

    seen = []
    logging.disable(logging.CRITICAL)  # aioice and aiortc tell of what is told here in better words
    try:
        if server is not None:
            found = checks.guarded("server", lambda: doctor_server.look(server, os.environ.get(TOKEN, "")))
        else:
            found = checks.look(load(config), speed=speed)
        for finding in found:
            seen.append(finding)
            if not as_json:
                _say(finding)
    finally:
        logging.disable(logging.NOTSET)
    if as_json:
        print(json.dumps(checks.as_json(seen), indent=2))
    raise typer.Exit(0 if checks.as_json(seen)["well"] else 1)


def _say(finding: Finding) -> None:
    line = f"{MARKS[finding.verdict]} [bold]{escape(finding.about)}[/]: {escape(finding.what)}"
    out.print(line, soft_wrap=True, highlight=False)
    if finding.do:
        out.print(f"    {escape(finding.do)}", style="dim", soft_wrap=True, highlight=False)
