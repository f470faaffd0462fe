from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bench import motion, prompts
from bench.prompts import Prompt
from engine.clock import FRAME
from engine.motion.lips import REST_GAP_MM, LipSync
from training.speech.align import MissingPackage
from training.speech.phones import PHONE_INDEX, Span


def nothing(*_: object, **__: object) -> Iterator[Prompt]:
    raise MissingPackage("install the Debian package so-and-so")


def one(*_: object, **__: object) -> Iterator[Prompt]:
    pcm = 0.3 * np.sin(np.arange(100 * FRAME) / 9).astype(np.float32)
    pcm[: 20 * FRAME] = pcm[60 * FRAME :] = 0
    names = ["SIL", "M", "AA", "P", "IY", "SIL"]
    edges = [0, 80, 100, 150, 170, 240, 400]
    spans = [Span(a, b, PHONE_INDEX[n]) for a, b, n in zip(edges, edges[1:], names, strict=False)]
    yield Prompt("map", "mop e", pcm, spans)


def test_a_set_without_its_package_is_skipped_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motion, "asterisk", nothing)
    monkeypatch.setattr(motion, "tts", one)
    log = Console(record=True, width=200)
    metrics = motion.run(quick=True, log=log).metrics
    assert "so-and-so" in log.export_text()
    for name in ("f1_15", "closure_recall", "lag_ms", "opening_corr"):
        assert f"ours.tts.{name}" in metrics and f"baseline.loudness.tts.{name}" in metrics
        assert f"ours.asterisk.{name}" not in metrics
    assert metrics["ours.algorithmic_latency_ms"]["value"] >= 40 and metrics["motion_step_ms"]["n"] > 100


def test_no_speech_at_all_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motion, "asterisk", nothing)
    monkeypatch.setattr(motion, "tts", nothing)
    with pytest.raises(ValueError, match="no speech to score"):
        motion.run(quick=True, log=Console(quiet=True))


def test_loudness_opens_with_sound_and_rests_without() -> None:
    pcm = next(one()).pcm
    viseme, gap = motion.loudness(pcm)
    assert gap[:20].max() == pytest.approx(REST_GAP_MM, abs=0.01) and gap[25:55].min() > 8
    assert viseme.shape == (100, 15) and viseme[5].argmax() == 0 and viseme[40].argmax() == 10


def test_lookahead_shifts_nothing_in_time() -> None:
    pcm = next(one()).pcm
    for lookahead in (0, 1, 2):
        viseme, gap = motion.paint_lips(LipSync(lookahead), lookahead, pcm, step_ms=[])
        assert viseme.shape == (100, 15) and gap.shape == (100,)


def test_missing_prompts_name_their_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prompts, "SOUNDS", tmp_path / "none")
    with pytest.raises(MissingPackage, match="asterisk-core-sounds-en-g722"):
        list(prompts.asterisk(full=False))
