"""Where else a presenter's avatar goes: a page and a browser source on this machine, a film, a media server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from aiohttp import web

from engine.engine import Engine
from streaming import patches
from streaming.app import HUB
from streaming.hub import Hub
from streaming.live import Live, Options
from streaming.server import start
from visavis.config import Config


@dataclass(frozen=True, slots=True)
class Outputs:
    """Besides camera and speaker."""

    record: Path | None = None
    push: tuple[str, ...] = ()
    serve: bool = False


class Remote:
    """Opens the session: by itself, or in a server where others can see it too."""

    def __init__(self, engine: Engine, settings: Config, wanted: Outputs) -> None:
        self._engine, self._settings, self._wanted = engine, settings, wanted
        self._runner: web.AppRunner | None = None
        self._hub: Hub | None = None
        self._address = ""
        self._live: Live | None = None

    async def open(self, options: Options) -> Live:
        """A session that paints from now on. Raises ServeError when the server cannot listen."""
        if not self._wanted.serve:
            self._live = Live(self._engine, options, self._settings.stream)
            self._live.start()
            return self._live
        patches.install(self._settings.stream)
        self._runner, self._address = await start(self._settings, self._engine)
        self._hub = self._runner.app[HUB]
        self._live = self._hub.open(options)
        return self._live

    async def begin(self) -> None:
        """Film and stream begin, now that the session does."""

    def told(self) -> list[str]:
        """What whoever presents wants to know of it at the start."""
        if self._live is None or not self._wanted.serve:
            return []
        page = urlsplit(self._address)
        source = page._replace(path="/web/source.html", query=f"session={self._live.id}")
        return [f"page: {self._address}", f"browser source, transparent: {urlunsplit(source)}"]

    def ends(self) -> tuple[tuple[str, str], ...]:
        """(kind, what) of what is connected."""
        if self._hub is None or self._live is None:
            return ()
        count = sum(peer.live is self._live for peer in self._hub.peers.values())
        return (("viewers", str(count)),)

    def summary(self) -> list[str]:
        """What has become of it, once it is over."""
        return []

    async def close(self) -> None:
        """Ends all of it. Twice is no mistake."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
