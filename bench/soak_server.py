"""``visavis serve`` as it is, and a thread beside it that counts what could leak.

``python -m bench.soak_server COUNTS -- serve --port N``: every few seconds a line of JSON goes into the file COUNTS.
Before ``--``: ``--double`` takes the tests' stand-in for the engine, for what is about connections alone, ``--film F``
another, which shows what stand_in.py painted; ``--every S`` counts so often; ``--collect`` collects what is dead first.
SIGUSR1 stalls the event loop for two seconds, SIGUSR2 sets the wall clock an hour forward.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np

import streaming.server

EVERY_S: Final = 5.0
POOLED: Final = re.compile(r"_\d+$")  # a thread of a pool: there are as many as the pool's size, sooner or later


def counts(loop: asyncio.AbstractEventLoop | None) -> dict[str, Any]:
    """What this process holds now: memory in MB, descriptors, threads, tasks, objects."""
    status = Path("/proc/self/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    tasks = [] if loop is None else list(asyncio.all_tasks(loop))
    return {
        "at": time.monotonic(),
        "rss_mb": int(fields["VmRSS"].split()[0]) / 1024,
        "anonymous_mb": int(fields["RssAnon"].split()[0]) / 1024,
        "fds": len(os.listdir("/proc/self/fd")),
        "threads": sum(not POOLED.search(thread.name) for thread in threading.enumerate()),
        "pooled_threads": sum(bool(POOLED.search(thread.name)) for thread in threading.enumerate()),
        "native_threads": int(fields["Threads"]),
        "tasks": len(tasks),
        "task_names": dict(Counter(getattr(task.get_coro(), "__qualname__", "?") for task in tasks)),
        "blocks": sys.getallocatedblocks(),
        "objects": len(gc.get_objects()),
    }


def watch(path: Path, loops: list[asyncio.AbstractEventLoop], every: float, collect: bool) -> None:
    """Appends to ``path`` for ever, from a thread of its own. ``collect``: what is dead is looked for before."""

    def work() -> None:
        while True:
            if collect:
                gc.collect()
            line = json.dumps(counts(loops[0] if loops else None))
            with path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            time.sleep(every)

    threading.Thread(target=work, name="probe", daemon=True).start()


def main() -> None:
    """Serves."""
    end = sys.argv.index("--")
    own, rest = sys.argv[1:end], sys.argv[end + 1 :]
    loops: list[asyncio.AbstractEventLoop] = []
    start = streaming.server.start

    async def noted(*arguments: Any, **named: Any) -> Any:
        loops.append(asyncio.get_running_loop())
        loops[0].add_signal_handler(signal.SIGUSR1, time.sleep, 2.0)
        loops[0].add_signal_handler(signal.SIGUSR2, _set_clock, 3600.0)
        return await start(*arguments, **named)

    streaming.server.start = noted
    every = float(own[own.index("--every") + 1]) if "--every" in own else EVERY_S
    watch(Path(own[0]), loops, every, "--collect" in own)
    if "--double" in own or "--film" in own:
        serve_double(rest, Path(own[own.index("--film") + 1]) if "--film" in own else None)
        return
    from visavis.cli import main as visavis

    sys.argv = ["visavis", *rest]
    visavis()


def _set_clock(seconds: float) -> None:
    """What Python takes for the wall clock jumps by ``seconds``."""
    wall = time.time
    time.time = lambda: wall() + seconds


def serve_double(arguments: list[str], film: Path | None) -> None:
    """The same server with the tests' engine, or one that shows a film; ``--port N`` alone is understood."""
    from bench.stand_in import FilmEngine
    from streaming.config import ServerConfig, StreamConfig
    from tests.streaming.double import DoubleEngine
    from tests.streaming.harness import Settings

    port = int(arguments[arguments.index("--port") + 1])
    with tempfile.TemporaryDirectory() as folder:
        server = ServerConfig(
            port=port, sessions_per_minute=1_000_000, max_sessions=64, connect_timeout_s=5.0, linger_s=2.0
        )
        engine: Any = DoubleEngine(Path(folder), side=64, cost_s=0.001)
        if film is not None:
            engine = FilmEngine(Path(folder), np.load(film, mmap_mode="r"))
        streaming.server.serve(
            Settings(server=server, stream=StreamConfig(heartbeat_s=2.0 if film is None else 5.0)), engine
        )


if __name__ == "__main__":
    main()
