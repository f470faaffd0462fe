"""What shading computes, the boring way: NumPy over arrays of points, float64, one formula a line."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.jit import F64
from kernels.rasterize.resolve import GBuffer
from kernels.shade.light import Scene
from kernels.texture import Paint, Texture

Array = NDArray[Any]


class Points(NamedTuple):
    """Surface points to light. normal, view, tangent, colour (N,3); view-space place (N,3); the rest (N,), in [0,1]."""

    place: F64
    normal: F64
    tangent: F64
    colour: F64  # sRGB
    occlusion: F64
    gloss: F64
    subsurface: F64
    strand: F64
    lit: F64  # part of the key light that arrives
    open: F64  # how far a lid or lip lets light in


def fetch(texture: Texture, u: Array, v: Array, level: Array | float) -> F64:
    """Bilinear texels (N,8) in [0,1], colours times alpha, from mip ``level`` rounded down; sixteenths of a texel."""
    top = len(texture.start) - 1
    size = np.maximum(texture.side >> np.clip(level, 0, top).astype(np.int64), 1)
    start = texture.start[np.clip(level, 0, top).astype(np.int64)]
    x, y = (np.clip(np.float32(c) * size - 0.5, 0, size - 1) for c in (u, v))
    column, row = x.astype(np.int64), y.astype(np.int64)
    fx, fy = (np.floor((x - column) * 16) / 16)[:, None], (np.floor((y - row) * 16) / 16)[:, None]

    def texel(dy: int, dx: int) -> F64:
        place = start + np.minimum(row + dy, size - 1) * size + np.minimum(column + dx, size - 1)
        return texture.texels[place].astype("<u8").view(np.uint8).reshape(-1, 8) / 255.0

    upper = texel(0, 0) * (1 - fx) + texel(0, 1) * fx
    return upper * (1 - fy) + (texel(1, 0) * (1 - fx) + texel(1, 1) * fx) * fy


def lit_part(moment: Array, x: F64, y: F64, d: F64) -> F64:
    """Part of the key light at shadow map texels (x, y) and distance ``d``: Chebyshev's bound, its tail cut off."""
    size = moment.shape[0]
    outside = (x < 0.5) | (y < 0.5) | (x - 0.5 >= size - 1.001) | (y - 0.5 >= size - 1.001)
    x, y = np.clip(x - 0.5, 0, size - 1.001), np.clip(y - 0.5, 0, size - 1.001)
    column, row = x.astype(np.int64), y.astype(np.int64)
    fx, fy = (x - column)[:, None], (y - row)[:, None]
    m = moment.astype(np.float64)
    upper = m[row, column] * (1 - fx) + m[row, column + 1] * fx
    lower = m[row + 1, column] * (1 - fx) + m[row + 1, column + 1] * fx
    mean, square = (upper * (1 - fy) + lower * fy).T
    variance = np.maximum(square - mean**2, 4e-6)
    bound = np.maximum(variance / (variance + (d - mean) ** 2) - 0.15, 0) / 0.85
    return np.where((d <= mean) | outside, 1.0, bound)


def shadow(place: F64, normal: F64, scene: Scene) -> F64:
    """Part of the key light at view-space points, looked up 1.5 mm off the surface."""
    x, y, d = scene.to_light[:, :3] @ (place + 0.0015 * normal).T + scene.to_light[:, 3:]
    return lit_part(scene.moment, x, y, d)


def light(points: Points, scene: Scene) -> F64:
    """Display-linear colour (N,3) in [0,1] of every point: diffuse, specular, strands, room, exposure, film."""
    n, sss, strand = points.normal, points.subsurface[:, None], points.strand[:, None]
    v = -points.place / np.linalg.norm(points.place, axis=1, keepdims=True)
    t = points.tangent - n * (points.tangent * n).sum(1, keepdims=True)
    t = t / np.sqrt((t**2).sum(1, keepdims=True) + 1e-8)
    albedo = points.colour * (points.colour * (points.colour * 0.305306011 + 0.682171111) + 0.012522878)
    ao = (points.occlusion * points.open)[:, None]
    rough = 0.64 - 0.44 * points.gloss[:, None]
    nv = np.maximum((n * v).sum(1, keepdims=True), 0.06)
    lit = points.lit[:, None]
    shadow_tint = lit + sss * np.array([0.14, 0.04, 0.0]) * (1 - lit)  # shadows on skin have a red rim
    tinted = ao * (1 + sss * np.array([0.28, 0.0, -0.10]) * (1 - ao))  # and its creases are red
    half = 0.5 + 0.5 * ao
    diffuse = _room(n, scene) * tinted
    shine, white, tint = (np.zeros_like(nv) for _ in range(3))
    for number, lamp in enumerate(scene.lamps.astype(np.float64)):
        towards, colour = lamp[:3], lamp[3:]
        skin, spec, hair, first, second = _lamp(n, v, t, towards, nv, rough, sss)
        power, key = colour.mean(), number == 0
        arriving = shadow_tint * half if key else tinted
        diffuse += colour * arriving * ((1 - strand) * skin + strand * hair)
        shine += power * spec * (half * lit if key else half if number == 1 else ao)
        glint = power * (lit if key else 1.0 if number == 1 else 0.35)
        white, tint = white + glint * first, tint + glint * second
    room = (0.03 + 0.25 * (1 - nv) ** 4) * ao * (1 - strand) * (0.4 + 0.6 * points.gloss[:, None]) * _room(n, scene)
    polish = np.clip((points.gloss[:, None] - 0.06) * 5, 0, 1)  # cloth and dry skin scatter, they do not shine
    shine = polish * shine + catchlight(points, v, scene)
    white = 0.15 * points.gloss[:, None] * white
    colour = albedo * (diffuse + 0.55 * strand * ao * tint) + (1 - strand) * shine + strand * ao * white + room
    return film(colour * float(scene.exposure))


