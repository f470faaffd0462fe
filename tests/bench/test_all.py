import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from bench import all as everything
from bench import report
from tests.processes import alive

ROOT = Path(__file__).parents[2]
# Suites that do what suites do: write their figures, fail with a word, hang with a child, or fail without one.
SUITE = """
import json, subprocess, sys, time
name, out = sys.argv[1:]
print("begins")
if name == "hangs":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open(out + ".pid", "w").write(str(child.pid))
    time.sleep(600)
if name == "fails":
    sys.exit("bench: the marks were not read")
if name == "dies":
    import os; os.abort()
json.dump({"suite": name, "commit": "c", "date": "d", "machine": {}, "metrics": {}}, open(out, "w"))
"""


def command(suite: str, folder: Path) -> list[str]:
    return [sys.executable, "-c", SUITE, suite, str(folder / f"{suite}.json")]


def run(folder: Path, *suites: str, **more: object) -> list[str]:
    given = {"quick": True, "log": Console(quiet=True), "command": command, "absent": lambda name: None} | more
    return everything.run(dict.fromkeys(suites, ""), folder, **given)  # type: ignore[arg-type]


def outcomes(folder: Path) -> dict[str, tuple[str, str]]:
    told = json.loads((folder / "all.json").read_text())
    return {row["suite"]: (row["how"], row["why"]) for row in told["outcomes"]}


def test_a_suite_that_fails_does_not_lose_the_others_and_its_last_words_are_kept(tmp_path: Path) -> None:
    assert run(tmp_path, "one", "fails", "dies", "two") == ["fails", "dies"]
    told = outcomes(tmp_path)
    assert told["one"][0] == told["two"][0] == "done"
    assert told["fails"] == ("failed", "bench: the marks were not read")
    assert told["dies"][0] == "failed"
    assert (tmp_path / "one.json").is_file() and (tmp_path / "two.json").is_file()


def test_a_suite_that_hangs_is_stopped_with_all_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(everything, "LEAST_LIMIT_S", 12.0)  # in which a program begins
    monkeypatch.setattr(everything, "LIMIT", 0.0)
    assert run(tmp_path, "hangs", "one") == ["hangs"]
    assert outcomes(tmp_path)["hangs"][0] == "stopped"
    assert outcomes(tmp_path)["one"][0] == "done"
    child = int((tmp_path / "hangs.json.pid").read_text())
    deadline = time.monotonic() + 20
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(child)


def test_ending_all_ends_the_suite_that_runs(tmp_path: Path) -> None:
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from tests.bench.test_all import run
run(Path({str(tmp_path)!r}), "one", "hangs")
"""
    whole = subprocess.Popen([sys.executable, "-c", code])
    marker = tmp_path / "hangs.json.pid"
    deadline = time.monotonic() + 200
    while not (marker.exists() and marker.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    whole.send_signal(signal.SIGTERM)
    assert whole.wait(60) == 128 + signal.SIGTERM
    child = int(marker.read_text())
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(child) and outcomes(tmp_path)["one"][0] == "done"


def test_what_the_machine_cannot_do_is_skipped_with_the_reason_and_is_no_failure(tmp_path: Path) -> None:
    assert run(tmp_path, "one", "gpu", absent={"gpu": "no NVIDIA GPU"}.get) == []
    assert outcomes(tmp_path)["gpu"] == ("skipped", "no NVIDIA GPU")


def test_quick_begins_nothing_that_would_not_end_in_time(tmp_path: Path) -> None:
    assert run(tmp_path, "one", "latency", budget_s=1.0) == []
    assert outcomes(tmp_path)["latency"][0] == "skipped"


def test_an_older_result_survives_a_suite_that_fails(tmp_path: Path) -> None:
    kept = {"suite": "fails", "commit": "old", "date": "d", "machine": {}, "metrics": {}}
    report.save(tmp_path / "fails.json", kept)
    run(tmp_path, "fails")
    assert json.loads((tmp_path / "fails.json").read_text()) == kept


def test_every_suite_is_expected_to_take_some_time_and_all_quick_ones_fit() -> None:
    from bench.run import SUITES

    assert set(SUITES) <= set(everything.EXPECTED)
    here = set(SUITES) - {"gpu"} - set(everything.NOT_QUICK) - set(everything.IF_IT_FITS)
    assert sum(everything.EXPECTED[name][0] for name in here) <= 0.9 * everything.QUICK_S


def test_quick_leaves_out_what_is_long_and_says_so(tmp_path: Path) -> None:
    assert run(tmp_path, "soak", "one") == []
    assert outcomes(tmp_path)["soak"] == ("skipped", everything.ALONE)
    run(tmp_path, "soak", quick=False)
    assert outcomes(tmp_path)["soak"][0] == "done"


def test_a_machine_without_a_program_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt install" in (everything.missing("stream") or "")
    assert "pulseaudio" in (everything.missing("present") or "")
    assert everything.missing("latency") is None
    assert os.environ["PATH"] == str(tmp_path)
