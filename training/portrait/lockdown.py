"""A process that is about to read what strangers sent takes away from itself what it could do harm with."""

from __future__ import annotations

import contextlib
import ctypes
import struct
import sys
from typing import Final

NO_NEW_PRIVILEGES: Final = 38  # prctl(2)
CREATE_RULESET, RESTRICT_SELF = 444, 446  # landlock(7): the same numbers on every processor
VERSION: Final = 1  # flag of the first call: only say which rights this kernel knows
# Rights over files by landlock's version: to execute, write, read and list, remove and make any kind; to move (2),
# to cut off (3); to ask devices (5). And to bind and connect TCP (4).
FILES: Final = (0x1FFF, 0x2000, 0x4000, 0, 0x8000)
TCP: Final = 0x3


def lock(memory: int, seconds: int) -> None:
    """From here on this process opens no file, writes none, starts no program and makes no connection, as far as this
    system can see to that: what it needs must be loaded and open. ``memory``: bytes of address space."""
    with contextlib.suppress(ImportError):
        import resource

        limits = {
            resource.RLIMIT_AS: (memory, memory),
            resource.RLIMIT_CPU: (seconds, seconds + 2),
            resource.RLIMIT_FSIZE: (0, 0),  # pipes stay
            resource.RLIMIT_CORE: (0, 0),
        }
        for kind, both in limits.items():
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(kind, both)
    if sys.platform == "linux":
        landlock()


def landlock() -> bool:
    """Gives up all files and connections that are not open yet; False on a kernel that cannot (before 5.13)."""
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), VERSION)
    if version < 1:
        return False
    rules = struct.pack("<Q", sum(FILES[:version])) + (struct.pack("<Q", TCP) if version >= 4 else b"")
    ruleset = libc.syscall(CREATE_RULESET, rules, ctypes.c_size_t(len(rules)), 0)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    return ruleset >= 0 and libc.syscall(RESTRICT_SELF, ruleset, 0) == 0
