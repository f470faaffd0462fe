"""The director: an actor that keeps as many workers as are needed, replaces the dead, and tells edges where they are.

What it knows it has from its workers' reports: a director that is started again goes on with those it finds.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Coroutine
from typing import Any, Final

from streaming.cluster import names
from streaming.cluster.blueprint import Blueprint
from streaming.cluster.edge import Edge, Row
from streaming.cluster.policy import Autoscaler
from streaming.cluster.roster import Action, Member, Report, Roster
from streaming.cluster.worker import Worker
from streaming.edge import route

log = logging.getLogger(__name__)
LOOK_S: Final = 0.1
ADOPT_S: Final = 10.0  # a director that is started again waits for its workers to report, for so long
LEAVE_S: Final = 15.0
EDGE_AGAIN_S: Final = 0.5


class Director:
    """One of a cluster. Every call starts it, if nothing has yet: a restart by Ray calls nothing but this."""

    def __init__(self, blueprint: Blueprint, keepers: list[Any]) -> None:
        self._blueprint, self._keepers = blueprint, keepers
        config = blueprint.cluster
        self._roster = Roster(config, blueprint.version, names=lambda: f"w{secrets.token_hex(3)}")
        self._scaler = Autoscaler(config)
        self._handles: dict[str, Any] = {}
        self._edges: dict[str, str] = {}  # address by name
        self._tasks: set[asyncio.Task[Any]] = set()
        self._running: asyncio.Task[None] | None = None
        self._adopting = float("inf")  # until when workers that are not known are taken in
        self._found = 0  # workers that were taken in
        self._wanted = config.min_workers
        self._problem = ""
        self._stopping = False

    # What others ask.

    async def begin(self) -> list[str]:
        """Starts everything; returns the page's addresses once edges are there and a worker serves. Raises
        RuntimeError when workers cannot be started."""
        self._ensure()
        while not self._roster.serving or len(self._edges) < self._blueprint.cluster.edges:
            if self._problem and self._roster.failing:
                raise RuntimeError(self._problem)
            await asyncio.sleep(LOOK_S)
        return list(self._edges.values())

    async def report(self, report: Report) -> bool:
        """A worker tells of itself. False: it is none of ours, and must end."""
        self._ensure()
        now = time.monotonic()
        if report.name not in self._roster.members and now < self._adopting:
            handle = _find(names.worker(self._blueprint.cluster.name, report.name))
            if handle is not None:
                log.warning("goes on with worker %s, which has %d sessions", report.name, report.room.sessions)
                self._roster.adopt(report, now)
                self._found += not report.draining
                self._scaler.hold(now, self._found)
                self._handles[report.name] = handle
                self._do(self._watch(report.name, handle))
                return True
        return self._roster.hear(report, now) or self._adopting == float("inf")

    async def table(self) -> list[Row] | None:
        """Workers that edges may ask, each with how long ago it told of itself. None while it does not know them all:
        started again, it has not heard of some yet that are there all the same."""
        self._ensure()
        now = time.monotonic()
        if now < self._adopting:
            return None
        return [
            (
                route.Worker(
                    member.name, member.report.address, member.report.room, member.report.warm,
                    member.state == "draining" or member.report.draining,
                ),
                now - member.heard,
            )
            for member in self._roster.members.values() if member.report is not None
        ]  # fmt: skip

    async def drain(self, name: str) -> None:
        """Has worker ``name`` take no new sessions, and replaces it. Raises ValueError."""
        self._ensure()
        self._act(self._roster.drain(name, time.monotonic()))

    async def pid(self) -> int:
        """Of its process."""
        self._ensure()
        return os.getpid()

    async def blueprint(self) -> Blueprint:
        """What workers are made from."""
        return self._blueprint

    async def deploy(self, blueprint: Blueprint) -> int:
        """From now on workers are made from this: one after the other is started anew, and the old ones drain."""
        self._ensure()
        settings, make = blueprint.settings, blueprint.make
        self._blueprint = self._blueprint.next(settings, make, self._roster.version + 1)
        self._roster.version, self._roster.config = self._blueprint.version, self._blueprint.cluster
        self._scaler = Autoscaler(self._blueprint.cluster)
        self._scaler.hold(time.monotonic(), len(self._roster.serving))
        return self._blueprint.version

    async def status(self) -> dict[str, Any]:
        """Everything a person wants to know."""
        self._ensure()
        now = time.monotonic()
        kept = await asyncio.gather(*(_told(keeper) for keeper in self._keepers))
        return {
            "name": self._blueprint.cluster.name, "version": self._roster.version, "wanted": self._wanted,
            "edges": list(self._edges.values()), "lost": self._roster.lost, "problem": self._problem,
            "keepers": [found for found in kept if found is not None],
            "workers": [_row(member, now) for member in self._roster.members.values()],
        }  # fmt: skip

    async def stop(self) -> None:
        """Ends every worker and edge; sessions end with them."""
        self._stopping = True
        if self._running is not None:
            self._running.cancel()
        everybody = [*self._handles.values(), *filter(None, map(_find, self._edges))]
        await asyncio.gather(*(_leave(handle) for handle in everybody))

    # What it does by itself.

    def _ensure(self) -> None:
        if self._running is None and not self._stopping:
            self._running = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        await self._find_others()
        for number in range(self._blueprint.cluster.edges):
            self._do(self._keep_edge(names.edge(self._blueprint.cluster.name, number)))
        while True:
            try:
                self._look(time.monotonic())
            except Exception:  # the next look may be better, and nobody else would start workers
                log.exception("the director")
            await asyncio.sleep(LOOK_S)

    async def _find_others(self) -> None:
        """A director that is not the first waits for its workers to report, and takes the newest version's side."""
        there = names.workers_of(self._blueprint.cluster.name)
        self._adopting = time.monotonic() + (ADOPT_S if there else 0.0)
        for name in there:
            handle = _find(name)
            try:
                made: Blueprint = await asyncio.wait_for(handle.blueprint.remote(), 1.0)
            except Exception as problem:  # it is dead, or busy
                log.info("worker %s does not answer: %s", name, type(problem).__name__)
                continue
            if made.version > self._blueprint.version:
                self._blueprint = made
                self._roster.version, self._roster.config = made.version, made.cluster
        unheard = {name.rpartition("-")[2] for name in there}
        while unheard - self._roster.members.keys() and time.monotonic() < self._adopting:
            await asyncio.sleep(LOOK_S)
        self._adopting = min(self._adopting, time.monotonic())

    def _look(self, now: float) -> None:
        rooms = [member.report.room for member in self._roster.serving if member.report is not None]
        self._scaler.hear(now, rooms, self._roster.refusals())
        self._wanted = self._scaler.wanted(now)
        for action in self._roster.look(self._wanted, now):
            self._act(action)
        for member in self._roster.members.values():
            if member.state == "draining" and member.report is not None and not member.report.draining:
                self._act(Action("drain", member.name))

    def _act(self, action: Action) -> None:
        if action.why:
            log.warning("worker %s: %s (%s)", action.name, action.kind, action.why)
        if action.kind == "start":
            self._do(self._hire(action.name))
            return
        handle = self._handles.get(action.name)
        if handle is None:
            return
        if action.kind == "drain":
            handle.drain.remote()
            return
        del self._handles[action.name]
        self._do(_leave(handle) if action.kind == "stop" else _end(handle))

    async def _hire(self, name: str) -> None:
        import ray

        config = self._blueprint.cluster
        actor: Any = ray.remote(Worker)
        here = ray.get_runtime_context().current_actor
        handle = actor.options(
            name=names.worker(config.name, name), namespace=names.SPACE, lifetime="detached", max_restarts=0,
            num_cpus=config.cpus, num_gpus=config.gpus, max_concurrency=100,
        ).remote(name, self._blueprint, here, self._keepers)  # fmt: skip
        self._handles[name] = handle
        try:
            await handle.start.remote()
        except Exception as problem:
            self._problem = _words(problem)
            log.error("worker %s cannot start: %s", name, self._problem)
            self._lose(name, "it cannot start")
            return
        await self._watch(name, handle)

    async def _watch(self, name: str, handle: Any) -> None:
        """Waits for the end of a worker's process."""
        try:
            await handle.wait.remote()
        except Exception as problem:  # Ray's own, of many kinds: it has ended
            log.info("worker %s: %s", name, _words(problem))
        self._lose(name, "its process ended")

    def _lose(self, name: str, why: str) -> None:
        action = self._roster.gone(name, why, time.monotonic())
        if action is not None and not self._stopping:
            self._act(action)
            self._look(time.monotonic())

    async def _keep_edge(self, name: str) -> None:
        """One edge, started again whenever it ends."""
        while not self._stopping:
            try:
                handle = _find(name) or self._make_edge(name)
                self._edges[name] = await handle.start.remote()
                await handle.wait.remote()
            except Exception as problem:  # Ray's own, of many kinds
                if self._stopping:
                    return
                self._edges.pop(name, None)
                self._problem = _words(problem)
                log.error("%s: %s", name, self._problem)
                await asyncio.sleep(EDGE_AGAIN_S)

    def _make_edge(self, name: str) -> Any:
        import ray

        actor: Any = ray.remote(Edge)
        return actor.options(
            name=name, namespace=names.SPACE, lifetime="detached", max_restarts=0, num_cpus=0,
            resources={names.EDGES: 1} if names.EDGES in ray.cluster_resources() else {},
            scheduling_strategy="SPREAD", max_concurrency=100,
        ).remote(self._blueprint, ray.get_runtime_context().current_actor)  # fmt: skip

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _row(member: Member, now: float) -> dict[str, Any]:
    report = member.report
    heard = round(max(now - member.heard, 0.0), 2)
    row: dict[str, Any] = {"name": member.name, "state": member.state, "version": member.version, "heard_s": heard}
    if report is not None:
        row |= {"sessions": report.room.sessions, "headroom": round(report.room.headroom, 3), "node": report.node}
        row |= {"address": report.address, "pid": report.pid, "avatars": sorted(report.warm)}
    return row


def _words(problem: Exception) -> str:
    """What went wrong, without Ray's traceback of it."""
    cause = getattr(problem, "cause", None)
    return str(cause if cause is not None else problem).strip().split("\n")[0][:300]


def _find(name: str) -> Any:
    """The actor of that name, None when there is none."""
    import ray

    try:
        return ray.get_actor(name, namespace=names.SPACE)
    except ValueError:
        return None


async def _told(keeper: Any) -> dict[str, int] | None:
    try:
        told: dict[str, int] = await asyncio.wait_for(keeper.told.remote(), 1.0)
    except Exception:  # it is being restarted
        return None
    return told


async def _end(handle: Any) -> None:
    import ray

    ray.kill(handle, no_restart=True)


async def _leave(handle: Any) -> None:
    """Has an actor end by itself, and then ends it."""
    try:
        await asyncio.wait_for(handle.leave.remote(), LEAVE_S)
    except Exception as problem:  # it is gone already, or stuck
        log.info("did not leave by itself: %s", type(problem).__name__)
    await _end(handle)
