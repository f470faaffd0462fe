"""What a worker that reads strangers' photographs can do, and what it cannot."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from streaming.confine import NEW_NETWORK, NEW_USER
from streaming.enrolment import FILE, FILES, MEMORY, Enrolment, WorkerError

# Tries what it must not, and says what came of it where an enrolment says its warnings.
NOSY = """
import ctypes, json, os, resource, socket, sys
out = next(a for a in sys.argv if a.startswith("--out=")).removeprefix("--out=")
photo = sys.stdin.buffer.read()

def tried(what):
    try:
        what()
    except (OSError, MemoryError) as problem:
        return type(problem).__name__
    return "done"

def write():
    with open(os.path.join(os.environ["TMPDIR"], "big"), "wb") as file:
        for _ in range(70):
            file.write(bytes(1 << 20))

def call():
    socket.create_connection(("127.0.0.1", int(photo)), timeout=5).close()

import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limits = [resource.getrlimit(kind)[1] for kind in (
    resource.RLIMIT_AS, resource.RLIMIT_NOFILE, resource.RLIMIT_CORE, resource.RLIMIT_CPU)]
said = [" ".join(sorted(os.environ)), json.dumps(limits), tried(write), tried(lambda: bytearray(1 << 40)), tried(call),
    str(ctypes.CDLL(None).prctl(39, 0, 0, 0, 0)) if sys.platform == "linux" else "1"]
print(json.dumps({"done": {"warnings": said}}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_a_worker_has_no_secrets_no_network_and_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISAVIS_TOKEN", "a-secret-of-enough-length")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    enrolment = Enrolment([sys.executable, "-c", NOSY], "own", "Eve", "yes", tmp_path)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = str(listening.getsockname()[1]).encode()
        said = asyncio.run(enrolment.run(port, 60.0, lambda step, share: None))
    names, limits, wrote, grew, called, privileges = said
    assert "VISAVIS_TOKEN" not in names and "AWS_SECRET_ACCESS_KEY" not in names
    assert "PATH" in names and "TMPDIR" in names
    memory, files, core, seconds = eval(limits)
    assert (files, core) == (FILES, 0)
    assert memory >= MEMORY or sys.platform == "darwin"
    assert 60 < seconds < 60 * 1000
    assert wrote == "OSError" and (tmp_path / "big").stat().st_size == FILE
    assert grew == "MemoryError"
    assert called != "done" or not namespaces()
    assert privileges == "1"


def namespaces() -> bool:
    """Whether this system lets us leave its network."""
    code = f"import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare({NEW_USER | NEW_NETWORK}) != 0)"
    asked = asyncio.run(_status(code))
    return sys.platform == "linux" and asked == 0


async def _status(code: str) -> int:
    return await (await asyncio.create_subprocess_exec(sys.executable, "-c", code)).wait()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_a_worker_that_never_stops_thinking_is_stopped_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streaming.enrolment.os.cpu_count", lambda: 1)
    busy = "while True: pass"
    with pytest.raises(WorkerError, match="took"):
        asyncio.run(Enrolment([sys.executable, "-c", busy], "own", "Eve", "yes", tmp_path).run(b"x", 0.2, print))
