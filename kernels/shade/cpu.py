"""Shading on one CPU core (numba): gather a run of points, light them, add them to the canvas.

A run is short enough for its lanes to stay in the first-level cache between the gather and the light.
"""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

import numpy as np

from kernels.jit import F32, I32, I64, U8, Int, Real, fast, inlined
from kernels.rasterize.resolve import GBuffer
from kernels.shade.light import (
    ALPHA,
    AO,
    BLUE,
    GLOSS,
    GREEN,
    NX,
    NY,
    NZ,
    OPEN,
    OUT,
    PX,
    PY,
    PZ,
    RED,
    SSS,
    STRAND,
    TX,
    TY,
    TZ,
    Scene,
    light,
    locate,
    unpack,
)  # fmt: skip
from kernels.texture import Paint, Texture, fetch

HIDDEN = 1.0 / 512.0  # of the light behind: less changes no byte of the picture
# Cavity classes: what a lid shades and what a lip shades. Classes that share all but the last bit are one cavity.
EYE, MOUTH, TEETH = 2, 4, 5


@inlined
def gather(
    i: Int, x: Int, y: Int, z: Real, n0: Real, n1: Real, n2: Real, u: Real, v: Real, level: Int,
    texture: Texture, scene: Scene,
) -> None:  # fmt: skip
    """Fills lane ``i`` for the surface point at pixel (x, y), view depth z; neither OPEN nor the tangent."""
    lane, half = scene.lane, np.float32(0.5)
    lane[PX, i], lane[PY, i], lane[PZ, i] = np.float32(x) + half, np.float32(y) + half, z
    lane[NX, i], lane[NY, i], lane[NZ, i] = n0, n1, n2
    scene.texel[0, i], scene.texel[1, i] = fetch(texture, u, v, level)


@fast
def light_gathered(count: Int, scene: Scene) -> None:
    """Lights the first ``count`` gathered lanes."""
    locate(count, scene)
    unpack(count, scene)
    light(count, scene)


@fast
def opening(region: U8, cavity: U8, x: Int, y: Int, reach: Real, floor: Real) -> Real:
    """How open to light an eye or mouth pixel is: ``floor`` under the lid or lip, 1 from ``reach`` pixels below it."""
    own = cavity[region[y, x]] >> 1
    far = np.int64(reach) + 1
    steps = 0
    while steps < far and y - steps - 1 >= 0 and cavity[region[y - steps - 1, x]] >> 1 == own:
        steps += 1
    part = min(np.float32(steps) / reach, np.float32(1.0))
    return floor + (np.float32(1.0) - floor) * part * (np.float32(2.0) - part)


@fast
def shade_pixels(g: GBuffer, paint: Paint, scene: Scene, slot: I32, layer: F32, place: I64, canvas: F32) -> None:
    """The G-buffer's own surfaces: ``canvas`` (H,W,3) = share * display-linear colour.

    0 where the blended layer (``slot``, ``layer``) hides them; not written where there is no surface.
    """
    depth, face, region, normal, uv, _, _, share, _ = g
    texture, tangent, detail, bias, _, cavity, reach, floor = paint
    height, width = depth.shape
    lane = scene.lane
    count = 0
    one, zero = np.float32(1.0), np.float32(0.0)
    for y in range(height):
        for x in range(width):
            if share[y, x] == zero:
                continue
            veil = slot[y, x]
            if veil >= 0 and layer[veil, 15] < HIDDEN:
                canvas[y, x, 0] = canvas[y, x, 1] = canvas[y, x, 2] = zero
                continue
            f, z = face[y, x], depth[y, x]
            n0, n1, n2 = normal[0, y, x], normal[1, y, x], normal[2, y, x]
            level = np.int64(max(detail[f] + bias, zero))
            gather(count, x, y, z, n0, n1, n2, uv[0, y, x], uv[1, y, x], level, texture, scene)
            lane[TX, count], lane[TY, count], lane[TZ, count] = tangent[f, 0], tangent[f, 1], tangent[f, 2]
            lane[OPEN, count] = one
            hollow = cavity[region[y, x]]
            if hollow != 0:
                lane[OPEN, count] = opening(region, cavity, x, y, reach[hollow] / z, floor[hollow])
            place[count] = y * width + x
            count += 1
            if count == lane.shape[1]:
                light_gathered(count, scene)
                put(lane, place, count, share, canvas)
                count = 0
    light_gathered(count, scene)
    put(lane, place, count, share, canvas)


@fast
def put(lane: F32, place: I64, count: Int, share: F32, canvas: F32) -> None:
    """Writes a lit run to the canvas, weighted by each pixel's share."""
    flat, parts = canvas.reshape(-1, 3), share.reshape(-1)
    for i in range(count):
        k = place[i]
        part = parts[k]
        flat[k, 0], flat[k, 1], flat[k, 2] = part * lane[OUT, i], part * lane[OUT + 1, i], part * lane[OUT + 2, i]


