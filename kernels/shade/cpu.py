"""Shading on one CPU core (numba): gather a run of points, light them as SIMD lanes, add them to the canvas.

The light model is in ``light``: the same arithmetic as reference.py and kernel.cu. A run is short enough for
its lanes to stay in the first-level cache between the gather and the light.
"""

from __future__ import annotations

import numpy as np

from kernels.jit import fast, inlined
from kernels.texture import channel, fetch

RUN = 512  # points lit at a time
LANES = 22
# Lanes of a run.
NX, NY, NZ, VX, VY, VZ, RED, GREEN, BLUE, ALPHA, AO, GLOSS, SSS, STRAND, LIT, OPEN, TX, TY, TZ = range(19)
OUT = 19
EYE, MOUTH = 1, 2  # cavity classes: what a lid shades, what a lip shades


@inlined
def lamp(n0, n1, n2, v0, v1, v2, t0, t1, t2, l0, l1, l2, nv, rough, sss):
    """One directional lamp: wrapped diffuse (3), two-lobe specular, strand diffuse, strand highlights (2)."""
    one, zero = np.float32(1.0), np.float32(0.0)
    nl = n0 * l0 + n1 * l1 + n2 * l2
    # Light that enters skin leaves it past the terminator, red farthest (after Penner, pre-integrated skin, 2011).
    wr, wg, wb = np.float32(0.10) + np.float32(0.32) * sss, np.float32(0.10) + np.float32(0.10) * sss, np.float32(0.10)
    wb += np.float32(0.04) * sss
    dr = max((nl + wr) / (one + wr), zero)
    dg = max((nl + wg) / (one + wg), zero)
    db = max((nl + wb) / (one + wb), zero)
    low, gain = np.float32(0.65), np.float32(0.35)
    dr, dg, db = dr * (dr * gain + low), dg * (dg * gain + low), db * (db * gain + low)
    h0, h1, h2 = l0 + v0, l1 + v1, l2 + v2
    over = one / np.sqrt(h0 * h0 + h1 * h1 + h2 * h2 + np.float32(1e-8))
    h0, h1, h2 = h0 * over, h1 * over, h2 * over
    nh = max(n0 * h0 + n1 * h1 + n2 * h2, zero)
    vh = max(v0 * h0 + v1 * h1 + v2 * h2, zero)
    front = max(nl, zero)
    # GGX (Walter et al. 2007, eq. 33) with Schlick's Fresnel and shadowing; a second lobe 0.6 times as rough.
    fresnel = one - vh
    fresnel = fresnel * fresnel
    fresnel = np.float32(0.028) + np.float32(0.972) * fresnel * fresnel * (one - vh)
    k = (rough + one) * (rough + one) * np.float32(0.125)
    shape = front / ((front * (one - k) + k) * (nv * (one - k) + k))
    a = rough * rough
    a = a * a
    d = nh * nh * (a - one) + one
    b = a * np.float32(0.1296)
    e = nh * nh * (b - one) + one
    specular = np.float32(0.0796) * shape * fresnel * (np.float32(0.75) * a / (d * d) + np.float32(0.35) * b / (e * e))
    # Strands (Kajiya & Kay 1989, with the two shifted highlights of Marschner et al. 2003).
    tl = t0 * l0 + t1 * l1 + t2 * l2
    side = np.sqrt(max(one - tl * tl, zero))
    wrap = min(max(nl * np.float32(0.75) + np.float32(0.35), zero), one)
    th = t0 * h0 + t1 * h1 + t2 * h2
    first, second = th + np.float32(0.07), th - np.float32(0.12)
    first, second = max(one - first * first, zero), max(one - second * second, zero)
    first = first * first
    first = first * first
    first = first * first
    first = first * first * first  # sine to the power 48
    second = second * second
    second = second * second  # sine to the power 8
    seen = min(max(nl * np.float32(1.4) + np.float32(0.25), zero), one)
    return dr, dg, db, specular, side * wrap, first * seen, second * seen


