"""What is measured by suite ``render``: the neural renderer in its variants, and what paints without a network.

geometric        GeometricRenderer under the one gain a channel (linear light, a clip at a time) that fits the
                 photographs best: its own studio light cannot be the clip's, and is not held against it
geometric_plain  the same as it comes, in its own light
lit              the engine's guidance alone: reference photographs on the mesh, hair cards laid over
ours             the product: engine/render/neural.py on the exported network
step1, step2, step4, teacher50, both_moe, no_view_moe, no_mask_moe
                 networks in torch, by their weights under WEIGHTS (python -m training.renderer ...); whichever exist
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.imagescore import Look
from bench.render_scenes import Scene, Shot
from engine.render import camera, network
from engine.render.denoiser import Known, Painted
from engine.render.geometric import GeometricRenderer
from engine.render.guidance import MASKS
from engine.render.neural import NeuralRenderer
from engine.render.reference import reference_planes
from engine.render.sampler import MULTISTEP, sample, solve
from engine.stages import Stages
from exporters.render import load_weights
from kernels.texture import to_linear, to_srgb
from kernels.warp import fade, warp

U8 = NDArray[np.uint8]
ROOT: Final = Path(__file__).resolve().parents[1]
WEIGHTS: Final = ROOT / "data" / "renderer" / "systems"  # NAME.safetensors, by exporters.render.save_weights
SHIPPED: Final = ROOT / "engine" / "assets" / "renderer_lite.safetensors"
NEURAL: Final = {  # name: whose weights, and in how many steps
    "step1": ("student", 1), "step2": ("student", 2), "step4": ("student", 4), "teacher50": ("teacher", 50),
    "both_moe": ("both_moe", 1), "no_view_moe": ("no_view_moe", 1), "no_mask_moe": ("no_mask_moe", 1),
}  # fmt: skip
SLOW: Final = ("teacher50",)  # only the first SHORT frames of a scene
SHORT: Final = 2
PLAIN: Final = ("geometric", "geometric_plain", "lit")
SOLID: Final = 250  # alpha from which a pixel is somebody's alone


@dataclass(frozen=True)
class System:
    """One column of the tables. ``paint`` gives a look for each shot of a scene, or for its first few."""

    name: str
    about: str
    paint: Callable[[Scene], list[Look]]


def systems(log: Callable[[str], None]) -> list[System]:
    """Everything that can be measured here; ``log`` is told what cannot, and why."""
    found = [
        System("geometric", "rasterized and lit, at the best gain", lambda scene: regained(scene, geometric(scene))),
        System("geometric_plain", "the same in its own light", geometric),
        System("lit", "the guidance alone", lit),
    ]
    if SHIPPED.exists():
        found.append(System("ours", "the neural renderer as shipped", shipped))
    for name, (weights, steps) in NEURAL.items():
        path = WEIGHTS / f"{weights}.safetensors"
        if weights == "student" and not path.exists():
            path = SHIPPED
        if path.exists():
            found.append(System(name, f"{path.stem}, {steps} steps", _torch(path, steps, name in SLOW)))
        else:
            log(f"{name}: no {path}; not measured")
    return found


def geometric(scene: Scene) -> list[Look]:
    """The geometric renderer in its own light."""
    renderer = GeometricRenderer(scene.avatar, (scene.size, scene.size), scene.framing)
    state, out = renderer.initial_state(), []
    for shot in scene.shots:
        renderer._shader.background[:] = shot.plate  # the place turns with the camera, the renderer's own stands still
        picture, state = renderer.step(shot.motion, shot.view, state)
        out.append(Look(picture.rgb.copy(), picture.alpha.copy(), _classes(shot)))
    return out


def regained(scene: Scene, looks: list[Look]) -> list[Look]:
    """``looks`` times the gain a channel, in linear light, that brings people nearest to the photographs."""
    decode = to_linear(np.arange(256, dtype=np.float32) / np.float32(255))
    high, low = np.zeros(3), np.zeros(3)
    for look, shot in zip(looks, scene.shots, strict=True):
        solid = (look.alpha >= SOLID) & (shot.truth.alpha >= SOLID)
        mine, theirs = (decode[x[solid]].astype(np.float64) for x in (look.rgb, shot.truth.rgb))
        high += (mine * theirs).sum(0)
        low += (mine * mine).sum(0)
    gain = (high / np.maximum(low, 1e-9)).astype(np.float32)
    out = []
    for look, shot in zip(looks, scene.shots, strict=True):
        bare = np.clip(look.rgb - np.rint(shot.plate * _left(look.alpha)), 0, 255).astype(np.uint8)
        lighter = np.rint(255 * to_srgb(np.minimum(decode[bare] * gain, 1.0)))
        out.append(look._replace(rgb=_over(lighter.astype(np.float32), look.alpha, shot.plate)))
    return out


def lit(scene: Scene) -> list[Look]:
    """The guidance's lit surface and its opacity."""
    out = []
    for shot in scene.shots:
        rgb, alpha = shot.guidance.hi[:3].transpose(1, 2, 0), shot.guidance.hi[3]
        out.append(Look(_over(rgb.astype(np.float32), alpha, shot.plate), alpha, _classes(shot)))
    return out


