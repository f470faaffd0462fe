"""Cores and manners of the server's processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from streaming.place import ANYWHERE, Place, cores, plan


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_on_few_cores_everybody_runs_anywhere(count: int) -> None:
    places = plan(tuple(range(count)))
    assert places.inference == places.media == ANYWHERE and not places.web.cores


@pytest.mark.parametrize(("count", "others"), [(4, 1), (7, 1), (8, 2), (64, 16)])
def test_on_more_of_them_painting_has_cores_of_its_own(count: int, others: int) -> None:
    known = tuple(range(10, 10 + count))  # as in a container that was given some
    places = plan(known)
    assert places.media.cores == places.web.cores == known[:others]
    assert places.inference.cores == known[others:] and places.inference.nice == places.media.nice == 0
    assert places.web.nice > 0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="not on this system")
def test_a_process_goes_where_it_is_told_and_stays_where_that_cannot_be() -> None:
    script = (
        "import os; from streaming.place import *; from engine.backends.openvino import cores as seen; "
        f"take(Place(({cores()[0]},), 3)); print(os.sched_getaffinity(0), os.nice(0), seen()); "
        "take(Place((4095,), -20)); print(os.sched_getaffinity(0))"
    )
    begun = os.nice(0)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    first, then = done.stdout.splitlines()
    assert first == f"{{{cores()[0]}}} {begun + 3} 1" and then == f"{{{cores()[0]}}}"
    assert Place() == ANYWHERE
