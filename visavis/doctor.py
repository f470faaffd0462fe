"""Looks at everything that a call needs, on this machine and around it, and says what to do about what is not well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from visavis.config import Config

Verdict = Literal["ok", "note", "bad"]  # note: it works, or may be meant so


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. ``do``: what to do about it; empty when there is nothing to do."""

    about: str
    verdict: Verdict
    what: str
    do: str = ""


Check = Callable[[Config], Iterator[Finding]]


def look(config: Config, *, speed: bool = True) -> Iterator[Finding]:
    """Finding after finding; a check that itself fails is one too."""
    from visavis import doctor_machine as machine
    from visavis import doctor_network as network

    checks: list[tuple[str, Check]] = [
        ("packages", machine.packages), ("models", machine.models), ("speed", machine.speed),
        ("GPU", machine.gpu), ("memory", machine.memory), ("disk", machine.disk), ("clock", machine.clock),
        ("sound and camera", machine.devices), ("who may ask", network.access), ("TLS", network.certificate),
        ("port", network.port), ("addresses", network.addresses), ("media ports", network.media_ports),
        ("STUN and TURN", network.ice),
    ]  # fmt: skip
    for about, check in checks:
        if check is machine.speed and not speed:
            continue
        yield from guarded(about, lambda check=check: check(config))  # type: ignore[misc]


def guarded(about: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What ``check`` finds; its own failure as a finding, so that the rest is still looked at."""
    try:
        yield from check()
    except Exception as problem:  # whatever is broken here is what the command is there to tell
        yield Finding(about, "bad", f"{type(problem).__name__}: {str(problem)[:300]}", "see the words above")


def as_json(findings: list[Finding]) -> dict[str, Any]:
    """For programs: whether all is well, and everything that was found."""
    return {"well": all(f.verdict != "bad" for f in findings), "findings": [asdict(f) for f in findings]}