def shipped(scene: Scene) -> list[Look]:
    """The renderer that a session uses, frame after frame."""
    live = Live(scene)
    return [live.step(shot)[0] for shot in scene.shots]


def twin(scene: Scene) -> list[Look]:
    """What the shipped network paints in torch, in one step."""
    return _torch(SHIPPED, 1, False)(scene)


class Live:
    """The product's own renderer in front of one scene."""

    def __init__(self, scene: Scene) -> None:
        avatar = replace(scene.avatar, reference=scene.reference)
        self._renderer = NeuralRenderer(avatar, network.find("lite"), (scene.size, scene.size), scene.framing)
        self._state = self._renderer.initial_state()

    def step(self, shot: Shot) -> tuple[Look, dict[str, float]]:
        """The look of the next frame, and the milliseconds of its stages."""
        if shot.cut:
            self._state.reset()
        stages = Stages()
        picture, self._state = self._renderer.step(shot.motion, shot.view, self._state, stages)
        bare = picture.rgba[..., :3].astype(np.float32)
        look = Look(_over(bare, picture.alpha, shot.plate), picture.alpha.copy(), picture.mask.copy())
        return look, dict(stages.times)


def _torch(path: Path, steps: int, slow: bool) -> Callable[[Scene], list[Look]]:
    """A network that paints on its own previous pictures."""

    @torch.no_grad()
    def paint(scene: Scene) -> list[Look]:
        net = load_weights(path).fold().eval()
        planes = torch.from_numpy(reference_planes(scene.avatar, scene.reference))
        code = net.encoder(planes)[None]
        drawn = np.random.default_rng(0).standard_normal((1, 3, scene.size, scene.size), np.float32)
        noise = torch.from_numpy(drawn)  # as a session of seed 0 draws it
        solver: Callable[..., Painted] = sample if steps in MULTISTEP else solve
        before = np.zeros((scene.size, scene.size, 4), np.uint8)
        out: list[Look] = []
        for shot in scene.shots[: SHORT if slow else None]:
            known = _known(shot, scene.framing, before, code)
            with torch.autocast("cpu", torch.bfloat16, enabled=steps in MULTISTEP):
                conditions = net.denoiser.condition(known)
                painted = solver(net.denoiser, known, conditions, noise, steps)
            alpha = _bytes(painted.alpha[0])[..., 0]
            rgb = np.minimum(_bytes(painted.rgb[0]), alpha[..., None])
            before = np.dstack([rgb, alpha])
            classes = conditions.gates[0][0].float().argmax(0).to(torch.uint8).numpy()
            out.append(Look(_over(rgb.astype(np.float32), alpha, shot.plate), alpha, classes))
        return out

    return paint


def _known(shot: Shot, framing: str, before: U8, code: Tensor) -> Known:
    """What the network is told of a shot: the guidance with the previous picture moved to it."""
    hi, lo, flow, seen = shot.guidance
    moved = np.zeros((4, *hi.shape[1:]), np.uint8)
    if not shot.cut:
        fade(warp(before, flow, seen, moved), hi[:3])
    frame = camera.framing(framing)
    place = list(camera.FRAMINGS).index(framing) / 2
    view = [shot.view.yaw, shot.view.pitch, math.log(shot.view.distance / frame.distance), place]
    full, half = (np.concatenate([a, b])[None] for a, b in ((hi, moved), (lo, seen[None])))
    motion = torch.from_numpy(shot.motion.pack())[None]
    return Known(torch.from_numpy(full), torch.from_numpy(half), torch.tensor([view]), motion, code)


def _classes(shot: Shot) -> U8:
    """The class of each cell as the guidance sees it, (H/8, W/8)."""
    mask = shot.guidance.lo[6]
    side = mask.shape[0] // 4
    cells = mask.reshape(side, 4, side, 4)
    return np.stack([(cells == i).sum((1, 3)) for i in range(len(MASKS))]).argmax(0).astype(np.uint8)


def _left(alpha: U8) -> NDArray[np.float32]:
    """What shows of the place behind, (H,W,1) in [0, 1]."""
    return ((255.0 - alpha) / 255.0).astype(np.float32)[..., None]


def _over(bare: NDArray[np.float32], alpha: U8, plate: U8) -> U8:
    """Premultiplied colour (H,W,3) over a place."""
    return np.clip(np.rint(bare + plate * _left(alpha)), 0, 255).astype(np.uint8)


def _bytes(x: Tensor) -> U8:
    """(C,H,W) in [0,1] -> (H,W,C) u8."""
    return (x.float().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