@fast
def light(lane, count, lamps, ambient, up, exposure):
    """Lights ``count`` points in place: lanes OUT..OUT+2 receive display-linear red, green, blue in [0, 1].

    lamps (3,6): direction toward the lamp (view space), colour. ambient (2,3): from above, from below. up (3,).
    """
    one, zero = np.float32(1.0), np.float32(0.0)
    a0, a1, a2 = lamps[0, 0], lamps[0, 1], lamps[0, 2]
    b0, b1, b2 = lamps[1, 0], lamps[1, 1], lamps[1, 2]
    c0, c1, c2 = lamps[2, 0], lamps[2, 1], lamps[2, 2]
    ar, ag, ab = lamps[0, 3], lamps[0, 4], lamps[0, 5]
    br, bg, bb = lamps[1, 3], lamps[1, 4], lamps[1, 5]
    cr, cg, cb = lamps[2, 3], lamps[2, 4], lamps[2, 5]
    ur, ug, ub = ambient[0, 0], ambient[0, 1], ambient[0, 2]
    gr, gg, gb = ambient[1, 0], ambient[1, 1], ambient[1, 2]
    u0, u1, u2 = up[0], up[1], up[2]
    third = np.float32(1.0 / 3.0)
    ka, kb, kc = (ar + ag + ab) * third, (br + bg + bb) * third, (cr + cg + cb) * third
    for i in range(count):
        n0, n1, n2 = lane[NX, i], lane[NY, i], lane[NZ, i]
        v0, v1, v2 = lane[VX, i], lane[VY, i], lane[VZ, i]
        t0, t1, t2 = lane[TX, i], lane[TY, i], lane[TZ, i]
        over = one / max(lane[ALPHA, i], np.float32(1e-3))
        r, g, b = lane[RED, i] * over, lane[GREEN, i] * over, lane[BLUE, i] * over
        r = r * (r * (r * np.float32(0.305306011) + np.float32(0.682171111)) + np.float32(0.012522878))
        g = g * (g * (g * np.float32(0.305306011) + np.float32(0.682171111)) + np.float32(0.012522878))
        b = b * (b * (b * np.float32(0.305306011) + np.float32(0.682171111)) + np.float32(0.012522878))
        ao, sss, strand, lit, opened = lane[AO, i], lane[SSS, i], lane[STRAND, i], lane[LIT, i], lane[OPEN, i]
        ao = ao * opened
        rough = np.float32(0.66) - np.float32(0.56) * lane[GLOSS, i]
        # A tangent along the surface: strands lie on it.
        tn = t0 * n0 + t1 * n1 + t2 * n2
        t0, t1, t2 = t0 - tn * n0, t1 - tn * n1, t2 - tn * n2
        over = one / np.sqrt(t0 * t0 + t1 * t1 + t2 * t2 + np.float32(1e-8))
        t0, t1, t2 = t0 * over, t1 * over, t2 * over
        nv = max(n0 * v0 + n1 * v1 + n2 * v2, np.float32(0.06))
        ad, ae, af, asp, ah, ap, aq = lamp(n0, n1, n2, v0, v1, v2, t0, t1, t2, a0, a1, a2, nv, rough, sss)
        bd, be, bf, bsp, bh, bp, bq = lamp(n0, n1, n2, v0, v1, v2, t0, t1, t2, b0, b1, b2, nv, rough, sss)
        cd, ce, cf, csp, ch, cp, cq = lamp(n0, n1, n2, v0, v1, v2, t0, t1, t2, c0, c1, c2, nv, rough, sss)
        # Shadows on skin have a red rim, and occlusion a red tint: light has travelled through flesh.
        lg = lit * (one - sss * np.float32(0.06)) + sss * np.float32(0.06)
        lr = lit * (one - sss * np.float32(0.20)) + sss * np.float32(0.20)
        warm = ao * (one + np.float32(0.35) * sss * (one - ao))
        cool = ao * (one - np.float32(0.10) * sss * (one - ao))
        half = np.float32(0.5) + np.float32(0.5) * ao
        keep = one - strand
        dr = ar * lr * half * (keep * ad + strand * ah) + warm * (
            br * (keep * bd + strand * bh) + cr * (keep * cd + strand * ch)
        )
        dg = ag * lg * half * (keep * ae + strand * ah) + ao * (
            bg * (keep * be + strand * bh) + cg * (keep * ce + strand * ch)
        )
        db = ab * lit * half * (keep * af + strand * ah) + cool * (
            bb * (keep * bf + strand * bh) + cb * (keep * cf + strand * ch)
        )
        sky = (n0 * u0 + n1 * u1 + n2 * u2) * np.float32(0.5) + np.float32(0.5)
        sr, sg, sb = gr + (ur - gr) * sky, gg + (ug - gg) * sky, gb + (ub - gb) * sky
        dr, dg, db = dr + sr * warm, dg + sg * ao, db + sb * cool
        grazing = one - nv
        grazing = grazing * grazing
        grazing = grazing * grazing
        room = (
            (np.float32(0.03) + np.float32(0.25) * grazing)
            * ao
            * keep
            * (np.float32(0.4) + np.float32(0.6) * lane[GLOSS, i])
        )
        shine = keep * (half * (ka * lit * asp + kb * bsp) + ao * kc * csp)
        white = strand * ao * np.float32(0.10) * (ka * lit * ap + kb * bp + np.float32(0.35) * kc * cp)
        tint = strand * ao * np.float32(0.55) * (ka * lit * aq + kb * bq + np.float32(0.35) * kc * cq)
        r = exposure * (r * (dr + tint) + shine + white + room * sr)
        g = exposure * (g * (dg + tint) + shine + white + room * sg)
        b = exposure * (b * (db + tint) + shine + white + room * sb)
        # Filmic curve (Narkowicz's fit of ACES, 2015).
        r = (
            r
            * (np.float32(2.51) * r + np.float32(0.03))
            / (r * (np.float32(2.43) * r + np.float32(0.59)) + np.float32(0.14))
        )
        g = (
            g
            * (np.float32(2.51) * g + np.float32(0.03))
            / (g * (np.float32(2.43) * g + np.float32(0.59)) + np.float32(0.14))
        )
        b = (
            b
            * (np.float32(2.51) * b + np.float32(0.03))
            / (b * (np.float32(2.43) * b + np.float32(0.59)) + np.float32(0.14))
        )
        lane[OUT, i] = min(max(r, zero), one)
        lane[OUT + 1, i] = min(max(g, zero), one)
        lane[OUT + 2, i] = min(max(b, zero), one)


