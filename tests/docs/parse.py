"""Gives commands to their programs' own parsers and stops them there: `python -m tests.docs.parse < lists.json`.

Each command is a list of words that begins with `visavis` or `python`. Printed is one line of JSON for each: "" when
its parser took all of it, else what it said. Nothing of a command runs but imports.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import io
import json
import os
import runpy
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).parents[2]


class Taken(BaseException):
    """The parser has taken the arguments."""


def stop() -> None:
    """From now on argparse and typer end a program where it would begin."""
    parse, command = argparse.ArgumentParser.parse_args, typer.Typer.command

    def parse_args(self: argparse.ArgumentParser, *args: Any, **options: Any) -> Any:
        parse(self, *args, **options)
        raise Taken

    def registered(self: typer.Typer, *args: Any, **options: Any) -> Callable[[Any], Any]:
        register = command(self, *args, **options)

        def decorate(function: Any) -> Any:
            @functools.wraps(function)
            def taken(*args: Any, **options: Any) -> None:
                raise Taken

            register(taken)
            return function

        return decorate

    argparse.ArgumentParser.parse_args = parse_args  # type: ignore[method-assign]
    typer.Typer.command = registered  # type: ignore[method-assign, assignment]


def parses(words: list[str]) -> bool:
    """Whether the program has a parser: one without would simply run."""
    if words[0] == "visavis":
        return True
    if words[1] != "-m":
        return any(word in (ROOT / words[1]).read_text(encoding="utf-8") for word in ("argparse", "typer"))
    for name in (f"{words[2]}.__main__", words[2]):
        with contextlib.suppress(ModuleNotFoundError):
            found = importlib.util.find_spec(name)
            if found is not None and found.origin is not None and not found.submodule_search_locations:
                return any(word in Path(found.origin).read_text(encoding="utf-8") for word in ("argparse", "typer"))
    return False


def said(words: list[str]) -> str:
    """What is wrong with a command, in its program's words; empty when nothing is."""
    errors, before = io.StringIO(), (sys.argv, list(sys.path))
    if not parses(words):
        return "it has no parser: give it one, or look up what it names (tests/docs/ways.py)"
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(errors):
            if words[0] == "visavis":
                sys.argv = words
                runpy.run_module("visavis.cli", run_name="__main__")
            elif words[1] == "-m":
                sys.argv = words[2:]
                runpy.run_module(words[2], run_name="__main__", alter_sys=True)
            else:
                sys.argv = words[1:]
                runpy.run_path(str(ROOT / words[1]), run_name="__main__")
    except Taken:
        return ""
    except ModuleNotFoundError as missing:
        return f"skip: {missing.name} is not installed"
    except SystemExit as end:
        return "" if end.code == 0 else f"exit {end.code}: {errors.getvalue()[-800:]}"  # 0: --help
    finally:
        sys.argv, sys.path[:] = before
    return "it ran to its end without parsing anything"


if __name__ == "__main__":
    stop()
    wanted = json.load(sys.stdin)
    sys.path[0] = str(ROOT)
    with tempfile.TemporaryDirectory() as nowhere:  # should one run nevertheless, it writes nothing that anybody has
        os.chdir(nowhere)
        for line in wanted:
            print(json.dumps(said(line)), flush=True)
        os.chdir(ROOT)
