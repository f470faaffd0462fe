"""What runs on the GPU machine, phase by phase. Each writes what it has at once: a call may be cut off at any moment.

Everything is below WORK, which lives as long as the machine does; what shall come back goes into OUT.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tools.gpu import carry
from tools.gpu.calls import CARRY, RETURNED_MOST

SUMMARY = "summary.json"
LOG = "log.txt"
STOPS = 20.0  # seconds before the limit at which a phase is stopped
WATCHED = 20.0  # seconds between looks for a new checkpoint


class PhaseError(RuntimeError):
    """A phase failed. The message says which, and how."""


@dataclass(slots=True)
class Machine:
    """Where a session runs. ``tiny``: the rehearsal on a processor, with as little of everything as there can be."""

    root: Path
    work: Path
    out: Path
    end: float  # of the call, by time.monotonic()
    minutes: float = 0.0
    tiny: bool = False
    gpu: bool = True
    env: dict[str, str] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)

    def left(self) -> float:
        """Seconds that a command may still take."""
        return max(self.end - time.monotonic(), 1.0)

    def note(self, **facts: Any) -> None:
        """Adds to what comes back, and writes it."""
        self.summary.update(facts)
        fresh = self.out / f".{SUMMARY}"
        fresh.write_text(json.dumps(self.summary, indent=1) + "\n", encoding="utf-8")
        os.replace(fresh, self.out / SUMMARY)

    def run(self, *words: object, limit: float | None = None, may_fail: bool = False) -> str:
        """Runs a command until its limit, the call's else; its output goes to the log as it comes. Returns it."""
        command = [str(word) for word in words]
        seconds = min(limit or self.left(), self.left())
        print(f"$ {' '.join(command)}", flush=True)
        told: list[str] = []
        with open(self.out / LOG, "a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n")
            process = subprocess.Popen(command, cwd=self.root, env=self.env, stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT, text=True, errors="replace", bufsize=1)  # fmt: skip
            watch = threading.Timer(seconds, process.terminate)
            watch.start()
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    told.append(line)
                    log.write(line)
                    log.flush()
                code = process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            finally:
                watch.cancel()
        text = "".join(told)
        print("".join(told[-12:]), end="", flush=True)
        if code and not may_fail:
            raise PhaseError(f"{' '.join(command[:6])} ... ended with {code}: {text.strip()[-300:]}")
        return text

    def python(self, *words: object, limit: float | None = None, may_fail: bool = False) -> str:
        """Runs our own Python."""
        return self.run(sys.executable, *words, limit=limit, may_fail=may_fail)


Phase = Callable[[Machine], None]


def prepare(machine: Machine) -> None:
    """Takes in what was carried, puts the heavy files where the code looks for them, wheels on the path."""
    machine.work.mkdir(parents=True, exist_ok=True)
    machine.out.mkdir(parents=True, exist_ok=True)
    trees, site = machine.work / "trees", machine.work / "site"
    there = carry.receive(machine.root / CARRY, machine.work / "parts", trees)
    for tree in sorted(path for path in trees.glob("*") if path.is_dir()) if trees.is_dir() else []:
        carry.place(tree / "tree", machine.root)
        wheels = sorted((tree / "wheels").glob("*.whl"))
        if wheels and not (tree / ".installed").exists():
            subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile",
                            "--target", str(site), *map(str, wheels)], check=True)  # fmt: skip
            (tree / ".installed").touch()
    machine.env = {**os.environ, **machine.env, "PYTHONUNBUFFERED": "1"}
    machine.env["PYTHONPATH"] = os.pathsep.join(
        [str(machine.root), str(site), *filter(None, [machine.env.get("PYTHONPATH")])]
    )
    machine.env.setdefault("XDG_CACHE_HOME", str(machine.work / "cache"))
    _loaders(machine, trees)
    machine.note(parcels=there)


def _loaders(machine: Machine, trees: Path) -> None:
    """Unpacks the OpenGL loaders where there are none, and says where NVIDIA's own driver for them is."""
    if not machine.gpu or os.geteuid() != 0:
        return
    known = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    if "libEGL.so.1" not in known:
        for package in sorted(trees.glob("*/loaders/*.deb")):
            subprocess.run(["dpkg", "-x", str(package), "/"], check=False)
        subprocess.run(["ldconfig"], check=False)
    if "__EGL_VENDOR_LIBRARY_FILENAMES" not in os.environ:
        for folder in (Path("/usr/share/glvnd"), Path("/usr/local/nvidia/share/glvnd"), Path("/etc/glvnd")):
            for vendor in sorted(folder.glob("egl_vendor.d/*nvidia*.json")):
                machine.env["__EGL_VENDOR_LIBRARY_FILENAMES"] = str(vendor)
                return


def unpack(machine: Machine) -> None:
    """Nothing but what `prepare` does."""


