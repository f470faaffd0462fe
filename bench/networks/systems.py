"""Every system of suite `speed`, ours first, then by what a picture costs; and what only their makers have timed."""

from __future__ import annotations

from typing import Final, NamedTuple

from bench.networks import ours
from bench.networks.ditto import DITTO
from bench.networks.fomm import FOMM
from bench.networks.liveportrait import LIVEPORTRAIT
from bench.networks.musetalk import MUSETALK
from bench.networks.parts import Part
from bench.networks.sadtalker import SADTALKER
from bench.networks.ultralight import ULTRALIGHT
from bench.networks.wav2lip import WAV2LIP, WAV2LIP_256

OURS: Final = tuple(ours.system(side) for side in ours.SIDES)
PEERS: Final = (ULTRALIGHT, WAV2LIP, WAV2LIP_256, FOMM, MUSETALK, SADTALKER, LIVEPORTRAIT, DITTO)
SYSTEMS: Final = {system.name: system for system in (*OURS, *PEERS)}


class Published(NamedTuple):
    """What somebody says of a system: on whose machine, how fast, and where it is written."""

    title: str
    machine: str
    speed: str
    source: str


PUBLISHED: Final = (
    Published("LiteAvatar", "i9-13980HX, no GPU", "30 fps (shapes not public)", "OpenAvatarChat README"),
    Published("bitHuman Essence-2", "i7-13700F, no GPU", "2.0 x real time at 25 fps", "bithuman-product/avatar-speed"),
    Published("Wav2Lip 256", "RTX 3060 / 3080 Ti", "60 / 120 fps", "lipku/LiveTalking README-EN"),
    Published("MuseTalk 1.5", "V100; RTX 3090 / 4090", "30+; 45 / 72 fps, 256 x 256", "MuseTalk, LiveTalking READMEs"),
    Published("LivePortrait", "RTX 4090, torch.compile", "14 ms a picture, 512 x 512", "LivePortrait speed.md"),
    Published("Ditto", "A100, TensorRT", "0.155 - 0.31 of real time", "ditto-talkinghead issue 14, its author"),
    Published("LatentSync 1.5", "none told", "20 steps of a U-Net like MuseTalk's", "LatentSync scripts/inference.py"),
    Published("SoulX-FlashHead 1.3B lite", "RTX 4090", "96 fps, or 3 streams at 25", "SoulX-FlashHead README"),
    Published("LLIA", "RTX 4090D", "78 fps at 384 x 384, 45 at 512 x 512", "arXiv 2506.05806, abstract"),
    Published("VASA-1", "RTX 4090", "40 fps at 512 x 512", "vasavatar.github.io/VASA-1"),
    Published("ChatAnyone", "RTX 4090", "30 fps up to 512 x 768", "arXiv 2503.21144"),
    Published("Maxine Speech Live Portrait", "T4 / A40 / L40", "54.5 / 16.9 / 10.4 ms a picture", "Maxine AR SDK docs"),
)  # fmt: skip


def part_of(system: str, name: str) -> Part:
    """A part by names. Raises KeyError."""
    return {part.name: part for part in SYSTEMS[system].parts}[name]
