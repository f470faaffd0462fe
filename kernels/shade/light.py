"""The light model on one CPU core (numba): a run of gathered points, one SIMD lane each.

The same arithmetic as reference.py and kernel.cu.
"""

# numba, not mypy, decides the types of scalars in compiled code.
# mypy: disable-error-code="operator, assignment, call-overload, arg-type"
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kernels.jit import F32, U64, Int, Real, fast, inlined

RUN = 512  # points lit at a time
# Lanes of a run. In: pixel centre, view depth, normal, tangent, sRGB colour times alpha, alpha, surface, OPEN (how far
# a lid or lip lets light in). Between: view direction, shadow map place, LIT. Out: display-linear colour.
PX, PY, PZ, NX, NY, NZ, TX, TY, TZ, RED, GREEN, BLUE, ALPHA, AO, GLOSS, SSS, STRAND, OPEN = range(18)
VX, VY, VZ, MX, MY, MD, LIT, OUT = range(18, 26)
LANES = OUT + 3
CATCH = np.float32(2.5)  # parts of the view direction to one of the key's, in the direction a catchlight mirrors


class Scene(NamedTuple):
    """What all points of a picture share.

    lens (3,): 1 / focal, centre x, centre y, pixels. to_light (3,4): view space to shadow map texels and distance;
    moment (S,S,2): the map. lamps (3,6): view-space direction toward the lamp, linear colour; the first casts the
    shadow. ambient (2,3): from above, from below; up (3,): the world's up in view space. lane (LANES, RUN) and
    texel (2, RUN), fetched texels still packed: scratch.
    """

    lens: F32
    to_light: F32
    moment: F32
    lamps: F32
    ambient: F32
    up: F32
    exposure: Real
    lane: F32
    texel: U64


@inlined
def lamp(
    n0: Real,
    n1: Real,
    n2: Real,
    v0: Real,
    v1: Real,
    v2: Real,
    t0: Real,
    t1: Real,
    t2: Real,
    l0: Real,
    l1: Real,
    l2: Real,
    nv: Real,
    rough: Real,
    sss: Real,
) -> tuple[Real, ...]:
    """One directional lamp: wrapped diffuse (3), two-lobe specular, strand diffuse, strand highlights (2)."""
    one, zero = np.float32(1.0), np.float32(0.0)
    nl = n0 * l0 + n1 * l1 + n2 * l2
    # Light that enters skin leaves it past the terminator, red farthest (after Penner, pre-integrated skin, 2011).
    wr, wg, wb = np.float32(0.10) + np.float32(0.26) * sss, np.float32(0.10) + np.float32(0.10) * sss, np.float32(0.10)
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
def light(count: Int, scene: Scene) -> None:
    """Lights the first ``count`` lanes: OUT..OUT+2 receive display-linear red, green, blue in [0, 1]."""
    lane, lamps, ambient, up, exposure = scene.lane, scene.lamps, scene.ambient, scene.up, scene.exposure
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
        rough = np.float32(0.64) - np.float32(0.44) * lane[GLOSS, i]
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
        lg = lit * (one - sss * np.float32(0.04)) + sss * np.float32(0.04)
        lr = lit * (one - sss * np.float32(0.14)) + sss * np.float32(0.14)
        warm = ao * (one + np.float32(0.28) * sss * (one - ao))
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
        # Wet eyes: the window of the key lamp in the cornea, drawn toward the viewer so that the lid does not hide it.
        wet = min(max((lane[GLOSS, i] - np.float32(0.8)) * np.float32(8.0), zero), one)
        m0, m1, m2 = a0 + CATCH * v0, a1 + CATCH * v1, a2 + CATCH * v2
        over = one / np.sqrt(m0 * m0 + m1 * m1 + m2 * m2)
        window = min(max(((n0 * m0 + n1 * m1 + n2 * m2) * over - np.float32(0.989)) * np.float32(160.0), zero), one)
        window = np.float32(0.8) * wet * ka * window * window * (np.float32(3.0) - np.float32(2.0) * window)
        polish = min(max((lane[GLOSS, i] - np.float32(0.06)) * np.float32(5.0), zero), one)
        shine = keep * polish * (half * (ka * lit * asp + kb * bsp) + ao * kc * csp)
        shine += keep * window * opened * (np.float32(0.4) + np.float32(0.6) * lit)
        white = strand * ao * np.float32(0.15) * lane[GLOSS, i] * (ka * lit * ap + kb * bp + np.float32(0.35) * kc * cp)
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
def lit_part(moment: F32, x: Real, y: Real, d: Real) -> Real:
    """Part of the key light that reaches texel (x, y) of the shadow map at distance ``d``.

    A variance shadow map (Donnelly & Lauritzen 2006): Chebyshev's bound on the depths around.
    """
    one, zero, half = np.float32(1.0), np.float32(0.0), np.float32(0.5)
    limit = np.float32(moment.shape[0]) - np.float32(1.001)
    px, py = x - half, y - half
    if not (px >= zero and py >= zero and px < limit and py < limit):
        return one  # nothing is known outside the map
    ix, iy = np.int64(px), np.int64(py)
    fx, fy = px - np.float32(ix), py - np.float32(iy)
    m0 = moment[iy, ix, 0] + fx * (moment[iy, ix + 1, 0] - moment[iy, ix, 0])
    m1 = moment[iy + 1, ix, 0] + fx * (moment[iy + 1, ix + 1, 0] - moment[iy + 1, ix, 0])
    s0 = moment[iy, ix, 1] + fx * (moment[iy, ix + 1, 1] - moment[iy, ix, 1])
    s1 = moment[iy + 1, ix, 1] + fx * (moment[iy + 1, ix + 1, 1] - moment[iy + 1, ix, 1])
    mean, square = m0 + fy * (m1 - m0), s0 + fy * (s1 - s0)
    behind = d - mean
    if behind <= zero:
        return one
    variance = max(square - mean * mean, np.float32(4e-6))
    # Cutting the tail off removes most of the light that leaks where two shadows overlap.
    return max(variance / (variance + behind * behind) - np.float32(0.15), zero) * np.float32(1.0 / 0.85)