PROBE = """
import importlib, json, sys
told = {"python": sys.version.split()[0]}
for name in ("torch", "numpy", "numba", "scipy", "onnx", "onnxruntime", "onnxscript", "safetensors", "zstandard", "av",
             "moderngl", "PIL", "typer", "rich", "matplotlib", "pytest", "cuda.core", "cuda.bindings", "triton"):
    try:
        module = importlib.import_module(name)
        told[name] = str(getattr(module, "__version__", "there"))
    except Exception as error:
        told[name] = f"MISSING: {error}"
try:
    import torch
    told["cuda"] = torch.version.cuda
    if torch.cuda.is_available():
        facts = torch.cuda.get_device_properties(0)
        told["gpu"], told["gpu_bytes"], told["processors"] = facts.name, facts.total_memory, facts.multi_processor_count
except Exception as error:
    told["cuda"] = f"FAILED: {error}"
try:
    from training.studio.gl import open_context
    told["egl"] = open_context().info["GL_RENDERER"]
except Exception as error:
    told["egl"] = f"FAILED: {error}"
print("PROBE " + json.dumps(told))
"""


def probe(machine: Machine) -> None:
    """Says what the machine is, and what it lacks."""
    text = machine.python("-c", PROBE, limit=120)
    line = next(line for line in text.splitlines() if line.startswith("PROBE "))
    found = json.loads(line.removeprefix("PROBE "))
    if machine.gpu:
        found["nvidia_smi"] = machine.run(
            "nvidia-smi", "--query-gpu=name,driver_version,memory.total,power.limit,clocks.max.sm", "--format=csv",
            limit=30, may_fail=True,
        ).strip()  # fmt: skip
    machine.note(probe=found, cores=os.cpu_count(), system=platform.platform())
    missing = [name for name, value in found.items() if str(value).startswith(("MISSING", "FAILED"))]
    print(f"missing or failing: {', '.join(missing) or 'nothing'}")