@inlined
def lit_part(moment, scale, x, y, d):
    """Part of the key light that reaches light-space (x, y, distance d): a variance shadow map (Donnelly & Lauritzen 2006)."""
    size = moment.shape[0]
    one = np.float32(1.0)
    px, py = x * scale, y * scale
    limit = np.float32(size) - np.float32(1.001)
    px, py = (
        min(max(px - np.float32(0.5), np.float32(0.0)), limit),
        min(max(py - np.float32(0.5), np.float32(0.0)), limit),
    )
    ix, iy = np.int64(px), np.int64(py)
    fx, fy = px - np.float32(ix), py - np.float32(iy)
    w00, w10, w01, w11 = (one - fx) * (one - fy), fx * (one - fy), (one - fx) * fy, fx * fy
    m = (
        w00 * moment[iy, ix, 0]
        + w10 * moment[iy, ix + 1, 0]
        + w01 * moment[iy + 1, ix, 0]
        + w11 * moment[iy + 1, ix + 1, 0]
    )
    s = (
        w00 * moment[iy, ix, 1]
        + w10 * moment[iy, ix + 1, 1]
        + w01 * moment[iy + 1, ix, 1]
        + w11 * moment[iy + 1, ix + 1, 1]
    )
    behind = d - m
    if behind <= 0.0:
        return one
    variance = max(s - m * m, np.float32(4e-6))
    # Cutting the tail off removes most of the light that leaks where two shadows overlap.
    return max(variance / (variance + behind * behind) - np.float32(0.15), np.float32(0.0)) * np.float32(1.0 / 0.85)


@inlined
def gather(i, x, y, z, n0, n1, n2, u, v, level, texture, start, side, lens, to_light, moment, lane):
    """Fills lane ``i`` for the surface point at pixel (x, y), view depth z; LIT but neither OPEN nor the tangent."""
    one = np.float32(1.0)
    p0, p1 = (
        (np.float32(x) + np.float32(0.5) - lens[1]) * lens[0],
        (np.float32(y) + np.float32(0.5) - lens[2]) * lens[0],
    )
    over = one / np.sqrt(p0 * p0 + p1 * p1 + one)
    lane[NX, i], lane[NY, i], lane[NZ, i] = n0, n1, n2
    lane[VX, i], lane[VY, i], lane[VZ, i] = -p0 * over, -p1 * over, -over
    even, odd = fetch(texture, start, side, u, v, level)
    lane[RED, i], lane[GREEN, i], lane[BLUE, i] = channel(even, 0), channel(odd, 0), channel(even, 1)
    lane[ALPHA, i], lane[AO, i], lane[GLOSS, i] = channel(odd, 1), channel(even, 2), channel(odd, 2)
    lane[SSS, i], lane[STRAND, i] = channel(even, 3), channel(odd, 3)
    lane[LIT, i] = shadow(p0 * z, p1 * z, z, n0, n1, n2, to_light, moment)


