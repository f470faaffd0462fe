import functools
import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from visavis import cli_cluster
from visavis.cli import app

TOLD = {
    "name": "visavis", "version": 3, "wanted": 2, "edges": ["http://localhost:8765/"], "lost": 1, "problem": "",
    "keepers": [{"sessions": 4, "bytes": 400_000}],
    "workers": [
        {
            "name": "wa1b2c3", "state": "serving", "version": 3, "heard_s": 0.12, "sessions": 4, "headroom": 0.455,
            "node": "10.0.0.2", "address": "http://10.0.0.2:41000", "pid": 77, "avatars": ["ada", "leo"],
        },
        {"name": "wd4e5f6", "state": "starting", "version": 3, "heard_s": 3.4},
    ],
}  # fmt: skip


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["cluster", *words])
    return done.exit_code, done.output + str(done.exception or "")


def test_a_status_is_a_row_for_each_worker() -> None:
    written = io.StringIO()
    Console(file=written, width=80).print(cli_cluster.table(TOLD))
    rows = written.getvalue()
    assert "wa1b2c3" in rows and "46 %" in rows and "10.0.0.2" in rows and "ada, leo" in rows and "silent" not in rows
    assert "wd4e5f6" in rows and "starting" in rows


def test_a_status_is_also_there_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_cluster, "_ask", lambda settings, what: TOLD)
    code, said = run("status", "--json")
    assert code == 0 and json.loads(said) == TOLD
    code, said = run("status")
    assert code == 0 and "2 wanted, 1 lost so far; 4 sessions could go on elsewhere" in said


def test_settings_that_cannot_be_are_refused_before_anything_starts() -> None:
    code, said = run("start", "--workers", "5", "--max", "2")
    assert code != 0 and "cluster.min_workers must lie in 1..max_workers, got 5 and 2" in said
    code, said = run("start", "--name", "Not A Name")
    assert code != 0 and "cluster.name" in said
    code, said = run("start", "--host", "0.0.0.0")
    assert code != 0 and "server.token" in said


def test_a_cluster_that_is_not_there_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    from ray._private import services

    monkeypatch.delenv("RAY_ADDRESS", raising=False)  # the Ray of tests beside this one is not joined: it ends, and
    nobody = functools.cache(set[str])  # a process that is connected to it ends with it
    monkeypatch.setattr(services, "find_gcs_addresses", nobody)
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: None)
    code, said = run("drain", "w1", "--name", "nobody-started-this")
    assert code == 1 and len(said.strip().splitlines()) <= 2
    assert "no connection to this machine" in said


def test_an_address_where_nobody_listens_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    code, said = run("drain", "w1")
    assert code == 1 and "no connection to" in said and "refused" in said
