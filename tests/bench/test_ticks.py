"""The scheduler's speed is only told of a run that lost no frame."""

from __future__ import annotations

import pytest

from bench import ticks


@pytest.mark.parametrize("rows", [1, 8])
def test_a_crowd_in_virtual_time_loses_no_frame_and_has_a_speed(rows: int) -> None:
    assert ticks.ticks(40, 1.0, rows=rows) > 0


def test_a_run_that_loses_frames_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    person = ticks.Person
    monkeypatch.setattr(ticks, "Person", lambda cost, **more: person(3 * cost, **more))
    with pytest.raises(ValueError, match="lost frames"):
        ticks.ticks(40, 1.0)
