"""Light, lenses, phones: how a clean picture becomes anybody's photograph, and its person mask a doubtful one."""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from training.portrait.framing import SIDE

F32 = NDArray[np.float32]
Array = NDArray[Any]
Rng = np.random.Generator
LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)


def noise(rng: Rng, channels: int, cells: int) -> F32:
    """(SIDE, SIDE, channels) smooth, about -1 to 1, with ``cells`` bumps a side."""
    small = torch.from_numpy(rng.normal(0, 0.6, (1, channels, cells + 1, cells + 1)).astype(np.float32))
    return F.interpolate(small, (SIDE, SIDE), mode="bicubic", align_corners=True)[0].permute(1, 2, 0).numpy()


def blurred(x: F32, sigma: float) -> F32:
    """(H, W, C), gaussian."""
    reach = max(int(2.5 * sigma), 1)
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2)
    line = line / line.sum()
    y = torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1)))[:, None]
    y = F.conv2d(F.pad(y, (reach, reach, 0, 0), mode="replicate"), line[None, None, None])
    y = F.conv2d(F.pad(y, (0, 0, reach, reach), mode="replicate"), line[None, None, :, None])
    return y[:, 0].permute(1, 2, 0).numpy()


def bars(x: F32, rng: Rng, strength: float, where: Array | None = None) -> None:
    """Stripes or checks over (H, W, 3), in place."""
    row, column = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    angle, step = rng.uniform(0, np.pi), rng.uniform(6, 50)
    wave = np.sin((row * np.sin(angle) + column * np.cos(angle)) * 2 * np.pi / step + 2 * noise(rng, 1, 3)[..., 0])
    if rng.random() < 0.4:
        wave = wave * np.sin((column * np.sin(angle) - row * np.cos(angle)) * 2 * np.pi / step)
    share = strength * np.clip(0.5 + 2 * wave, 0, 1)[..., None]
    over = x * (1 - share) + share * rng.uniform(0, 1, 3).astype(np.float32) * rng.uniform(0.5, 1)
    x[:] = over if where is None else np.where(where[..., None], over, x)


def lit(rgb: F32, rng: Rng) -> F32:
    """Another light: slopes of brightness, and a hard shadow at times."""
    field = np.exp(rng.uniform(0.1, 0.7) * noise(rng, 1, int(rng.integers(1, 4))) + 0.1 * noise(rng, 3, 1))
    if rng.random() < 0.3:
        edge = np.clip(noise(rng, 1, int(rng.integers(1, 5))) * rng.uniform(2, 20), -1, 1) * 0.5 + 0.5
        field = field * (1 - rng.uniform(0.2, 0.7) * edge)
    return np.clip(rgb * field, 0, 1).astype(np.float32)


def taken(rgb: F32, rng: Rng) -> F32:
    """Exposure, white balance, contrast, blur, noise, JPEG."""
    from PIL import Image

    out = np.clip(rgb, 1e-4, 1) ** np.exp(rng.normal(0, 0.25)) * np.exp(rng.normal(0, 0.2) + rng.normal(0, 0.1, 3))
    middle = rng.uniform(0.3, 0.6)
    out = middle + (out - middle) * np.exp(rng.normal(0, 0.25))
    if rng.random() < 0.08:
        out = np.repeat((out @ LUMA)[..., None], 3, -1)
    elif rng.random() < 0.4:
        grey = (out @ LUMA)[..., None]
        out = grey + (out - grey) * rng.uniform(0.4, 1.7)
    out = np.asarray(out, np.float32)
    if rng.random() < 0.4:
        out = blurred(out, float(rng.uniform(0.4, 2.0)))
    if rng.random() < 0.25:
        soft = blurred(out, 1.0)
        out = out + rng.uniform(0.3, 1.2) * (out - soft)
    if rng.random() < 0.5:
        grain = rng.normal(0, 1, (SIDE, SIDE, 3)).astype(np.float32)
        grain = blurred(grain, 0.7) * 2 if rng.random() < 0.5 else grain
        out = out + rng.uniform(0.005, 0.05) * grain
    whole = np.rint(np.clip(out, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.5:
        held = io.BytesIO()
        Image.fromarray(whole).save(held, "JPEG", quality=int(rng.integers(25, 95)))
        whole = np.asarray(Image.open(held))
    return whole.astype(np.float32) / np.float32(255)


def doubted(person: F32, rng: Rng) -> F32:
    """A person mask as the matte might have it: larger, smaller, torn, or not there."""
    draw = rng.random()
    if draw < 0.1:
        return np.zeros_like(person)
    if draw < 0.3:
        return person
    soft = blurred(person[..., None], float(rng.uniform(0.8, 5)))[..., 0]
    soft = (
        soft
        + rng.normal(0, 0.12)
        + rng.uniform(0, 0.5) * noise(rng, 1, int(rng.integers(3, 16)))[..., 0] * (soft * (1 - soft) * 4)
    )
    hole = noise(rng, 1, int(rng.integers(2, 6)))[..., 0]
    if rng.random() < 0.3:
        soft = np.where(hole > rng.uniform(0.7, 1.2), soft * rng.uniform(0, 1), soft)
    return np.clip((soft - 0.5) * rng.uniform(1, 6) + 0.5, 0, 1).astype(np.float32)
