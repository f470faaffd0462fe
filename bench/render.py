"""Suite ``render``: pictures of held-out people against the studio's photographs of them, system by system.

Figures are bench/imagescore.py's; who paints is in bench/render_systems.py; what is painted in bench/render_scenes.py.
A speed is printed only after the product's renderer painted what its network paints in torch.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape

from bench import render_report, render_systems
from bench.imagescore import Look, Tally, decibels, flicker, score
from bench.judges.identity import Identity, distance, similarity
from bench.render_scenes import HELD, Scene, Scenes, chosen
from bench.render_systems import SHORT
from bench.report import Measured, Metrics, spread, value
from engine.backends import openvino
from engine.tracking.face import Crop
from training import perceptual
from training.lipsync_data import WIDEST, MouthFinder, crop, log_mel
from training.lipsync_expert import Expert, load_expert
from training.lipsync_expert import judge as judge_sync
from training.perceptual import Perceptual
from training.studio.shards import manifests

OWN: Final = Path("data/studio/bench512")  # made when there is no held-out set
OWN_CLIPS: Final = 8
CLIPS, FRAMES = 12, 24
QUICK_CLIPS, QUICK_FRAMES = 4, 6
EVERY: Final = 4  # frames: from one that is scored to the next; flicker looks at all
SHORTEST: Final = 20  # frames whose sync is judged
FACED: Final = np.radians(50)  # yaw up to which a face can be told apart
MINUTE: Final = 60 * 25
DRIFT_MINUTES: Final = 10
AGREES: Final = 38.0  # dB between the product's picture and torch's
FILMED: Final = 4  # scenes whose every frame is kept for a film
UNITS: Final = {
    "psnr_db": "dB",
    "sync_offset_ms": "ms, lips late",
    "alpha": "of full",
    "flicker": "of 255",
    "identity_distance": "(0.6: another person)",
}
Array = NDArray[np.float32]


class Kept(NamedTuple):
    """Pictures to show of a scene: truth and looks by system, for the frames kept."""

    scene: Scene
    looks: dict[str, list[Look]]


def run(*, quick: bool, log: Console) -> Measured:
    """Scores every system that is here on the same frames."""
    torch.set_num_threads(openvino.cores())
    clips, frames = (QUICK_CLIPS, QUICK_FRAMES) if quick else (CLIPS, FRAMES)
    folder = _data(log)
    scenes = Scenes(folder)
    items = chosen(folder, clips)
    known = render_systems.systems(lambda text: log.print(f"[yellow]{escape(text)}"))
    known = [s for s in known if not (quick and s.name in render_systems.SLOW)]
    judge, identity, expert = perceptual.load("people"), _identity(log), _expert(log)
    tallies: dict[str, Tally] = {system.name: Tally() for system in known}
    truth, kept = Tally(), list[Kept]()
    faces: list[tuple[int, Array]] = []
    for number, scene in enumerate(scenes.take(items, frames)):
        log.print(f"{number + 1}/{len(items)}: clip {scene.clip}, person {scene.person}, {scene.kind}")
        calm(scene, [shot.truth for shot in scene.shots], truth)
        own, mouths = _faces(identity, scene), _mouths(expert, scene)
        _in_sync(expert, scene, mouths, [shot.truth for shot in scene.shots], truth)
        faces += [(scene.person, face) for face, _ in own.values()]
        looks = {}
        for system in known:
            looks[system.name] = painted = system.paint(scene)
            judge_scene(scene, painted, judge, tallies[system.name])
            _same_person(identity, own, painted, tallies[system.name])
            _in_sync(expert, scene, mouths, painted, tallies[system.name])
        kept.append(_kept(scene, looks, number < FILMED))
    metrics = collected(tallies, truth)
    _others(faces, metrics)
    if any(system.name == "ours" for system in known):
        played = next(k.scene for k in kept if k.scene.kind == "clip" and len(k.scene.shots) > 1)
        _speed(played, metrics, log)
        if not quick:
            metrics["drift_pct"] = value(drift(played, DRIFT_MINUTES, log), "%")
    metrics["size_px"] = value(kept[0].scene.size, "pixels")
    metrics["frames"] = value(sum(len(k.scene.shots) for k in kept), "frames")
    about = {system.name: system.about for system in known}
    return Measured(metrics, tables=render_report.tables(metrics, about), draw=lambda to: render_report.draw(to, kept))


def judge_scene(scene: Scene, looks: Sequence[Look], judge: Perceptual | None, tally: Tally) -> None:
    """Adds a scene's frames: every EVERY-th is scored (of "views" all), all are looked at for flicker."""
    for t, (look, shot) in enumerate(zip(looks, scene.shots, strict=False)):
        if scene.kind == "views" or t % EVERY == 0:
            more = ("short",) if t < SHORT else ()
            score(look, shot.truth, shot.region, shot.view.yaw, judge, tally, more)
    calm(scene, looks, tally)


