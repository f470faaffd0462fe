"""Guidance planes: a G-buffer and a texture as the bytes a neural renderer is told a frame in.

Bytes at full size say what the surface looks like, bytes at half size how it lies; the flow leads every pixel, also one
beside the surface, back to the previous frame, and ``seen`` says whether it shows the same thing there.
It knows classes of regions, not their names.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from kernels.blend import BlendedLayer
from kernels.blend.cpu import CLEAR
from kernels.guidance import cpu
from kernels.guidance.beside import spread
from kernels.guidance.blocks import SOLID, lie
from kernels.guidance.cpu import TOLERANCE
from kernels.guidance.shine import even, lighten, turn
from kernels.guidance.texels import wear
from kernels.jit import F32, U8
from kernels.rasterize import Camera, Rasterizer
from kernels.texture import Paint, Texture

__all__ = ["DEPTH", "HI", "LO", "SOLID", "TOLERANCE", "Guidance", "Past", "Planes", "allocate", "even"]

HI: Final = ("red", "green", "blue", "opacity", "valid", "strand")
LO: Final = ("normal x", "normal y", "normal z", "facing", "depth", "gloss", "mask")
DEPTH: Final = 0.5  # metres before and behind the middle that the depth plane reaches


class Guidance(NamedTuple):
    """One frame of a picture (H, W), h = H/2 and w = W/2. The arrays belong to whoever allocated them.

    hi (6,H,W) u8: red, green, blue (sRGB) of blended faces over the nearest opaque one, lit, over black; opacity, of
    both together; the texture's valid and strand, mixed likewise. lo (7,h,w) u8, of the nearest of the four surfaces,
    which a blended face is where it covers SOLID of its pixel: world normal (127.5 + 127.5 n; 128 without), facing
    (255 = towards the eye), depth (0 none, 1..255 over 2 DEPTH metres, nearest first), gloss, mask class.
    flow (2,h,w) f32: pixels of (H, W) from here to where this was; beside the surface that of the nearest surface.
    seen (h,w) u8: 255 where the previous frame showed the same thing there, else 0.
    """

    hi: U8
    lo: U8
    flow: F32
    seen: U8


class Past(NamedTuple):
    """What is remembered of a frame at half size: depth (h,w) metres, +inf without a surface; mask (h,w) class."""

    depth: F32
    mask: U8


def allocate(size: tuple[int, int]) -> Guidance:
    """Uninitialised planes for a picture of ``size`` (H, W)."""
    half = (size[0] // 2, size[1] // 2)
    planes = np.empty((len(HI), *size), np.uint8), np.empty((len(LO), *half), np.uint8)
    return Guidance(*planes, np.empty((2, *half), np.float32), np.empty(half, np.uint8))


class Planes:
    """Static buffers for one rasterizer with one sample a pixel and an even picture size; ``draw`` allocates nothing.

    ``classes`` (256,): each region's; ``kinds`` (256,): which light is on it, 1 or 2 (0: none). Raises ValueError for
    other rasterizers.
    """

    def __init__(self, raster: Rasterizer, classes: U8, kinds: U8) -> None:
        height, width = raster.size
        if height % 2 or width % 2 or raster.samples != 1:
            raise ValueError(f"guidance needs one sample a pixel and an even size, got {raster.samples}, {raster.size}")
        self.raster, self.classes, self.kinds = raster, classes, kinds
        self.light = even()  # in view space
        half = (height // 2, width // 2)
        self.before = np.empty(half, np.float32)  # depth of the same point in the previous frame
        self.blended = BlendedLayer(raster.size)
        often = np.bincount(classes[raster.mesh.region[raster.mesh.layer != 0]], minlength=1)
        self.hair = np.uint8(often.argmax())  # the class of blended faces
        self.motion = np.zeros((len(raster.mesh.faces), 3), np.float32)
        self._light = np.zeros(8, np.float32), np.ones(8, np.float32)  # reach and floor of Paint, of no use here
        self.gloss, self.span = np.zeros(raster.size, np.uint8), np.empty((height, 2), np.int32)
        self.first = np.empty(32, np.int32)  # of each level of a texture
        self.place, self.share = np.empty(2 * width, np.int32), np.empty(2 * width, np.uint16)
        self.row, self.stack = np.empty(half, np.int32), np.empty((2, half[1]), np.int32)

    def past(self) -> Past:
        """Room to remember one frame."""
        half = self.before.shape
        return Past(np.full(half, np.inf, np.float32), np.zeros(half, np.uint8))

    def draw(self, texture: Texture, light: F32, camera: Camera, distance: float, before: Past | None, now: Past,
             out: Guidance) -> None:  # fmt: skip
        """Fills ``out`` from what the rasterizer has just drawn; ``now`` remembers it, ``before`` is the previous
        frame (None: there is none). ``distance``, metres: the middle of the depth plane. ``light`` (2,3,shine.TERMS):
        of each kind, on normals in the world."""
        raster, g = self.raster, self.raster.gbuffer
        check(out, raster.size)
        winner = raster.buffer.winner.reshape(raster.size)
        bias = np.float32(np.log2(texture.side))
        cpu.drift(raster.blended_triangle, raster.blended_owner, raster.blended_count, raster.place, raster.record,
                  self.motion)  # fmt: skip
        self.blended.draw(
            raster,  # where the shader gathers the strands' tangents, the layer gathers here how they moved
            Paint(texture, self.motion, raster.detail, bias, raster.mesh.region, self.classes, *self._light),
            distance,
        )
        layer = self.blended
        cpu.reach(raster.drawn, layer.count, layer.pixel, raster.size[1], self.span)
        out.hi.fill(0)
        first = self.first[: len(texture.start)]
        wear(g.face, g.uv, raster.detail, texture, bias, self.span, first, self.place, self.share, self.gloss, out.hi)
        turn(light, camera.rotation, self.light)
        lighten(g.face, g.region, g.normal, self.kinds, self.light, self.span, out.hi)
        cpu.veil(layer.count, layer.pixel, layer.layer, out.hi)
        near, steps = np.float32(distance - DEPTH), np.float32(254.0 / (2 * DEPTH))
        lie(
            g.depth, g.face, g.region, g.normal, g.flow, winner, raster.plane, layer.slot, layer.layer, self.hair,
            self.gloss, self.span, camera.rotation, near, steps, self.classes,
            out.lo, out.flow, now.depth, now.mask, self.before,
        )  # fmt: skip
        spread(now.mask, self.row, self.stack, out.flow)
        if before is None:
            out.seen.fill(0)
        else:
            cpu.trust(now.mask, self.before, out.flow, before.depth, before.mask, out.seen)

    def veil(self) -> U8:
        """How much of each pixel (H,W) blended faces cover in the frame drawn last: 255 = all of it. A new array."""
        layer, out = self.blended, np.zeros(self.raster.size, np.uint8)
        clear = layer.layer[: layer.count, CLEAR]
        out.reshape(-1)[layer.pixel[: layer.count]] = np.rint(255 * (1 - clear)).astype(np.uint8)
        return out


def check(out: Guidance, size: tuple[int, int]) -> None:
    """Raises ValueError when ``out`` is not made for a picture of ``size``."""
    half = (size[0] // 2, size[1] // 2)
    shapes: tuple[tuple[int, ...], ...] = ((len(HI), *size), (len(LO), *half), (2, *half), half)
    for name, shape in zip(Guidance._fields, shapes, strict=True):
        array, kind = getattr(out, name), np.float32 if name == "flow" else np.uint8
        if array.shape != shape or array.dtype != kind or not array.flags.c_contiguous:
            raise ValueError(f"{name} must be {shape} {np.dtype(kind)} and contiguous, got {array.shape} {array.dtype}")
