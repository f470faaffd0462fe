"""Is it the same person? dlib's face recognition network, which learned from three million photographs.

    python -m bench.judges.identity install      # npm: @vladmandic/face-api (MIT), which has it in 8 bits

The network is dlib_face_recognition_resnet_model_v1 (King 2017; ResNet with 29 convolutions, 99.38 % on LFW; CC0): an
aligned face of 150 x 150 pixels to 128 numbers; two photographs of one person are nearer than 0.6.
It is only measured with: nothing is trained against it, and nothing of it is shipped.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from engine.tracking.face import Crop, FaceFinder, cut

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
PACKAGE, VERSION = "@vladmandic/face-api", "1.7.15"
HOME: Final = Path(__file__).resolve().parents[2] / "data" / "judges" / "face-api"
MODEL: Final = HOME / "node_modules" / PACKAGE / "model" / "face_recognition_model"
ADVICE: Final = "python -m bench.judges.identity install"
SIDE: Final = 150
SAME: Final = 0.6  # distance below which dlib calls two faces one person
PADDING: Final = 0.25  # of a face's box around it, as dlib cuts faces
# dlib's mean face for five points (get_face_chip_details): corners of the eyes on the picture's right, outer and inner;
# those on its left; under the nose. And the same of MediaPipe's mesh.
MEAN: Final = np.array([[0.8595674595992, 0.2134981538014], [0.6460604764104, 0.2289674387677],
                        [0.1205750620789, 0.2137274526848], [0.3340850613712, 0.2290642403242],
                        [0.4901123135679, 0.6277975316475]])  # fmt: skip
POINTS: Final = (263, 362, 33, 133, 2)
BLOCKS: Final = ("32_1", "32_2", "32_3", "64_down", "64_1", "64_2", "64_3", "128_down", "128_1", "128_2", "256_down",
                 "256_1", "256_2", "256_down_out")  # fmt: skip


class Identity:
    """Embeds faces. Raises ValueError, with the command that installs it, when the network is not here."""

    def __init__(self, model: Path = MODEL) -> None:
        self._weights = _read(model)
        self._finder = FaceFinder()

    def place(self, picture: U8) -> Crop | None:
        """Where the face is in (H, W, 3), as dlib would cut it out; None when nobody is found."""
        self._finder = FaceFinder() if self._finder is None else self._finder
        self._finder._crop = None  # every picture for itself
        face = self._finder.step(picture)
        return None if face is None else _aligned(face.points[list(POINTS), :2])

    @torch.no_grad()
    def embed(self, picture: U8, place: Crop) -> F32:
        """The 128 numbers of the face at ``place``."""
        face = torch.from_numpy(cut(picture, place, SIDE).transpose(2, 0, 1)[None])
        mean = torch.tensor([122.782, 117.001, 104.298])[:, None, None]
        x = F.max_pool2d(self._layer((face - mean) / 256.0, "conv32_down", 2), 3, 2)
        for name in BLOCKS:
            x = self._block(x, f"conv{name}", "down" in name)
        return (x.mean((2, 3)) @ self._weights["fc"])[0].numpy()

    def _block(self, x: Tensor, name: str, down: bool) -> Tensor:
        y = self._layer(x, f"{name}/conv1", 2 if down else 1)
        y = self._layer(y, f"{name}/conv2", 1, bend=False)
        if down:
            x = F.avg_pool2d(x, 2)
            y = F.pad(y, (0, x.shape[3] - y.shape[3], 0, x.shape[2] - y.shape[2]))
            x = F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
        return F.relu(x + y)

    def _layer(self, x: Tensor, name: str, stride: int, bend: bool = True) -> Tensor:
        w = self._weights
        x = F.conv2d(x, w[f"{name}/conv/filters"], w[f"{name}/conv/bias"], stride, 0 if stride == 2 else 1)
        x = x * w[f"{name}/scale/weights"][:, None, None] + w[f"{name}/scale/biases"][:, None, None]
        return F.relu(x) if bend else x


def similarity(a: F32, b: F32) -> float:
    """Cosine of two embeddings."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def distance(a: F32, b: F32) -> float:
    """dlib's own measure: Euclidean."""
    return float(np.linalg.norm(a - b))


def install(run: Callable[..., object] = subprocess.run) -> None:
    """Fetches the package. Raises OSError or CalledProcessError when npm is missing or fails."""
    HOME.mkdir(parents=True, exist_ok=True)
    what = f"{PACKAGE}@{VERSION}"
    run(["npm", "install", "--no-save", "--no-package-lock", "--ignore-scripts", "--prefix", ".", what],
        cwd=HOME, check=True)  # fmt: skip


def _aligned(points: NDArray[Any]) -> Crop:
    """The square that puts five points (5, 2) nearest to dlib's mean face: the least-squares similarity."""
    goal = (MEAN + PADDING) / (1 + 2 * PADDING) - 0.5  # of the crop, from its middle
    middle, centre = points.mean(0), goal.mean(0)
    here, there = (points - middle) @ [1, 1j], (goal - centre) @ [1, 1j]
    turn = np.vdot(there, here) / np.vdot(there, there)  # complex: side and angle of the crop
    corner = complex(*middle) - turn * complex(*centre)
    return Crop(float(corner.real), float(corner.imag), float(abs(turn)), float(np.angle(turn)))


def _read(model: Path) -> dict[str, Tensor]:
    """The weights out of TensorFlow.js's files, convolutions as (O, I, h, w)."""
    try:
        manifest = json.loads(Path(f"{model}-weights_manifest.json").read_text(encoding="utf-8"))
        data = Path(f"{model}.bin").read_bytes()
    except (OSError, ValueError) as error:
        raise ValueError(f"the judge of identity is not here ({error}); {ADVICE}") from error
    out: dict[str, Tensor] = {}
    place = 0
    for row in manifest[0]["weights"]:
        count, packing = int(np.prod(row["shape"])), row.get("quantization")
        kind = np.dtype(packing["dtype"] if packing else "<f4")
        values = np.frombuffer(data, kind, count, place).astype(np.float32)
        place += count * kind.itemsize
        if packing:
            values = values * np.float32(packing["scale"]) + np.float32(packing["min"])
        values = values.reshape(row["shape"])
        if values.ndim == 4:
            values = np.ascontiguousarray(values.transpose(3, 2, 0, 1))
        out[row["name"]] = torch.from_numpy(values)
    if place != len(data) or "fc" not in out:
        raise ValueError(f"{model}.bin holds {len(data)} bytes, {place} were expected; {ADVICE}")
    return out


if __name__ == "__main__":
    if sys.argv[1:] != ["install"]:
        sys.exit(f"usage: {ADVICE}")
    install()
