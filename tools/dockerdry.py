"""A dry run of a Dockerfile without a container engine: its steps are run on copies of a base system, and its server
started as the image would start it.

    sudo python tools/dockerdry.py deploy/Dockerfile --base /tmp/bookworm

``--base`` is the root of a system that stands in for the FROM image, untouched by this: one that
``debootstrap --variant=minbase`` made, with Python below it. Each stage is an overlay on it. COPY takes tracked files
that .dockerignore lets through; RUN runs. Every shared library is looked for, and ENTRYPOINT starts as USER, without
capabilities, on a read-only root and with no network but loopback: /readyz must say 200, HEALTHCHECK's command must
succeed, and STOPSIGNAL must end it. Needs root and Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools import dockerfiles

ROOT: Final = Path(__file__).parents[1]
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NEW_NETWORK: Final = 0x40000000  # unshare(2), setns(2)
NO_NEW_PRIVILEGES, DROP_CAPABILITY = 38, 24  # prctl(2)
READY_S: Final = 600.0
SECRETS: Final = "/run/secrets"
LIBRARIES: Final = "find / -xdev -name '*.so*' -path '/opt/*' -type f | while read -r f; do ldd \"$f\" 2>/dev/null | "
MISSING: Final = LIBRARIES + 'sed -n "s#=> not found#$f#p"; done'
libc = ctypes.CDLL(None, use_errno=True)


class Dry:
    """One dry run; ``work`` is a folder of its own on the disk."""

    def __init__(self, path: Path, base: Path, work: Path, binds: list[str], values: dict[str, str]) -> None:
        self.stages = dockerfiles.read(path)
        self.files = dockerfiles.context(ROOT)
        self.base, self.work, self.binds = base, work, binds
        self.arguments = {**dockerfiles.arguments_of(path), **values}
        self.roots: dict[str, Path] = {}

    def build(self) -> None:
        """Runs every stage."""
        if absent := dockerfiles.missing(self.stages, self.files):
            raise SystemExit(f"COPY asks for what is not tracked, or what .dockerignore hides: {', '.join(absent)}")
        for stage in self.stages:
            root = self.roots[stage.name] = self.overlay(stage.name)
            with self.bound(root):
                self.run_steps(stage, root)

    def overlay(self, name: str) -> Path:
        """A root of its own for a stage, writable, over the base."""
        top = self.work / name
        for part in ("upper", "work", "root"):
            (top / part).mkdir(parents=True)
        options = f"lowerdir={self.base},upperdir={top / 'upper'},workdir={top / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, top / "root"], check=True)
        return top / "root"

    @contextlib.contextmanager
    def bound(self, root: Path) -> Iterator[None]:
        """While a stage is built, /proc, /dev and what the host's pip needs are there."""
        mounts: list[Path] = []
        for source in ("/proc", "/dev", *self.binds):
            target = root / source.strip("/")
            if Path(source).is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.touch()
            subprocess.run(["mount", "--rbind", source, target], check=True)
            mounts.append(target)
        try:
            yield
        finally:
            for target in reversed(mounts):
                subprocess.run(["umount", "--recursive", "--lazy", target], check=True)

    def run_steps(self, stage: dockerfiles.Stage, root: Path) -> None:
        """COPY and RUN, one after the other."""
        folder, known = "/", {"PATH": PATH, "HOME": "/root", **pip_settings(), **self.arguments}
        for step in stage.steps:
            if step.word == "WORKDIR":
                folder = step.rest
                (root / folder.strip("/")).mkdir(parents=True, exist_ok=True)
            elif step.word == "COPY":
                self.copy(step, root, folder)
            elif step.word == "RUN":
                begun = time.monotonic()
                subprocess.run(step.command, env=known, check=True, preexec_fn=inside(root, folder))
                tell(f"{stage.name}: RUN took {time.monotonic() - begun:.0f} s: {step.rest[:70]} ...")

    def copy(self, step: dockerfiles.Step, root: Path, folder: str) -> None:
        """COPY from the context, or from another stage."""
        *sources, target = step.words
        into = root / os.path.join(folder, target).strip("/")
        for source in sources:
            if "from" in step.options:
                here = self.roots[step.options["from"]] / source.strip("/")
                shutil.copytree(here, into, symlinks=True)
                continue
            for name in self.files:
                if name == source:
                    place(ROOT / name, into / name if target.endswith("/") else into)
                elif name.startswith(f"{source}/"):
                    place(ROOT / name, into / name.removeprefix(f"{source}/"))

    def check_libraries(self) -> None:
        """Raises SystemExit when a shared library of the last stage lacks another."""
        root = self.roots[self.stages[-1].name]
        with self.bound(root):
            done = subprocess.run(
                ["/bin/sh", "-c", MISSING], env={"PATH": PATH}, capture_output=True, text=True, check=True,
                preexec_fn=inside(root, "/"),
            )  # fmt: skip
        inner = {path.name for path in root.glob("opt/**/*.so*")}  # found by its package at run time
        lines = {line for line in done.stdout.splitlines() if line.split()[0] not in inner}
        for line in sorted(lines):
            tell(f"library: {line.strip()}")
        tell(f"libraries: {len(lines)} that neither the base nor a package brings")

    def serve(self) -> dict[str, Any]:
        """Starts what the image starts, asks it what an orchestrator asks, and stops it."""
        stage = self.stages[-1]
        root = self.roots[stage.name]
        user = (stage.last("USER") or dockerfiles.Step("USER", "0")).rest.partition(":")[0]
        self.mount_volumes(stage, root, int(user))
        command = [*dockerfiles.said(stage.last("ENTRYPOINT")), *dockerfiles.said(stage.last("CMD"))]
        folder = (stage.last("WORKDIR") or dockerfiles.Step("WORKDIR", "/")).rest
        known = stage.environment({"PATH": PATH, "HOME": folder})
        begun = time.monotonic()
        server = subprocess.Popen(command, env=known, preexec_fn=inside(root, folder, int(user), alone=True))
        try:
            ready = until_ready(server)
            told = {"ready_s": round(ready - begun, 1), "rss_mb": round(resident(server.pid) / 1e6)}
            check = stage.last("HEALTHCHECK")
            assert check is not None
            healthy = [*dockerfiles.Step("CMD", check.rest.removeprefix("CMD").strip()).command]
            joined = inside(root, folder, int(user), network=server.pid)
            told["health"] = subprocess.run(healthy, env=known, preexec_fn=joined, timeout=30).returncode
            stop = (stage.last("STOPSIGNAL") or dockerfiles.Step("STOPSIGNAL", "SIGTERM")).rest
            begun = time.monotonic()
            server.send_signal(signal.Signals[stop])
            told["exit"] = server.wait(60)
            told["stop_s"] = round(time.monotonic() - begun, 1)
            return told
        finally:
            server.kill()
            server.wait()

    def mount_volumes(self, stage: dockerfiles.Stage, root: Path, user: int) -> None:
        """The root read-only; volumes and /tmp writable; a secret, as an orchestrator gives it."""
        (root / SECRETS.strip("/")).mkdir(parents=True, exist_ok=True)
        for name in ("proc", "dev", "sys"):
            subprocess.run(["mount", "--rbind", f"/{name}", root / name], check=True)
        for volume in dockerfiles.said(stage.last("VOLUME")):
            here = self.work / "volumes" / volume.strip("/")
            here.mkdir(parents=True)
            os.chown(here, user, user)
            subprocess.run(["mount", "--bind", here, root / volume.strip("/")], check=True)
        for name in ("tmp", SECRETS.strip("/")):
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", root / name], check=True)
        (root / SECRETS.strip("/") / "visavis_token").write_text("a-token-of-a-dry-run-alone\n")
        subprocess.run(["mount", "-o", "remount,ro", root], check=True)

    def size_mb(self) -> int:
        """Of what the last stage lays over its base."""
        upper = self.work / self.stages[-1].name / "upper"
        return round(sum(f.lstat().st_size for f in upper.rglob("*") if not f.is_dir()) / 1e6)


