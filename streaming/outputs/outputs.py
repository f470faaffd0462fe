"""Outputs of sessions over HTTP: opened, told of, closed; and which of them are allowed."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, get_args
from urllib.parse import urlsplit

from aiohttp import web

from streaming.config import OutputsConfig
from streaming.guard import Refusal
from streaming.hub import Hub
from streaming.live import Live, Watcher
from streaming.outputs.output import Kind, Output, OutputError, Spec
from streaming.provenance import Statement

log = logging.getLogger(__name__)
SCHEMES: Final = {"rtmp": ("rtmp", "rtmps"), "rtsp": ("rtsp", "rtsps"), "whip": ("http", "https")}
PORTS: Final = {"rtmp": 1935, "rtmps": 443, "rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
KEPT: Final = 16  # outputs of a session that are told of, ended ones included


def open_output(live: Live, spec: Spec, config: OutputsConfig, statement: Statement | None = None) -> Output:
    """A new output of ``live``, begun; its ``close`` is to be awaited. Raises OutputError for one that cannot be.

    Nothing is checked here but that ``spec`` makes sense: who lets others choose an address calls ``allowed`` before.
    ``statement`` is what a file says of itself.
    """
    from streaming.outputs.push import Push
    from streaming.outputs.recorder import Recorder, file_name
    from streaming.outputs.whip import Whip

    spec = replace(spec, bitrate=spec.bitrate or (config.bitrate if spec.kind != "file" else 0))
    if spec.bitrate and not 100_000 <= spec.bitrate <= 50_000_000:
        raise OutputError(f'"bitrate" must lie in 100000..50000000, got {spec.bitrate}')
    output: Output
    if spec.kind == "file":
        if not config.folder:
            raise OutputError("no recordings are taken here: set outputs.folder to the folder they go to")
        if spec.name:
            file_name(spec.name)
        output = Recorder(live, spec, Path(config.folder), statement)
    else:
        check_url(spec)
        tags = {} if statement is None else statement.tags()
        output = Whip(live, spec, config) if spec.kind == "whip" else Push(live, spec, tags, config.give_up_s)
    output.start()
    return output


def check_url(spec: Spec) -> None:
    """Raises OutputError for an address that is none, or of another kind."""
    schemes = SCHEMES[spec.kind]
    try:
        parts = urlsplit(spec.url)
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not spec.url.isascii() or any(c.isspace() or not c.isprintable() for c in spec.url):
        raise OutputError(f'"url" must be an address that begins with {" or ".join(f"{s}://" for s in schemes)}')


def allowed(url: str, prefixes: Iterable[str]) -> bool:
    """Whether one of ``prefixes`` lets ``url`` be: same scheme, host and port, and a path below its path."""
    parts = urlsplit(url)
    here = (parts.scheme, parts.hostname, parts.port or PORTS.get(parts.scheme))
    if "." in parts.path.split("/") or ".." in parts.path.split("/") or "%" in parts.path or "\\" in url:
        return False
    for prefix in prefixes:
        known = urlsplit(prefix)
        base = known.path.rstrip("/")
        same = here == (known.scheme, known.hostname, known.port or PORTS.get(known.scheme))
        if same and (parts.path == base or parts.path.startswith(base + "/")):
            return True
    return False


class Outputs:
    """The routes of ``/v1/sessions/{id}/outputs``. ``anywhere``: whoever asks is at this machine, and may send to any
    address; otherwise ``outputs.allowed`` says which."""

    def __init__(self, hub: Hub, config: OutputsConfig, anywhere: bool) -> None:
        self._hub, self._config, self._anywhere = hub, config, anywhere
        self._outputs: dict[str, dict[str, Output]] = {}  # by session, then by their own id
        self._tasks: set[asyncio.Task[None]] = set()
        if config.every:
            hub.watchers.append(_Every(self._record))

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What this answers."""
        path = "/v1/sessions/{id}/outputs"
        return [
            web.get(path, self._list), web.post(path, self._open),
            web.get(path + "/{output}", self._one), web.delete(path + "/{output}", self._close),
        ]  # fmt: skip

    async def close(self) -> None:
        """Ends all of them, and waits until files are whole."""
        await asyncio.gather(*(output.close() for known in self._outputs.values() for output in known.values()))

    def _record(self, live: Live) -> None:
        async def work() -> None:
            statement = await asyncio.get_running_loop().run_in_executor(None, self._statement, live)
            try:
                self._keep(live, open_output(live, Spec("file"), self._config, statement))
            except OutputError as problem:
                log.error("session %s is not recorded: %s", live.id, problem)

        task = asyncio.get_running_loop().create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"outputs": [output.told() for output in self._of(request).values()]})

    async def _one(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._find(request).told())

    async def _close(self, request: web.Request) -> web.StreamResponse:
        output = self._find(request)
        await output.close()
        return web.json_response(output.told())

    async def _open(self, request: web.Request) -> web.StreamResponse:
        live = self._hub.get(request.match_info["id"])
        spec = read_spec(await request.read())
        if spec.url and not self._anywhere and not allowed(spec.url, self._config.allowed):
            said = "this server sends nothing to that address: its outputs.allowed has to name scheme, host and path"
            raise Refusal(403, "not_allowed", said)
        statement = await asyncio.get_running_loop().run_in_executor(None, self._statement, live)
        known = self._of(request)
        if live.closing:
            raise Refusal(404, "no_session", "no such session; it may have ended already")
        if sum(output.state not in ("ended", "failed") for output in known.values()) >= self._config.per_session:
            raise Refusal(429, "too_many", f"a session has at most {self._config.per_session} outputs at a time")
        try:
            output = open_output(live, spec, self._config, statement)
        except OutputError as problem:
            raise Refusal(400, "bad_output", str(problem)) from problem
        self._keep(live, output)
        return web.json_response(output.told(), status=201, headers={"Location": f"{request.path}/{output.id}"})

    def _statement(self, live: Live) -> Statement:
        avatar = live.options.avatar if live.opened_as is None else live.opened_as[0]
        return Statement.about(self._hub.engine, avatar, live.options.seed)

    def _keep(self, live: Live, output: Output) -> None:
        known = self._outputs.setdefault(live.id, {})
        for name in [name for name, old in known.items() if old.state in ("ended", "failed")]:
            if len(known) >= KEPT:
                del known[name]
        known[output.id] = output
        gone = [name for name in self._outputs if name not in self._hub.lives]
        for name in gone:
            if all(old.state in ("ended", "failed") for old in self._outputs[name].values()):
                del self._outputs[name]

    def _of(self, request: web.Request) -> dict[str, Output]:
        self._hub.get(request.match_info["id"])
        return self._outputs.get(request.match_info["id"], {})

    def _find(self, request: web.Request) -> Output:
        output = self._of(request).get(request.match_info["output"])
        if output is None:
            raise Refusal(404, "no_output", "this session has no such output")
        return output