def catchlight(points: Points, v: F64, scene: Scene) -> F64:
    """The window of the key lamp in wet eyes (N,1), drawn toward the viewer so that the lid does not hide it."""
    key = scene.lamps[0].astype(np.float64)
    mirror = key[:3] + 2.5 * v
    mirror /= np.linalg.norm(mirror, axis=1, keepdims=True)
    window = np.clip(((points.normal * mirror).sum(1) - 0.989) * 160, 0, 1)
    wet = np.clip((points.gloss - 0.8) * 8, 0, 1)
    light = 0.8 * wet * key[3:].mean() * window**2 * (3 - 2 * window)
    return (light * points.open * (0.4 + 0.6 * points.lit))[:, None]


def film(colour: F64) -> F64:
    """Filmic curve (Narkowicz's fit of ACES, 2015)."""
    return np.clip(colour * (2.51 * colour + 0.03) / (colour * (2.43 * colour + 0.59) + 0.14), 0, 1)


def _room(n: F64, scene: Scene) -> F64:
    above, below = scene.ambient.astype(np.float64)
    return below + (above - below) * (n @ scene.up * 0.5 + 0.5)[:, None]


def _lamp(n: F64, v: F64, t: F64, towards: F64, nv: F64, rough: F64, sss: F64) -> tuple[F64, F64, F64, F64, F64]:
    """Skin diffuse (N,3), specular, strand diffuse and the strand's two highlights (N,1) of one lamp."""
    nl = (n @ towards)[:, None]
    wrap = 0.10 + sss * np.array([0.26, 0.10, 0.04])
    skin = np.maximum((nl + wrap) / (1 + wrap), 0)
    skin = skin * (0.35 * skin + 0.65)
    h = v + towards
    h = h / np.sqrt((h**2).sum(1, keepdims=True) + 1e-8)
    nh = np.maximum((n * h).sum(1, keepdims=True), 0)
    vh = np.maximum((v * h).sum(1, keepdims=True), 0)
    front = np.maximum(nl, 0)
    fresnel = 0.028 + 0.972 * (1 - vh) ** 5
    k = (rough + 1) ** 2 / 8
    shape = front / ((front * (1 - k) + k) * (nv * (1 - k) + k))
    wide, narrow = rough**4, rough**4 * 0.1296
    ggx = 0.75 * wide / (nh**2 * (wide - 1) + 1) ** 2 + 0.35 * narrow / (nh**2 * (narrow - 1) + 1) ** 2
    tl, th = (t @ towards)[:, None], (t * h).sum(1, keepdims=True)
    hair = np.sqrt(np.maximum(1 - tl**2, 0)) * np.clip(0.75 * nl + 0.35, 0, 1)
    seen = np.clip(1.4 * nl + 0.25, 0, 1)
    first = np.maximum(1 - (th + 0.07) ** 2, 0) ** 24 * seen
    second = np.maximum(1 - (th - 0.12) ** 2, 0) ** 4 * seen
    return skin, 0.0796 * shape * fresnel * ggx, hair, first, second


def pixels(g: GBuffer, paint: Paint, scene: Scene, opened: F64) -> F64:
    """Canvas (H,W,3) of the G-buffer's own surfaces: share times lit colour. ``opened`` (H,W): see Points.open."""
    rows, columns = np.nonzero(g.share)
    z, face = g.depth[rows, columns].astype(np.float64), g.face[rows, columns]
    over, cx, cy = scene.lens.astype(np.float64)
    ray = np.stack([(columns + 0.5 - cx) * over, (rows + 0.5 - cy) * over, np.ones(len(rows))], 1)
    place, normal = ray * z[:, None], g.normal[:, rows, columns].T.astype(np.float64)
    level = np.maximum(paint.detail[face] + paint.bias, 0)
    texel = fetch(paint.texture, g.uv[0, rows, columns], g.uv[1, rows, columns], level)
    colour = texel[:, :3] / np.maximum(texel[:, 3:4], 1e-3)
    lit = shadow(place, normal, scene)
    occlusion, gloss, subsurface, strand = texel[:, 4:].T
    opened, tangent = opened[rows, columns], paint.tangent[face].astype(np.float64)
    points = Points(place, normal, tangent, colour, occlusion, gloss, subsurface, strand, lit, opened)
    canvas = np.zeros((*g.depth.shape, 3))
    canvas[rows, columns] = g.share[rows, columns][:, None] * light(points, scene)
    return canvas
