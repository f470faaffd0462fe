"""What was freed is given back, on systems whose allocator keeps it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from streaming import memory


def resident_mb() -> float:
    found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


@pytest.mark.skipif(memory._trim() is None, reason="another C library")
def test_what_was_freed_among_what_is_kept_goes_back_to_the_system() -> None:
    pieces = [np.ones(100_000, np.uint8) for _ in range(2000)]  # too small for mappings of their own
    kept = pieces[-1]
    del pieces
    before = resident_mb()
    memory.give_back()
    assert resident_mb() < before - 100 and kept[0] == 1


def test_elsewhere_it_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    memory._trim.cache_clear()
    try:
        memory.give_back()
        assert memory._trim() is None
    finally:
        memory._trim.cache_clear()
