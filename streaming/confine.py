"""Run as a program: gives itself narrow limits and no network, then becomes the command it is told.

    python -I confine.py '{"cpu_s": 480, "memory": 6442450944, "file": 67108864, "files": 256}' COMMAND ...

Between fork and exec only C may run safely in a process with threads, so this is a program of its own. What a system
does not have (user namespaces, most of this on macOS) is left out; the limits that POSIX has are not.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
from typing import Final

NO_NEW_PRIVILEGES: Final = 38  # prctl(2)
NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000  # unshare(2)


def main(arguments: list[str]) -> None:
    """Becomes ``arguments[1:]``; never returns."""
    bound(json.loads(arguments[0]))
    if sys.platform == "linux":
        leave_the_network()
    os.execvp(arguments[1], arguments[1:])


def bound(limits: dict[str, int]) -> None:
    """Limits of this process and its children: ``cpu_s`` seconds each, ``memory`` bytes of address space each, ``file``
    bytes of a file, ``files`` open at once; and no picture of its memory on the disk when it dies."""
    import resource

    asked = {
        resource.RLIMIT_CPU: limits["cpu_s"],
        resource.RLIMIT_AS: limits["memory"],
        resource.RLIMIT_FSIZE: limits["file"],
        resource.RLIMIT_NOFILE: limits["files"],
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in asked.items():
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(ValueError, OSError):  # macOS has no limit of address space
            resource.setrlimit(kind, (most, most))


def leave_the_network() -> None:
    """No privileges are gained from here on, and where the kernel lets us, there is no network and no power over
    anything but this process's own files."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(NEW_USER | NEW_NETWORK) == 0:
        for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with contextlib.suppress(OSError), open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(line)
    else:  # a container may forbid the one and, to root, allow the other
        libc.unshare(NEW_NETWORK)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)


if __name__ == "__main__":
    main(sys.argv[1:])
