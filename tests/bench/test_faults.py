"""What the suite `faults` measures with: a strip that is read back, a voice that is compared, a mouth that shuts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench import report
from bench.faults_interrupt import evaluate
from bench.faults_line import NARROW_S, phases
from bench.intact import compare
from bench.line import Condition, Line, Relay
from bench.viewer import Clicks, read_strip
from engine.clock import VOICE_RATE
from streaming.marker import paint


def voice(seconds: float = 8.0) -> np.ndarray:
    """Noise in syllables: never the same twice."""
    rng = np.random.default_rng(5)
    at = np.arange(int(seconds * VOICE_RATE)) / VOICE_RATE
    smooth = np.convolve(rng.standard_normal(at.size), np.ones(24) / 24, "same")
    return (0.2 * smooth * (0.2 + np.sin(2 * np.pi * 2 * at) ** 2)).astype(np.float32)


def test_a_painted_strip_is_read_back_and_a_broken_one_is_not() -> None:
    picture = np.full((768, 512), 100, np.uint8)
    paint(picture, 123_456_789, 77, 12, 5)
    assert read_strip(picture[:512]) == (123_456_789, 77, 12, 5)
    picture[64:96, 480:512] = 240 - picture[70, 490]
    assert read_strip(picture[:512]) is None


def test_a_voice_is_intact_however_loud_and_wherever_it_begins() -> None:
    sent = voice()
    received = 0.3 * np.roll(sent, -2 * VOICE_RATE - 777)[: 4 * VOICE_RATE]
    assert compare(sent, received).intact > 0.99


def test_what_is_missing_of_a_voice_is_counted() -> None:
    sent, rng = voice(), np.random.default_rng(1)
    frames = sent[: 6 * VOICE_RATE].copy().reshape(-1, 960)
    frames[rng.random(len(frames)) < 0.2] = 0
    assert compare(sent, frames.reshape(-1)).intact == pytest.approx(0.8, abs=0.06)
    with pytest.raises(ValueError, match="nothing of what was sent"):
        compare(sent, rng.standard_normal(2 * VOICE_RATE).astype(np.float32))


def test_what_is_said_twice_is_found_where_the_rest_is() -> None:
    sent = voice()
    sent[4 * VOICE_RATE : 5 * VOICE_RATE] = sent[:VOICE_RATE]
    received = sent[: 6 * VOICE_RATE].copy()
    received[:VOICE_RATE] += np.random.default_rng(2).normal(0, 0.01, VOICE_RATE).astype(np.float32)
    heard = compare(sent, received)
    assert heard.delay_spread < 0.01 and heard.intact > 0.8


def test_a_click_is_found_once_and_in_its_place() -> None:
    clicks, samples = Clicks(), np.zeros(960, np.int16)
    samples[480:] = 20_000
    assert clicks.find(np.zeros(960, np.int16), 5.0) is None
    assert clicks.find(samples, 5.02) == pytest.approx(5.03)
    assert clicks.find(samples, 5.04) is None


def test_a_mouth_is_shut_from_the_frame_in_which_it_looks_so() -> None:
    """Frames every 40 ms; interrupted at 1000 ms, known from 1080, lips shut from 1120; the head moves meanwhile."""
    rng = np.random.default_rng(3)
    face = rng.integers(90, 160, (64, 64)).astype(np.float32)
    shown, crops, told = [], [], []
    for k in range(100):
        at, picture = 40.0 * k, face.copy()
        known = at % 2000 >= 1080 and at % 2000 < 1800
        if not (1120 <= at % 2000 < 1800):
            picture[30:44, 24:42] = rng.integers(0, 60, (14, 18))
        crops.append(np.roll(picture, (k % 5 - 2, k % 3 - 1), axis=(0, 1)).astype(np.uint8))
        shown.append((at, k))
        told.append((k, float(known), 1.0))
    stops = np.array([1000.0, 3000.0, 1000.0])
    found = evaluate(stops, np.array(shown), np.stack(crops), np.array(told)).metrics
    assert found["interrupt.to_closed_ms"]["p50"] == pytest.approx(120)
    assert found["interrupt.to_first_frame_ms"]["p50"] == pytest.approx(80)


def test_the_phases_of_a_line_that_gets_narrow() -> None:
    at = np.arange(0, 45, 0.04)
    age = np.where((at > NARROW_S) & (at < NARROW_S + 3), 800.0, 90.0)
    found = phases(at, age)
    assert found["recovery_s"]["value"] == pytest.approx(3, abs=0.05)
    assert found["narrow.fps"]["value"] == pytest.approx(25, abs=0.5)


def test_a_relay_takes_the_servers_place_in_the_answer_and_the_viewers_addresses_out_of_the_offer() -> None:
    relay = Relay(Line(((0.0, Condition()),)), Line(((0.0, Condition()),)))
    relay._front = type("Port", (), {"get_extra_info": lambda self, name: ("127.0.0.1", 4321)})()
    candidate = "a=candidate:1 1 udp 2130706431 192.0.2.7 5000 typ host\r\na=end-of-candidates\r\n"
    assert relay.offer(f"v=0\r\n{candidate}a=mid:0\r\n") == "v=0\r\na=mid:0\r\n"
    answer = relay.answer(f"v=0\r\nm=audio 9\r\n{candidate}a=mid:0\r\nm=video 9\r\na=mid:1\r\n")
    assert "127.0.0.1 4321 typ host" in answer and "192.0.2.7" not in answer and answer.count("candidate:") == 1
    assert relay._server == ("192.0.2.7", 5000)
    with pytest.raises(ValueError, match="no IPv4 host candidate"):
        relay.answer("v=0\r\nm=audio 9\r\n")


def test_parts_measured_again_leave_the_rest_of_a_document(tmp_path: Path) -> None:
    path = tmp_path / "soak.json"
    first = report.document("soak", {"live.fps": report.value(25, ""), "cycles.leaked_tasks": report.value(0, "")})
    report.save(path, first)
    again = report.merged(path, report.document("soak", {"live.fps": report.value(24, "")}))
    assert again["metrics"]["live.fps"]["value"] == 24 and again["metrics"]["cycles.leaked_tasks"]["value"] == 0
    assert again["earlier"]["cycles"]["date"] == first["date"] and "live" not in again["earlier"]
    assert json.loads(json.dumps(again)) == again
