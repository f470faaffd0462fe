"""Independent judges: what a face detector, its landmarks and a person segmenter see in our pictures, and whether that
is what we meant. They run in their own environment (training/studio/judge.py) and know nothing of how pictures came
to be; what we meant is read off the posed mesh, as guidance shows it: the tallest open part of mouth and eyes, over
the distance of the eyes.
"""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.avatar import REGIONS, Avatar
from engine.body.body import Body
from engine.motion.frame import Motion
from engine.render import camera, material
from engine.viewpoint import Viewpoint
from kernels.rasterize import Camera, Rasterizer
from training.studio.person import build
from training.studio.records import Record
from training.studio.shards import StudioError, manifests, read_clip

Array = NDArray[Any]
ADVICE: Final = (
    "make their environment: python3.11 -m venv data/judge && data/judge/bin/pip install mediapipe==0.10.21 'numpy<2'"
)
# Landmarks of MediaPipe's face mesh: inner lips, and of each eye its corners and three pairs of lid points.
LIPS: Final = (13, 14)
CORNERS: Final = ((33, 133), (362, 263))
LIDS: Final = (((159, 145), (158, 153), (160, 144)), ((386, 374), (385, 380), (387, 373)))
POINTS: Final = sorted({*LIPS, *np.ravel(CORNERS).tolist(), *np.ravel(LIDS).tolist()})
FINE: Final = 768  # pixels a side of the guidance that openings are read off
NEAR: Final = 30.0  # pixels between the eyes from which on openings are judged: an open eye is then 3 pixels high
INSIDE: Final = tuple(REGIONS.index(name) for name in ("mouth", "teeth", "tongue"))
EYES: Final = (REGIONS.index("eyes"),)


class Verdict(NamedTuple):
    """One judgement: its ``value`` must reach ``wanted`` (None: told for information); ``frames`` it was made from."""

    name: str
    value: float
    wanted: float | None
    frames: int

    @property
    def good(self) -> bool:
        """Whether it passes."""
        return self.wanted is None or self.value >= self.wanted


class Sight(NamedTuple):
    """What was meant and what was seen in one frame. ``yaw`` degrees; ``apart`` pixels between the eyes as meant;
    ``natural``: speech and expressions, not a drill of actions that no face shows together; the openings over the
    distance of the eyes, NaN where no face was found; ``overlap`` of the person's mask with our alpha (intersection
    over union)."""

    yaw: float
    apart: float
    natural: bool
    found: bool
    mouth: float
    eyes: float
    meant_mouth: float
    meant_eyes: float
    overlap: float


