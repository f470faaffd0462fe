"""Control protocol v1: what is valid is read, everything else is refused with a code, and nothing else is raised."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.render.composite import Backdrop
from engine.viewpoint import YAW_LIMIT
from streaming import protocol
from streaming.protocol import ProtocolError, parse
from streaming.quality import Quality


def message(kind: str, **fields: Any) -> str:
    return json.dumps({"v": 1, "type": kind, **fields})


def changed(about: str, **changes: Any) -> protocol.SetManner:
    return protocol.SetManner(about, changes)


VIEW = {"yaw": 0.1, "pitch": -0.05, "distance": 1.2}


def test_every_message_of_the_protocol_is_read() -> None:
    view = parse(message("viewpoint", **VIEW, pan=[0.1, 0], seq=7, t=12.5))
    assert isinstance(view, protocol.SetViewpoint)
    assert (view.viewpoint.yaw, view.viewpoint.pan_x, view.seq, view.time) == (0.1, 0.1, 7, 12.5)
    assert parse(message("avatar", id="ada")) == protocol.SetAvatar("ada")
    assert parse(message("framing", name="head")) == protocol.SetFraming("head")
    assert parse(message("background", show="blur")) == protocol.SetBackground(Backdrop("blur"))
    assert parse(message("background", show="#ff8000")) == protocol.SetBackground(Backdrop("colour", (255, 128, 0)))
    assert parse(message("mute", on=True)) == protocol.Mute(True)
    assert parse(message("ping", t=3)) == protocol.Ping(3.0)
    assert parse(message("hello", client="x")) == protocol.Hello("x")
    assert parse(message("emotion", name="happy", intensity=0.5)) == changed("emotion", emotion="happy", intensity=0.5)
    assert parse(message("emotion", name="sad")) == changed("emotion", emotion="sad", intensity=0.65)
    assert parse(message("gaze", at="viewer")) == changed("gaze", gaze="viewer")
    assert parse(message("gaze", at=[0.3, -0.1])) == changed("gaze", gaze=(0.3, -0.1))
    assert parse(message("strength", head=0.5, gesture=1.5)) == changed("strength", head=0.5, gesture=1.5)
    assert parse(message("strength", head=0)) == changed("strength", head=0.0)
    assert parse(message("style", energy=1, brows=0)) == changed("style", style=(1.0, 0.5, 0.0, 0.5))
    assert parse(message("chance", seed=4, temperature=0.5)) == changed("chance", seed=4, temperature=0.5)
    assert parse(message("actions", weights={"jawOpen": 0.5})) == changed("actions", actions=(("jawOpen", 0.5),))
    assert parse(message("actions", weights={})) == changed("actions", actions=())
    assert parse(message("listening", on=True)) == changed("listening", listening=True)
    assert parse(message("text", text="Guten Tag!")) == protocol.SetText("Guten Tag!")
    assert parse(message("quality")) == protocol.SetQuality(Quality())
    chosen = Quality(height=256, fps=12.5, bitrate=400_000)
    assert parse(message("quality", height=256, fps=12.5, bitrate=400_000)) == protocol.SetQuality(chosen)
    assert parse(message("interrupt")) == protocol.Interrupt()
    assert parse(message("bye").encode()) == protocol.Bye()


def test_a_viewpoint_beyond_the_limits_is_clamped() -> None:
    view = parse(message("viewpoint", yaw=100, pitch=-9, distance=0))
    assert isinstance(view, protocol.SetViewpoint)
    assert view.viewpoint.yaw == YAW_LIMIT
    assert view.viewpoint == view.viewpoint.clamped()


@pytest.mark.parametrize(
    ("raw", "code", "words"),
    [
        ("not json", "bad_json", "not JSON"),
        (b"\xff\xfe\x00", "bad_json", "not JSON"),
        ("", "bad_json", "not JSON"),
        ("[1, 2]", "bad_json", "object"),
        ("[" * 4000, "bad_json", "not JSON"),
        ('{"v":1,"type":"ping","t":NaN}', "bad_json", "NaN"),
        ('{"v":1,"type":"ping","t":1e999}', "bad_field", "number"),
        ('{"v":1,"type":"ping","t":' + "9" * 400 + "}", "bad_field", "number"),
        (message("ping", t=1, pad="x" * 5000), "too_large", "4096"),
        ("é" * 2100, "too_large", "4096"),
        ('{"type":"ping","t":1}', "bad_version", "version 1"),
        ('{"v":2,"type":"ping","t":1}', "bad_version", "got 2"),
        ('{"v":true,"type":"ping","t":1}', "bad_version", "version 1"),
        ('{"v":1}', "unknown_type", "type"),
        ('{"v":1,"type":5}', "unknown_type", "type"),
        (message("explode"), "unknown_type", "viewpoint"),
        (message("ping"), "bad_field", '"t"'),
        (message("ping", t="1"), "bad_field", "number"),
        (message("ping", t=True), "bad_field", "number"),
        (message("ping", t=1, extra=2), "bad_field", "extra"),
        (message("mute", on=1), "bad_field", "true or false"),
        (message("framing", name="feet"), "bad_field", "upper"),
        (message("background", show="/etc/hostname"), "bad_field", "a colour"),
        (message("background", show="transparent"), "bad_field", "no transparency"),
        (message("background"), "bad_field", "show"),
        (message("avatar", id=7), "bad_field", "text"),
        (message("avatar", id="x" * 200), "bad_field", "100"),
        (message("viewpoint", yaw=0, pitch=0), "bad_field", "distance"),
        (message("emotion", name="bored"), "bad_field", "bored"),
        (message("emotion", name="happy", intensity=2), "bad_field", "intensity"),
        (message("emotion", name=3), "bad_field", "text"),
        (message("gaze", at="away"), "bad_field", "two numbers"),
        (message("gaze", at=[3, 0]), "bad_field", "gaze yaw"),
        (message("gaze", at=["a", 0]), "bad_field", "a number"),
        (message("gaze"), "bad_field", '"at"'),
        (message("strength"), "bad_field", "head, gesture"),
        (message("strength", head=7), "bad_field", "head"),
        (message("style", energy=-1), "bad_field", "style"),
        (message("style", speed=1), "bad_field", "energy"),
        (message("chance"), "bad_field", "temperature"),
        (message("chance", seed=0.5), "bad_field", "whole"),
        (message("actions", weights=[1]), "bad_field", "object"),
        (message("actions", weights={"jawOpne": 1}), "bad_field", "jawOpne"),
        (message("actions", weights={"jawOpen": 1.5}), "bad_field", "jawOpen"),
        (message("actions", weights={"jawOpen": None}), "bad_field", "a number"),
        (message("listening", on="yes"), "bad_field", "true or false"),
        (message("text", text="x" * 2500), "bad_field", "2000"),
        (message("interrupt", now=True), "bad_field", "now"),
        (message("viewpoint", **VIEW, pan=[1]), "bad_field", "two numbers"),
        (message("viewpoint", **VIEW, seq=-1), "bad_field", "whole"),
        (message("viewpoint", **VIEW, seq=1.5), "bad_field", "whole"),
    ],
)
def test_a_bad_message_is_refused_by_name(raw: str | bytes, code: str, words: str) -> None:
    with pytest.raises(ProtocolError) as refusal:
        parse(raw)
    assert refusal.value.code == code
    assert words in refusal.value.message
    reply = json.loads(protocol.error(refusal.value))
    assert reply["type"] == "error"
    assert reply["code"] == code
    assert len(protocol.error(refusal.value)) < 1000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@given(st.one_of(st.text(), st.binary(), JSON.map(json.dumps)))
def test_junk_never_raises_anything_else(raw: str | bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(raw)


@given(
    kind=st.sampled_from(sorted(protocol._READERS)),
    fields=st.dictionaries(
        st.sampled_from(
            [
                "yaw",
                "pitch",
                "distance",
                "pan",
                "seq",
                "t",
                "id",
                "name",
                "on",
                "client",
                "at",
                "weights",
                "text",
                "head",
                "gesture",
                "energy",
                "temperature",
                "seed",
                "intensity",
            ]
        ),
        JSON,
    ),
)
def test_any_fields_are_read_or_refused(kind: str, fields: dict[str, Any]) -> None:
    try:
        parse(message(kind, **fields))
    except ProtocolError as refusal:
        assert refusal.message


def test_what_the_server_says_is_strict_json() -> None:
    assert json.loads(protocol.encode("pong", t=1.5)) == {"v": 1, "type": "pong", "t": 1.5}
    with pytest.raises(ValueError, match="JSON"):
        protocol.encode("pong", t=float("nan"))