def place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def pip_settings() -> dict[str, str]:
    """What this machine says of package indexes and certificates: builds go where its pip goes."""
    names = ("PIP_", "SSL_CERT", "http_proxy", "https_proxy", "no_proxy", "REQUESTS_CA")
    return {name: value for name, value in os.environ.items() if name.startswith(names)}


def inside(
    root: Path, folder: str, user: int = 0, *, alone: bool = False, network: int | None = None
) -> Callable[[], None]:
    """For a child process: into ``root``, as ``user`` with no power left; ``alone``: in a network of its own with
    loopback; ``network``: in that of the process."""

    def enter() -> None:
        if alone:
            libc.unshare(NEW_NETWORK)
            loopback_up()
        if network is not None:
            with open(f"/proc/{network}/ns/net") as there:
                libc.setns(there.fileno(), NEW_NETWORK)
        os.chroot(root)
        os.chdir(folder)
        if user:
            for number in range(41):
                libc.prctl(DROP_CAPABILITY, number, 0, 0, 0)
            libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)

    return enter


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        request = struct.pack("16sh14x", b"lo", 1)  # SIOCSIFFLAGS with IFF_UP
        fcntl.ioctl(device, 0x8914, request)


def until_ready(server: subprocess.Popen[bytes]) -> float:
    """When /readyz said 200. Raises SystemExit when it does not."""
    ask = "import urllib.request as u; u.urlopen('http://127.0.0.1:8765/readyz', timeout=3)"

    def join() -> None:
        with open(f"/proc/{server.pid}/ns/net") as there:
            libc.setns(there.fileno(), NEW_NETWORK)

    end = time.monotonic() + READY_S
    while time.monotonic() < end and server.poll() is None:
        if subprocess.run([sys.executable, "-c", ask], stderr=subprocess.DEVNULL, preexec_fn=join).returncode == 0:
            return time.monotonic()
        time.sleep(0.5)
    raise SystemExit(f"the server was not ready in {READY_S:.0f} s, or ended (status {server.poll()})")


def resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def tell(words: str) -> None:
    print(f"dockerdry: {words}", flush=True)


def main() -> None:
    """The whole of it, in a mount namespace of its own, so that nothing stays mounted."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("dockerfile", type=Path)
    words.add_argument("--base", type=Path, default=Path("/"), help="root of the system that stands in for FROM")
    words.add_argument("--bind", action="append", default=["/etc/resolv.conf"], help="also there while building")
    words.add_argument("--arg", action="append", default=[], help="NAME=VALUE, as docker build's --build-arg")
    words.add_argument("--build-only", action="store_true", help="do not start the server")
    asked = words.parse_args()
    if os.environ.get("DOCKERDRY") != "inside":
        again = ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv]
        raise SystemExit(subprocess.run(again, env={**os.environ, "DOCKERDRY": "inside"}).returncode)
    with tempfile.TemporaryDirectory(prefix="dockerdry-", ignore_cleanup_errors=True) as work:
        values = dict(value.split("=", 1) for value in asked.arg)
        dry = Dry(asked.dockerfile, asked.base, Path(work), asked.bind, values)
        try:
            dry.build()
            tell(f"the last stage adds {dry.size_mb()} MB to its base")
            dry.check_libraries()
            if not asked.build_only:
                told = dry.serve()
                tell(json.dumps(told))
                if told["health"] or told["exit"]:
                    raise SystemExit("HEALTHCHECK or the end was not clean")
        finally:
            for root in reversed(dry.roots.values()):
                subprocess.run(["umount", "--recursive", "--lazy", root])


if __name__ == "__main__":
    main()