@fast
def locate(count: Int, scene: Scene) -> None:
    """From where each point is: its view direction, and the part of the key light that reaches it (LIT)."""
    lane, to_light, moment = scene.lane, scene.to_light, scene.moment
    one, off = np.float32(1.0), np.float32(0.0015)  # looked up 1.5 mm off the surface, against shadow on itself
    over_focal, cx, cy = scene.lens[0], scene.lens[1], scene.lens[2]
    a0, a1, a2, a3 = to_light[0, 0], to_light[0, 1], to_light[0, 2], to_light[0, 3]
    b0, b1, b2, b3 = to_light[1, 0], to_light[1, 1], to_light[1, 2], to_light[1, 3]
    c0, c1, c2, c3 = to_light[2, 0], to_light[2, 1], to_light[2, 2], to_light[2, 3]
    for i in range(count):
        p0, p1, z = (lane[PX, i] - cx) * over_focal, (lane[PY, i] - cy) * over_focal, lane[PZ, i]
        over = one / np.sqrt(p0 * p0 + p1 * p1 + one)
        lane[VX, i], lane[VY, i], lane[VZ, i] = -p0 * over, -p1 * over, -over
        q0, q1, q2 = p0 * z + off * lane[NX, i], p1 * z + off * lane[NY, i], z + off * lane[NZ, i]
        lane[MX, i] = a0 * q0 + a1 * q1 + a2 * q2 + a3
        lane[MY, i] = b0 * q0 + b1 * q1 + b2 * q2 + b3
        lane[MD, i] = c0 * q0 + c1 * q1 + c2 * q2 + c3
    for i in range(count):
        lane[LIT, i] = lit_part(moment, lane[MX, i], lane[MY, i], lane[MD, i])


@fast
def unpack(count: Int, scene: Scene) -> None:
    """Fetched texels to the lanes of their eight channels."""
    lane, texel = scene.lane, scene.texel
    low, unit = np.uint64(0xFFFF), np.float32(1.0 / 65280.0)
    for i in range(count):
        even, odd = texel[0, i], texel[1, i]
        lane[RED, i] = np.float32(np.int32(even & low)) * unit
        lane[GREEN, i] = np.float32(np.int32(odd & low)) * unit
        lane[BLUE, i] = np.float32(np.int32(even >> np.uint64(16) & low)) * unit
        lane[ALPHA, i] = np.float32(np.int32(odd >> np.uint64(16) & low)) * unit
        lane[AO, i] = np.float32(np.int32(even >> np.uint64(32) & low)) * unit
        lane[GLOSS, i] = np.float32(np.int32(odd >> np.uint64(32) & low)) * unit
        lane[SSS, i] = np.float32(np.int32(even >> np.uint64(48))) * unit
        lane[STRAND, i] = np.float32(np.int32(odd >> np.uint64(48))) * unit
