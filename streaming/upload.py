"""Photographs over HTTP: ``/v1/portraits`` of docs/protocol.md."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from streaming.config import PortraitConfig, ServerConfig
from streaming.guard import RateLimit, Refusal, client_address, forwarded_for, is_private
from streaming.portraits import Job, NoRoom, Portraits

CHUNK: Final = 1 << 16
UPLOAD_S: Final = 120.0  # a photograph that comes in more slowly is not waited for
LENGTHS: Final = {"name": 40, "consent": 1000}  # characters
TEXT_BYTES: Final = 4096
FRAME_BYTES: Final = 4096  # of a form around its fields
OFF: Final = "this server makes no avatars of photographs"


class Upload:
    """The routes that take a photograph, tell how far it is, and call it off."""

    def __init__(self, portraits: Portraits, server: ServerConfig, config: PortraitConfig) -> None:
        self._portraits, self._server, self._config = portraits, server, config
        self._limit = RateLimit(config.per_hour, 3600.0)
        self._most = int(config.max_mb * 1e6)

    def terms(self) -> dict[str, Any]:
        """What the page has to know before it offers this."""
        enabled = self._config.enabled and (self._config.public or is_private(self._server))
        return {"enabled": enabled, "max_mb": self._config.max_mb, "keep_hours": self._config.keep_hours}

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What this answers."""
        return [
            web.post("/v1/portraits", self.post),
            web.get("/v1/portraits/{id}", self.get),
            web.delete("/v1/portraits/{id}", self.delete),
        ]

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Takes a form with ``photo``, ``name`` and ``consent``; 202 with the enrolment's id."""
        if not self.terms()["enabled"]:
            how = "portrait.public" if self._config.enabled else "portrait.enabled"
            raise Refusal(403, "no_portraits", f"{OFF} ({how} = true in its config.toml)")
        who = client_address(self._server, request.remote, forwarded_for(request.headers))
        if (request.content_length or 0) > self._most + len(LENGTHS) * TEXT_BYTES + FRAME_BYTES:
            raise self._too_large()
        try:
            with self._portraits.place():
                wait = self._limit.allow(who, time.monotonic())
                if wait > 0:
                    said = f"at most {self._config.per_hour} photographs an hour; wait {wait / 60:.0f} min"
                    raise Refusal(429, "too_many", said, {"Retry-After": str(int(wait) + 1)})
                async with asyncio.timeout(UPLOAD_S):
                    form = await self._read(request)
                job = self._portraits.submit(form["name"], form["consent"], form["photo"])
        except NoRoom as problem:
            raise Refusal(503, "busy", str(problem), {"Retry-After": "30"}) from None
        except TimeoutError:
            raise Refusal(408, "too_slow", f"the photograph took longer than {UPLOAD_S:.0f} s to come in") from None
        return web.json_response(self._told(job), status=202, headers={"Location": f"/v1/portraits/{job.id}"})

    async def get(self, request: web.Request) -> web.StreamResponse:
        """How far an enrolment is."""
        return web.json_response(self._told(self._find(request)))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Calls an enrolment off; nothing of it stays."""
        await self._portraits.cancel(self._find(request))
        return web.Response(status=204)

    def _find(self, request: web.Request) -> Job:
        job = self._portraits.find(request.match_info["id"])
        if job is None:
            raise Refusal(404, "no_portrait", "no such enrolment; it may have ended long ago")
        return job

    def _told(self, job: Job) -> dict[str, Any]:
        told: dict[str, Any] = {"id": job.id, "state": job.state, "step": job.step, "share": round(job.share, 4)}
        if job.state == "waiting":
            told["ahead"] = self._portraits.ahead(job)
        if job.error:
            told["error"] = job.error
        if job.state == "done":
            told |= {"name": job.name, "warnings": list(job.warnings), "report": f"v1/avatars/{job.id}/report.png"}
        return told

    async def _read(self, request: web.Request) -> dict[str, Any]:
        """The form's fields, bounded as they come. Raises Refusal naming the field."""
        if request.content_type != "multipart/form-data":
            raise Refusal(415, "bad_form", f'send multipart/form-data, not "{request.content_type[:60]}"')
        form: dict[str, Any] = {}
        try:
            async for part in await request.multipart():
                if not isinstance(part, BodyPartReader) or part.name not in ("photo", *LENGTHS) or part.name in form:
                    raise Refusal(400, "bad_field", "a form has one photo, one name and one consent, and nothing else")
                form[part.name] = await self._field(part, part.name)
        except (ValueError, LookupError, AssertionError, HttpProcessingError) as problem:  # aiohttp's, met with junk
            raise Refusal(400, "bad_form", f"the form cannot be read: {str(problem)[:120]}") from None
        consent = _words(form, "consent")
        if not consent:
            raise Refusal(400, "no_consent", "no consent was given: say that the person in the photograph agrees")
        name = _words(form, "name")
        if not name:
            raise Refusal(400, "bad_field", '"name" is missing: what is the avatar to be called?')
        if not form.get("photo"):
            raise Refusal(400, "bad_field", '"photo" is missing or empty: choose a photograph')
        return {"name": name, "consent": consent, "photo": bytes(form["photo"])}

    async def _field(self, part: BodyPartReader, name: str) -> bytearray:
        most, data = self._most if name == "photo" else TEXT_BYTES, bytearray()
        while chunk := await part.read_chunk(CHUNK):
            data += chunk
            if len(data) > most:
                raise self._too_large() if name == "photo" else _too_long(name)
        return data

    def _too_large(self) -> Refusal:
        return Refusal(413, "too_large", f"a photograph has at most {self._config.max_mb:g} MB: save it smaller")


def _words(form: dict[str, Any], name: str) -> str:
    """One line of text of a field; empty when it is missing."""
    try:
        text = " ".join(bytes(form.get(name, b"")).decode().split())
    except UnicodeDecodeError:
        raise Refusal(400, "bad_field", f'"{name}" is not UTF-8 text') from None
    if len(text) > LENGTHS[name]:
        raise _too_long(name)
    if not text.isprintable():
        raise Refusal(400, "bad_field", f'"{name}" has characters that cannot be shown')
    return text


def _too_long(name: str) -> Refusal:
    return Refusal(400, "bad_field", f'"{name}" has at most {LENGTHS[name]} characters')
