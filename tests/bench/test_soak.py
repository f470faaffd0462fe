from dataclasses import dataclass, field

import numpy as np
import pytest
from rich.console import Console

from bench import prompts
from bench import soak_voice as soak
from engine.clock import FRAME
from tests.bench.test_motion import nothing, one


def test_a_footprint_counts_arrays_once_and_follows_what_is_held() -> None:
    @dataclass(slots=True)
    class Slotted:
        array: np.ndarray
        more: list[np.ndarray] = field(default_factory=list)

    big = np.zeros(100_000, np.float32)
    alone = soak.footprint(big)
    assert 400_000 <= alone < 401_000
    assert soak.footprint([big, big]) - alone < 1000
    assert soak.footprint(Slotted(big, [np.zeros(50_000, np.float64)])) == pytest.approx(800_000, abs=2000)
    assert soak.footprint({"view": big[:10]}) >= 400_000  # a view keeps all of what it looks at


def test_a_soak_says_how_the_last_cycle_compares_with_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "asterisk", one)
    monkeypatch.setattr(soak, "_between", lambda: np.zeros(20 * FRAME, np.float32))
    cycle = 100 * 0.04 + 2 * 1.5 - 2 * 0.02 + 0.8  # the prompt, a pause on each side in whole frames, silence
    metrics = soak.run(log=Console(quiet=True), hours=3 * cycle / 3600).metrics
    assert metrics["lips.hours"]["value"] == pytest.approx(3 * cycle / 3600, rel=0.05)
    for name in ("f1_6", "closure_recall", "opening_corr"):
        assert metrics[f"lips.last.{name}"]["value"] == pytest.approx(metrics[f"lips.first.{name}"]["value"], abs=0.05)
    assert metrics["lips.state_bytes"]["value"] > 1000
    assert metrics["session.state_growth_bytes"]["value"] < 5000 < metrics["session.state_bytes"]["value"] < 2e6


def test_less_than_two_cycles_and_no_speech_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="shorter than two cycles"):
        soak._cycles(0.1, np.zeros(16000 * 300, np.float32))
    monkeypatch.setattr(prompts, "asterisk", nothing)
    with pytest.raises(ValueError, match="no speech to soak in"):
        soak.run(log=Console(quiet=True))
