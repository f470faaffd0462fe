"""Python, TOML, JSON and JavaScript in the documentation: run where it can be, else every name of it looked up."""

import ast
import builtins
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


def has(module: str, name: str, owner: str = "") -> bool:
    """Whether a module (or its class ``owner``) defines or imports ``name``, by its source: no extra is needed."""
    place = ROOT / module.replace(".", "/")
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    if (place / f"{name}.py").is_file():
        return True
    body = ast.parse(path.read_text(encoding="utf-8")).body
    if owner:
        (body,) = (node.body for node in body if isinstance(node, ast.ClassDef) and node.name == owner)
    found: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return name in found


def test_a_name_that_is_gone_is_noticed() -> None:
    assert has("engine.session", "step", "Session") and not has("engine.session", "stride", "Session")
    assert has("engine.motion", "tape") and not has("engine.motion", "tapes")


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
            for alias in node.names:
                assert has(node.module, alias.name), f"{named(block)}: {node.module} has no {alias.name}"
                known.add(alias.asname or alias.name)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            known.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            known.add(node.id)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    unknown = used - known
    assert not unknown, f"{named(block)} uses {unknown}, which it neither imports nor makes; see SUPPOSED"


@pytest.mark.parametrize(
    ("module", "owner", "names"),
    [
        ("engine.engine", "Engine", {"open"}),
        ("engine.session", "Session", {"push_voice", "step"}),
        ("engine.session", "Frame", {"i420", "voice", "pts"}),
        ("visavis.client", "Agent", {"listen", "state", "speak"}),
        ("visavis.client", "Segment", {"write", "finished"}),
        ("streaming.integrations.player", "Player", {"begin", "push", "end"}),
        ("engine.backends.torch", "TorchNetworks", {"bind", "capture"}),
        ("exporters.nets", "", {"nets"}),
        ("kernels.cuda", "", {"Device", "emulated"}),
        ("visavis.client", "", {"connect"}),
    ],
)
def test_what_pages_call_is_there(module: str, owner: str, names: set[str]) -> None:
    assert not {name for name in names if not has(module, name, owner)}


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
