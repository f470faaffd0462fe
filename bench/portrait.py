"""Suite ``portrait``: one photograph to an avatar, held against the truth.

Studio people nothing was trained on are photographed once and enrolled as anybody would be; what their avatars look
like from other sides and while they speak is compared with photographs of the same people from there, by dlib's face
recognition (bench/judges/identity.py) and pixel by pixel; a real photograph (scikit-image's astronaut) is among them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from bench import portrait_people as people
from bench.judges.identity import Identity, distance
from bench.portrait_views import Films, Stage, raw_mesh
from bench.report import Measured, Metrics, spread, value
from bench.watermark import CHANGES, Clip
from bench.watermark import measure as find_marks
from training import perceptual
from training.perceptual import Perceptual
from training.portrait import enrol
from training.portrait.bake import About
from training.portrait.enrol import CONSENT, Enrolment

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
PEOPLE, FEW = 23, 3
GREY: Final = 128.0  # what people are compared over
KEYS: Final = 40  # wrong keys a clip that no watermark may be found with
DLIB: Final = 0.6  # distance below which dlib calls two faces one person


@dataclass
class Judges:
    """Who it is, and how alike pictures look: networks that nothing here is trained against."""

    who: Identity
    alike: Perceptual

    def face(self, picture: U8) -> F32 | None:
        """dlib's 128 numbers; None when nobody is found."""
        place = self.who.place(picture)
        return None if place is None else self.who.embed(picture, place)

    @torch.no_grad()
    def apart(self, one: NDArray[np.float64], other: NDArray[np.float64], inside: NDArray[np.bool_]) -> float:
        """Perceptual distance of pictures (S, S, 3) of 0 to 255 where ``inside``."""
        a, b = (torch.from_numpy(picture.transpose(2, 0, 1)[None] / 255).float() for picture in (one, other))
        return float(self.alike(a, b, torch.from_numpy(inside[None, None]).float())[0])


@dataclass
class Samples:
    """What is measured of everybody, by name: lists of figures."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, figure: float) -> None:
        """One more."""
        self.values.setdefault(name, []).append(float(figure))

    def of(self, name: str) -> list[float]:
        """All of them; none measured is an error: no figure is made up."""
        if not self.values.get(name):
            raise ValueError(f"nothing was measured for {name}")
        return self.values[name]


def run(*, quick: bool, log: Console) -> Measured:
    """Three studio people (quick) or 23, and the astronaut when scikit-image is here."""
    judge, films, samples = Judges(Identity(), perceptual.load("people")), Films(2.5 if quick else 5.0), Samples()
    real = people.astronaut()
    if real is None:
        log.print("without the real photograph: pip install --no-deps scikit-image brings it")
    sitters = [*([real] if real else []), *people.studio(FEW if quick else PEOPLE)]
    portraits: list[tuple[str, F32]] = []
    clips: list[Clip] = []
    rows: list[list[U8]] = []
    for number, sitter in enumerate(sitters):
        made = _enrolled(sitter, samples)
        stage = Stage(made.avatar, people.FRAMING, people.SIZE)
        photograph = judge.face(made.photo.rgb)
        if photograph is None:
            raise ValueError(f"the judge of identity finds no face in the photograph of {sitter.name}")
        if sitter.known:
            stage.like(sitter.truth[people.YAWS.index(0)])
        views = {yaw: stage.rest(yaw) for yaw in people.YAWS}
        for yaw, view in views.items():
            _judge(judge, photograph, view.rgb, f"view{abs(yaw)}", samples)
        film = films.shoot(stage, number)
        samples.add("closure_seen", film.closed)
        _speaking(judge, photograph, film.aside, samples)
        clips.append(Clip(sitter.name, film.pictures))
        if sitter.known:
            _truth(judge, sitter, made, stage, views, photograph, samples, rows)
        portraits.append((sitter.name, photograph))
        log.print(f"{number + 1}/{len(sitters)} {_summary(sitter.name, made, samples)}")
    metrics = _collected(samples, portraits)
    metrics |= find_marks(iter(clips), {"h264_500k": CHANGES["h264_500k"]}, 10 if quick else KEYS, log)
    metrics |= _process(sitters[0])
    return Measured(metrics, draw=lambda folder: _drawn(folder, rows))


def _enrolled(sitter: people.Sitter, samples: Samples) -> Enrolment:
    """The avatar, its pack not kept; how long it took and how well the head fits."""
    began = time.perf_counter()
    made = enrol.enrol(sitter.photo, About(sitter.name, sitter.name, CONSENT, ""))
    samples.add("enrol_s", time.perf_counter() - began)
    samples.add("fit_s", made.seconds["fitting a head"])
    samples.add("reprojection_iod_pct", 100 * np.median(made.fit.errors))
    return made


def _judge(judge: Judges, photograph: F32, picture: U8, name: str, samples: Samples) -> None:
    """Adds how far a picture is from the photograph; a picture without a face is as far as faces get."""
    face = judge.face(picture)
    samples.add(name, 1.5 if face is None else distance(photograph, face))


def _speaking(judge: Judges, photograph: F32, pictures: Sequence[U8], samples: Samples) -> None:
    """The median of one person's pictures: one blink does not make another person."""
    own = Samples()
    for picture in pictures:
        _judge(judge, photograph, picture, "speaking", own)
    samples.add("speaking", float(np.median(own.of("speaking"))))