def calm(scene: Scene, looks: Sequence[Look], tally: Tally) -> None:
    """Adds the flicker of a scene's consecutive frames."""
    before = None
    for look, shot in zip(looks, scene.shots, strict=False):
        now = look.premultiplied(shot.plate)
        if before is not None and not shot.cut:
            inside = shot.truth.alpha > 0
            hair = shot.guidance.lo[6].repeat(2, 0).repeat(2, 1) == 4
            for group, mask in (("", inside), ("hair", inside & hair)):
                tally.add("flicker", group, *flicker(now, before, shot.guidance.flow, shot.guidance.seen, mask))
        before = now


def collected(tallies: dict[str, Tally], truth: Tally) -> Metrics:
    """All figures by name; flicker as a ratio to the photographs' own."""
    metrics: Metrics = {}
    for name, tally in tallies.items():
        for figure, number in tally.figures().items():
            if not figure.startswith("flicker"):
                metrics[f"{name}.{figure}"] = value(number, UNITS.get(figure.partition(".")[0], ""))
        for group in tally.groups("flicker"):
            ratio = tally.mean("flicker", group) / max(truth.mean("flicker", group), 1e-6)
            metrics[f"{name}.flicker_ratio" + (f".{group}" if group else "")] = value(ratio, "of the photographs'")
    for figure in ("sync_confidence", "sync_offset_ms", "sync_fit"):
        if truth.groups(figure):
            metrics[f"photographs.{figure}"] = value(truth.mean(figure), UNITS.get(figure, ""))
    return metrics


