"""The HTTP side of an edge: the page and its files are its own; /v1 and /metrics are the workers', who check access."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

from aiohttp import web
from multidict import CIMultiDict

from streaming import files
from streaming.answers import Answers
from streaming.config import Settings
from streaming.edge import gather, route
from streaming.edge.directory import Directory, Table
from streaming.edge.figures import Figures
from streaming.edge.link import Link, Unreachable
from streaming.edge.passing import onward, target_of
from streaming.edge.relay import Relay, body_of, restarting
from streaming.edge.route import Full, Worker
from streaming.edge.sockets import Sockets, is_socket
from streaming.guard import Refusal, client_address, forwarded_for, host_fits, is_private, with_secrets
from streaming.limits import Limits
from streaming.logs import ACCESS

log = logging.getLogger(__name__)
PAGES: Final = {"/": "index.html", "/selftest": "selftest.html"}
API: Final = ("/v1", "/metrics")
BY: Final = web.RequestKey("by", str)  # who answered a request: "edge" or "worker"
INSIDE: Final = "/v1/worker"  # what only an edge asks a worker
TRIES: Final = 3  # workers that are asked for one session
FIRST_S: Final = 2.0  # a request that comes before the list of workers waits so long for it
KEPT: Final = ("/v1/avatars/", "/v1/portraits/")  # what one worker may have and another not
ELSEWHERE: Final = ("no_avatar", "no_portrait")  # of a 404 that another worker may know better
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Edge:
    """All of it: a table of workers, a way to them, and the routes around that."""

    def __init__(self, settings: Settings, directory: Directory, secret: str) -> None:
        self._server, self._limits_config = with_secrets(settings.server), settings.limits
        self.table, self.link = Table(), Link(secret)
        self._directory, self._relay, self._sockets = directory, Relay(self.link), Sockets(self.link)
        self._limits = Limits(settings.limits, is_private(self._server))
        self._answers = Answers(self._server, [secret])
        self._figures = Figures(self._states, lambda: len(self._sockets))
        self._access_log = settings.observe.access_log
        self._follow: asyncio.Task[None] | None = None

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=self._server.max_body_kb * 1024, middlewares=[self._around])
        for path in PAGES:
            app.router.add_get(path, self._page)
        app.router.add_routes(files.routes())
        app.router.add_get("/healthz", self._alive)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/v1/health", self._health)
        app.router.add_get("/v1/sessions", self._list)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_route("*", "/{path:.*}", self._pass)
        app.cleanup_ctx.append(self._life)
        app.on_shutdown.append(self._leave)
        return app

    async def _life(self, app: web.Application) -> AsyncIterator[None]:
        self._follow = asyncio.get_running_loop().create_task(self.table.follow(self._directory, self.link))
        yield
        self._follow.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._follow
        await self.link.close()

    async def _leave(self, app: web.Application) -> None:
        await self._sockets.close()

    @web.middleware
    async def _around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Host, limits, errors as JSON, headers, figures: around every request."""
        begun = time.monotonic()
        response = await self._answers.to(request, self._let(request, handler))
        by = request.get(BY, "edge")  # what an edge refuses is its own, whatever was asked for
        took = time.monotonic() - begun
        if response.status != 101:  # a WebSocket lasts as long as its agent
            self._figures.answered(by, response.status, took)
        if self._access_log and by == "edge":  # a worker writes its own
            self._log(request, response.status, took)
        return response

    async def _let(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        target_of(request.raw_path)
        if not host_fits(self._server, request.host):
            raise Refusal(403, "bad_host", f'this server does not answer as "{request.host[:100]}" (server.names)')
        unsaid = self._server.max_body_kb * 1024 if request.can_read_body else 0  # as long as a body may be
        length = unsaid if request.content_length is None else request.content_length
        self._limits.request(self._client(request), length, time.monotonic())
        response = await handler(request)
        request[BY] = "worker" if request.path.startswith(API) else "edge"
        return response

    def _log(self, request: web.Request, status: int, took: float) -> None:
        fields = {"method": request.method, "path": request.path, "status": status, "code": ""}
        fields |= {"ms": round(took * 1e3, 1), "remote": self._client(request)}
        ACCESS.info("%s %s %d %s %.1f ms %s", *fields.values(), extra={"fields": fields})

    def _client(self, request: web.Request) -> str:
        return client_address(self._server, request.remote, forwarded_for(request.headers))

    # What the edge answers itself.

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(files.WEB / PAGES[request.path])

    async def _alive(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"status": "ok"})

    async def _ready(self, request: web.Request) -> web.StreamResponse:
        answers = await gather.ask(self.link, await self._workers(), "/readyz", self._headers(request))
        ready = any(answer.status == 200 for answer in answers)
        reasons = sorted({reason for answer in answers for reason in answer.json().get("reasons", [])})
        told = {"status": "ready" if ready else "not ready", "reasons": [] if ready else reasons or ["restarting"]}
        return web.json_response(told, status=200 if ready else 503)

    async def _health(self, request: web.Request) -> web.StreamResponse:
        answers = await gather.ask(self.link, await self._workers(), "/v1/health", self._headers(request))
        told = [answer.json() for answer in answers if answer.status == 200]
        if not told:
            raise restarting()
        up = max(each["uptime_s"] for each in told)
        return web.json_response({"status": "ok", "sessions": sum(x["sessions"] for x in told), "uptime_s": up})

    async def _list(self, request: web.Request) -> web.StreamResponse:
        answers = await gather.ask(self.link, await self._workers(), "/v1/sessions", self._headers(request))
        if not answers:
            raise restarting()
        for answer in answers:
            if answer.status != 200:
                return answer.response()
        found = [session for answer in answers for session in answer.json()["sessions"]]
        return web.json_response({"sessions": sorted(found, key=lambda session: -session["age_s"])})

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        headers = self._headers(request)
        headers.popall("Accept", None)  # one format, which can be put together
        answers = await gather.ask(self.link, await self._workers(), "/metrics", headers)
        if not answers and not is_private(self._server):
            raise restarting()  # nobody is there who could say whether this may be read
        for answer in answers:
            if answer.status != 200:
                return answer.response()
        texts = {answer.worker.name: answer.body.decode() for answer in answers}
        text = await asyncio.get_running_loop().run_in_executor(None, gather.figures, texts)
        return web.Response(text=text + self._figures.text(), headers={"Content-Type": gather.PLAIN})

    def _states(self) -> dict[str, int]:
        now = time.monotonic()
        count = Counter("silent" if w.silent(now) else "draining" if w.draining else "up" for w in self.table.workers)
        return {state: count[state] for state in ("up", "draining", "silent")}

    # What is the workers'.

    async def _workers(self) -> Sequence[Worker]:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.table.changed.wait(), FIRST_S)
        return self.table.workers

    def _headers(self, request: web.Request) -> CIMultiDict[str]:
        return onward(request.headers, self._client(request), request.scheme)

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        if not request.path.startswith(API) or request.path.rstrip("/") == INSIDE:
            raise Refusal(404, "not_found", "Not Found")
        target, workers = target_of(request.raw_path), await self._workers()
        if session := route.session_in(request.path):
            worker = route.holder(workers, session)
            if worker is None and workers:
                raise Refusal(404, "no_session", "no such session; it may have ended already")
            return await self._one(request, worker, target)
        body = await body_of(request, self._limits_config.body_s)
        if (request.method, request.path) == ("POST", "/v1/sessions") and body is not None:
            return await self._open(request, target, body)
        order: Sequence[Worker] = route.anyone(workers, self._client(request), time.monotonic())
        if request.method == "POST" and request.path == "/v1/portraits" and workers:
            order = self._places(lambda now: route.choose(workers, "", secrets.token_hex(8), now))[:1]
        tries = len(order) if request.path.startswith(KEPT) else 1
        return await self._first(request, order[:tries], target, body)

    async def _one(self, request: web.Request, worker: Worker | None, target: str) -> web.StreamResponse:
        """What is about a session, from the worker that has it."""
        if worker is None:
            raise restarting()
        try:
            if is_socket(request):
                return await self._sockets.join(request, worker.address, target, self._headers(request))
            body = await body_of(request, self._limits_config.body_s)
            return await self._first(request, [worker], target, body)
        except Unreachable as problem:
            log.info("worker %r: %s", worker.name, problem)
            raise restarting() from None

    async def _open(self, request: web.Request, target: str, body: bytes) -> web.StreamResponse:
        """A new session, or one that goes on: from the first worker that takes it."""
        avatar, resumed = wished(body)
        workers = self.table.workers
        key = secrets.token_hex(8)
        if resumed:
            order = self._places(lambda now: route.resume(workers, resumed, now))
        else:
            order = self._places(lambda now: route.choose(workers, avatar, key, now))
        return await self._first(request, order[:TRIES], target, body, opens=True)

    def _places(self, find: Callable[[float], Sequence[Worker]]) -> Sequence[Worker]:
        try:
            return find(time.monotonic())
        except Full as full:
            code = "restarting" if full.restarting else "busy"
            raise Refusal(503, code, full.reason, {"Retry-After": str(max(1, round(full.retry_after_s)))}) from None

    async def _first(
        self, request: web.Request, order: Sequence[Worker], target: str, body: bytes | None, opens: bool = False
    ) -> web.StreamResponse:
        """The answer of the first of ``order`` that has one; the last's, whatever it is."""
        for left, worker in zip(range(len(order) - 1, -1, -1), order, strict=True):
            try:
                async with self._relay.ask(request, worker.address, target, self._headers(request), body) as answer:
                    passes = answer.status == 503 and opens or answer.status == 404 and await _elsewhere(answer)
                    if left and passes and body is not None:
                        continue
                    if opens and answer.status == 201:
                        self.table.sent(worker.name)
                    return await self._relay.give(request, answer)
            except Unreachable as problem:
                log.info("worker %r: %s", worker.name, problem)
                if not left or body is None:
                    break
        raise restarting()


async def _elsewhere(answer: Any) -> bool:
    """Whether a 404 is of what another worker may have."""
    try:
        return json.loads(await answer.read())["error"]["code"] in ELSEWHERE
    except (ValueError, LookupError, TypeError):
        return False


def wished(body: bytes) -> tuple[str, str]:
    """(avatar, id of the session to go on with) of a POST to /v1/sessions, "" each when it is not said. What is wrong
    with a body its worker says."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    found = [fields.get(name, "") if isinstance(fields, dict) else "" for name in ("avatar", "resume")]
    avatar, resumed = (name if isinstance(name, str) and len(name) <= 200 else "" for name in found)
    return avatar, resumed
