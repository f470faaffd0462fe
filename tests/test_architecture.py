"""Rules of the house that a machine can keep."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "kernels": set(),
    "engine": {"kernels"},
    "streaming": {"engine", "kernels"},
    "visavis": {"engine", "kernels", "streaming"},
    "exporters": {"engine", "kernels"},
    "training": {"engine", "kernels", "exporters"},
}
# Commands that need an extra, and import what comes with it when they run: never at the top.
COMMANDS = {
    "visavis/cli_portrait.py": {"training"},
    "visavis/cli_dub.py": {"training"},
    "visavis/cli_export.py": {"exporters"},
    "visavis/gpu.py": {"exporters"},
}
OURS = set(MAY_IMPORT) | {"bench", "tests"}
NOT_INSTALLED = {"torch", "scipy", "PIL", "matplotlib", "anny", "onnx", "cv2", "pocketsphinx", "piper"}
TORCH_MODULES = {  # network definitions, for training and exporters alone
    *(f"engine/motion/{name}.py" for name in ("generator", "acoustic", "codec", "performer")),
    *(f"engine/render/{name}.py" for name in ("denoiser", "fused", "layers", "identity", "painter", "sampler")),
}
EXTRAS = {"pyaudio", "pyvirtualcam", "cuda", "c2pa"}


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
    return found


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_dependencies_point_one_way(package: str) -> None:
    for path in sources(package):
        ours = {name.split(".")[0] for name in imports(path)} & OURS
        wrong = ours - MAY_IMPORT[package] - {package} - COMMANDS.get(path.relative_to(ROOT).as_posix(), set())
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_what_users_install_imports_nothing_that_only_training_has() -> None:
    for path in sources("kernels", "engine", "streaming", "visavis"):
        name = path.relative_to(ROOT).as_posix()
        if name in TORCH_MODULES:
            continue
        wrong = {module.split(".")[0] for module in imports(path)} & NOT_INSTALLED
        # bench's plot and the like import lazily and say what to install; nothing here may even try
        assert not wrong, f"{name} imports {wrong}"


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_import_what_an_extra_brings_only_when_they_run(command: str) -> None:
    at_the_top = {name.split(".")[0] for name in imports(ROOT / command, top_level_only=True)}
    assert not at_the_top & COMMANDS[command]


def test_extras_are_imported_lazily() -> None:
    for path in sources("kernels", "engine", "streaming", "visavis"):
        wrong = {module.split(".")[0] for module in imports(path, top_level_only=True)} & EXTRAS
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong} at the top"


def test_the_engine_reads_no_wall_clock_but_to_time_stages() -> None:
    for path in sources("engine"):
        if path.name != "stages.py":
            assert "time" not in imports(path) and "datetime" not in imports(path), path


def test_no_file_outgrows_a_reader() -> None:
    for path in sources(*MAY_IMPORT, "bench", "tests"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 400, f"{path.relative_to(ROOT)} has {lines} lines; split it by nouns"


def test_every_module_has_its_line_in_the_structure_document() -> None:
    text = (ROOT / "docs" / "structure.md").read_text(encoding="utf-8")
    for path in sources(*MAY_IMPORT, "bench"):
        name = path.relative_to(ROOT).as_posix()
        if path.name != "__init__.py":
            assert f"`{name}`" in text, f"docs/structure.md does not mention {name}"


def test_nothing_big_is_kept_in_the_repository() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    for name in listed.stdout.splitlines():
        path = ROOT / name
        assert not path.exists() or path.stat().st_size <= 10_000_000, name


def test_importing_the_engine_loads_no_torch() -> None:
    code = "import sys, engine.engine, streaming.server, visavis.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