class _Every(Watcher):
    """Has every session recorded, once its avatar is there."""

    def __init__(self, record: Callable[[Live], None]) -> None:
        self._record = record
        self._known: set[str] = set()

    def loaded(self, live: Live) -> None:
        """Called again when a session changes its avatar."""
        if live.id not in self._known:
            self._known.add(live.id)
            self._record(live)

    def closed(self, live: Live, why: str) -> None:
        """It needs no more."""
        self._known.discard(live.id)


def read_spec(body: bytes) -> Spec:
    """What a POST asks for. Raises Refusal naming the field."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(400, "bad_json", "the body is not JSON") from None  # not quoted: it may hold a stream's key
    if not isinstance(fields, dict):
        raise Refusal(400, "bad_json", "the body must be a JSON object")
    kinds: dict[str, tuple[type, Any]] = {
        "kind": (str, None), "url": (str, ""), "name": (str, ""), "token": (str, ""), "bitrate": (int, 0),
    }  # fmt: skip
    values: dict[str, Any] = {}
    for name, (kind, default) in kinds.items():
        value = fields.pop(name, default)
        if type(value) is not kind or len(str(value)) > 2000:
            raise Refusal(400, "bad_field", f'"{name}" must be {kind.__name__}, got {type(value).__name__}')
        values[name] = value
    if fields:
        raise Refusal(400, "bad_field", f'unknown field "{next(iter(fields))[:40]}"; known: {", ".join(kinds)}')
    if values["kind"] not in get_args(Kind):
        raise Refusal(400, "bad_field", f'"kind" must be one of {", ".join(get_args(Kind))}')
    useless = [name for name in (("url", "token") if values["kind"] == "file" else ("name",)) if values[name]]
    useless += ["token"] if values["kind"] in ("rtmp", "rtsp") and values["token"] else []
    if useless:
        raise Refusal(400, "bad_field", f'"{useless[0]}" is not for an output of kind "{values["kind"]}"')
    spec = Spec(**values)
    if spec.kind != "file":
        try:
            check_url(spec)
        except OutputError as problem:
            raise Refusal(400, "bad_field", str(problem)) from None
    return spec
