"""What of a request and its answer passes an edge: paths that mean one thing only, headers of the message and not of
the connection it came on. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from multidict import CIMultiDict, CIMultiDictProxy

from streaming.guard import Refusal

# Of one connection (RFC 9110, 7.6.1), or of a message's frame, which is made anew on the other side.
HOPS: Final = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
     "transfer-encoding", "upgrade", "content-length", "expect")
)  # fmt: skip
OURS: Final = ("x-forwarded-", "x-visavis-", "x-real-ip", "forwarded")  # beginnings; only the edge says these
SOCKET: Final = "sec-websocket-"
SECRET: Final = "X-Visavis-Edge"  # what an edge proves itself with
REFUSAL: Final = "X-Visavis-Refusal"  # a worker's words when it refuses a WebSocket's handshake, percent-encoded
FOR: Final = "X-Forwarded-For"
PROTO: Final = "X-Forwarded-Proto"
LONGEST: Final = 8190  # of a request's target, characters


def target_of(raw: str) -> str:
    """Path and query of a request as they are passed on. Raises Refusal for what two programs may read differently."""
    path, mark, query = raw.partition("?")
    low = path.lower()
    wrong = not path.startswith("/") or "//" in path or len(raw) > LONGEST
    wrong = wrong or any(code in low for code in ("%2f", "%5c", "%2e", "%00", "\\", "#"))
    wrong = wrong or any(part in (".", "..") for part in path.split("/"))
    if wrong or not raw.isascii() or not raw.isprintable() or " " in raw:
        raise Refusal(400, "bad_path", "this path cannot be asked for: no dots, no encoded slashes")
    return f"{path}{mark}{query}"


def onward(headers: CIMultiDictProxy[str], client: str, scheme: str) -> CIMultiDict[str]:
    """The headers of a request for a worker: who asks and how is the edge's own word."""
    passed = _without_hops(headers)
    for name in tuple(passed):
        if name.lower().startswith((*OURS, SOCKET)):
            passed.popall(name, None)
    passed[FOR], passed[PROTO] = client, scheme
    return passed


def back(headers: Mapping[str, str] | CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """The headers of a worker's answer for whoever asked."""
    passed = _without_hops(headers)
    for name in tuple(passed):
        if name.lower().startswith("x-visavis-"):
            passed.popall(name, None)
    return passed


def subprotocols(headers: CIMultiDictProxy[str]) -> list[str]:
    """What a WebSocket's client offers, in its order."""
    offered = ",".join(headers.getall("Sec-WebSocket-Protocol", []))
    return [name.strip() for name in offered.split(",") if name.strip()]


def _without_hops(headers: Mapping[str, str] | CIMultiDictProxy[str]) -> CIMultiDict[str]:
    named = headers.getall("Connection", []) if isinstance(headers, CIMultiDictProxy) else []
    dropped = HOPS | {name.strip().lower() for name in ",".join(named).split(",")}
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in dropped)
