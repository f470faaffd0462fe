"""The page's own files: what lies in streaming/web, by name. Nothing else of this machine, whatever is asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from aiohttp import web

WEB: Final = Path(__file__).parent / "web"
NAME: Final = re.compile(r"[\w-]{1,64}(\.[\w-]{1,16}){1,2}", re.ASCII)


async def _file(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    if not NAME.fullmatch(name) or not (WEB / name).is_file():
        raise web.HTTPNotFound
    return web.FileResponse(WEB / name)


def routes() -> list[web.RouteDef]:
    """``/web/NAME``."""
    return [web.get("/web/{name}", _file)]
