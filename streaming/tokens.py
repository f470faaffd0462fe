"""Tokens and what they are good for: the server's own, named ones, and short-lived ones that it signs (JWT, HS256)."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import jwt
from aiohttp import web

from streaming.config import ServerConfig
from streaming.guard import Refusal, ServeError, read_secret, server_token, token_key

GRANTS: Final = ("open", "watch", "speak", "output", "portrait")  # what a short-lived token may be good for
SCOPES: Final = (*GRANTS, "mint", "metrics", "server")  # "server": everything, everybody's sessions included
LONGEST_S: Final = 86400
USUAL_S: Final = 3600
AUDIENCE: Final = "visavis"
ALGORITHM: Final = "HS256"
LONGEST_TOKEN: Final = 4096  # characters


@dataclass(frozen=True, slots=True)
class Asker:
    """Who sent a request: from where, with which token (its name, and its id when it is short-lived), good for what."""

    address: str = ""
    name: str = ""
    id: str = ""
    scopes: frozenset[str] = frozenset(SCOPES)
    session: str = ""  # the only one it may touch

    def may(self, scope: str) -> bool:
        """Whether this token is good for ``scope``."""
        return scope in self.scopes

    def reaches(self, session: str, owner: Asker | None) -> bool:
        """Whether it may have to do with a session that ``owner`` opened (None: this machine did)."""
        if self.session:
            return hmac.compare_digest(self.session.encode(), session.encode())
        if self.may("server"):
            return True
        return owner is not None and owner.name == self.name and self.id in ("", owner.id)


asking: ContextVar[Asker | None] = ContextVar("asking", default=None)  # whose request this task answers


class Keyring:
    """Knows every token of one server."""

    def __init__(self, config: ServerConfig) -> None:
        self._key = token_key(config) or secrets.token_hex(32)
        self._known: dict[bytes, tuple[str, frozenset[str]]] = {}
        if token := server_token(config):
            self._known[_digest(token)] = ("server", frozenset(SCOPES))
        for named in config.tokens:
            if wrong := set(named.scopes) - set(SCOPES):
                known = ", ".join(SCOPES)
                raise ServeError(f'server.tokens "{named.name}": no scope "{sorted(wrong)[0]}"; there are {known}')
            secret = named.secret or read_secret(named.file, f'server.tokens "{named.name}"')
            self._known[_digest(secret)] = (named.name, frozenset(named.scopes))

    @property
    def required(self) -> bool:
        """Whether anybody is asked for a token."""
        return bool(self._known)

    def open(self, token: str, address: str) -> Asker:
        """Whose token this is. Raises Refusal, 401, for one that is none any more."""
        if len(token) > LONGEST_TOKEN:
            raise _bad("it is too long to be one of this server's")
        found, given = None, _digest(token)
        for digest, known in self._known.items():
            if hmac.compare_digest(digest, given):
                found = known
        if found is not None:
            return Asker(address, found[0], scopes=found[1])
        if not self.required and not token:
            return Asker(address)
        return self._signed(token, address)

    def sign(self, asker: Asker, seconds: int, scopes: Iterable[str], session: str) -> tuple[str, int]:
        """A token that is good for ``scopes`` for so many seconds, and when it ends (seconds since 1970)."""
        now = int(time.time())
        claims = {
            "aud": AUDIENCE, "sub": asker.name, "jti": secrets.token_urlsafe(9), "iat": now, "exp": now + seconds,
            "scope": " ".join(scopes), **({"sid": session} if session else {}),
        }  # fmt: skip
        return jwt.encode(claims, self._key, ALGORITHM), now + seconds

    def _signed(self, token: str, address: str) -> Asker:
        try:
            claims = jwt.decode(
                token, self._key, algorithms=[ALGORITHM], audience=AUDIENCE,
                options={"require": ["exp", "sub", "jti", "scope"]},
            )  # fmt: skip
        except jwt.ExpiredSignatureError:
            raise Refusal(401, "expired_token", "this token's time is over: ask for a new one", CHALLENGE) from None
        except (jwt.InvalidTokenError, ValueError, RecursionError):  # whatever else a forger sends
            raise _bad("open the page with #token=... added, or send Authorization: Bearer") from None
        words, session = claims["scope"], claims.get("sid", "")
        if not isinstance(words, str) or not isinstance(session, str):
            raise _bad('its "scope" and "sid" must be text')
        scopes = frozenset(words.split()) & frozenset(GRANTS)  # whoever has the key signs, but never for more
        return Asker(address, str(claims["sub"])[:64], str(claims["jti"])[:64], scopes, session)


CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="visavis"'}


def _bad(why: str) -> Refusal:
    return Refusal(401, "bad_token", f"this server asks for its token: {why}", CHALLENGE)


def _digest(token: str) -> bytes:
    """Digests are compared, so that not even a token's length shows in the time that takes."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class Tokens:
    """The route that hands out short-lived tokens: ``POST /v1/tokens`` of docs/security.md. ``check`` refuses an asker
    a session that it may not touch."""

    def __init__(self, keyring: Keyring, check: Callable[[Asker, str], None]) -> None:
        self._keyring, self._check = keyring, check

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What this answers."""
        return [web.post("/v1/tokens", self._post)]

    async def _post(self, request: web.Request) -> web.StreamResponse:
        asker = asking.get() or Asker()
        seconds, scopes, session = _read(await request.read())
        if missing := [scope for scope in scopes if not asker.may(scope)]:
            raise Refusal(403, "bad_scope", f'a token that is not good for "{missing[0]}" cannot pass it on')
        if session:
            self._check(asker, session)
        token, until = self._keyring.sign(asker, seconds, scopes, session)
        told = {"token": token, "expires": until, "scopes": list(scopes), **({"session": session} if session else {})}
        return web.json_response(told, status=201, headers={"Cache-Control": "no-store"})


def _read(body: bytes) -> tuple[int, tuple[str, ...], str]:
    """(seconds, scopes, session or nothing) of a request. Raises Refusal naming the field."""
    try:
        fields = json.loads(body or b"{}")
    except (ValueError, RecursionError) as problem:
        raise Refusal(400, "bad_json", f"the body is not JSON: {str(problem)[:120]}") from None
    if not isinstance(fields, dict):
        raise Refusal(400, "bad_json", "the body must be a JSON object")
    seconds: Any = fields.pop("ttl_s", USUAL_S)
    scopes: Any = fields.pop("scopes", ["open"])
    session: Any = fields.pop("session", "")
    if fields:
        known = "ttl_s, scopes, session"
        raise Refusal(400, "bad_field", f'unknown field "{next(iter(fields))[:40]}"; known: {known}')
    if type(seconds) is not int or not 1 <= seconds <= LONGEST_S:
        raise Refusal(400, "bad_field", f'"ttl_s" must be a whole number of seconds, 1 to {LONGEST_S}')
    if not isinstance(scopes, list) or not scopes or any(scope not in GRANTS for scope in scopes):
        raise Refusal(400, "bad_field", f'"scopes" must be a list of some of {", ".join(GRANTS)}')
    if not isinstance(session, str) or len(session) > 64:
        raise Refusal(400, "bad_field", '"session" must be the id of a session')
    return seconds, tuple(dict.fromkeys(scopes)), session