@inlined
def shadow(q0, q1, z, n0, n1, n2, to_light, moment):
    """Part of the key light at view-space point (q0, q1, z); looked up a little off the surface against self-shadow."""
    off = np.float32(0.0015)
    q0, q1, q2 = q0 + off * n0, q1 + off * n1, z + off * n2
    x = to_light[0, 0] * q0 + to_light[0, 1] * q1 + to_light[0, 2] * q2 + to_light[0, 3]
    y = to_light[1, 0] * q0 + to_light[1, 1] * q1 + to_light[1, 2] * q2 + to_light[1, 3]
    d = to_light[2, 0] * q0 + to_light[2, 1] * q1 + to_light[2, 2] * q2 + to_light[2, 3]
    return lit_part(moment, np.float32(1.0), x, y, d)


@fast
def opening(kind, cavity, x, y, reach):
    """How open to light an eye or mouth pixel is: 0.35 under the lid or lip, 1 from ``reach`` pixels below it."""
    own = cavity[kind[y, x]]
    far = np.int64(reach) + 1
    steps = 0
    while steps < far and y - steps - 1 >= 0 and cavity[kind[y - steps - 1, x]] == own:
        steps += 1
    part = min(np.float32(steps) / reach, np.float32(1.0))
    return np.float32(0.35) + np.float32(0.65) * part * (np.float32(2.0) - part)


@fast
def shade_pixels(z, face, kind, normal, uv, share, detail, tangent, cavity, reach, texture, start, side, bias,
                 lens, to_light, moment, lamps, ambient, up, exposure, lane, place, canvas):  # fmt: skip
    """The G-buffer's own surfaces: ``canvas`` (H,W,3) = share * display-linear colour; 0 where nothing is."""
    height, width = z.shape
    count = 0
    one, zero = np.float32(1.0), np.float32(0.0)
    for y in range(height):
        for x in range(width):
            part = share[y, x]
            if part == zero:
                canvas[y, x, 0] = canvas[y, x, 1] = canvas[y, x, 2] = zero
                continue
            f = face[y, x]
            level = np.int64(max(detail[f] + bias, zero))
            gather(count, x, y, z[y, x], normal[0, y, x], normal[1, y, x], normal[2, y, x], uv[0, y, x], uv[1, y, x],
                   level, texture, start, side, lens, to_light, moment, lane)  # fmt: skip
            lane[TX, count], lane[TY, count], lane[TZ, count] = tangent[f, 0], tangent[f, 1], tangent[f, 2]
            lane[OPEN, count] = one
            hollow = cavity[kind[y, x]]
            if hollow != 0:
                lane[OPEN, count] = opening(kind, cavity, x, y, reach[hollow] / z[y, x])
            place[count] = y * width + x
            count += 1
            if count == lane.shape[1]:
                light(lane, count, lamps, ambient, up, exposure)
                put(lane, place, count, width, share, canvas)
                count = 0
    light(lane, count, lamps, ambient, up, exposure)
    put(lane, place, count, width, share, canvas)


@fast
def put(lane, place, count, width, share, canvas):
    """Writes a lit run to the canvas, weighted by each pixel's share."""
    for i in range(count):
        y, x = place[i] // width, place[i] % width
        part = share[y, x]
        canvas[y, x, 0] = part * lane[OUT, i]
        canvas[y, x, 1] = part * lane[OUT + 1, i]
        canvas[y, x, 2] = part * lane[OUT + 2, i]