def drift(scene: Scene, minutes: float, log: Console) -> float:
    """How much worse the last minute is than the first, in percent of mean squared error: the product's renderer on
    one scene played forth and back, whose photographs are known, without ever a cut."""
    forth = list(range(len(scene.shots)))
    once = forth + forth[-2:0:-1]
    order = itertools.cycle(once)
    edge = max(1, MINUTE // len(once)) * len(once)  # whole rounds: both minutes show the same
    total = max(2 * edge, int(minutes * MINUTE) // len(once) * len(once))
    errors: list[float] = []
    painter = render_systems.Live(scene)
    for number, index in enumerate(itertools.islice(order, total)):
        look, _ = painter.step(scene.shots[index])
        if number % MINUTE == 0:
            log.print(f"drift: minute {number // MINUTE}")
        if number < edge or number >= total - edge:
            shot = scene.shots[index]
            inside = (look.alpha > 0) | (shot.truth.alpha > 0)
            apart = look.rgb[inside].astype(np.float32) - shot.truth.rgb[inside]
            errors.append(float(np.square(apart).mean()))
    first, last = np.mean(errors[:edge]), np.mean(errors[-edge:])
    return float(100 * (last / first - 1))


def _speed(scene: Scene, metrics: Metrics, log: Console) -> None:
    """Milliseconds of the product's renderer by stage, once it has painted what torch paints."""
    if "ours.psnr_db" not in metrics or "step1.psnr_db" not in metrics:
        log.print("[yellow]no speed: the product's picture has no torch twin to agree with")
        return
    painter = render_systems.Live(scene)
    pairs = list(zip(render_systems.twin(scene), (painter.step(shot) for shot in scene.shots), strict=True))
    square = [np.square(a.rgb.astype(np.float32) - b.rgb).mean() for a, (b, _) in pairs]
    near = decibels(float(np.mean(square)))
    metrics["ours.parity_db"] = value(near, "dB to torch")
    if near < AGREES:
        log.print(f"[red]no speed: the product's pictures are {near:.1f} dB from torch's, wanted {AGREES}")
        return
    stages: dict[str, list[float]] = {}
    for _, (_, taken) in pairs[2:]:
        for stage, milliseconds in taken.items():
            stages.setdefault(stage, []).append(milliseconds)
    for stage, samples in stages.items():
        metrics[f"{stage}_ms"] = spread(samples, "ms")
    metrics["frame_ms"] = spread([sum(row) for row in zip(*stages.values(), strict=True)], "ms")


def _data(log: Console) -> Path:
    """The held-out set; a small one is made when there is none. Raises ValueError when that fails."""
    for folder in (HELD, OWN):
        if any(manifests(folder)):
            return folder
    log.print(f"no held-out set at {HELD}: photographing a small one into {OWN}")
    command = [sys.executable, "-m", "training.studio", "make", "--split", "held-out", "--clips", str(OWN_CLIPS)]
    done = subprocess.run([*command, "--size", "512", "--out", str(OWN), "--workers", "1"], check=False)
    if done.returncode:
        raise ValueError(f"{' '.join(command[1:])} failed; see above")
    return OWN


def _identity(log: Console) -> Identity | None:
    try:
        return Identity()
    except ValueError as error:
        log.print(f"[yellow]identity is not measured: {escape(str(error))}")
        return None


def _faces(identity: Identity | None, scene: Scene) -> dict[int, tuple[Array, Callable[[Look], Array]]]:
    """Embeddings of the photographed face by frame, and how to embed a painted one at the same place."""
    found: dict[int, tuple[Array, Callable[[Look], Array]]] = {}
    if identity is None:
        return found
    for t in range(0, len(scene.shots), EVERY):
        shot = scene.shots[t]
        place = identity.place(shot.truth.rgb) if abs(shot.view.yaw) <= FACED else None
        if place is not None:
            embed = lambda look, place=place: identity.embed(look.rgb, place)  # noqa: E731
            found[t] = (identity.embed(shot.truth.rgb, place), embed)
    return found


def _same_person(
    identity: Identity | None, own: dict[int, tuple[Array, Callable[[Look], Array]]], looks: list[Look], tally: Tally
) -> None:
    if identity is None:
        return
    for t, (face, embed) in own.items():
        if t < len(looks):
            made = embed(looks[t])
            tally.add("identity_sim", "", similarity(made, face), 1.0)
            tally.add("identity_distance", "", distance(made, face), 1.0)


def _expert(log: Console) -> Expert | None:
    try:
        return load_expert()
    except ValueError as error:
        log.print(f"[yellow]sync is not measured: {escape(str(error))}")
        return None


def _mouths(expert: Expert | None, scene: Scene) -> list[Crop]:
    """Where the mouth is in each frame of somebody who speaks and is not seen from too far aside; else nothing."""
    if expert is None or not scene.speaks or len(scene.shots) < SHORTEST:
        return []
    if max(abs(shot.view.yaw) for shot in scene.shots) > WIDEST:
        return []
    finder = MouthFinder(scene.avatar)
    return [finder.place(shot.motion, shot.view, scene.framing, scene.size) for shot in scene.shots]


def _in_sync(expert: Expert | None, scene: Scene, mouths: list[Crop], looks: list[Look], tally: Tally) -> None:
    """Adds what the sync expert says of a clip that is painted whole."""
    if expert is None or not mouths or len(looks) < len(mouths):
        return
    crops = np.stack([crop(look.rgb, place) for look, place in zip(looks, mouths, strict=True)])
    found = judge_sync(expert, crops, log_mel(scene.pcm))
    tally.add("sync_confidence", "", found.confidence, 1.0)
    tally.add("sync_offset_ms", "", found.offset_ms, 1.0)
    tally.add("sync_fit", "", found.fit, 1.0)


def _others(faces: list[tuple[int, Array]], metrics: Metrics) -> None:
    """What photographs of two people have in common, to read the identity figures against."""
    pairs = [(a, b) for (p, a), (q, b) in itertools.combinations(faces, 2) if p != q]
    if pairs:
        metrics["others.identity_sim"] = value(float(np.mean([similarity(a, b) for a, b in pairs])), "")
        metrics["others.identity_distance"] = value(float(np.mean([distance(a, b) for a, b in pairs])), "")


def _kept(scene: Scene, looks: dict[str, list[Look]], film: bool) -> Kept:
    """All frames of a scene that is filmed, else the middle one."""
    if film:
        return Kept(scene, looks)
    middle = len(scene.shots) // 2
    alone = replace(scene, shots=scene.shots[middle : middle + 1], pcm=scene.pcm[middle : middle + 1])
    return Kept(alone, {name: some[middle : middle + 1] for name, some in looks.items()})
