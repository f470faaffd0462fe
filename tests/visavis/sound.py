"""A machine whose sound devices a test plugs in and out."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DOUBLES = Path(__file__).parent / "doubles"


class Machine:
    """``plug`` and ``unplug`` devices; ``streams`` are those that PyAudio's double has open."""

    def __init__(self, folder: Path, module: ModuleType, camera: ModuleType) -> None:
        self.path, self.module, self.camera = folder / "sound.json", module, camera
        self.devices: list[dict[str, Any]] = []
        self._write()

    def plug(self, name: str, *, first: bool = False, **fields: Any) -> None:
        self.devices.insert(0 if first else len(self.devices), {"name": name, **fields})
        self._write()

    def unplug(self, name: str) -> None:
        self.devices = [device for device in self.devices if device["name"] != name]
        self._write()

    def _write(self) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.devices), encoding="utf-8")
        new.replace(self.path)  # whoever reads it meanwhile sees all of it

    @property
    def streams(self) -> list[Any]:
        return [stream for stream in self.module.streams if not stream.closed]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """PyAudio and pyvirtualcam are their doubles, here and in processes that are started from here; no PulseAudio."""
    monkeypatch.syspath_prepend(str(DOUBLES))
    monkeypatch.setenv("PYTHONPATH", str(DOUBLES))
    monkeypatch.setenv("FAKE_SOUND", str(tmp_path / "sound.json"))
    monkeypatch.setenv("FAKE_SOUND_MANUAL", "1")
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path}/nobody")
    for name in ("pyaudio", "pyvirtualcam"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    try:
        yield Machine(tmp_path, importlib.import_module("pyaudio"), importlib.import_module("pyvirtualcam"))
    finally:
        for name in ("pyaudio", "pyvirtualcam"):
            sys.modules.pop(name, None)
