"""Nothing that the engine runs on reports home."""

import os
import subprocess
import sys
from pathlib import Path

RUN = """
import os
import engine
import onnxruntime
assets = engine.__path__[0] + "/assets"
network = min(name for name in os.listdir(assets) if name.endswith(".onnx"))
onnxruntime.InferenceSession(f"{assets}/{network}", providers=["CPUExecutionProvider"])
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""


def test_onnx_runtime_keeps_no_record_of_what_is_run(tmp_path: Path) -> None:
    known = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    known.pop("ORT_DISABLE_TELEMETRY", None)
    done = subprocess.run([sys.executable, "-c", RUN], env=known, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1"]
    kept = [path.name for path in tmp_path.rglob("*") if "onnxruntime" in path.name]
    assert not kept  # events that wait to be sent
