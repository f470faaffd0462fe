"""Moving numbers between a session's own memory and the buffers of a batch, with a choice made on the device.

``kernel.cu`` does what ``reference`` says, several moves for every row of a table in one launch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

PARTS: Final = 8  # as in kernel.cu
NOTHING: Final = {"source": 0, "otherwise": 0, "target": 0, "when": 0, "count": 0}


def moves(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The struct Moves of up to PARTS structs Move. Raises ValueError for more."""
    if len(parts) > PARTS:
        raise ValueError(f"a launch makes {PARTS} moves at most, got {len(parts)}")
    return {"part": [*parts, *[NOTHING] * (PARTS - len(parts))]}
