"""The headers of every answer: what a browser may do with it."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from streaming.config import ServerConfig
from streaming.guard import LOCAL_NAMES

POLICY: Final = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors "
)
DEVICES: Final = (
    "microphone=(self), camera=(self), display-capture=(), geolocation=(), payment=(), usb=(), serial=(), hid=()"
)
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
    "Permissions-Policy": DEVICES,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Server": "visavis",
}
CORS: Final = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
    "Access-Control-Expose-Headers": "Location, ETag, Link, Accept-Post, Retry-After",
    "Access-Control-Max-Age": "600",
}


class Heading:
    """The headers of one server. What an answer says for itself stays."""

    def __init__(self, server: ServerConfig) -> None:
        self._server = server
        ancestors = " ".join(("'self'", *server.embed_origins)) if server.embed_origins else "'none'"
        self._headers = {
            "Content-Security-Policy": POLICY + ancestors,
            "Cross-Origin-Resource-Policy": "cross-origin" if server.embed_origins else "same-origin",
            **HEADERS,
        }

    def put(self, request: web.Request, response: web.StreamResponse) -> None:
        """Adds them to ``response``, unless its head is on its way already."""
        if response.prepared:
            return
        for name, value in self._headers.items():
            response.headers.setdefault(name, value)
        origin = request.headers.get("Origin")
        if origin in self._server.allowed_origins and origin is not None:
            for name, value in {"Access-Control-Allow-Origin": origin, **CORS}.items():
                response.headers.setdefault(name, value)
            response.headers.setdefault("Vary", "Origin")
            response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        if request.secure and request.url.host not in LOCAL_NAMES:
            response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
