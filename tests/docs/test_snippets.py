"""Python, TOML, JSON and JavaScript in the documentation: run where it can be, else every name of it looked up."""

import ast
import builtins
import importlib
import inspect
import json
import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

from streaming import protocol
from visavis.config import load

from .blocks import ROOT, Block, of

RUNS = ("docs/quickstart.md", "docs/api.md")  # whose Python is whole
SUPPOSED = {  # what a page's Python takes for granted, in words that a reader understands
    "README.md": {"samples", "show"},
    "docs/agents.md": {
        "synthesizer", "pcm", "ctx", "session", "transport", "stt", "user", "llm", "tts", "assistant", "Pipeline",
    },
    "docs/gpu.md": {"kernels", "exporters", "TorchNetworks", "buffers", "stream"},
}  # fmt: skip


def named(block: Block) -> str:
    return f"{block.file}:{block.line}"


@pytest.mark.parametrize("block", [block for block in of("python") if block.file in RUNS], ids=named)
def test_python_that_is_whole_runs(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block.text, named(block), "exec"), {"__name__": "page"})
    said = capsys.readouterr().out
    for line in block.text.splitlines():
        if found := re.match(r"print\(.*\)  # (\S+?):", line):
            assert found[1] in said


@pytest.mark.parametrize("block", [block for block in of("python") if block.file not in RUNS], ids=named)
def test_names_in_other_python_exist(block: Block) -> None:
    waits = re.search(r"\b(await|async)\b", block.text) is not None
    tree = ast.parse(f"async def page():\n{textwrap.indent(block.text, '    ')}" if waits else block.text)
    known = SUPPOSED.get(block.file, set()) | set(vars(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            try:
                module = importlib.import_module(node.module)
            except ModuleNotFoundError as missing:
                if (missing.name or "").split(".")[0] in ("engine", "streaming", "visavis", "kernels", "exporters"):
                    raise
                pytest.skip(f"{missing.name} is not installed")
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
                known.add(alias.asname or alias.name)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            known.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            known.add(node.id)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    unknown = used - known
    assert not unknown, f"{named(block)} uses {unknown}, which it neither imports nor makes; see SUPPOSED"


def test_methods_that_pages_call_exist() -> None:
    from engine.engine import Engine
    from engine.session import Frame, Session
    from exporters import nets
    from kernels import cuda
    from streaming.integrations.player import Player
    from visavis import client

    for owner, names in (
        (Engine, ("open",)), (Session, ("push_voice", "step")), (client, ("connect",)),
        (client.Agent, ("listen", "state", "speak")), (client.Segment, ("write", "finished")),
        (Player, ("begin", "push", "end")), (cuda, ("Device", "emulated")), (nets, ("nets",)),
    ):  # fmt: skip
        for name in names:
            assert callable(getattr(owner, name)), f"{owner.__name__}.{name}"
    assert {"i420", "voice", "pts"} <= set(inspect.signature(Frame).parameters)


@pytest.mark.parametrize("block", of("toml"), ids=named)
def test_configurations_are_read(block: Block, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(block.text)
    load(tmp_path / "config.toml")


@pytest.mark.parametrize("block", of("json"), ids=named)
def test_messages_are_taken(block: Block) -> None:
    for line in re.split(r"\n(?=\{)", block.text.strip()):
        said = json.loads(line)
        if "type" in said:
            protocol.parse(json.dumps(said))


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize("block", of("js", "javascript"), ids=named)
def test_javascript_compiles_and_its_names_are_exported(block: Block, tmp_path: Path) -> None:
    page = tmp_path / "page.mjs"
    page.write_text(block.text)
    checked = subprocess.run(["node", "--check", page], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    for names, file in re.findall(r"import \{([^}]*)\} from \"\./(\S+\.js)\"", block.text):
        source = (ROOT / "streaming/web" / file).read_text(encoding="utf-8")
        for name in names.split(","):
            assert re.search(rf"export (?:class|function|const|async function) {name.strip()}\b", source), name
