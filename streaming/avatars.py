"""Avatars over HTTP: who can be worn, what they look like, and the end of those made of an upload."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from engine.avatar import AvatarError, Meta
from engine.engine import Engine
from engine.motion.emotion import EMOTIONS
from engine.motion.frame import ACTIONS
from streaming.guard import Refusal
from streaming.portraits import Portraits
from streaming.protocol import FRAMINGS
from streaming.upload import Upload


class Avatars:
    """The routes of ``/v1/avatars``, and ``choose`` for whoever opens a session."""

    def __init__(self, engine: Engine, portraits: Portraits, upload: Upload) -> None:
        self._engine, self._portraits, self._upload = engine, portraits, upload

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What this answers."""
        return [
            web.get("/v1/avatars", self._list),
            web.get("/v1/avatars/{id}", self._one),
            web.delete("/v1/avatars/{id}", self._remove),
            web.get("/v1/avatars/{id}/{picture:preview|report}.png", self._picture),
        ]

    async def choose(self, name: str) -> str:
        """The id of the avatar called ``name``, or of the one to begin with when empty. Raises Refusal."""
        if not name:
            packs, default = await self._packs(), self._engine.default_avatar
            name = default if default in packs else next(iter(packs), default)
        await self._pack(name)
        return name

    async def _list(self, request: web.Request) -> web.StreamResponse:
        found = [_describe(meta) for meta in (await self._packs()).values()]
        names = {"framings": list(FRAMINGS), "emotions": list(EMOTIONS), "actions": list(ACTIONS)}
        known: dict[str, Any] = {**names, "portraits": self._upload.terms()}
        return web.json_response({"avatars": found, "default": self._engine.default_avatar, **known})

    async def _one(self, request: web.Request) -> web.StreamResponse:
        meta = await self._pack(request.match_info["id"])
        return web.json_response({**_describe(meta), "own": self._portraits.kept(meta.id)})

    async def _picture(self, request: web.Request) -> web.StreamResponse:
        meta, kind = await self._pack(request.match_info["id"]), request.match_info["picture"]
        picture = None if meta.path is None else meta.path / f"{kind}.png"
        if picture is None or not picture.is_file():
            raise Refusal(404, f"no_{kind}", f'avatar "{meta.id}" has no {kind}')
        own = self._portraits.kept(meta.id)
        return web.FileResponse(picture, headers={"Cache-Control": "private, no-store"} if own else None)

    async def _remove(self, request: web.Request) -> web.StreamResponse:
        meta = await self._pack(request.match_info["id"])
        if not await self._portraits.remove(meta.id):
            raise Refusal(
                403, "not_own", f'avatar "{meta.id}" is the server\'s: only those made of an upload are removed'
            )
        return web.Response(status=204)

    async def _packs(self) -> dict[str, Meta]:
        found = await asyncio.get_running_loop().run_in_executor(None, self._engine.avatars)
        return {meta.id: meta for meta in found}

    async def _pack(self, name: str) -> Meta:
        """Only ids are looked up: a client must not be able to name a folder of this machine."""
        try:
            meta = await asyncio.get_running_loop().run_in_executor(None, self._engine.meta, name)
        except AvatarError as problem:
            raise Refusal(404, "no_avatar", str(problem)) from None
        self._portraits.touch(name)
        return meta


def _describe(meta: Meta) -> dict[str, str]:
    return {name: getattr(meta, name) for name in ("id", "name", "licence", "author", "description")}
