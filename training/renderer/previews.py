"""Previews of shipped packs: each person as the neural renderer shows them, so that whoever is chosen is who comes."""

from __future__ import annotations

from typing import Final

from engine import avatar as packs
from engine import image
from engine.render.network import Network
from engine.render.neural import NeuralRenderer
from training.bake import make
from training.renderer.references import put

FRAMES: Final = 8  # until a picture rests on good ones


def ship(name: str, network: Network) -> int:
    """Puts the preview that ``network`` paints into the shipped pack ``name``; returns its bytes. Nothing else in the
    pack changes. Raises ValueError for a network that is missing or broken."""
    folder = packs.find(name)
    avatar = packs.load(folder)
    data = image.encode_png(make.preview(avatar, NeuralRenderer(avatar, network, (512, 512), "head"), FRAMES))
    put(folder, "preview.png", data)
    return len(data)
