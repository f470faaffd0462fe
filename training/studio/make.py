"""Makes a data set: sittings in parallel processes, each written whole or not at all, whatever happens to the run.

Killing any process at any moment loses at most the sittings in hand; the same command makes exactly those again.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from training.choreography.arms import Skeleton
from training.studio import lights, places
from training.studio.clips import Clip, Script
from training.studio.guidance import same_bits
from training.studio.plan import Plan, begin, commit, planned
from training.studio.records import Record
from training.studio.shards import StudioError, discard, locked, manifests, whole, write_shard

POLL = 0.5  # seconds between reports of progress


class Stage(Protocol):
    """Somewhere to photograph clips. ``device`` names what draws the pixels."""

    device: str

    def enter(self, person: int) -> Skeleton:
        """Lets the person with that number come in, and says how they are built."""

    def take(self, clip: Clip) -> Iterator[Record]:
        """The records of a clip, frame by frame."""


class Progress(NamedTuple):
    """How far a run is. Clips of all, and frames made by this run."""

    clips: int
    total: int
    frames: int


def make(
    folder: Path, plan: Plan, speech: Path, workers: int, stage: Callable[[int], Stage],
    report: Callable[[Progress], None],
) -> Plan:  # fmt: skip
    """Makes what is missing of the data set in ``folder`` and returns its plan.

    ``stage`` (picklable) opens a Stage for a picture size in each worker. Raises StudioError, ValueError.
    """
    if not 1 <= workers <= 256:
        raise ValueError(f"workers must be 1 to 256, got {workers}")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        plan = begin(folder, plan)
        todo = _missing(folder, plan)
        done = plan.clips - sum(map(len, todo.values()))
        context = multiprocessing.get_context("spawn")
        frames, halt = context.Value("q", 0), context.Event()
        opening = (folder, plan, speech, stage, frames, halt, max(1, (os.cpu_count() or 1) // workers))
        with ProcessPoolExecutor(workers, context, _open, opening) as pool:
            try:
                for finished in _all(pool, todo, workers):
                    done += sum(len(todo[name]) for name in finished)
                    report(Progress(done, plan.clips, frames.value))
            finally:
                halt.set()  # after an error or Ctrl-C nobody finishes a sitting that may take minutes
    return plan


def _missing(folder: Path, plan: Plan) -> dict[str, list[int]]:
    """Sittings still to make. What is not as planned (short, or from a shorter plan) is removed first."""
    sittings = plan.sittings()
    kept = {m["name"] for m in manifests(folder) if planned(plan, m["name"], m)}
    for path in folder.glob("sitting-*"):
        if path.stem not in kept:
            discard(folder, path.stem)
    return {name: clips for name, clips in sittings.items() if name not in kept}


def _all(pool: ProcessPoolExecutor, todo: dict[str, list[int]], workers: int) -> Iterator[list[str]]:
    """Yields the names of sittings as they are finished, or nothing new every POLL seconds."""
    running: dict[Future[Any], str] = {}
    queue = iter(todo.items())
    try:
        while True:
            for name, clips in islice(queue, 2 * workers - len(running)):
                running[pool.submit(_sitting, name, clips)] = name
            if not running:
                yield []
                return
            finished, _ = wait(running, timeout=POLL, return_when=FIRST_COMPLETED)
            for future in finished:
                future.result()
            yield [running.pop(future) for future in finished]
    except BrokenProcessPool as error:
        raise StudioError(
            "a worker died: killed, or out of memory (fewer --workers need less). What was finished is safe; "
            "run the same command to go on"
        ) from error
    finally:
        for future in running:
            future.cancel()


# --- in a worker ------------------------------------------------------------------------------------------


@dataclass
class _Worker:
    """What a process makes sittings with. The stage opens at the first one, so that its error is that sitting's."""

    folder: Path
    plan: Plan
    script: Script
    opener: Callable[[int], Stage]
    frames: Synchronized[int]
    halt: Event

    @cached_property
    def stage(self) -> Stage:
        return self.opener(self.plan.size)


_worker: _Worker


def _open(
    folder: Path, plan: Plan, speech: Path, stage: Callable[[int], Stage], frames: Synchronized[int], halt: Event,
    threads: int,
) -> None:  # fmt: skip
    """Starts a worker. Ctrl-C is the parent's to answer; without a parent there is nobody to work for."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_outlive_nobody, name="parent-watch", daemon=True).start()
    # Of Mesa's software rasterizer, read when it starts; 0: it draws in this thread, which is faster than one more.
    os.environ.setdefault("LP_NUM_THREADS", str(threads if threads > 1 else 0))
    torch.set_num_threads(1)
    _worker = _Worker(folder, plan, plan.script(speech), stage, frames, halt)


def _outlive_nobody() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _sitting(name: str, numbers: list[int]) -> dict[str, Any]:
    """Makes one shard unless it is there; returns its manifest."""
    worker, start = _worker, time.monotonic()
    made: dict[str, Any] = {"commit": commit(), "processor": same_bits(), "device": worker.stage.device}
    clips = ((_about(clip), _counted(worker, clip)) for clip in _written(worker, numbers))
    manifest = write_shard(worker.folder, name, _timed(clips, made, start), made)
    assert whole(worker.folder, name) is not None
    return manifest


def _written(worker: _Worker, numbers: list[int]) -> Iterator[Clip]:
    for number in numbers:
        body = worker.stage.enter(worker.script.person(number))
        yield worker.script.clip(number, body)


def _timed(
    clips: Iterable[tuple[dict[str, Any], Iterable[Record]]], made: dict[str, Any], start: float
) -> Iterator[tuple[dict[str, Any], Iterable[Record]]]:
    """``clips``; once they are all taken, ``made`` says how long it took."""
    yield from clips
    made["seconds"] = round(time.monotonic() - start, 3)


def _counted(worker: _Worker, clip: Clip) -> Iterator[Record]:
    for record in worker.stage.take(clip):
        if worker.halt.is_set():
            raise StudioError("the run was stopped")
        yield record
        with worker.frames.get_lock():
            worker.frames.value += 1


def _about(clip: Clip) -> dict[str, Any]:
    """A clip's line in its shard's manifest."""
    return {
        "clip": clip.number, "person": clip.person, "kind": clip.kind, "framing": clip.framing, "camera": clip.camera,
        "speech": clip.speech, "expressions": list(clip.expressions), "gesture": clip.gesture,
        "light": lights.sample(clip.light).mood, "place": places.sample(clip.place).kind,
        "yaw": [round(view.yaw, 4) for view in clip.viewpoints], "pitch": [round(v.pitch, 4) for v in clip.viewpoints],
        "distance": [round(view.distance, 4) for view in clip.viewpoints],
    }  # fmt: skip
