"""What a viewer asks of the picture it is sent: rows, pictures a second, bits a second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

LIMITS: Final[dict[str, tuple[float, float]]] = {"height": (64, 2160), "fps": (1, 60), "bitrate": (100_000, 50_000_000)}


@dataclass(frozen=True, slots=True)
class Quality:
    """At most so many rows, frames a second and bit/s; None: as the line allows."""

    height: int | None = None
    fps: float | None = None
    bitrate: int | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"{name} must lie in {low:g}..{high:g}, got {value:g}")


def read(words: Mapping[str, str]) -> Quality:
    """Of a query's text, e.g. {"height": "256", "fps": "12.5"}; what else is in it is not looked at. Raises ValueError
    that names the word."""
    values: dict[str, Any] = {}
    for field in fields(Quality):
        if field.name in words:
            kind = float if field.name == "fps" else int
            try:
                values[field.name] = kind(words[field.name])
            except ValueError:
                raise ValueError(f'{field.name} must be a number, got "{words[field.name][:40]}"') from None
    return Quality(**values)
