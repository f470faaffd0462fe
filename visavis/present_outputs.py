"""Where else a presenter's avatar goes: a page and a browser source on this machine, a film, media servers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from aiohttp import web

from engine.engine import Engine
from streaming import patches
from streaming.app import HUB
from streaming.hub import Hub
from streaming.live import Live, Options
from streaming.outputs import Output, Spec, open_output
from streaming.outputs.output import Kind
from streaming.outputs.outputs import check_url
from streaming.outputs.recorder import file_name
from streaming.provenance import Statement
from streaming.server import start
from visavis.config import Config

KINDS: Final[dict[str, Kind]] = {
    "rtmp": "rtmp", "rtmps": "rtmp", "rtsp": "rtsp", "rtsps": "rtsp", "http": "whip", "https": "whip",
}  # fmt: skip
TOKEN: Final = "VISAVIS_WHIP_TOKEN"  # environment: what a command line holds, every program of the machine can read


@dataclass(frozen=True, slots=True)
class Outputs:
    """Besides camera and speaker."""

    record: Path | None = None
    push: tuple[str, ...] = ()
    serve: bool = False

    def specs(self) -> list[Spec]:
        """What is asked of streaming/outputs. Raises ValueError for a file or an address that cannot be."""
        found = []
        if self.record is not None:
            file_name(self.record.name)
            if not self.record.parent.is_dir():
                raise ValueError(f"--record: there is no folder {self.record.parent}")
            if self.record.exists():
                raise ValueError(f"--record: {self.record} is there already; choose another name")
            found.append(Spec("file", name=self.record.name))
        for url in self.push:
            kind = KINDS.get(urlsplit(url).scheme)
            if kind is None:
                raise ValueError("--push takes rtmp(s)://, rtsp(s)://, or for WHIP http(s)://")
            spec = Spec(kind, url=url, token=os.environ.get(TOKEN, "") if kind == "whip" else "")
            check_url(spec)
            found.append(spec)
        return found


class Remote:
    """Opens the session: by itself, or in a server where others can see it too."""

    def __init__(self, engine: Engine, settings: Config, wanted: Outputs, say: Callable[[str], None]) -> None:
        self._engine, self._settings, self._wanted, self._say = engine, settings, wanted, say
        self._runner: web.AppRunner | None = None
        self._hub: Hub | None = None
        self._live: Live | None = None
        self._outputs: list[Output] = []

    async def open(self, options: Options) -> Live:
        """A session that paints from now on. Raises ServeError when the server cannot listen."""
        if not self._wanted.serve:
            self._live = Live(self._engine, options, self._settings.stream)
            self._live.start()
            return self._live
        patches.install(self._settings.stream)
        self._runner, address = await start(self._settings, self._engine)
        self._hub = self._runner.app[HUB]
        live = self._live = self._hub.open(options)
        source = urlsplit(address)._replace(path="/web/source.html", query=f"session={live.id}")
        self._say(f"page: {address}")
        self._say(f"browser source, transparent: {urlunsplit(source)}")
        return live

    def begin(self) -> None:
        """Film and streams begin. Raises OutputError for one that cannot."""
        assert self._live is not None
        record = self._wanted.record
        folder = str(record.parent.resolve()) if record is not None else self._settings.outputs.folder
        config = replace(self._settings.outputs, folder=folder)
        for spec in self._wanted.specs():
            statement = Statement.about(self._engine, self._live.options.avatar, self._live.options.seed)
            output = open_output(self._live, spec, config, statement)
            output.changed = self._changed
            self._outputs.append(output)

    def ends(self) -> tuple[tuple[str, str], ...]:
        """(kind, what) of what is connected; nothing while it is not."""
        found = []
        for output in self._outputs:
            kind = "film" if output.spec.kind == "file" else "stream"
            found.append((kind, output.where if output.state in ("starting", "running") else ""))
        if self._hub is not None:
            found.append(("viewers", str(sum(peer.live is self._live for peer in self._hub.peers.values()))))
        return tuple(found)

    async def close(self) -> None:
        """Ends all of it, once the session has ended. Twice is no mistake."""
        outputs, self._outputs = self._outputs, []
        for output in outputs:
            await output.close()
            if output.spec.kind == "file":
                lost = f", {output.dropped} left out" if output.dropped else ""
                self._say(f"{self._wanted.record}: {output.frames} pictures{lost}, {output.bytes / 1e6:.1f} MB")
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def _changed(self, output: Output) -> None:
        if output.error:
            self._say(f"{output.where}: {output.state}: {output.error}")