def data(machine: Machine) -> None:
    """Starts photographing and cooking, and goes on to the next phase meanwhile; `teach` waits for it."""
    cores = os.cpu_count() or 2
    lanes = 1 if machine.tiny else max(1, cores // 2 - 1)
    minutes = 9.0 if machine.tiny else machine.minutes or 6.0  # tiny: it ends when two clips are there
    words = [sys.executable, "-m", "training.renderer", "gather", "--data", machine.work / "data", "--speech",
             machine.root / "data" / "speech", "--minutes", minutes, "--workers", lanes + 1, "--lanes",
             lanes, "--clips", 2 if machine.tiny else 4000, "--enough", 2 if machine.tiny else 8]  # fmt: skip
    log = open(machine.work / "gather.log", "a", encoding="utf-8")  # noqa: SIM115  the child's
    process = subprocess.Popen(list(map(str, words)), cwd=machine.root, env=machine.env, stdout=log,
                               stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
    (machine.work / "gather.pid").write_text(f"{process.pid} {time.time() + 60 * minutes}")
    machine.note(gather={"lanes": lanes, "minutes": minutes, "began": time.time()})
    if machine.tiny:
        process.wait()


def gathered(machine: Machine) -> None:
    """Waits until photographing has stopped, which it does by itself, or the call's time is nearly over."""
    pid, end = (machine.work / "gather.pid").read_text().split()
    while _alive(int(pid)) and time.time() < float(end) + 150 and machine.left() > 15:
        time.sleep(1)
    _count(machine)


def _count(machine: Machine) -> None:
    """Says how much there is to learn from. Raises PhaseError when it is too little."""
    log = (machine.work / "gather.log").read_text(encoding="utf-8", errors="replace")
    shutil.copyfile(machine.work / "gather.log", machine.out / "gather.txt")
    cooked = list((machine.work / "data" / "cooked").rglob("*.clip"))
    machine.note(clips=len(cooked), cooked_bytes=sum(path.stat().st_size for path in cooked))
    print(log[-300:])
    if len(cooked) < (2 if machine.tiny else 8):
        raise PhaseError(f"photographing gave {len(cooked)} clips: gather.txt says why")


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def parity(machine: Machine) -> None:
    """The tests that a GPU makes run, while nothing is timed."""
    tests = [path for path in ("tests/kernels", "tests/engine/gpu", "tests/engine/backends")
             if (machine.root / path).exists()]  # fmt: skip
    chosen = ["tests/kernels/test_move_cuda.py"] if machine.tiny else tests
    words = [] if machine.tiny else ["-k", "gpu or cuda"]
    text = machine.python("-m", "pytest", *chosen, *words, "-rs", "-q", "--no-header", "-p", "no:cacheprovider",
                          limit=300, may_fail=True)  # fmt: skip
    (machine.out / "parity.txt").write_text(text, encoding="utf-8")
    machine.note(parity=text.strip().splitlines()[-1] if text.strip() else "said nothing")


def teach(machine: Machine) -> None:
    """The teacher, for so many minutes; goes on where it was. Its weights come back as they are saved."""
    gathered(machine)
    with _returning(machine, "teacher"):
        _learn(machine, "teach", ["--size", "lite" if machine.tiny else "base"], 1 if machine.tiny else 64)


def tune(machine: Machine) -> None:
    """The student of the teacher."""
    with _returning(machine, "student"):
        _learn(machine, "tune", [], 1 if machine.tiny else 32)


def _learn(machine: Machine, command: str, more: list[str], batch: int) -> None:
    cooked, run = machine.work / "data" / "cooked", machine.work / "run"
    brought = machine.work / "trees" / "weights" / "weights" / "teacher.pt"
    if command == "tune" and not (run / "teacher.pt").exists() and brought.exists():
        more = [*more, "--init", str(brought)]
    machine.python(
        "-m", "training.renderer", command, "--data", cooked / "train", "--held", cooked / "held-out", "--out", run,
        "--device", "cuda" if machine.gpu else "cpu", "--threads", max(1, (os.cpu_count() or 2) - 2), "--batch", batch,
        "--minutes", machine.minutes or 5.0, "--resume", *more,
    )  # fmt: skip
    rows = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    machine.note(**{command: [json.loads(row) for row in rows if "held.psnr" in row][-3:]})


@contextmanager
def _returning(machine: Machine, name: str) -> Iterator[None]:
    """Sends the averaged weights of the run's newest checkpoint back, in pieces, as long as this lasts."""
    path, seen, over = machine.work / "run" / f"{name}.pt", 0.0, threading.Event()

    def send() -> None:
        nonlocal seen
        if path.exists() and path.stat().st_mtime != seen:
            seen = path.stat().st_mtime
            small = machine.work / f"{name}.half.pt"
            subprocess.run([sys.executable, "-c", HALVE, str(path), str(small)], env=machine.env, check=False,
                           cwd=machine.root)  # fmt: skip
            if small.exists():
                carry.cut(small, machine.out, f"{name}.pt", RETURNED_MOST)

    def watch() -> None:
        while not over.wait(WATCHED):
            send()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        send()


HALVE = """
import sys, torch
state = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
half = {name: value.half() if value.is_floating_point() else value for name, value in state["averaged"].items()}
torch.save({"config": state["config"], "step": state["step"], "averaged": half}, sys.argv[2])
"""


def export(machine: Machine) -> None:
    """The student's runtime files; the weights among them come back."""
    name = "renderer_lite" if machine.tiny else "renderer_base"
    weights = machine.work / "weights"
    machine.python("-m", "training.renderer", "export", "--run", machine.work / "run" / "student.pt", "--out", weights,
                   "--name", name)  # fmt: skip
    for old in machine.out.glob("student.pt.*"):  # the same weights
        old.unlink()
    carry.cut(weights / f"{name}.safetensors", machine.out, f"{name}.safetensors", RETURNED_MOST)


def kernels(machine: Machine) -> None:
    """Every CUDA kernel against the roof."""
    _bench(machine, "kernels", "kernels_gpu")


def gpu(machine: Machine) -> None:
    """The whole tick, with the network that was trained here, an untrained one of the same size else."""
    _bench(machine, "gpu", "gpu", *_network(machine), "--until", int(machine.left() - 90))


def tensorrt(machine: Machine) -> None:
    """The tick on TensorRT alone, if it takes this GPU."""
    _bench(
        machine, "gpu", "gpu_tensorrt", *_network(machine), "--backend", "tensorrt", "--until", int(machine.left() - 90)
    )


def _network(machine: Machine) -> list[object]:
    trained = sorted((machine.work / "weights").glob("renderer_*.safetensors"))
    return ["--network", trained[0]] if trained else []


def _bench(machine: Machine, suite: str, name: str, *more: object) -> None:
    quick = ["--rehearse"] if machine.tiny else []
    plots = ["--plot", machine.out / "plots"] if find_spec("matplotlib") else []
    machine.python("bench/run.py", suite, *quick, *more, "--json", machine.out / f"{name}.json", *plots)
    for picture in (machine.out / "plots").glob("*.png"):
        os.replace(picture, machine.out / f"{name}.png")
    shutil.rmtree(machine.out / "plots", ignore_errors=True)


PHASES: dict[str, Phase] = {
    "unpack": unpack, "probe": probe, "data": data, "parity": parity, "gathered": gathered, "teach": teach,
    "tune": tune, "export": export, "kernels": kernels, "gpu": gpu, "tensorrt": tensorrt,
}  # fmt: skip


def perform(machine: Machine, names: list[str]) -> bool:
    """Runs phases in order; one that fails does not stop the next. Returns whether all went well."""
    prepare(machine)
    well = True
    for name in names:
        began = time.monotonic()
        print(f"== {name}", flush=True)
        try:
            PHASES[name](machine)
            outcome = "done"
        except Exception as error:  # the next phases may still be of use, and the call's time is paid for
            outcome, well = f"FAILED: {error}", False
        machine.note(**{f"phase.{name}": outcome, f"seconds.{name}": round(time.monotonic() - began, 1)})
        print(f"== {name}: {outcome} ({time.monotonic() - began:.0f} s)", flush=True)
    return well
