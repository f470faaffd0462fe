"""The work of one tick, in order: sound, lips, performance, body, picture. One kernel or network a line.

``s`` is the session that sits in a row (Seat.namespace), ``r`` the row: scratch, and the tick's inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from engine.audio.logmel import BINS, FLOOR, WINDOW, mel_filters
from engine.body.body import NECK_SHARE
from engine.clock import HOPS_PER_FRAME
from engine.gpu import wish, worn
from engine.gpu.plan import Launch, Step
from engine.motion.perform import SILENT
from engine.motion.performance import PERFORMANCE
from kernels import logmel
from kernels.cuda import Device, DeviceArray, blocks
from kernels.move import moves

MEL: Final = HOPS_PER_FRAME * BINS  # numbers of a frame's log-mel
ROWS: Final = (1, 1)
ACROSS: Final = 128  # blocks of a move: enough for one session's noise, and little to start for the rest


class Sizes(NamedTuple):
    """Picture (H, W); the most vertices, faces and see-through faces an avatar may have; how many numbers (of four
    bytes) the networks remember or are told of a session, by name."""

    height: int
    width: int
    vertices: int
    triangles: int
    blended: int
    counts: Mapping[str, int]


def shared(device: Device) -> dict[str, DeviceArray]:
    """What is the same for all sessions."""
    lid, gain = worn.lids()
    hann = np.hanning(WINDOW + 1)[:WINDOW].astype(np.float32)
    arrays = {
        **logmel.tables(hann, mel_filters()), "rules": wish.rules(), "lid": lid, "lid_gain": gain,
        "silence": np.full(MEL, SILENT, np.float32),
    }  # fmt: skip
    return {name: device.array(value) for name, value in arrays.items()}


def move(*parts: Callable[[Any, Any], dict[str, Any]]) -> Launch:
    """Moves at the same time, each a struct Move of kernels/move."""
    return Launch("move", "move", "Moves", (ACROSS, len(parts)), (256, 1), lambda s, r: moves([p(s, r) for p in parts]))


def copy(r: Any, source: Any, target: Any, count: int, when: Any = 0, otherwise: Any = 0) -> dict[str, Any]:
    """``count`` numbers from one place to another; where ``when`` is 0, ``otherwise`` (null: nothing)."""
    return {"source": source, "target": target, "count": r.one * count, "when": when, "otherwise": otherwise}


def voice(tables: Mapping[str, DeviceArray], sizes: Sizes, lips: Step, performer: Step, told: Sequence[str]
          ) -> list[Launch | Step]:  # fmt: skip
    """Sound to the lips of all heads, `r.face`, `r.contact` and `r.viseme`, and to everything else, `s.made`: two
    frames of the performer every other frame, or a row of the host's. ``told``: what the painter is told of a session.
    """
    listened = tuple(tables[name] for name in ("window", "twiddle", "first", "begin", "weight"))
    counts, silence = sizes.counts, tables["silence"].pointer
    return [
        Launch("logmel", "logmel", "LogMel", ROWS, (256, 1),
               lambda s, r: {"sound": r.sound, "tail": s.tail, "mel": r.mel}, (*listened, float(FLOOR))),
        move(
            lambda s, r: copy(r, s.lips, r.lips, counts["lips"]),
            lambda s, r: copy(r, s.performer, r.performer, counts["performer"]),
            lambda s, r: copy(r, s.before, r.heard, MEL),
            # An avatar that was interrupted hears nothing.
            lambda s, r: copy(r, r.mel, r.heard_now, MEL, r.open, r.one * silence),
            *[_tell(name, counts[name]) for name in told],
        ),
        lips,
        performer,
        move(
            lambda s, r: copy(r, r.next_lips, s.lips, counts["lips"]),
            lambda s, r: copy(r, r.heard_now, s.before, MEL),
            lambda s, r: copy(r, r.next_performer, s.performer, counts["performer"], r.perform),
            lambda s, r: copy(r, r.performance, s.made, 2 * PERFORMANCE, r.perform),
            lambda s, r: copy(r, r.performed, s.made, PERFORMANCE, r.ruled),
        ),
    ]  # fmt: skip


def _tell(name: str, count: int) -> Callable[[Any, Any], dict[str, Any]]:
    return lambda s, r: copy(r, getattr(s, f"own_{name}"), getattr(r, name), count)


def body(tables: Mapping[str, DeviceArray], sizes: Sizes, lookahead: int) -> list[Launch | Step]:
    """Lips and performance to a Motion, `r.motion`, and to a posed body, `r.vertices` and `r.normals`."""
    rules, lid, gain = tables["rules"].pointer, tables["lid"], tables["lid_gain"]
    grid = (blocks(sizes.vertices, 128), 1)
    return [
        Launch("act", "act", "Act", ROWS, (128, 1), lambda s, r: {
            "rules": r.one * rules, "manners": r.manners, "face": r.face, "contact": r.contact, "made": s.made,
            "motion": r.motion, "told": 0, "changed": r.changed, "lookahead": r.one * lookahead,
        }),
        Launch("bones", "bones", "Bones", ROWS, (64, 1), lambda s, r: {
            "motion": r.motion, "skeleton": s.skeleton, "weights": r.weights, "bones": r.bones, "N": s.N,
            "levels": s.levels,
        }, (float(NECK_SHARE), lid, gain, len(lid.get()))),
        Launch("skin", "skin", "Skin", grid, (128, 1), lambda s, r: {
            "rest": s.rest, "moving": s.moving, "touched": s.touched, "delta_xy": s.delta_xy, "delta_z": s.delta_z,
            "weights": r.weights, "index": s.index, "weight": s.weight, "bones": r.bones, "vertices": r.vertices,
            "V": s.V, "M": s.M, "A": s.A,
        }),
        Launch("skin", "normals", "Normals", grid, (128, 1), lambda s, r: {
            "vertices": r.vertices, "weld": s.weld, "begin": s.begin, "around": s.around, "fixed": s.fixed,
            "rest_normal": s.rest_normal, "index": s.index, "weight": s.weight, "bones": r.bones,
            "normals": r.normals, "V": s.V,
        }),
    ]  # fmt: skip


def raster(sizes: Sizes) -> list[Launch | Step]:
    """The posed body to a G-buffer with one sample a pixel."""
    height, width = sizes.height, sizes.width

    def bind(s: Any, r: Any) -> dict[str, Any]:
        nothing = dict.fromkeys(
            ("coverage", "share", "extra_share", "extra_face", "extra_depth", "extra_normal", "extra_uv", "wanted"), 0
        )
        return nothing | {
            "faces": s.faces, "uv": s.mesh_uv, "layer": s.layer, "face_region": s.mesh_region, "face_group": s.group,
            "uv_area": s.uv_area, "vertices": r.vertices, "normals": r.normals, "previous": s.was_place,
            "lens": r.lens, "place": s.now_place, "xy": r.xy, "record": r.record, "triangle": r.triangle,
            "owner": r.owner, "plane": r.plane, "detail": r.detail, "tangent": r.drift, "fade": r.fade,
            "buffer": r.buffer, "depth": r.depth, "face": r.face_plane, "region": r.region, "normal": r.normals_plane,
            "uv_plane": r.uv, "flow": r.flow, "vertex_count": s.V, "face_count": s.F,
        }  # fmt: skip

    faces = (blocks(sizes.triangles, 128), 1)
    return [
        # It empties the buffer too, and enough threads for that fill a GPU even for one session.
        Launch("rasterize", "project", "Raster", (blocks(max(sizes.vertices, height * width // 8), 256), 1), (256, 1),
               bind, (1, height, width)),
        Launch("rasterize", "setup", "Raster", faces, (128, 1), bind, (height, width)),
        Launch("rasterize", "fill", "Raster", faces, (128, 1), bind, (1, height, width)),
        Launch("rasterize", "resolve", "Raster", (blocks(width, 32), blocks(height, 8)), (32, 8), bind,
               (1, height, width)),
    ]  # fmt: skip


def painting(sizes: Sizes, network: Step) -> list[Launch | Step]:
    """Cells to a picture over its background, I420 and marked: `s.now_picture` and `r.picture`."""
    height, width = sizes.height, sizes.width
    return [
        Launch("cells", "follow", "Follow", (blocks(width, 128), height // 8), (64, 4), lambda s, r: {
            "previous": s.was_picture, "flow": r.half_flow, "hi": r.hi, "lo": r.lo, "seen": r.seen, "out": r.cells,
        }, (height, width)),
        network,
        Launch("cells", "show", "Show", (blocks(width, 32), height // 8), (256, 1), lambda s, r: {
            "residual": r.residual, "shares": r.shares, "gain": r.gain, "cells": r.cells, "confine": s.confine,
            "background": s.background, "field": s.field, "picture": s.now_picture, "alpha": 0, "out": r.picture,
        }, (0, height, width)),
    ]  # fmt: skip


def guidance(sizes: Sizes) -> list[Launch | Step]:
    """The G-buffer to what the painter is told, `r.hi`, `r.lo`, `r.half_flow` and `r.seen`."""
    height, width = sizes.height, sizes.width
    h, w = height // 2, width // 2
    faces = (blocks(sizes.blended, 128), 1)

    def blend(s: Any, r: Any) -> dict[str, Any]:
        return {
            "chosen": s.blended, "xy": r.xy, "triangle": r.triangle, "owner": r.owner, "plane": r.plane,
            "fade": r.fade, "detail": r.detail, "tangent": r.drift, "lens": r.lens, "buffer": r.buffer,
            "texture": {"texels": s.texels, "start": s.start, "levels": s.texture_levels, "side": s.texture_side},
            "bias": s.bias, "layer": r.layer, "chosen_count": s.blended_count,
        }  # fmt: skip

    return [
        Launch("guidance", "drift", "Drift", faces, (128, 1), lambda s, r: {
            "blended": s.blended, "count": s.blended_count, "triangle": r.triangle, "owner": r.owner,
            "place": s.now_place, "record": r.record, "motion": r.drift,
        }),
        Launch("blend", "forget", "Blend", (blocks(4 * height * width, 256), 1), (256, 1), blend, (height, width)),
        Launch("blend", "accumulate", "Blend", faces, (128, 1), blend, (1, height, width)),
        Launch("guidance", "sample", "Sample", (blocks(w, 32), blocks(h, 8)), (32, 8), lambda s, r: {
            "face": r.face_plane, "region": r.region, "depth": r.depth, "normal": r.normals_plane, "uv": r.uv,
            "flow": r.flow, "buffer": r.buffer, "plane": r.plane, "detail": r.detail, "layer": r.layer,
            "texels": s.texels, "start": s.start, "levels": s.texture_levels, "side": s.texture_side,
            "classes": s.classes, "kinds": s.kinds, "hair": s.hair, "look": r.look, "hi": r.hi, "lo": r.lo,
            "lead": r.half_flow, "z": s.now_depth, "before": r.was, "mask": s.now_mask,
        }, (height, width)),
        Launch("guidance", "columns", "Columns", (blocks(w, 32), 1), (32, 8), lambda s, r: {
            "mask": s.now_mask, "nearest": r.nearest,
        }, (h, w)),
        Launch("guidance", "lead", "Lead", (blocks(w, 256), h), (256, 1), lambda s, r: {
            "mask": s.now_mask, "nearest": r.nearest, "before": r.was, "lead": r.half_flow, "old_depth": s.was_depth,
            "old_mask": s.was_mask, "seen": r.seen,
        }, (h, w)),
    ]  # fmt: skip
