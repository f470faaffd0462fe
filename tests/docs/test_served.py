"""Servers that the documentation starts, and what it sends to them."""

import json
import os
import re
import shlex
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from visavis.cli import app

from .blocks import Command, commands
from .place import SPOKEN_S, Server, furnish, started
from .ways import ASK, START, rule_of

SERVED = "visavis serve --record recordings"  # what is asked below
STARTED = [command for command in commands() if (rule := rule_of(command.text)) is not None and rule.way == START]
TOLD = {command.text for command in STARTED}
DISTINCT = [command for command in STARTED if command.text != SERVED and f"{command.text} --open" not in TOLD]
ASKED = [command for command in commands() if (rule := rule_of(command.text)) is not None and rule.way == ASK]
ELSEWHERE = re.compile(r"(?<=://)(?!(?:127\.0\.0\.1|localhost)[:/])[^/\s\"']+")


@pytest.mark.parametrize("command", DISTINCT, ids=lambda command: command.text)
def test_it_starts_answers_and_ends(command: Command, tmp_path: Path) -> None:
    furnish(tmp_path)
    with started(command.text, tmp_path) as server:
        with urllib.request.urlopen(f"{server.address}/v1/health", timeout=30) as answer:
            health = json.load(answer)
        assert health["status"] == "ok", health
        with urllib.request.urlopen(f"{server.address}/v1/avatars", timeout=30) as answer:
            assert json.load(answer)
        until = time.monotonic() + 30  # the browser is opened once the address is said
        while "--open" in command.text and not (tmp_path / "opened").exists() and time.monotonic() < until:
            time.sleep(0.05)
    assert (tmp_path / "opened").exists() == ("--open" in command.text)


def test_a_server_that_records_is_ready(server: Server) -> None:
    assert SERVED in TOLD, "docs/outputs.md starts another one now"
    with urllib.request.urlopen(f"{server.address}/v1/health", timeout=30) as answer:
        assert json.load(answer)["status"] == "ok"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("asked")
    furnish(folder)
    (folder / ".curlrc").write_text('write-out = "%{stderr}%{http_code}"\n')
    with started(SERVED, folder) as server:
        yield server


@pytest.fixture(scope="module")
def session(server: Server) -> str:
    """A session that somebody has opened: the pages call it $S, and ID."""
    request = urllib.request.Request(f"{server.address}/v1/sessions", data=b'{"type": "agent"}')
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(json.load(answer)["id"])


def here(command: str, server: Server, session: str) -> str:
    """``command`` with this server in place of the page's, and nobody else's address in it."""
    text = command.replace("localhost:8765", f"localhost:{server.port}").replace(
        "https://avatar.example", server.address
    )
    return ELSEWHERE.sub("127.0.0.1:9", text).replace('"ID"', f'"{session}"')


@pytest.mark.parametrize("command", ASKED, ids=lambda command: command.text[:100])
def test_it_is_answered(command: Command, server: Server, session: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(server.folder)
    text = here(command.text, server, session)
    if text.startswith("visavis say"):
        done = CliRunner().invoke(app, [*shlex.split(text)[1:], "--url", server.address, "--session", session])
        assert done.exit_code == 0 and f"said: {SPOKEN_S:.2f} s" in done.output, done.output
        return
    for program in ("curl", "jq") if "jq" in text else ("curl",):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    env = os.environ | server.env | {"S": session, "TOKEN": ""}
    done = subprocess.run(["sh", "-euc", text], cwd=server.folder, env=env, capture_output=True, text=True, check=False)
    code = re.search(r"\d{3}$", done.stderr)
    assert done.returncode == 0 and code is not None and code[0][0] == "2", (
        f"{command.place}\n{done.stdout}{done.stderr}"
    )
    made = json.loads(done.stdout) if done.stdout.strip() else {}
    if "id" in made:  # room for the next one
        place = f"portraits/{made['id']}" if "/portraits" in text else f"sessions/{session}/outputs/{made['id']}"
        request = urllib.request.Request(f"{server.address}/v1/{place}", method="DELETE")
        urllib.request.urlopen(request, timeout=60).close()


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        (
            'curl localhost:8765/v1 -d \'{"url": "rtmp://a.rtmp.youtube.com/live2/KEY"}\'',
            "rtmp://127.0.0.1:9/live2/KEY",
        ),
        ("curl https://avatar.example/v1/tokens", "http://localhost:7/v1/tokens"),
        ('curl -d \'{"url": "https://customer-A.example.com:8443/x"}\'', "https://127.0.0.1:9/x"),
        ("curl https://127.0.0.1.example.com/x", "https://127.0.0.1:9/x"),
    ],
)
def test_nothing_is_sent_elsewhere(text: str, sent: str, tmp_path: Path) -> None:
    assert sent in here(text, Server(7, tmp_path, {}), "0")
