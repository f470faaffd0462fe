"""People to enrol, with the truth about them: studio people photographed from outside and from everywhere, and the one
public-domain portrait that comes with scikit-image.

Nothing is trained on these people. Photographs are kept on disk: making them takes half a minute a person.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine import image
from engine.motion.frame import Motion
from engine.render import camera
from engine.viewpoint import Viewpoint
from kernels.rasterize import Camera

U8 = NDArray[np.uint8]
FOLDER: Final = Path("data/portraits")
VERSION: Final = 1  # of what is kept: raise it when pictures change
FIRST: Final = 100_030  # number of the first person, of those that nothing is trained on
SIZE: Final = 512
FRAMING: Final = "head"
YAWS: Final = (-25, -15, 0, 15, 25)  # degrees
JPEG: Final = 4  # quality of the photograph, as engine.image counts: a telephone's


@dataclass(frozen=True)
class Sitter:
    """Somebody to enrol: ``photo``, the bytes of a file. truth: at rest from YAWS, in the photograph's light, (5, S, S,
    3) and alpha (5, S, S); others (n, S, S, 3): the same person in other lights and moods. Both empty when unknown."""

    name: str
    photo: bytes
    truth: U8 = field(default_factory=lambda: np.zeros((0, SIZE, SIZE, 3), np.uint8))
    alpha: U8 = field(default_factory=lambda: np.zeros((0, SIZE, SIZE), np.uint8))
    others: U8 = field(default_factory=lambda: np.zeros((0, SIZE, SIZE, 3), np.uint8))

    @property
    def known(self) -> bool:
        """Whether the truth from other sides is known."""
        return len(self.truth) > 0


def astronaut() -> Sitter | None:
    """Eileen Collins by NASA (public domain); None without scikit-image, which brings the picture."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "data" / "astronaut.png"
    return Sitter("astronaut", path.read_bytes()) if path.is_file() else None


def studio(count: int) -> Iterator[Sitter]:
    """The first ``count`` studio people. Raises GlError where nothing draws, BakeError without the prior."""
    photographer: Any = None
    for number in range(FIRST, FIRST + count):
        path = FOLDER / f"v{VERSION}" / f"{number}.npz"
        if not path.exists():
            if photographer is None:
                from training.studio.photograph import Photographer

                photographer = Photographer((SIZE, SIZE))
            _keep(path, _photographed(photographer, number))
        with np.load(path) as kept:
            yield Sitter(f"studio-{number}", kept["photo"].tobytes(), kept["truth"], kept["alpha"], kept["others"])


def _photographed(photographer: Any, number: int) -> dict[str, NDArray[Any]]:
    from engine.body.body import Body
    from training.portrait.sitting import aimed, away_of, mood_of
    from training.studio import lights, places
    from training.studio.person import build

    rng = np.random.default_rng([number, 11])
    built = build(number)
    photographer.load(built)
    body = Body(built.fine)
    pose = body.allocate()

    def shoot(motion: Motion, lens: Camera, light: Any, place: Any) -> Any:
        body.pose(motion, pose)
        return photographer.shoot(pose.vertices, pose.normals, lens, light, place)

    def seen(yaw: float) -> Camera:
        frame = camera.framing(FRAMING)
        return camera.camera(Viewpoint(np.radians(yaw), 0.0, frame.distance), frame, (SIZE, SIZE))

    light, place = (table.sample(int(rng.integers(1 << 20))) for table in (lights, places))
    lens = aimed(float(rng.uniform(-0.12, 0.12)), float(rng.uniform(-0.08, 0.08)), away_of(rng), 0.42, rng)
    taken = shoot(mood_of(rng)[0], lens, light, place)
    truth = [shoot(Motion.rest(), seen(yaw), light, place) for yaw in YAWS]
    others = []
    for yaw in (-25.0, 0.0, 25.0):
        other = [table.sample(int(rng.integers(1 << 20))) for table in (lights, places)]
        others.append(shoot(mood_of(rng)[0], seen(yaw), *other))
    return {
        "photo": np.frombuffer(image.encode_jpeg(taken.rgb, quality=JPEG), np.uint8),
        "truth": _stack(truth, "rgb"), "alpha": _stack(truth, "alpha"), "others": _stack(others, "rgb"),
    }  # fmt: skip


def _stack(shots: Sequence[Any], name: str) -> U8:
    return np.stack([getattr(shot, name) for shot in shots])


def _keep(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    np.savez_compressed(partial, **arrays)  # type: ignore[arg-type]
    partial.replace(path)
