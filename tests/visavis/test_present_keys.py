"""Keys and push-to-talk, and the line that shows what is going on."""

from __future__ import annotations

import io
import re

import pytest

from visavis.present_keys import PushToTalk, decode
from visavis.present_status import Status, StatusLine, line

STATUS = Status(
    ready=True, talking=False, push_to_talk=False, muted=False, level_db=-20.0, speaking=0.9, fps=25.0, late=3,
    latency_ms=168.4, skew_ms=-2.2, ends=(("from", "Jabra"), ("camera", ""), ("voice", "Visavis loudspeaker")),
)  # fmt: skip


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*[mK]", "", text)


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        (b"q", ["q"]),
        (b" M1", ["space", "m", "1"]),
        (b"\x1b[A\x1b[D\x1bOC", ["up", "left", "right"]),
        ("ü".encode(), ["ü"]),
        (b"\x1b", []),
        (b"\x1b[15~", []),
        (b"\xff\xfeq", ["q"]),
        (b"", []),
    ],
)
def test_what_a_terminal_sends_becomes_names_of_keys(sent: bytes, keys: list[str]) -> None:
    assert list(decode(sent)) == keys


def test_a_tap_opens_and_another_tap_shuts() -> None:
    talk = PushToTalk()
    talk.press(10.0)
    for now in (10.3, 12.0, 30.0):
        talk.tick(now)
        assert talk.open
    talk.press(30.1)
    assert not talk.open


def test_holding_talks_for_as_long_as_it_is_held() -> None:
    talk = PushToTalk()
    talk.press(10.0)
    now = 10.5  # the keyboard's delay, then its repeats
    while now < 14.0:
        talk.press(now)
        talk.tick(now)
        assert talk.open
        now += 0.04
    talk.tick(now + 0.1)
    assert talk.open, "a repeat may be late"
    talk.tick(now + 0.3)
    assert not talk.open
    talk.press(now + 1.0)
    assert talk.open


def test_two_quick_taps_leave_it_shut() -> None:
    talk = PushToTalk()
    talk.press(10.0)
    talk.press(10.4)
    talk.tick(11.0)
    assert not talk.open


def test_the_line_says_what_matters_and_fits() -> None:
    told = plain(line(STATUS, 200, colour=True))
    ends = "from Jabra · camera GONE · voice Visavis loudspeaker"
    assert told == f"mic ||||||....  speaks  25.0 fps  3 late  168 ms  A/V  -2 ms  {ends}"
    assert line(STATUS, 200, colour=False) == told
    for width in (0, 1, 10, 40, 80):
        assert len(plain(line(STATUS, width, colour=True))) == min(width, len(told))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"muted": True}, "MUTED"),
        ({"push_to_talk": True}, "space"),
        ({"push_to_talk": True, "talking": True}, "TALK"),
        ({"level_db": None}, "mic ----------"),
        ({"ready": False}, "putting the avatar on"),
        ({"latency_ms": None, "skew_ms": None}, "late  from"),
    ],
)
def test_states_are_named(fields: dict[str, object], words: str) -> None:
    from dataclasses import replace

    assert words in line(replace(STATUS, **fields), 200, colour=False)  # type: ignore[arg-type]


def test_without_a_terminal_a_line_comes_every_few_seconds() -> None:
    shown = io.StringIO()
    status = StatusLine(shown)
    for tenth in range(120):
        status.show(STATUS, 100 + tenth / 10)
    status.say("hello")
    status.end()
    lines = shown.getvalue().splitlines()
    assert len(lines) == 4 and lines[-1] == "hello" and "\x1b" not in shown.getvalue()
    shown.close()
    status.say("nobody reads this any more")
