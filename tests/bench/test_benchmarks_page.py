import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import glossary
from bench.run import SUITES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
RESULTS = sorted((ROOT / "bench" / "results").glob("*.json"))


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_has_a_section_that_says_how_to_run_it(suite: str) -> None:
    section = re.search(rf"^## {suite}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section, f"docs/benchmarks.md has no section {suite}"
    assert f"python bench/run.py {suite}" in section[1] and f"<!-- figures of {suite}: begin -->" in section[1]


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_figure_that_is_kept_is_described(path: Path) -> None:
    result = json.loads(path.read_text(encoding="utf-8"))
    unknown = [name for name in result["metrics"] if glossary.look_up(result["suite"], name) is None]
    assert not unknown, f"bench/glossary.toml [{result['suite']}] says nothing of {', '.join(unknown[:5])}"


def test_the_tables_of_the_page_are_those_of_the_glossary() -> None:
    assert glossary.written(PAGE) == PAGE, "python -m bench.glossary docs/benchmarks.md"


def test_the_glossary_describes_suites_that_there_are() -> None:
    assert set(glossary.entries()) <= {*SUITES, "load", "speed"}


def test_every_link_of_the_page_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", PAGE):
        assert (ROOT / "docs" / target).exists(), f"docs/benchmarks.md links to {target}"


def test_every_command_of_the_page_is_one_that_the_program_takes() -> None:
    """Each as far as its own --help: arguments that do not exist are refused before that."""
    commands = set(re.findall(r"python bench/run\.py ([a-z]+)", PAGE))
    options = {name: set(re.findall(rf"python bench/run\.py {name}([^`#\n]*)", PAGE)) for name in commands}
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
import typer
from bench.run import app
group = typer.main.get_command(app)
for name, lines in {options!r}.items():
    known = {{option for given in group.commands[name].params for option in given.opts}}
    used = {{word.strip('[]') for line in lines for word in line.split() if word.strip('[]').startswith('--')}}
    assert used <= known | {{'--help'}}, (name, used - known)
print("taken")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "taken", done.stderr


def test_help_is_a_list_of_suites() -> None:
    environment = {"COLUMNS": "120", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "bench/run.py", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert done.returncode == 0
    for name in (*SUITES, "all", "compare", "report"):
        assert re.search(rf"^. {name} ", done.stdout, re.MULTILINE), name


def test_a_suite_that_does_not_exist_or_an_option_it_does_not_take_is_refused() -> None:
    for arguments, said in ((["nonsense"], "No such command"), (["latency", "--hours", "2"], "takes no --hours")):
        command = [sys.executable, "bench/run.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
        assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
