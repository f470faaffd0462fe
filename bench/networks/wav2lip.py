"""Wav2Lip's generator at 96 x 96, and the one at 256 x 256 that LiveTalking runs.

Layer shapes: Rudrabha/Wav2Lip models/wav2lip.py (db7bc44; the 96 x 96 table as in ViktorThink/Wav2Lip 0315842), models/
conv.py (9223536), licence: research and personal use; lipku/LiveTalking avatars/wav2lip/models/wav2lip_v2.py (a6c7693),
Apache-2.0. Batch normalisation behind every convolution, ReLU behind that, after the skip where there is one.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from bench.networks.parts import Count, Part, System, smooth


class Stage(NamedTuple):
    """A convolution that changes width or size, and ``same`` residual ones behind it."""

    width: int
    kernel: int = 3
    stride: int | tuple[int, int] = 2
    same: int = 2
    padding: int = 1


AUDIO: Final = (
    Stage(32, stride=1), Stage(64, stride=(3, 1)), Stage(128, stride=3), Stage(256, stride=(3, 2), same=1),
    Stage(512, stride=1, same=0, padding=0), Stage(512, 1, 1, 0, 0),
)  # fmt: skip
FACE: Final = (Stage(16, 7, 1, 0, 3), Stage(32), Stage(64, same=3), Stage(128), Stage(256), Stage(512, same=1))
UP: Final = (Stage(384), Stage(256), Stage(128), Stage(64))


class Layer(nn.Module):
    """Convolution, normalisation, ReLU; around them a skip."""

    def __init__(self, inputs: int, stage: Stage, skip: bool = False, up: bool = False) -> None:
        super().__init__()
        self.skip = skip
        if up:  # a stride of two doubles the size exactly
            more = 0 if stage.stride == 1 else 1
            self.conv: nn.Module = nn.ConvTranspose2d(
                inputs, stage.width, stage.kernel, stage.stride, stage.padding, output_padding=more
            )
        else:
            self.conv = nn.Conv2d(inputs, stage.width, stage.kernel, stage.stride, stage.padding)
        self.norm = nn.BatchNorm2d(stage.width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        return torch.relu(y + x if self.skip else y)


def layers(inputs: int, stage: Stage, up: bool = False) -> nn.Sequential:
    """A stage."""
    same = Stage(stage.width, 3, 1)
    return nn.Sequential(Layer(inputs, stage, up=up), *(Layer(stage.width, same, skip=True) for _ in range(stage.same)))


class Wav2Lip(nn.Module):
    """mel (1,1,80,16), face (1,6,S,S), half of it masked -> the face speaking (1,3,S,S) in [0, 1]."""

    def __init__(self, side: int) -> None:
        super().__init__()
        deeper, last = ((Stage(512, same=1),), 4) if side == 256 else ((), 3)
        down = (*FACE, *deeper)
        widths = [6, *(stage.width for stage in down)]
        self.audio = nn.Sequential(*self._chain(1, AUDIO))
        self.encoders = nn.ModuleList(self._chain(6, down))
        self.encoders.append(nn.Sequential(Layer(512, Stage(512, last, 1, 0, 0)), Layer(512, Stage(512, 1, 1, 0, 0))))
        first = Stage(512, last, 1, 1, 0)
        middle = (Stage(512, same=1), Stage(512)) if deeper else (Stage(512),)
        self.decoders = nn.ModuleList([layers(512, Stage(512, 1, 1, 0, 0))])
        width = 512
        for stage, beside in zip((first, *middle, *UP), (512, *widths[:0:-1]), strict=False):
            self.decoders.append(layers(width + beside, stage, up=True))
            width = stage.width
        self.out = nn.Sequential(Layer(64 + 16, Stage(32, stride=1)), nn.Conv2d(32, 3, 1))

    @staticmethod
    def _chain(inputs: int, stages: tuple[Stage, ...]) -> list[nn.Sequential]:
        widths = (inputs, *(stage.width for stage in stages))
        return [layers(width, stage) for width, stage in zip(widths, stages, strict=False)]

    def forward(self, mel: Tensor, face: Tensor) -> Tensor:
        beside, y = [], face
        for encoder in self.encoders:
            y = encoder(y)
            beside.append(y)
        y = self.audio(mel)
        for decoder in self.decoders:
            y = torch.cat([decoder(y), beside.pop()], 1)
        return torch.sigmoid(self.out(y))


def _system(side: int, title: str, count: Count | None, licence: str, source: str) -> System:
    part = Part("generator", lambda: Wav2Lip(side), {"mel": (1, 1, 80, 16), "face": smooth(1, 6, side, side)},
                ("frame",), count=count)  # fmt: skip
    return System(
        f"wav2lip{side}", title, (part,), (side, side), "box around the face, lower half new", "1",
        "face detection, paste into the film's frame", licence, source,
    )  # fmt: skip


WAV2LIP: Final = _system(
    96, "Wav2Lip 96", Count(36.3e6, "wav2lip.onnx, 145 MB of float32 (bluefoxcreation/Wav2lip-Onnx)"),
    "research and personal use", "Rudrabha/Wav2Lip",
)  # fmt: skip
WAV2LIP_256: Final = _system(256, "Wav2Lip 256", None, "Apache-2.0 (LiveTalking)", "lipku/LiveTalking a6c7693")
