"""An avatar on the GPU: what of it stays the same from frame to frame, shared by the sessions that wear it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.avatar import Avatar
from engine.body.body import LID_FOLLOW, Body
from engine.motion.frame import ACTION_INDEX
from engine.render import material
from engine.render.guidance import MASK_OF_REGION, Surface
from engine.render.neural import PHOTOGRAPHED
from engine.render.relight import KINDS
from kernels import bones, skin
from kernels.cuda import Device, DeviceArray
from kernels.guidance import Planes
from kernels.rasterize import Rasterizer

F32 = NDArray[np.float32]
SIDE: Final = 32  # pixels of a picture that nobody paints: what the mesh brings along does not depend on it


class Worn:
    """Device arrays of ``avatar``, whose surface is ``surface`` and whose identity is ``code`` (CODE,).

    ``fields``: every array and number by the name that launches bind it by. ``light`` (2, 3, 12) stays on the host,
    which turns it with the camera.
    """

    def __init__(self, device: Device, avatar: Avatar, surface: Surface, code: F32) -> None:
        mesh, _ = material.build(avatar)
        raster = Rasterizer(mesh, (SIDE, SIDE), samples=1)
        body = Body(avatar)
        skeleton, levels = bones.skeleton(**body.anatomy())
        arrays: dict[str, Any] = skin.mesh(
            body.rest, body.faces, body.weld, avatar.move_index, body.deltas(), avatar.skin_index, avatar.skin_weight,
            avatar.normals_fixed, avatar.rest_normal,
        )  # fmt: skip
        texture, blended = surface.texture, np.flatnonzero(mesh.layer).astype(np.int32)
        arrays |= {
            "faces": np.ascontiguousarray(mesh.faces), "mesh_uv": np.ascontiguousarray(mesh.uv),
            "mesh_region": np.ascontiguousarray(mesh.region), "layer": np.ascontiguousarray(mesh.layer),
            "group": np.ascontiguousarray(raster.group), "uv_area": np.ascontiguousarray(raster.uv_area),
            "skeleton": skeleton, "own_code": code, "blended": blended, "texels": texture.texels,
            "start": texture.start, "classes": MASK_OF_REGION, "kinds": KINDS,
        }  # fmt: skip
        self.avatar, self.light, self.side = avatar, surface.light, texture.side
        self.fields: dict[str, DeviceArray | int | float] = {
            name: device.array(np.ascontiguousarray(value)) for name, value in arrays.items()
        }
        self.vertices, self.triangles, self.blended = len(body.rest), len(mesh.faces), len(blended)
        self.fields |= {
            "blended_count": len(blended), "V": self.vertices, "F": self.triangles, "N": len(skeleton),
            "levels": levels, "M": len(avatar.move_index), "A": len(body.deltas()),
            "texture_levels": len(texture.start), "texture_side": texture.side, "bias": float(np.log2(texture.side)),
            "hair": int(Planes(raster, MASK_OF_REGION, KINDS).hair),
            "confine": int(avatar.meta.look.get("hair") == PHOTOGRAPHED),
        }  # fmt: skip


def lids() -> tuple[NDArray[np.int32], F32]:
    """Actions of the lids that follow the eyes (n,), and what each takes of yaw and pitch (n, 2), as kernels/bones
    takes them."""
    actions, gains = [], []
    for side, outward in (("Left", 1.0), ("Right", -1.0)):
        toward = {"Up": (0.0, 1.0), "Down": (0.0, -1.0), "Out": (outward, 0.0), "In": (-outward, 0.0)}
        for name, full in LID_FOLLOW:
            actions.append(ACTION_INDEX[f"eyeLook{name}{side}"])
            gains.append([axis / full for axis in toward[name]])
    return np.array(actions, np.int32), np.array(gains, np.float32)
