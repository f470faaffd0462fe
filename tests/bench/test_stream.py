"""Suite ``stream`` computes its figures rightly from a page's record, and refuses a record it cannot trust."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import stream
from streaming.marker import OnsetFinder
from visavis.sound import read_voice


def record(seconds: float = 20.0, glass: float = 60.0, voice: float = 150.0, skew: float = 12.0) -> dict[str, Any]:
    """What a page with these latencies (ms) would have written down: 25 fps, a click a second, a look every 237 ms."""
    frames, spoken, heard, looks = [], [], [], []
    count = int(seconds * 25)
    looks = [[100.0 + 237.0 * k, k + 1] for k in range(int(seconds * 4) - 2)]
    for k in range(count):
        shown = 1000.0 + 40.0 * k
        onset = 13 if k % 25 == 7 else 0
        if onset:
            seen = shown + onset - 1
            spoken.append(seen - voice)
            heard.append(seen + skew)
        seq = sum(at + 80.0 <= shown for at, _ in looks)
        frames.append([shown, glass, seq, onset, k % 8, 100 + k, 3600 * k])
    made = [[3600 * k, 15.0] for k in range(count)]
    server = {"skipped": 2, "dropped_ms": 0, "rate": 1_500_000}
    return {
        "frames": frames,
        "unread": 0,
        "spoken": spoken,
        "heard": heard,
        "looks": looks,
        "made": made,
        "server": server,
    }


def test_figures_are_what_was_put_in() -> None:
    metrics = stream.evaluate(record()).metrics
    assert metrics["glass_to_glass_ms"]["p95"] == 60
    assert metrics["painted_to_photon_ms"]["p50"] == 45
    assert metrics["voice_to_photon_ms"]["p50"] == pytest.approx(150)
    assert metrics["av_skew_ms"]["p50"] == pytest.approx(12)
    assert metrics["fps"]["value"] == pytest.approx(25, abs=0.01)
    assert 80 <= metrics["control_to_photon_ms"]["p50"] <= 120
    assert metrics["frames_missed"]["value"] == 0
    assert metrics["frame_gap_ms"]["max"] == 40


def test_missed_frames_are_counted() -> None:
    taken = record()
    del taken["frames"][100:103]
    assert stream.evaluate(taken).metrics["frames_missed"]["value"] == 3


@pytest.mark.parametrize("spoil", ["unread", "frames", "spoken", "heard"])
def test_a_record_that_cannot_be_trusted_is_refused(spoil: str) -> None:
    taken = record()
    stream.check(taken, 20.0)
    taken[spoil] = 400 if spoil == "unread" else taken[spoil][:3]
    with pytest.raises(ValueError, match="nothing to measure|expected one"):
        stream.check(taken, 20.0)


def test_the_fake_voice_has_clicks_that_the_server_finds(tmp_path: Path) -> None:
    voice = np.concatenate(list(read_voice(stream.write_voice(tmp_path / "voice.wav", 20), max_seconds=60)))
    finder = OnsetFinder()
    found = [k for k in range(len(voice) // 1920) if finder.step(voice[k * 1920 : (k + 1) * 1920])]
    assert 15 <= len(found) <= 23
    assert np.diff(found).min() >= 20
