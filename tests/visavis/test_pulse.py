"""PulseAudio's side: what ``pactl`` says, and a microphone that comes and goes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from visavis import pulse

PACTL = """#!/bin/sh
echo "$@" >> "{log}"
case "$*" in
"-f json list sources") cat "{folder}/sources.json" ;;
"list short modules") cat "{folder}/modules" ;;
*load-module*) echo 21 ;;
get-default-sink) echo speakers ;;
get-default-source) echo jabra ;;
esac
"""


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``pactl`` that says what files say, and keeps what it was asked."""
    log = tmp_path / "log"
    tool = tmp_path / "pactl"
    tool.write_text(PACTL.format(log=log, folder=tmp_path))
    tool.chmod(0o755)
    (tmp_path / "modules").write_text("")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_sources_are_read_without_their_monitors(said: Path) -> None:
    described = [
        {"name": "jabra", "description": "Jabra Evolve 20", "sample_specification": "s16le 1ch 16000Hz"},
        {"name": "speakers.monitor", "description": "Monitor of x", "sample_specification": "s16le 2ch 44100Hz"},
        {"name": "odd"},
    ]
    (said / "sources.json").write_text(json.dumps(described))
    found = [(node.name, node.description, node.channels, node.rate) for node in pulse.sources()]
    assert found == [("jabra", "Jabra Evolve 20", 1, 16_000.0), ("odd", "odd", 2, 48_000.0)]
    (said / "sources.json").write_text("no JSON")
    assert pulse.sources() == []


def test_what_a_killed_presenter_left_is_removed_and_a_living_ones_name_is_not_taken(said: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    modules = f"7\tmodule-null-sink\tsink_name=visavis device.description='x' visavis.pid={dead.pid}\"\t\n"
    (said / "modules").write_text(modules + "8\tmodule-x\t\n")
    cable = pulse.VirtualMicrophone()
    cable.open()
    asked = (said / "log").read_text()
    assert "unload-module 7\n" in asked and "unload-module 8" not in asked and cable.sink == "visavis"
    assert "set-default-sink speakers" in asked and "set-default-source jabra" in asked, "it is for calls alone"
    cable.close()
    (said / "modules").write_text(modules.replace(str(dead.pid), str(os.getppid())))
    cable.open()
    assert cable.sink == f"visavis_{os.getpid()}"


def test_no_server_and_no_program_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not pulse.available() and pulse.sinks() == [] and pulse.default_source() == ""
    with pytest.raises(pulse.PulseError, match="pulseaudio-utils"):
        pulse.VirtualMicrophone().open()


def test_a_stream_is_routed_by_the_environment_for_as_long_as_it_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSE_SINK", "mine")
    with pulse.routed("visavis", "output"):
        assert os.environ["PULSE_SINK"] == "visavis"
    assert os.environ["PULSE_SINK"] == "mine"
    with pulse.routed("jabra", "input"), pulse.routed("", "input"):
        assert os.environ["PULSE_SOURCE"] == "jabra"
    assert "PULSE_SOURCE" not in os.environ


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A PulseAudio of this test alone."""
    if shutil.which("pulseaudio") is None or shutil.which("pactl") is None:
        pytest.skip("pulseaudio is not installed")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PULSE_RUNTIME_PATH", str(tmp_path / "pulse"))
    monkeypatch.delenv("PULSE_SERVER", raising=False)
    script = tmp_path / "server.pa"
    script.write_text("load-module module-native-protocol-unix\nload-module module-null-sink sink_name=mouth\n")
    command = ["pulseaudio", "-n", "-F", str(script), "--daemonize=no", "--exit-idle-time=-1", "--log-target=null"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 30
        while not pulse.available():
            assert process.poll() is None and time.monotonic() < end, "pulseaudio does not start"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(10)


def test_on_a_real_server_the_microphone_is_there_and_gone_again(server: None) -> None:
    cable = pulse.VirtualMicrophone()
    cable.open()
    assert [(node.name, node.description) for node in pulse.sources()] == [("visavis_microphone", "Visavis microphone")]
    assert "visavis" in [node.name for node in pulse.sinks()] and pulse.default_source() == "mouth.monitor"
    for line in subprocess.run(
        ["pactl", "list", "short", "modules"], capture_output=True, text=True
    ).stdout.splitlines():
        if "visavis" in line:  # as if the server had been started again
            subprocess.run(["pactl", "unload-module", line.split("\t")[0]], check=False)
    assert pulse.sources() == []
    cable.renew()
    assert [node.name for node in pulse.sources()] == ["visavis_microphone"]
    cable.close()
    cable.close()
    assert pulse.sources() == [] and [node.name for node in pulse.sinks()] == ["mouth"]
