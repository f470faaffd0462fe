import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from bench import motion, motion_report, prompts
from bench.ours import Talker, at_48k, cues_of_ours, latency, loudness
from bench.prompts import Prompt
from engine.clock import FRAME
from engine.motion.lips import REST_GAP_MM
from training.speech.phones import PHONE_INDEX, Span
from training.speech.tools import MissingPackage


@pytest.fixture(scope="module")
def talker() -> Talker:
    return Talker(1)


def nothing(*_: object, **__: object) -> Iterator[Prompt]:
    raise MissingPackage("install the Debian package so-and-so")
    yield


def one(*_: object, **__: object) -> Iterator[Prompt]:
    pcm = 0.3 * np.sin(np.arange(100 * FRAME) / 9).astype(np.float32)
    pcm[: 20 * FRAME] = pcm[60 * FRAME :] = 0
    names = ["SIL", "M", "AA", "P", "IY", "SIL"]
    edges = [0, 80, 100, 150, 170, 240, 400]
    spans = [Span(a, b, PHONE_INDEX[n]) for a, b, n in zip(edges, edges[1:], names, strict=False)]
    yield Prompt("map", "mop e", pcm, spans)


@pytest.fixture(scope="module")
def metrics() -> Mapping[str, Any]:
    """A quick run on one prompt, with no peer here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompts, "asterisk", one)
        patch.setattr(prompts, "librivox", nothing, raising=False)
        patch.setattr(motion, "PEERS", {})
        patch.setattr(motion, "lively", lambda *_: {})
        patch.setattr(motion, "still_sounds", lambda: {"silence": np.zeros(25 * FRAME, np.float32)})
        return motion.run(quick=True, log=Console(quiet=True)).metrics


def test_a_quick_run_names_its_figures_as_published(metrics: Mapping[str, Any]) -> None:
    for name in ("f1_15", "f1_6", "closure_recall", "closure_precision", "opening_corr", "lag_ms"):
        assert f"ours.asterisk.{name}" in metrics and f"baseline.loudness.asterisk.{name}" in metrics
    assert set(metrics["ours.asterisk.f1_15"]) == {"value", "unit", "low", "high"}
    lead = metrics["ours.asterisk.lead_over.baseline.loudness.f1_6"]
    ours, theirs = (metrics[f"{s}.asterisk.f1_6"]["value"] for s in ("ours", "baseline.loudness"))
    assert lead["value"] == pytest.approx(ours - theirs, abs=2e-4)
    assert metrics["step_ms"]["n"] > 100 and metrics["ours.algorithmic_latency_ms"]["value"] >= 40
    assert metrics["false_open_pct"] == metrics["ours.asterisk_pauses.false_open_pct"]
    json.dumps(metrics)


def test_a_set_or_a_peer_that_is_not_here_is_skipped_aloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bench.peers.HOME", tmp_path)
    monkeypatch.setattr(motion, "Talker", lambda _: None)
    monkeypatch.setattr(motion, "_stillness", lambda _: {})
    monkeypatch.setattr(prompts, "asterisk", nothing)
    monkeypatch.setattr(prompts, "librivox", nothing, raising=False)
    log = Console(record=True, width=200)
    with pytest.raises(ValueError, match="no speech to score"):
        motion.run(quick=True, log=log)
    assert "so-and-so" in log.export_text()
    systems = {"baseline": motion._loudness, "wawa": motion._peer(motion.PEERS["wawa"], kept_only=False)}
    got = motion._scored("one", list(one()), {"ours": motion._loudness, **systems}, log, set())
    assert "bench.peers install wawa" in log.export_text() and not any(key.startswith("wawa.") for key in got)


def test_a_call_moves_the_phones_with_their_sound() -> None:
    prompt = next(one())
    both = motion.call([prompt, prompt])
    pause = round(motion.PAUSE_SECONDS * 100) // 4 * 4
    assert both.spans[:6] == [Span(a + pause, b + pause, p) for a, b, p in prompt.spans]
    assert both.spans[6].start == 2 * pause + 400 and both.pcm.size == 160 * (3 * pause + 800)
    assert np.array_equal(both.pcm[160 * pause :][: prompt.pcm.size], prompt.pcm)
    assert not both.pcm[: 160 * pause].any() and both.pcm[160 * (pause + 400) :][: 160 * pause].any()


def test_loudness_opens_with_sound_and_rests_without() -> None:
    viseme, gap = loudness(next(one()).pcm)
    assert gap[:80].max() == pytest.approx(REST_GAP_MM, abs=0.01) and gap[100:220].min() > 8
    assert viseme.shape == (400, 15) and viseme[20].argmax() == 0 and viseme[160].argmax() == 10


def test_a_session_shows_every_hop_of_its_voice(talker: Talker) -> None:
    pcm = next(one()).pcm
    shown = talker.perform(pcm)
    assert shown.viseme.shape == (400, 15) and shown.gap.shape == (400,) and len(shown.motion) == 100
    again = talker.perform(pcm)
    assert np.array_equal(again.viseme, shown.viseme) and np.array_equal(again.gap, shown.gap)


def test_what_we_say_is_timed_by_the_sound_that_must_be_heard_first(talker: Talker) -> None:
    pcm = np.zeros(10 * FRAME, np.float32)
    cues = cues_of_ours(pcm, 1, talker)
    assert len(cues) == 40 and cues[0].time == pytest.approx(latency(1)) == pytest.approx(0.08)
    assert cues[5].time == pytest.approx(0.13) and {c.viseme for c in cues} == {"sil"}


def test_voice_at_48_khz_is_three_times_as_long_and_stays_in_range() -> None:
    voice = at_48k(np.sign(np.sin(np.arange(6400) / 3)).astype(np.float32))
    assert voice.size == 19200 and np.abs(voice).max() <= 1.0


def test_tables_and_plot_are_drawn_from_the_metrics(metrics: Mapping[str, Any], tmp_path: Path) -> None:
    console = Console(record=True, width=160)
    console.print(*motion_report.tables(metrics))
    shown = console.export_text()
    assert "Visavis" in shown and "loudness alone" in shown and "ours.asterisk.f1_15" in shown
    text = motion_report.markdown(metrics)
    assert "| system | lag ms | F1-15 |" in text and "1 recordings, 4 s" in text
    pytest.importorskip("matplotlib")
    assert motion_report.plot(metrics, tmp_path / "new" / "a.png").stat().st_size > 10_000
    with pytest.raises(ValueError, match="nothing was scored"):
        motion_report.plot({}, tmp_path / "b.png")


def test_tables_go_between_the_marks_of_a_document(metrics: Mapping[str, Any]) -> None:
    result = {"metrics": metrics, "date": "2026-11-21T10:00:00", "commit": "abc", "machine": {"cpu": "X", "threads": 2}}
    page = f"# Title\n{motion_report.BEGIN}\nold\n{motion_report.END}\nafter\n"
    once = motion_report.into(page, result)
    assert once.startswith("# Title\n") and once.endswith("\nafter\n") and "old" not in once and "at abc on X" in once
    assert motion_report.into(once, result) == once
    with pytest.raises(ValueError, match="no place for tables"):
        motion_report.into("# Title\n", result)


def test_what_was_promised_is_judged_by_the_worst_of_a_spread() -> None:
    got = {"step_ms": {"p50": 1.0, "p95": 2.0, "p99": 5.0, "n": 9, "unit": "ms"},
           "ours.asterisk.f1_15": {"value": 0.61, "unit": "F1"},
           "ours.asterisk_8khz.f1_15": {"value": 0.5, "unit": "F1"}}  # fmt: skip
    rows = {row[0]: row[-1] for row in motion_report.reach_rows(got)}
    assert rows == {"step_ms": "NO", "ours.asterisk.f1_15": "yes", "F1-15 kept, asterisk_8khz": "NO"}


def test_missing_prompts_name_their_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prompts, "SOUNDS", tmp_path / "none")
    with pytest.raises(MissingPackage, match="asterisk-core-sounds-en-g722"):
        list(prompts.asterisk(full=False))
