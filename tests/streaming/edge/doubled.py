"""Run as a program with a socket and a folder: a worker around the engine's double, until it is killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from ..double import DoubleEngine
from ..harness import Settings
from .harness import Worker


async def main(path: Path, folder: Path) -> None:
    worker = Worker(DoubleEngine(folder, side=128, cost_s=0.002), Settings(), path)
    await worker.start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
