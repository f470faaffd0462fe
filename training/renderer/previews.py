"""Previews of shipped packs: each person as the neural renderer shows them, so that whoever is chosen is who comes."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine import avatar as packs
from engine import image
from engine.avatar import Avatar
from engine.motion.frame import ACTION_INDEX, Motion
from engine.render.network import Network
from engine.render.neural import NeuralRenderer
from training.renderer.references import put

FRAMES: Final = 8  # until a picture rests on good ones
YAW: Final = 0.18
SMILE: Final = {"mouthSmileLeft": 0.25, "mouthSmileRight": 0.25}


def paint(avatar: Avatar, network: Network) -> NDArray[np.uint8]:
    """Head and shoulders (512,512,3) sRGB, smiling a little. Raises ValueError without a network."""
    renderer = NeuralRenderer(avatar, network, (512, 512), "head")
    motion, view = Motion.rest(), replace(renderer.default_viewpoint(), yaw=YAW)
    for name, value in SMILE.items():
        motion.face[ACTION_INDEX[name]] = value
    state = renderer.initial_state()
    for _ in range(FRAMES):
        picture, state = renderer.step(motion, view, state)
    return picture.rgb.copy()


def ship(name: str, network: Network) -> int:
    """Puts the preview into the shipped pack ``name``; returns its bytes. Nothing else in the pack changes."""
    folder = packs.find(name)
    data = image.encode_png(paint(packs.load(folder), network))
    put(folder, "preview.png", data)
    return len(data)
