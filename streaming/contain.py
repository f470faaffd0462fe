"""Calls to those who promised not to fail: who does is logged, and keeps nothing from the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

log = logging.getLogger(__name__)
Who = TypeVar("Who")


def each(whom: Iterable[Who], call: Callable[[Who], Any]) -> list[Who]:
    """Calls ``call`` with each of ``whom``, as they are now; those with whom it failed."""
    failed = []
    for who in tuple(whom):
        try:
            call(who)
        except Exception:  # whoever it is, the caller has others to serve
            log.exception("%s failed", type(who).__name__)
            failed.append(who)
    return failed
