"""What ``visavis devices`` says, whatever fails while it looks."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from visavis import devices
from visavis.cli import app

from .sound import Machine


def test_microphones_outputs_and_their_defaults_are_listed(machine: Machine) -> None:
    machine.plug("Headset", inputs=1, rate=16_000, default=True)
    machine.plug("Dock", inputs=2, outputs=8)
    found = {title: rows for title, rows, _ in devices.report()}
    assert found["Microphones of this machine"] == [
        ("0", "Headset", "ALSA", "16000 Hz, 1 channel", "default"),
        ("1", "Dock", "ALSA", "48000 Hz, 2 channels", ""),
    ]
    assert found["Sound outputs of this machine"] == [("1", "Dock", "ALSA", "48000 Hz, 8 channels", "default")]
    shown = CliRunner().invoke(app, ["devices"], terminal_width=200)
    assert shown.exit_code == 0 and "Headset" in shown.output and "Virtual cameras" in shown.output


@pytest.mark.parametrize("problem", [OSError(-10000, "PortAudio not initialized"), RuntimeError("a driver's bug")])
def test_sound_that_fails_hides_nothing_else(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    def fail() -> None:
        raise problem

    monkeypatch.setattr(machine.module, "PyAudio", fail)
    hints = {title: hint for title, _, hint in devices.report()}
    assert str(problem) in hints["Microphones of this machine"] and list(hints)[-1] == "Virtual cameras"
    assert "CPU" in CliRunner().invoke(app, ["devices"]).output
