"""A real TURN server, coturn, on loopback."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from .harness import free_ports

TURNSERVER = shutil.which("turnserver")
SECRET = "a secret of two servers"


@contextlib.contextmanager
def coturn(folder: Path, *options: str) -> Iterator[int]:
    """The port of a coturn that takes credentials made with SECRET."""
    assert TURNSERVER is not None
    port = free_ports()
    command = [
        TURNSERVER, "-n", "--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "--listening-port", str(port),
        "--use-auth-secret", "--static-auth-secret", SECRET, "--realm", "visavis.test", "--allow-loopback-peers",
        "--no-tls", "--no-dtls", "--no-cli", "--log-file", "stdout", "--simple-log", "--pidfile",
        str(folder / "coturn.pid"), "--userdb", str(folder / "turndb"), *options,
    ]  # fmt: skip
    with (folder / "coturn.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    try:
        _until_listening(port, process, folder / "coturn.log")
        yield port
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def _until_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    begun = time.monotonic()
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() - begun < 20, log.read_text(errors="replace")
        time.sleep(0.05)
