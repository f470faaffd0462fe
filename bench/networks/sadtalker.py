"""SadTalker's face render: face-vid2vid with a Spade decoder at 256 x 256, as its code runs it for every picture.

Layer shapes: OpenTalker/SadTalker config/facerender.yaml (a2f4d65), src/facerender/modules/{generator,mapping,make_
animation}.py (479a5ad, eade625, 002631b); Apache-2.0. Its loop encodes the person's picture anew for every frame.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn
from torch.nn import functional as F

from bench.networks.parts import Part, System, smooth
from bench.networks.warping import Appearance, SpadeDecoder, Warping

POINTS: Final = 15
COEFFICIENTS, WINDOW, WIDTH, BINS = 70, 27, 1024, 66


class Mapping(nn.Module):
    """Expression, pose and crop of 27 frames (1,70,27) -> angles, place and expression in one row."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(COEFFICIENTS, WIDTH, 7)
        self.layers = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, 3, dilation=3) for _ in range(3))
        self.heads = nn.Linear(WIDTH, 3 * BINS + 3 + 3 * POINTS)

    def forward(self, row: Tensor) -> Tensor:
        y = self.first(row)
        for layer in self.layers:
            y = layer(F.leaky_relu(y, 0.1)) + y[:, :, 3:-3]
        z: Tensor = self.heads(y.mean(2))
        return z


class FaceRender(nn.Module):
    """A person's picture (1,3,256,256), key points of driver and source (1,15,3) -> picture (1,3,256,256)."""

    def __init__(self) -> None:
        super().__init__()
        self.appearance, self.warping, self.decoder = Appearance(), Warping(POINTS), SpadeDecoder()

    def forward(self, picture: Tensor, driving: Tensor, source: Tensor) -> Tensor:
        y: Tensor = self.decoder(self.warping(self.appearance(picture), driving, source))
        return y


SADTALKER: Final = System(
    "sadtalker", "SadTalker face render",
    (
        Part("mapping", Mapping, {"coefficients": (1, COEFFICIENTS, WINDOW)}, ("row",)),
        Part("render", FaceRender, {"picture": smooth(1, 3, 256, 256), "driving": (1, POINTS, 3),
                                    "source": (1, POINTS, 3)}, ("frame",)),
    ),
    (256, 256), "head and shoulders", "1",
    "audio to expression and pose, paste back, its face enhancer (GFPGAN)", "Apache-2.0",
    "OpenTalker/SadTalker a2f4d65", heavy=True,
)  # fmt: skip
