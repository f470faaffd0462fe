"""The texture on the opaque surface, on one CPU core (numba): sixteen pixels find their texels, eight blend them."""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

from typing import Any, Final

import numpy as np

from kernels.jit import F32, I32, U8, Int, Real, fast, inlined
from kernels.texture import Texture, fetch
from kernels.vector import any_of, cast, gather, lane, load, select, shuffle, splat, store, view

STEP: Final = 16
_two, _four, _eight = (shuffle(range(2 * lanes)) for lanes in (2, 4, 8))
_left = shuffle([16 * pixel + byte for pixel in range(8) for byte in range(8)])
_right = shuffle([16 * pixel + 8 + byte for pixel in range(8) for byte in range(8)])
_each = shuffle([pixel for pixel in range(8) for _ in range(8)])
_red, _green, _blue, _opacity, _valid, _gloss, _strand = (
    shuffle([8 * pixel + byte for pixel in range(8)]) for byte in (0, 1, 2, 3, 4, 5, 7)
)


@fast
def wear(face: I32, uv: F32, detail: F32, texture: Texture, bias: Real, span: I32, first: I32, place: I32,
         share: Any, gloss: U8, hi: U8) -> None:  # fmt: skip
    """The texture's bytes on the opaque surface, within ``span`` (H,2): ``hi`` (6,H,W), and ``gloss`` (H,W), which
    stays as it was where no surface is. ``first`` (L,), ``place`` (2W,) i32 and ``share`` (2W,) u16 are scratch."""
    height, width = face.shape
    for level in range(first.shape[0]):
        first[level] = texture.start[level]
    for y in range(height):
        begin, end = span[y, 0] // STEP * STEP, span[y, 1]
        whole = begin
        if texture.side > 1:
            while whole < end and whole + STEP <= width:
                find(face, uv, detail, texture.side, bias, first, y, whole, place, share)
                whole += STEP
            for x in range(begin, whole, 8):
                eight(face, texture.texels, y, x, place, share, gloss, hi)
        for x in range(whole, end):
            if face[y, x] >= 0:
                one(face, uv, detail, texture, bias, y, x, gloss, hi)


@inlined
def find(face: I32, uv: F32, detail: F32, side: Int, bias: Real, first: I32, y: Int, x: Int, place: I32,
         share: Any) -> None:  # fmt: skip
    """Where the texels of pixels x .. x + STEP lie: ``place``, upper left and lower left; ``share``, sixteenths of the
    right and of the lower ones. At the last texel of a row the pair before it serves, with all the weight on it."""
    height, width = face.shape
    at = y * width + x
    zero, none, two, sixteen = splat(np.float32(0), 16), splat(np.int32(0), 16), np.int32(2), np.float32(16)
    owner = load(face, at, 16)
    level = cast(gather(detail, select(owner > none, owner, none)) + bias, np.int32)
    top = splat(np.int32(first.shape[0] - 1), 16)
    level = select(level > none, level, none)
    level = select(level < top, level, top)
    size = splat(np.int32(side), 16) >> level
    scale, last = cast(size, np.float32), cast(size - np.int32(1), np.float32)
    u = load(uv, at, 16) * scale - np.float32(0.5)
    v = load(uv, height * width + at, 16) * scale - np.float32(0.5)
    u, v = select(u > zero, u, zero), select(v > zero, v, zero)
    u, v = select(u < last, u, last), select(v < last, v, last)
    i, j = cast(u, np.int32), cast(v, np.int32)
    i, j = select(i < size - two, i, size - two), select(j < size - two, j, size - two)
    store(share, x, cast(cast((u - cast(i, np.float32)) * sixteen, np.int32), np.uint16))
    store(share, width + x, cast(cast((v - cast(j, np.float32)) * sixteen, np.int32), np.uint16))
    upper = gather(first, level) + j * size + i
    store(place, x, upper)
    store(place, width + x, upper + size)


@inlined
def eight(face: I32, texels: Any, y: Int, x: Int, place: I32, share: Any, gloss: U8, hi: U8) -> None:
    """The bytes of pixels x .. x + 8, bilinear. A channel is 16 bits, which wrap on the way to a sum that fits."""
    height, width = face.shape
    at, plane, four = y * width + x, height * width, np.uint16(4)
    on = load(face, at, 8) >= np.int32(0)
    if not any_of(on):
        return
    upper, lower = view(pairs(texels, place, x), np.uint8), view(pairs(texels, place, width + x), np.uint8)
    right, down = load(share, x, 8), load(share, width + x, 8)
    right, down = _each(right, right), _each(down, down)
    a, b = cast(_left(upper, upper), np.uint16), cast(_left(lower, lower), np.uint16)
    a = (a << four) + right * (cast(_right(upper, upper), np.uint16) - a)
    b = (b << four) + right * (cast(_right(lower, lower), np.uint16) - b)
    fields = (a << four) + down * (b - a) + np.uint16(128)
    words = view(cast(fields >> np.uint16(8), np.uint8), np.uint64)
    texel = view(select(on, words, splat(np.uint64(0), 8)), np.uint8)
    store(hi, at, _red(texel, texel))
    store(hi, plane + at, _green(texel, texel))
    store(hi, 2 * plane + at, _blue(texel, texel))
    store(hi, 3 * plane + at, _opacity(texel, texel))
    store(hi, 4 * plane + at, _valid(texel, texel))
    store(hi, 5 * plane + at, _strand(texel, texel))
    store(gloss, at, _gloss(texel, texel))


@inlined
def pairs(texels: Any, place: I32, at: Int) -> Any:
    """The two texels at each of the eight ``place``s from ``at`` on."""
    p = load(place, at, 8)
    a, b, c, d = (
        load(texels, lane(p, 0), 2),
        load(texels, lane(p, 1), 2),
        load(texels, lane(p, 2), 2),
        load(texels, lane(p, 3), 2),
    )
    e, f, g, h = (
        load(texels, lane(p, 4), 2),
        load(texels, lane(p, 5), 2),
        load(texels, lane(p, 6), 2),
        load(texels, lane(p, 7), 2),
    )
    return _eight(_four(_two(a, b), _two(c, d)), _four(_two(e, f), _two(g, h)))


@inlined
def one(face: I32, uv: F32, detail: F32, texture: Texture, bias: Real, y: Int, x: Int, gloss: U8, hi: U8) -> None:
    """The same bytes of one pixel, where a row has no sixteen left."""
    even_bytes, half = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0080008000800080)
    level = np.int64(max(detail[face[y, x]] + bias, np.float32(0.0)))
    even, odd = fetch(texture, uv[0, y, x], uv[1, y, x], level)
    word = ((even + half) >> np.uint64(8) & even_bytes) | ((odd + half) & ~even_bytes)
    hi[0, y, x], hi[1, y, x] = np.uint8(word), np.uint8(word >> np.uint64(8))
    hi[2, y, x], hi[3, y, x] = np.uint8(word >> np.uint64(16)), np.uint8(word >> np.uint64(24))
    hi[4, y, x], hi[5, y, x] = np.uint8(word >> np.uint64(32)), np.uint8(word >> np.uint64(56))
    gloss[y, x] = np.uint8(word >> np.uint64(40))
