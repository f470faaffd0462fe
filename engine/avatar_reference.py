"""Reference photographs of a person: what they look like in some light, seen from one to three sides.

An avatar pack may bring them (``reference.safetensors``); the neural renderer takes its light and detail from them.
Nothing is drawn here: that is engine/render/reference.py.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from engine import image
from engine.motion.frame import SIZE as MOTION_SIZE
from engine.motion.frame import Motion
from engine.viewpoint import Viewpoint

U8 = NDArray[np.uint8]
FILE: Final = "reference.safetensors"
FORMAT: Final = 1
SIDE: Final = 512  # pixels of a photograph
MOST: Final = 3  # photographs
GREY: Final = 128  # what is behind the person
VIEW: Final = tuple(field.name for field in fields(Viewpoint))
PICTURES: Final = {"photo_jpg": 3, "alpha_png": 1, "region_png": 1}  # of each photograph, and their channels
QUALITY: Final = 4  # of the JPEGs, on FFmpeg's scale


@dataclass(frozen=True)
class Reference:
    """K = 1..3 photographs of one person in one pose, light and place, the first one from the front.

    photos (K,512,512,3) u8 sRGB over GREY; alphas (K,512,512) u8; regions (K,512,512) u8 of avatar.REGIONS: who is seen
    there, strands included; viewpoints: K; framing: a name of camera.FRAMINGS; motion: the pose.
    Raises ValueError on other shapes.
    """

    photos: U8
    alphas: U8
    regions: U8
    viewpoints: tuple[Viewpoint, ...]
    framing: str
    motion: Motion

    def __post_init__(self) -> None:
        count = len(self.viewpoints)
        if not 1 <= count <= MOST:
            raise ValueError(f"a reference has 1 to {MOST} photographs, got {count}")
        plain = (count, SIDE, SIDE)
        for name, shape in (("photos", (*plain, 3)), ("alphas", plain), ("regions", plain)):
            array = getattr(self, name)
            if array.shape != shape or array.dtype != np.uint8:
                raise ValueError(f"reference {name} must be {shape} uint8, got {array.shape} {array.dtype}")

    def first(self, count: int) -> Reference:
        """Only the first ``count`` photographs."""
        return Reference(
            self.photos[:count], self.alphas[:count], self.regions[:count], self.viewpoints[:count], self.framing,
            self.motion,
        )  # fmt: skip


def over_grey(rgb: U8, alpha: U8, plate: U8) -> U8:
    """A photograph (H,W,3) of somebody with ``alpha`` (H,W) before ``plate`` (H,W,3), as if taken before GREY."""
    behind = (255.0 - alpha[..., None]) / 255.0
    return np.clip(np.rint(rgb + behind * (float(GREY) - plate)), 0, 255).astype(np.uint8)


def encode(reference: Reference) -> bytes:
    """The bytes of a pack's FILE. Photographs are kept as JPEG, the rest exactly."""
    views = [[getattr(view, name) for name in VIEW] for view in reference.viewpoints]
    tensors: dict[str, NDArray[Any]] = {
        "format": np.array([FORMAT], np.int32),
        "viewpoints": np.array(views, np.float64),
        "motion": reference.motion.pack(),
        "framing": np.frombuffer(reference.framing.encode(), np.uint8),
    }
    for k in range(len(views)):
        for name, data in (
            ("photo_jpg", image.encode_jpeg(reference.photos[k], QUALITY)),
            ("alpha_png", image.encode_png(reference.alphas[k, :, :, None])),
            ("region_png", image.encode_png(reference.regions[k, :, :, None])),
        ):
            tensors[f"{name}_{k}"] = np.frombuffer(data, np.uint8)
    return save_tensors(tensors)


def decode(data: bytes, framings: tuple[str, ...], regions: int) -> Reference:
    """The inverse of :func:`encode`. ``framings`` are the names there are, ``regions`` how many.

    Raises ValueError that says what is missing, broken or newer.
    """
    try:
        tensors = load_tensors(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"not a safetensors file: {error}") from error
    version = _array(tensors, "format", (1,), "int32")[0]
    if not 1 <= version <= FORMAT:
        raise ValueError(f"format {version}, this engine reads up to {FORMAT}: upgrade visavis")
    count = len(tensors["viewpoints"]) if tensors.get("viewpoints", np.empty(0)).ndim == 2 else 0
    if not 1 <= count <= MOST:
        raise ValueError(f"viewpoints must be 1 to {MOST} rows of {len(VIEW)}")
    views = _array(tensors, "viewpoints", (count, len(VIEW)), "float64")
    motion = _array(tensors, "motion", (MOTION_SIZE,), "float32")
    if not (np.isfinite(views).all() and np.isfinite(motion).all()):
        raise ValueError("viewpoints and motion must be finite")
    name = tensors.get("framing", np.empty(0, np.uint8)).tobytes().decode(errors="replace")
    if name not in framings:
        raise ValueError(f"framing must be one of {', '.join(framings)}; got {name!r}")
    layers: dict[str, list[U8]] = {key: [] for key in PICTURES}
    for k in range(count):
        for key, channels in PICTURES.items():
            layers[key].append(_picture(tensors, f"{key}_{k}", channels))
    known = {"format", "viewpoints", "motion", "framing", *(f"{key}_{k}" for key in PICTURES for k in range(count))}
    unknown = sorted(set(tensors) - known)
    if unknown:
        raise ValueError(f"unknown array {unknown[0]!r}")
    region = np.stack(layers["region_png"])[..., 0]
    if region.max(initial=0) >= regions:
        raise ValueError(f"region {region.max()}, there are {regions}")
    return Reference(
        np.stack(layers["photo_jpg"]), np.stack(layers["alpha_png"])[..., 0], region,
        tuple(Viewpoint(*row).clamped() for row in views.tolist()), name, Motion.unpack(motion).clipped(),
    )  # fmt: skip


def _array(tensors: dict[str, NDArray[Any]], name: str, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    if name not in tensors:
        raise ValueError(f"the array {name!r} is missing")
    array = tensors[name]
    if array.shape != shape or array.dtype != np.dtype(dtype):
        raise ValueError(f"{name} must be {shape} {dtype}, got {array.shape} {array.dtype}")
    return array


def _picture(tensors: dict[str, NDArray[Any]], name: str, channels: int) -> U8:
    if name not in tensors:
        raise ValueError(f"the array {name!r} is missing")
    packed = tensors[name]
    if packed.dtype != np.uint8 or packed.ndim != 1:
        raise ValueError(f"{name} must be the bytes of a picture (1-D uint8)")
    try:
        picture = image.decode(packed.tobytes(), channels)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if picture.shape[:2] != (SIDE, SIDE):
        raise ValueError(f"{name}: {picture.shape[:2]} pixels, expected {SIDE} x {SIDE}")
    return picture