@fast
def shade_extras(count: Int, g: GBuffer, paint: Paint, scene: Scene, canvas: F32) -> None:
    """Adds the further surfaces of shared pixels to the canvas, each weighted by its part of the pixel."""
    e, lane, tangent, width = g.extras, scene.lane, paint.tangent, canvas.shape[1]
    half, zero = np.float32(0.5), np.float32(0.0)
    for begin in range(0, count, lane.shape[1]):
        end = min(begin + lane.shape[1], count)
        for k in range(begin, end):
            i, f, y, x = k - begin, e.face[k], e.pixel[k] // width, e.pixel[k] % width
            n0, n1, n2 = e.normal[0, k], e.normal[1, k], e.normal[2, k]
            level = np.int64(max(paint.detail[f] + paint.bias, zero))
            gather(i, x, y, e.depth[k], n0, n1, n2, e.uv[0, k], e.uv[1, k], level, paint.texture, scene)
            lane[TX, i], lane[TY, i], lane[TZ, i] = tangent[f, 0], tangent[f, 1], tangent[f, 2]
            lane[OPEN, i] = half + half * paint.floor[paint.cavity[paint.region[f]]]
        light_gathered(end - begin, scene)
        for k in range(begin, end):
            i, y, x = k - begin, e.pixel[k] // width, e.pixel[k] % width
            canvas[y, x, 0] += e.share[k] * lane[OUT, i]
            canvas[y, x, 1] += e.share[k] * lane[OUT + 1, i]
            canvas[y, x, 2] += e.share[k] * lane[OUT + 2, i]


@fast
def shade_layer(count: Int, pixel: I32, layer: F32, width: Int, scene: Scene) -> None:
    """Lights the accumulated blended layer (kernels/blend): slots 0..2 of each entry become its lit colour."""
    one, half, lane = np.float32(1.0), np.float32(0.5), scene.lane
    for begin in range(0, count, lane.shape[1]):
        end = min(begin + lane.shape[1], count)
        for k in range(begin, end):
            i, y, x = k - begin, pixel[k] // width, pixel[k] % width
            over = one / layer[k, 13]
            n0, n1, n2 = layer[k, 7], layer[k, 8], layer[k, 9]
            size = one / np.sqrt(n0 * n0 + n1 * n1 + n2 * n2 + np.float32(1e-20))
            n0, n1, n2 = n0 * size, n1 * size, n2 * size
            lane[PX, i], lane[PY, i], lane[PZ, i] = np.float32(x) + half, np.float32(y) + half, layer[k, 14] * over
            lane[NX, i], lane[NY, i], lane[NZ, i] = n0, n1, n2
            lane[RED, i], lane[GREEN, i], lane[BLUE, i] = layer[k, 0] * over, layer[k, 1] * over, layer[k, 2] * over
            lane[ALPHA, i] = lane[OPEN, i] = one
            lane[AO, i], lane[GLOSS, i] = layer[k, 3] * over, layer[k, 4] * over
            lane[SSS, i], lane[STRAND, i] = layer[k, 5] * over, layer[k, 6] * over
            lane[TX, i], lane[TY, i], lane[TZ, i] = layer[k, 10], layer[k, 11], layer[k, 12]
        locate(end - begin, scene)
        light(end - begin, scene)
        for k in range(begin, end):
            i = k - begin
            layer[k, 0], layer[k, 1], layer[k, 2] = lane[OUT, i], lane[OUT + 1, i], lane[OUT + 2, i]


@fast
def compose(
    canvas: F32, coverage: F32, slot: I32, layer: F32, background: U8, decode: F32, encode: U8, rgb: U8, alpha: U8
) -> None:
    """Canvas, blended layer and background to sRGB ``rgb`` (H,W,3) u8 and ``alpha`` (H,W) u8.

    ``encode`` (N,) u8 is a table from display-linear [0,1] to sRGB bytes; ``decode`` (256,) f32 one back.
    """
    height, width = coverage.shape
    one, last = np.float32(1.0), np.float32(encode.shape[0] - 1)
    for y in range(height):
        for x in range(width):
            k, solid = slot[y, x], coverage[y, x]
            if k < 0 and solid == 0.0:
                rgb[y, x, 0], rgb[y, x, 1], rgb[y, x, 2] = background[y, x, 0], background[y, x, 1], background[y, x, 2]
                alpha[y, x] = 0
                continue
            through = one - solid
            r = g = b = np.float32(0.0)
            if solid > 0.0:
                r, g, b = canvas[y, x, 0], canvas[y, x, 1], canvas[y, x, 2]
            if through > 0.0:
                r += through * decode[background[y, x, 0]]
                g += through * decode[background[y, x, 1]]
                b += through * decode[background[y, x, 2]]
            if k >= 0:
                clear = layer[k, 15]
                veil = one - clear
                r, g, b = r * clear + veil * layer[k, 0], g * clear + veil * layer[k, 1], b * clear + veil * layer[k, 2]
                through *= clear
            rgb[y, x, 0] = encode[np.int64(min(r, one) * last + np.float32(0.5))]
            rgb[y, x, 1] = encode[np.int64(min(g, one) * last + np.float32(0.5))]
            rgb[y, x, 2] = encode[np.int64(min(b, one) * last + np.float32(0.5))]
            alpha[y, x] = np.uint8((one - through) * np.float32(255.0) + np.float32(0.5))