def _truth(
    judge: Judges, sitter: people.Sitter, made: Enrolment, stage: Stage, views: dict[int, Any], photograph: F32,
    samples: Samples, rows: list[list[U8]],
) -> None:  # fmt: skip
    """Errors to photographs from the sides, ours and those of the raw textured mesh; distances of the person's own
    photographs in other lights and moods."""
    for other in sitter.others:
        face = judge.face(other)
        if face is not None:
            samples.add("same", distance(photograph, face))
    row = [_cut(made)]
    for yaw in (-25, 25):
        k = people.YAWS.index(yaw)
        truth = _over_grey(sitter.truth[k], sitter.alpha[k])
        plain, cover = raw_mesh(made, stage.view(yaw), people.FRAMING, people.SIZE)
        ours = views[yaw].rgba.astype(np.float64)
        ours = ours[..., :3] + GREY * (1 - ours[..., 3:] / 255)
        inside = (sitter.alpha[k] > 8) | (views[yaw].rgba[..., 3] > 8) | (cover > 8)
        baseline = _over_grey(plain, cover)
        errors = [float(np.abs(picture - truth)[inside].mean()) for picture in (ours, baseline)]
        looks = [judge.apart(picture, truth, inside) for picture in (ours, baseline)]
        samples.add("perceptual", looks[0])
        samples.add("perceptual_baseline", looks[1])
        samples.add("perceptual_ratio", looks[0] / looks[1])
        samples.add("error", errors[0])
        samples.add("baseline", errors[1])
        samples.add("ratio", errors[0] / errors[1])
        row += [np.clip(np.rint(picture), 0, 255).astype(np.uint8) for picture in (truth, ours, baseline)]
    rows.append(row)


def _over_grey(rgb: U8, alpha: U8) -> NDArray[np.float64]:
    """(S, S, 3) of a picture over its own place, the place taken off as far as alpha tells."""
    share = alpha[..., None] / 255.0
    return np.asarray(rgb * share + GREY * (1 - share))


def _cut(made: Enrolment) -> U8:
    from training.portrait.report import before

    return before(made)


def _collected(samples: Samples, portraits: list[tuple[str, F32]]) -> Metrics:
    apart = [distance(a, b) for k, (_, a) in enumerate(portraits) for _, b in portraits[k + 1 :]]
    same = float(np.percentile(samples.of("same"), 95))
    speaking = np.array(samples.of("speaking"))
    return {
        **{f"identity_distance.{name}": spread(samples.of(name), "dlib distance")
           for name in ("view0", "view15", "view25", "speaking")},
        "identity_same_p95": value(same, "dlib distance"),
        "identity_different_p5": value(float(np.percentile(apart, 5)), "dlib distance"),
        "identity_within_same_p95": value(float((speaking <= same).mean()), "of people, speaking at 25 degrees"),
        "identity_within_dlib": value(float((speaking <= DLIB).mean()), "of people, speaking at 25 degrees"),
        "reprojection_iod_pct": spread(samples.of("reprojection_iod_pct"), "% of the eyes' distance"),
        "view25_error_vs_baseline": value(float(np.median(samples.of("ratio"))), "x raw textured mesh (median)"),
        "view25_perceptual_vs_baseline": value(
            float(np.median(samples.of("perceptual_ratio"))), "x raw textured mesh (median)"
        ),
        "view25_perceptual": spread(samples.of("perceptual"), "of features"),
        "view25_perceptual_baseline": spread(samples.of("perceptual_baseline"), "of features"),
        "view25_error": spread(samples.of("error"), "of 255"),
        "view25_error_baseline": spread(samples.of("baseline"), "of 255"),
        "closure_seen": value(float(np.mean(samples.of("closure_seen"))), "of p, b, m"),
        "fit_s": spread(samples.of("fit_s"), "s"),
        "enrol_s": spread(samples.of("enrol_s"), "s"),
    }  # fmt: skip


def _process(sitter: people.Sitter) -> Metrics:
    """Time and memory of an enrolment as a process of its own, report and all."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "training.portrait.worker", f"--out={folder}/pack", "--id=bench",
                   "--name=bench", f"--consent={CONSENT}"]  # fmt: skip
        (Path(folder) / "photo").write_bytes(sitter.photo)
        began, peak = time.perf_counter(), 0.0
        with open(Path(folder) / "photo", "rb") as photo, subprocess.Popen(
            command, stdin=photo, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as worker:  # fmt: skip
            while worker.poll() is None:
                peak = max(peak, _highest(worker.pid))
                time.sleep(0.05)
        seconds = time.perf_counter() - began
        if worker.returncode or not (Path(folder) / "pack" / "report.png").is_file():
            raise ValueError(f"enrolling {sitter.name} failed with status {worker.returncode}")
    return {"enrol_process_s": value(seconds, "s"), **({"enrol_peak_mb": value(peak, "MB")} if peak else {})}


def _highest(process: int) -> float:
    """Most memory that a process has held so far, MB; 0 where the system does not tell."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _summary(name: str, made: Enrolment, samples: Samples) -> str:
    last = {key: round(figures[-1], 3) for key, figures in samples.values.items()}
    return f"{name}: {last}" + "".join(f"\n  {warning}" for warning in made.warnings)


def _drawn(folder: Path, rows: list[list[U8]]) -> Path:
    """A sheet: photograph; at -25 and +25 degrees the truth, ours, and the raw textured mesh."""
    from engine import image

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "portrait.png"
    path.write_bytes(image.encode_png(np.concatenate([np.concatenate(row, axis=1)[::2, ::2] for row in rows])))
    return path
