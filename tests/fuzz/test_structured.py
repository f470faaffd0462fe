"""Well-formed JSON with anything in it, to everything that reads a body or a message."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.fuzz_targets import message_seeds
from streaming import protocol
from streaming.guard import Refusal
from streaming.sessions import _read_offer
from streaming.tokens import GRANTS, Keyring, _read

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
anything = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
seeds = [json.loads(seed) for seed in message_seeds()]
names = sorted({name for seed in seeds for name in seed})
quick = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def changed(draw: st.DrawFn, known: list[dict[str, Any]], fields: list[str]) -> bytes:
    """One of ``known`` with fields changed, added and left out."""
    one = dict(draw(st.sampled_from(known)))
    for name in draw(st.lists(st.sampled_from(fields) | st.text(max_size=8), max_size=4)):
        if draw(st.booleans()):
            one[name] = draw(anything)
        else:
            one.pop(name, None)
    return json.dumps(one).encode()


@quick
@given(changed(seeds, names))
def test_messages(raw: bytes) -> None:
    try:
        protocol.parse(raw)
    except protocol.ProtocolError as problem:
        told = json.loads(protocol.error(problem))
        assert told["code"] in ("bad_json", "bad_version", "unknown_type", "bad_field", "too_large")


@quick
@given(
    changed([{"type": "offer", "sdp": "v=0"}, {"type": "agent"}], ["type", "sdp", "avatar", "framing", "seed", "alpha"])
)
def test_bodies_that_open_sessions(raw: bytes) -> None:
    try:
        offer, options, _ = _read_offer(raw)
    except Refusal as refusal:
        assert refusal.status == 400
    else:
        assert (offer is None) == (json.loads(raw)["type"] == "agent")
        assert 0 <= options.seed < 2**31


@quick
@given(changed([{"ttl_s": 60, "scopes": ["watch"]}, {}], ["ttl_s", "scopes", "session"]))
def test_bodies_that_ask_for_tokens(raw: bytes) -> None:
    try:
        seconds, scopes, session = _read(raw)
    except Refusal as refusal:
        assert refusal.status == 400
    else:
        assert 1 <= seconds <= 86400 and scopes and set(scopes) <= set(GRANTS) and len(session) <= 64


@quick
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_tokens(given_token: str) -> None:
    from streaming.config import ServerConfig

    keys = Keyring(ServerConfig(token="a-token-of-the-server", token_key="k" * 40))
    try:
        keys.open(given_token, "203.0.113.1")
    except Refusal as refusal:
        assert refusal.status == 401
    else:
        assert given_token == "a-token-of-the-server"