def sampled(folder: Path, frames: int, seed: int = 0) -> list[Record]:
    """About ``frames`` records spread over the whole data set, a few a clip. Raises StudioError when it is empty."""
    rows = [{**row, "shard": m["name"]} for m in manifests(folder) for row in m["clips"]]
    if not rows:
        raise StudioError(f"{folder} holds no clips")
    dice = np.random.default_rng(seed)
    each = max(2, -(-frames // len(rows)))
    chosen: list[Record] = []
    for index in dice.permutation(len(rows)):
        found = list(read_clip(folder, rows[index]))
        chosen += [found[i] for i in np.unique(np.linspace(0, len(found) - 1, each).round().astype(int))]
        if len(chosen) >= frames:
            break
    return sorted(chosen, key=lambda record: (record.meta["person"], record.meta["clip"], record.meta["frame"]))


def judge(records: Sequence[Record], python: Path, report: Callable[[int, int], None]) -> list[Verdict]:
    """The judges' verdicts on ``records``. Raises StudioError when the judges' environment is not there."""
    return verdicts(list(sights(records, python, report)))


def sights(records: Sequence[Record], python: Path, report: Callable[[int, int], None]) -> Iterator[Sight]:
    """What was meant and what is seen, record by record; records of one person should follow one another."""
    meant: Meant | None = None
    person = -1
    for number, (record, answer) in enumerate(zip(records, _ask(records, python), strict=True)):
        if meant is None or record.meta["person"] != person:
            person = record.meta["person"]
            meant = Meant(build(person).avatar)
        view, framing = record.viewpoint, record.meta["framing"]
        mouth, eyes, apart = meant.openings(record.motion, view, framing)
        apart *= record.meta["size"] / FINE
        found = answer["points"] is not None
        seen = measured(answer["points"]) if found else (np.nan, np.nan)
        overlap = _overlap(record, answer["person"])
        natural = "drill" not in record.meta["expressions"]
        yield Sight(float(np.degrees(view.yaw)), apart, natural, found, *seen, mouth, eyes, overlap)
        report(number + 1, len(records))


def verdicts(seen: Sequence[Sight]) -> list[Verdict]:
    """The figures of the studio's issue: faces found, openings that follow the Motion, masks that agree."""
    front = [s for s in seen if abs(s.yaw) <= 30]
    side = [s for s in seen if 30 < abs(s.yaw) <= 45]
    faces = [s for s in front if s.found]
    near = [s for s in faces if s.natural and s.apart >= NEAR]
    return [
        Verdict("face found, yaw to 30", _mean([s.found for s in front]), 0.99, len(front)),
        Verdict("face found, yaw 30 to 45", _mean([s.found for s in side]), 0.95, len(side)),
        Verdict("mouth opening, correlation", _follows([(s.mouth, s.meant_mouth) for s in near]), 0.9, len(near)),
        Verdict("eye opening, correlation", _follows([(s.eyes, s.meant_eyes) for s in near]), 0.9, len(near)),
        Verdict(
            "mouth, drills and small faces too", _follows([(s.mouth, s.meant_mouth) for s in faces]), None, len(faces)
        ),
        Verdict(
            "eyes, drills and small faces too", _follows([(s.eyes, s.meant_eyes) for s in faces]), None, len(faces)
        ),
        Verdict("person's mask, mean IoU", _mean([s.overlap for s in seen]), 0.93, len(seen)),
    ]


def measured(points: dict[str, list[float]]) -> tuple[float, float]:
    """Mouth and eye opening over the distance of the eyes, from landmarks in pixels."""
    at = {int(index): np.array(place) for index, place in points.items()}
    middles = [(at[a] + at[b]) / 2 for a, b in CORNERS]
    apart = max(float(np.linalg.norm(middles[0] - middles[1])), 1e-6)
    lids = [np.linalg.norm(at[a] - at[b]) for pairs in LIDS for a, b in pairs]
    return float(np.linalg.norm(at[LIPS[0]] - at[LIPS[1]])) / apart, float(np.mean(lids)) / apart


class Meant:
    """Reads off an avatar's mesh how open its mouth and eyes look from a viewpoint."""

    def __init__(self, avatar: Avatar) -> None:
        mesh, _ = material.build(avatar)
        self._body = Body(avatar)
        self._pose = self._body.allocate()
        self._raster = Rasterizer(mesh, (FINE, FINE), 1)
        self._place = np.zeros((len(mesh.uv), 3), np.float32)
        self._eyes = [avatar.bones.index(name) for name in ("eye_l", "eye_r")]
        self._pivots = avatar.bone_pivot[self._eyes].astype(np.float64)

    def openings(self, motion: Motion, view: Viewpoint, framing: str) -> tuple[float, float, float]:
        """Visible opening of the mouth and mean opening of the eyes, over the distance of the eyes; and that distance
        in pixels of a picture of FINE."""
        pose = self._body.pose(motion, self._pose)
        lens = camera.camera(view, camera.framing(framing), (FINE, FINE))
        g = self._raster.draw(pose.vertices, pose.normals, lens, None, self._place)
        turned = np.einsum("eij,ej->ei", pose.bones[self._eyes, :, :3], self._pivots) + pose.bones[self._eyes, :, 3]
        places = _project(turned, lens)
        apart = max(float(np.linalg.norm(places[0] - places[1])), 1e-6)
        middle = int(np.clip(places[:, 0].mean(), 0, FINE))
        lids = [_tallest(half, EYES) for half in (g.region[:, :middle], g.region[:, middle:])]
        return _tallest(g.region, INSIDE) / apart, float(np.mean(lids)) / apart, apart


def _project(points: Array, lens: Camera) -> Array:
    seen = points @ lens.rotation.T + lens.translation
    return lens.focal * seen[:, :2] / seen[:, 2:] + np.array(lens.centre)


def _tallest(region: Array, inside: tuple[int, ...]) -> float:
    """Pixels of ``inside`` in the column that has most of them."""
    return float(np.isin(region, inside).sum(0).max(initial=0))


def _ask(records: Sequence[Record], python: Path) -> Iterator[dict[str, Any]]:
    """One answer of judge.py a record."""
    if not python.exists():
        raise StudioError(f"the judges' python {python} is not there; {ADVICE}")
    command = [str(python), str(Path(__file__).with_name("judge.py")), *map(str, POINTS)]
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints) as process,
    ):
        assert process.stdin is not None and process.stdout is not None
        for record in records:
            height, width = record.alpha.shape
            try:
                process.stdin.write(json.dumps({"height": height, "width": width}).encode() + b"\n")
                process.stdin.write(np.ascontiguousarray(record.rgb).tobytes())
                process.stdin.flush()
                line = process.stdout.readline()
            except BrokenPipeError:
                line = b""
            if not line:
                complaints.seek(0)
                said = complaints.read().decode(errors="replace").strip().splitlines()
                raise StudioError(f"the judges gave up ({said[-1] if said else 'no reason given'}); {ADVICE}")
            yield json.loads(line)


def _overlap(record: Record, bits: str) -> float:
    """Intersection over union of the judges' mask and our alpha."""
    ours = record.alpha > 127
    theirs = np.unpackbits(np.frombuffer(base64.b64decode(bits), np.uint8))[: ours.size].reshape(ours.shape) > 0
    return float((ours & theirs).sum() / max((ours | theirs).sum(), 1))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _follows(pairs: Sequence[tuple[float, float]]) -> float:
    """Pearson correlation; NaN (which passes nothing) without two different values."""
    table = np.array(pairs, float).reshape(-1, 2)
    if len(table) < 3 or (np.ptp(table, axis=0) == 0).any():
        return float("nan")
    return float(np.corrcoef(table.T)[0, 1])
