"""What a client is answered in the end: what its handler says, or why not, as the same JSON from every server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from streaming.config import ServerConfig
from streaming.guard import Refusal
from streaming.heading import Heading
from streaming.logs import HIDDEN, secrets_of

log = logging.getLogger(__name__)


class Answers:
    """The answers of one server, which tell no secret of its own nor one of ``secrets``. ``refused`` may be given:
    it hears of every refusal."""

    def __init__(self, server: ServerConfig, secrets: Iterable[str] = ()) -> None:
        self._too_large = Refusal(413, "too_large", f"a request body has at most {server.max_body_kb} kB")
        self._secrets = [*secrets_of(server), *secrets]
        self._heading = Heading(server)
        self.refused: Callable[[Refusal], None] = lambda refusal: None

    async def to(self, request: web.Request, handling: Awaitable[web.StreamResponse]) -> web.StreamResponse:
        """What ``handling`` returns, or what it raises in words; nothing a client sends ends in another way."""
        try:
            response = await handling
        except Refusal as refusal:
            response = self._refuse(refusal)
        except web.HTTPRequestEntityTooLarge:
            response = self._refuse(self._too_large)
        except web.HTTPException as problem:
            said = Refusal(problem.status, problem.reason.lower().replace(" ", "_"), problem.reason)
            response = self._refuse(said) if problem.status >= 400 else problem
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:  # one request's bug must not end the others
            log.exception("%s %s", request.method, request.path)
            response = self._refuse(Refusal(500, "internal", "the server failed on this request; its log says why"))
        self._heading.put(request, response)
        return response

    def _refuse(self, refusal: Refusal) -> web.Response:
        self.refused(refusal)
        message = refusal.message
        for secret in self._secrets:  # an error of a library may quote what it was given
            message = message.replace(secret, HIDDEN)
        body = {"error": {"code": refusal.code, "message": message}}
        return web.json_response(body, status=refusal.status, headers=refusal.headers)
