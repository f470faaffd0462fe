"""What is installed by pip is all that enrolment imports."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
LIST = """
import sys
from training.portrait import enrol, report, worker
from training.portrait.dubbing import dub
print(*(name for name in sys.modules if name.startswith("training.")), *sorted({"torch", "anny"} & set(sys.modules)))
"""


def test_a_wheel_carries_every_module_that_enrolment_and_dubbing_import() -> None:
    for name in ("scipy", "PIL"):
        pytest.importorskip(name, reason=f"enrolment needs {name}: pip install visavis[portrait]")
    said = subprocess.run([sys.executable, "-c", LIST], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    modules = said.split()
    assert "training.bake.make" in modules
    for module in modules:
        folder = ROOT / module.replace(".", "/")
        package = module if folder.is_dir() else module.rpartition(".")[0]
        assert any(fnmatch(package, one) for one in SETTINGS["packages"]["find"]["include"]), module


@pytest.mark.parametrize("asset", ["bake/assets/prior.npz.xz", "portrait/assets/basis.safetensors",
                                   "portrait/assets/segments.onnx", "assets/person_mask.onnx"])  # fmt: skip
def test_a_wheel_carries_the_files_that_enrolment_reads(asset: str) -> None:
    path = ROOT / "training" / asset
    assert path.is_file()
    package = ".".join(path.parent.relative_to(ROOT).parts)
    assert any(fnmatch(package, one) for one in SETTINGS["packages"]["find"]["include"])
    assert any(fnmatch(path.name, one) for one in SETTINGS["package-data"]["*"])
    assert not any(fnmatch(path.name, one) for one in SETTINGS["exclude-package-data"].get(package, ()))