@fast
def shade_extras(count, pixel, part, face, z, normal, uv, region, detail, tangent, cavity, texture, start, side, bias,
                 lens, to_light, moment, lamps, ambient, up, exposure, lane, canvas):  # fmt: skip
    """Adds the further surfaces of shared pixels to the canvas, each weighted by its part of the pixel."""
    width = canvas.shape[1]
    zero = np.float32(0.0)
    for begin in range(0, count, lane.shape[1]):
        end = min(begin + lane.shape[1], count)
        for k in range(begin, end):
            i, f, y, x = k - begin, face[k], pixel[k] // width, pixel[k] % width
            level = np.int64(max(detail[f] + bias, zero))
            gather(i, x, y, z[k], normal[0, k], normal[1, k], normal[2, k], uv[0, k], uv[1, k],
                   level, texture, start, side, lens, to_light, moment, lane)  # fmt: skip
            lane[TX, i], lane[TY, i], lane[TZ, i] = tangent[f, 0], tangent[f, 1], tangent[f, 2]
            lane[OPEN, i] = np.float32(0.5) if cavity[region[f]] != 0 else np.float32(1.0)
        light(lane, end - begin, lamps, ambient, up, exposure)
        for k in range(begin, end):
            i, y, x = k - begin, pixel[k] // width, pixel[k] % width
            canvas[y, x, 0] += part[k] * lane[OUT, i]
            canvas[y, x, 1] += part[k] * lane[OUT + 1, i]
            canvas[y, x, 2] += part[k] * lane[OUT + 2, i]


@fast
def shade_layer(count, pixel, layer, lens, to_light, moment, lamps, ambient, up, exposure, lane, width):
    """Lights the accumulated blended layer (kernels/blend): slots 0..2 of each entry become its lit colour."""
    one = np.float32(1.0)
    for begin in range(0, count, lane.shape[1]):
        end = min(begin + lane.shape[1], count)
        for k in range(begin, end):
            i, y, x = k - begin, pixel[k] // width, pixel[k] % width
            over = one / layer[k, 13]
            n0, n1, n2 = layer[k, 7], layer[k, 8], layer[k, 9]
            size = one / np.sqrt(n0 * n0 + n1 * n1 + n2 * n2 + np.float32(1e-20))
            n0, n1, n2 = n0 * size, n1 * size, n2 * size
            z = layer[k, 14] * over
            p0, p1 = (
                (np.float32(x) + np.float32(0.5) - lens[1]) * lens[0],
                (np.float32(y) + np.float32(0.5) - lens[2]) * lens[0],
            )
            size = one / np.sqrt(p0 * p0 + p1 * p1 + one)
            lane[NX, i], lane[NY, i], lane[NZ, i] = n0, n1, n2
            lane[VX, i], lane[VY, i], lane[VZ, i] = -p0 * size, -p1 * size, -size
            lane[RED, i], lane[GREEN, i], lane[BLUE, i] = layer[k, 0] * over, layer[k, 1] * over, layer[k, 2] * over
            lane[ALPHA, i] = lane[OPEN, i] = one
            lane[AO, i], lane[GLOSS, i] = layer[k, 3] * over, layer[k, 4] * over
            lane[SSS, i], lane[STRAND, i] = layer[k, 5] * over, layer[k, 6] * over
            lane[TX, i], lane[TY, i], lane[TZ, i] = layer[k, 10], layer[k, 11], layer[k, 12]
            lane[LIT, i] = shadow(p0 * z, p1 * z, z, n0, n1, n2, to_light, moment)
        light(lane, end - begin, lamps, ambient, up, exposure)
        for k in range(begin, end):
            i = k - begin
            layer[k, 0], layer[k, 1], layer[k, 2] = lane[OUT, i], lane[OUT + 1, i], lane[OUT + 2, i]


@fast
def compose(canvas, coverage, slot, layer, background, background_light, encode, rgb, alpha):
    """Canvas, blended layer and background to sRGB ``rgb`` (H,W,3) u8 and ``alpha`` (H,W) u8.

    ``encode`` is a table from display-linear [0,1] to sRGB bytes; ``background_light`` one back, (256,) f32.
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
            r, g, b = canvas[y, x, 0], canvas[y, x, 1], canvas[y, x, 2]
            if through > 0.0:
                r += through * background_light[background[y, x, 0]]
                g += through * background_light[background[y, x, 1]]
                b += through * background_light[background[y, x, 2]]
            if k >= 0:
                clear = layer[k, 15]
                veil = one - clear
                r, g, b = r * clear + veil * layer[k, 0], g * clear + veil * layer[k, 1], b * clear + veil * layer[k, 2]
                through *= clear
            rgb[y, x, 0] = encode[np.int64(min(r, one) * last + np.float32(0.5))]
            rgb[y, x, 1] = encode[np.int64(min(g, one) * last + np.float32(0.5))]
            rgb[y, x, 2] = encode[np.int64(min(b, one) * last + np.float32(0.5))]
            alpha[y, x] = np.uint8((one - through) * np.float32(255.0) + np.float32(0.5))
