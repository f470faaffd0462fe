"""Fuzzing: ``python -m bench.fuzz --inputs 100000 --json bench/results/fuzz.json``.

Every target runs in a process of its own, without a network where the system allows that. An input is answered when it
is taken or refused in words; an exception, an error in the server's log, a death, a hang, or a session that stays is a
crash, and its input is kept. Mutations of real inputs, the same for the same seed; where atheris is installed, parsers
are fuzzed by coverage as well.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import importlib.util
import json
import logging
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from bench import report

ROOT: Final = Path(__file__).parents[1]
# Module, and the share of all inputs. What is slow gets less.
TARGETS: Final = {
    "message": ("fuzz_targets", 0.25), "token": ("fuzz_targets", 0.08), "config": ("fuzz_targets", 0.06),
    "tape": ("fuzz_targets", 0.06), "pack": ("fuzz_targets", 0.001), "sound": ("fuzz_targets", 0.03),
    "photo": ("fuzz_targets", 0.04), "speech": ("fuzz_targets", 0.06), "sdp": ("fuzz_server", 0.025),
    "offer": ("fuzz_server", 0.012), "http": ("fuzz_server", 0.08), "route": ("fuzz_server", 0.05),
    "agent": ("fuzz_server", 0.06),
    "channel": ("fuzz_media", 0.08), "media": ("fuzz_media", 0.06), "datagram": ("fuzz_media", 0.052),
}  # fmt: skip
GUIDED: Final = {"message": 0.03, "token": 0.01, "config": 0.005, "tape": 0.005, "speech": 0.005}
INPUT_S: Final = 30.0  # an input that takes longer hangs
QUIET_S: Final = 120.0  # so does a process that says nothing for so long
KEPT: Final = 5  # crashes of a target that are written down
MEMORY: Final = (
    4 << 30
)  # bytes of address space of a process that decodes: a bomb is then an error, not this machine's end
COUNTS: Final = struct.Struct("<QQQ")  # inputs, taken, crashes: before the input that a process is at
BOUNDED: Final = ("photo", "sound")


@dataclass
class Outcome:
    """What came of one target."""

    inputs: int = 0
    taken: int = 0
    crashes: int = 0
    seconds: float = 0.0
    said: str = ""


def run(
    inputs: int = 100_000,
    seed: int = 0,
    log: Console | None = None,
    quick: bool = False,
    targets: Iterable[str] = tuple(TARGETS),
    keep: Path | None = None,
) -> report.Measured:
    """Fuzzes all ``targets`` with ``inputs`` in all; ``keep``: a folder for inputs that broke something."""
    log, chosen = log or Console(stderr=True, quiet=True), tuple(targets)
    inputs = min(inputs, 2_000) if quick else inputs
    whole = sum(TARGETS[name][1] for name in chosen)
    metrics: report.Metrics = {}
    total = Outcome()
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            count = max(round(inputs * TARGETS[name][1] / whole), 10)
            outcome = _mutated(name, count, seed, Path(folder))
            if name in GUIDED and not quick and importlib.util.find_spec("atheris") is not None:
                _guided(name, max(round(inputs * GUIDED[name]), 100), seed, Path(folder), outcome)
            log.print(
                f"{name}: {outcome.inputs} inputs, {outcome.taken} taken, {outcome.crashes} crashes", highlight=False
            )
            if outcome.said:
                log.print(outcome.said, markup=False, highlight=False)
            metrics |= {
                f"{name}_inputs": report.value(outcome.inputs, "inputs"),
                f"{name}_crashes": report.value(outcome.crashes, "crashes"),
            }
            total.inputs, total.crashes = total.inputs + outcome.inputs, total.crashes + outcome.crashes
        if keep is not None:
            for path in Path(folder).glob("crash-*"):
                keep.mkdir(parents=True, exist_ok=True)
                (keep / path.name).write_bytes(path.read_bytes())
    all_of_it = {
        "fuzz_inputs": report.value(total.inputs, "inputs"),
        "fuzz_crashes": report.value(total.crashes, "crashes"),
    }
    return report.Measured({**all_of_it, **metrics}, unit="inputs")


# The parent: a process for each target, watched.


def _mutated(name: str, count: int, seed: int, folder: Path) -> Outcome:
    outcome, begun = Outcome(), time.monotonic()
    while outcome.inputs < count and outcome.crashes < 10 * KEPT:
        _watch(name, count - outcome.inputs, seed + outcome.inputs, folder, outcome)
    outcome.seconds = time.monotonic() - begun
    return outcome


def _watch(name: str, count: int, seed: int, folder: Path, outcome: Outcome) -> None:
    """One process until its end, whatever that is; adds what it did to ``outcome``."""
    command = [sys.executable, "-m", "bench.fuzz", "--child", name, "--inputs", str(count), "--seed", str(seed)]
    with (folder / "stderr").open("wb") as errors:
        child = subprocess.Popen([*command, "--folder", str(folder)], cwd=ROOT, stdout=subprocess.PIPE, stderr=errors)
    assert child.stdout is not None
    said: dict[str, Any] = {"inputs": 0, "taken": 0, "crashes": 0}
    os.set_blocking(child.stdout.fileno(), False)
    heard, tail = time.monotonic(), b""
    while True:
        over = child.poll() is not None
        tail += child.stdout.read() or b""
        *lines, tail = tail.split(b"\n")
        for line in lines:
            said, heard = json.loads(line), time.monotonic()
            outcome.said += "".join(f"{words}\n" for words in said.pop("words", ()))
        if over:
            break
        if time.monotonic() - heard > QUIET_S:
            child.kill()
        time.sleep(0.05)
    done, last = bool(said.get("done")), folder / f"input-{_file(name)}"
    if not done:
        left = last.read_bytes() if last.exists() else b""
        inputs, taken, crashes = COUNTS.unpack_from(left.ljust(COUNTS.size, b"\x00"))
        said |= {"inputs": max(inputs, 1), "taken": taken, "crashes": crashes + 1}
        (folder / f"crash-{_file(name)}-death-{seed}").write_bytes(left[COUNTS.size :])
        end = (folder / "stderr").read_text("utf-8", "replace")[-2000:]
        outcome.said += f"the process ended with {child.returncode}\n{end}\n"
    outcome.inputs += said["inputs"]
    outcome.taken += said["taken"]
    outcome.crashes += said["crashes"]
    last.unlink(missing_ok=True)


def _guided(name: str, count: int, seed: int, folder: Path, outcome: Outcome) -> None:
    """The same by coverage, with atheris."""
    command = [sys.executable, "-m", "bench.fuzz", "--guided", name, "--folder", str(folder)]
    limits = [f"-runs={count}", f"-seed={seed + 1}", "-rss_limit_mb=4096", f"-timeout={INPUT_S:.0f}", "-max_len=8192"]
    done = subprocess.run(
        [*command, "--", *limits],
        cwd=folder,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    words = done.stderr.decode("utf-8", "replace")
    ran = re.search(r"Done (\d+) runs", words)
    outcome.inputs += int(ran[1]) if ran else 1
    if done.returncode or not ran:
        outcome.crashes += 1
        outcome.said += (
            f"guided: status {done.returncode}\n{done.stdout.decode('utf-8', 'replace')[-2000:]}{words[-2000:]}\n"
        )


# The child.


def _file(name: str) -> str:
    return name.replace(":", ".")


def _open(name: str) -> Any:
    """A target by its name, or as module:name."""
    module, _, kind = name.rpartition(":")
    return getattr(importlib.import_module(module or f"bench.{TARGETS[name][0]}"), kind)()


async def _child(name: str, count: int, seed: int, folder: Path) -> None:
    from bench.fuzz_mutate import Mutator

    told: dict[str, Any] = {"inputs": 0, "taken": 0, "crashes": 0}
    last, reported = folder / f"input-{_file(name)}", time.monotonic()
    async with _open(name) as target:
        mutator = Mutator(target.seeds, target.words, seed)
        with last.open("wb", buffering=0) as file:
            while told["inputs"] < count and told["crashes"] < KEPT:
                data = mutator.next()
                told["inputs"] += 1
                os.pwrite(file.fileno(), COUNTS.pack(told["inputs"], told["taken"], told["crashes"]) + data, 0)
                os.ftruncate(file.fileno(), COUNTS.size + len(data))
                try:
                    told["taken"] += bool(await asyncio.wait_for(target.answer(data), INPUT_S))
                except Exception:
                    _note(told, folder / f"crash-{_file(name)}-{seed}-{told['inputs']}", data)
                if time.monotonic() - reported > 1.0:
                    print(json.dumps(told), flush=True)
                    reported, told["words"] = time.monotonic(), []
        if target.left is not None:
            try:
                await target.left()
            except Exception:
                _note(told, folder / f"crash-{_file(name)}-{seed}-end", b"")
        told["done"] = True
        print(json.dumps(told), flush=True)


def _note(told: dict[str, Any], path: Path, data: bytes) -> None:
    told["crashes"] += 1
    told.setdefault("words", []).append(f"{data[:200]!r}\n{traceback.format_exc()[-1500:]}")
    path.write_bytes(data)


def _guide(name: str, arguments: list[str]) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    loop = asyncio.new_event_loop()
    with atheris.instrument_imports(include=["streaming", "visavis", "engine", "json", "jwt", "tomllib"]):
        target = loop.run_until_complete(_open(name).__aenter__())
    atheris.Setup([sys.argv[0], *arguments], target.at_once)
    atheris.Fuzz()


def _alone() -> None:
    """No network but loopback, where the system allows that: an offer may name any address, and the server asks it."""
    from streaming.confine import leave_the_network

    if sys.platform != "linux":
        return
    leave_the_network()
    import fcntl
    import socket
    import struct

    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x49))  # SIOCSIFFLAGS: up, loopback, running


def _bound() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", nargs="*", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--keep", type=Path, help="a folder for inputs that broke something")
    for hidden in ("--child", "--guided", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child or asked.guided:
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        _alone()
        if asked.child in BOUNDED:
            _bound()
        if asked.guided:
            _guide(asked.guided, asked.rest)
        asyncio.run(_child(asked.child, asked.inputs, asked.seed, Path(asked.folder)))
        os._exit(0)  # threads of a decoder may hang on
    measured = run(asked.inputs, asked.seed, Console(stderr=True), targets=asked.targets, keep=asked.keep)
    result = report.document("fuzz", measured.metrics)
    report.show(result, Console(width=120))
    if asked.json is not None:
        report.save(asked.json, result)
    sys.exit(measured.metrics["fuzz_crashes"]["value"] > 0)


if __name__ == "__main__":
    main()
