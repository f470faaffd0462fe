"""What a data set is: the few facts that all its records follow from, kept beside them as plan.json."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from training.studio.clips import CLIPS_A_SITTING, HELD_OUT, SPEECH, TRAIN, Script
from training.studio.people import HELD_OUT as HELD_OUT_PEOPLE
from training.studio.people import TRAIN as TRAIN_PEOPLE
from training.studio.person import code_version
from training.studio.records import FORMAT
from training.studio.shards import PLAN, StudioError, read_json, shard_name, write_json

PEOPLE: Final = {TRAIN: tuple(TRAIN_PEOPLE), HELD_OUT: tuple(HELD_OUT_PEOPLE)}
# What decides a record beside the people: an edit of any of these begins another data set.
SOURCES: Final = (
    "training/choreography/*.py", "training/studio/shaders/*", "engine/motion/*.py", "engine/body/*.py",
    "engine/render/camera.py", "engine/viewpoint.py", "kernels/skin/*.py", "kernels/rasterize/*.py",
    *(f"training/studio/{name}.py" for name in ("clips", "figure", "gl", "guidance", "lights", "photograph", "places",
                                                "records", "take", "views", "voice")),
)  # fmt: skip
SIZES: Final = (64, 1024)  # pixels a side
MOST_CLIPS: Final = 1_000_000
GROWS: Final = "clips"  # the one fact that may change: a data set can be made longer


@dataclass(frozen=True, slots=True)
class Plan:
    """``speech`` is the digest of the speech's file names and sizes; ``people`` and ``code`` the versions of what makes
    people, and of everything else that decides a record. Raises ValueError on values out of range."""

    seed: int
    split: str
    size: int
    clips: int
    speech: str
    people: str
    code: str
    format: int = FORMAT

    def __post_init__(self) -> None:
        if self.split not in SPEECH:
            raise ValueError(f"split must be {' or '.join(SPEECH)}, got {self.split!r}")
        if not SIZES[0] <= self.size <= SIZES[1] or self.size % 2:
            raise ValueError(f"size must be an even number from {SIZES[0]} to {SIZES[1]}, got {self.size}")
        if not 1 <= self.clips <= MOST_CLIPS:
            raise ValueError(f"clips must be 1 to {MOST_CLIPS}, got {self.clips}")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed must be 0 to {2**31 - 1}, got {self.seed}")

    @staticmethod
    def of(seed: int, split: str, size: int, clips: int, speech: Path) -> Plan:
        """A plan for this machine's speech and this version of the code. Raises ValueError when there is no speech."""
        if split not in SPEECH:
            raise ValueError(f"split must be {' or '.join(SPEECH)}, got {split!r}")
        names = [f"{p.name} {p.stat().st_size}" for p in Script(seed, split, PEOPLE[split], speech).library.paths]
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
        return Plan(seed, split, size, clips, digest, code_version(), source_version())

    def script(self, speech: Path) -> Script:
        """The one that writes this data set's clips."""
        return Script(self.seed, self.split, PEOPLE[self.split], speech)

    def sittings(self) -> dict[str, list[int]]:
        """Shard name to the numbers of its clips."""
        return {
            shard_name(first // CLIPS_A_SITTING): list(range(first, min(first + CLIPS_A_SITTING, self.clips)))
            for first in range(0, self.clips, CLIPS_A_SITTING)
        }


def source_version() -> str:
    """A short digest of SOURCES."""
    root, digest = Path(__file__).parents[2], hashlib.sha256()
    for pattern in SOURCES:
        for path in sorted(root.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def read_plan(folder: Path) -> Plan:
    """The plan of a data set. Raises StudioError when there is none or it is not one."""
    table = read_json(folder / PLAN)
    try:
        return Plan(**table)
    except (TypeError, ValueError) as error:
        raise StudioError(f"{folder / PLAN}: not a plan of this version: {error}") from error


def begin(folder: Path, plan: Plan) -> Plan:
    """Writes the plan into a new data set, or goes on with the one there. Returns the plan to follow: the longer.

    Raises StudioError when the records there follow from something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / PLAN).exists():
        old, new = asdict(read_plan(folder)), asdict(plan)
        differs = [
            f"{name} {old[name]!r}, not {new[name]!r}" for name in old if name != GROWS and old[name] != new[name]
        ]
        if differs:
            raise StudioError(
                f"{folder} was begun with {'; '.join(differs)}. Go on as it was begun, or choose another --out"
            )
        plan = replace(plan, clips=max(plan.clips, old[GROWS]))
    elif any(folder.glob("sitting-*")):
        raise StudioError(f"{folder} holds sittings but no {PLAN}; choose another --out")
    write_json(folder / PLAN, asdict(plan))
    return plan


def commit() -> str:
    """The commit of this working tree, with a + when edited; "unknown" outside a repository."""
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=10"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def planned(plan: Plan, name: str, manifest: dict[str, Any]) -> bool:
    """Whether a shard's manifest holds exactly the clips that the plan gives it."""
    return [row.get("clip") for row in manifest.get("clips", [])] == plan.sittings().get(name)
