"""kernels/skin: equals its reference and the engine's Body, every row a body of its own."""

from dataclasses import dataclass

import numpy as np
import pytest

from engine import avatar
from engine.body.body import NECK_SHARE, Body
from engine.motion.frame import SIZE, Motion
from kernels import bones as bones_op
from kernels import cuda, layout, nvrtc, skin
from kernels.skin import cost, reference
from tests.kernels.batch import compiles
from tests.kernels.conftest import unwritten
from tests.kernels.test_act_cuda import RULES, frame
from tests.kernels.test_bones_cuda import lids

# V, F, M, N, A
SIZES = [(1, 1, 1, 1, 1), (5, 3, 2, 4, 7), (61, 97, 17, 9, 60), (257, 301, 131, 44, 64), (300, 0, 0, 2, 60)]


@dataclass
class Made:
    """Arrays of one body at random, named as kernels.skin.mesh takes them."""

    mesh: dict
    weights: np.ndarray
    bones: np.ndarray

    def wanted(self):
        mesh = self.mesh
        shaped = reference.blend(mesh["rest"], mesh["move_index"], mesh["deltas"], self.weights)
        posed = reference.skin(shaped, mesh["skin_index"], mesh["skin_weight"], self.bones)
        smooth = reference.normals(posed, mesh["faces"], mesh["weld"])
        turned = reference.rotate(mesh["rest_normal"], mesh["skin_index"], mesh["skin_weight"], self.bones)
        return posed, np.where(mesh["fixed"][:, None] != 0, turned, smooth)


def made(vertices, faces, moving, bones, shapes):
    rng = np.random.default_rng(vertices)
    weight = rng.random((vertices, 4)).astype(np.float32)
    weight[:, 3] *= rng.random(vertices) < 0.5
    deltas = np.float16(rng.normal(0, 0.1, (shapes, moving, 3)) * (rng.random((shapes, moving, 1)) < 0.2))
    weights = np.float32(rng.random(shapes) * (rng.random(shapes) < 0.6))
    mesh = {
        "rest": rng.normal(0, 1, (vertices, 3)).astype(np.float32),
        "faces": rng.integers(0, vertices, (faces, 3)).astype(np.int32),
        "weld": np.minimum(np.arange(vertices), vertices // 2).astype(np.int32),
        "move_index": rng.permutation(vertices)[:moving].astype(np.int32),
        "deltas": deltas.astype(np.float32),
        "skin_index": rng.integers(0, bones, (vertices, 4)).astype(np.uint8),
        "skin_weight": weight / weight.sum(1, keepdims=True),
        "fixed": (rng.random(vertices) < 0.3).astype(np.uint8),
        "rest_normal": rng.normal(0, 1, (vertices, 3)).astype(np.float32),
    }
    return Made(mesh, weights, rng.normal(0, 1, (bones, 3, 4)).astype(np.float32))


class Bodies:
    """Rows of bodies on the device, with room for what is posed."""

    def __init__(self, device, meshes, weights, bones):
        self.device, self.meshes = device, meshes
        self.vertices = [unwritten(device, mesh["rest"].shape) for mesh in meshes]
        self.normals = [unwritten(device, mesh["rest"].shape) for mesh in meshes]
        rows, smooth = [], []
        for i, mesh in enumerate(meshes):
            on = {name: device.array(array) for name, array in mesh.items()}
            common = {"index": on["index"], "weight": on["weight"], "bones": bones[i], "V": len(mesh["rest"])}
            shapes, moving = mesh["delta_z"].shape
            rows.append(
                {name: on[name] for name in ("rest", "moving", "touched", "delta_xy", "delta_z")}
                | common
                | {"weights": weights[i], "vertices": self.vertices[i], "M": moving, "A": shapes}
            )
            smooth.append({name: on[name] for name in ("weld", "begin", "around", "fixed", "rest_normal")}
                          | common | {"vertices": self.vertices[i], "normals": self.normals[i]})  # fmt: skip
        self.tables = device.rows("skin", "Skin", rows), device.rows("skin", "Normals", smooth)

    def pose(self):
        grid = (cuda.blocks(max(len(mesh["rest"]) for mesh in self.meshes), 128), 1, len(self.meshes))
        for kernel, table in zip(("skin", "normals"), self.tables, strict=True):
            self.device.launch("skin", kernel, grid, (128,), table)
        return [(v.get(), n.get()) for v, n in zip(self.vertices, self.normals, strict=True)]


@pytest.mark.parametrize("arch", nvrtc.ARCHITECTURES)
def test_compiles(arch):
    compiles("skin", arch)


def test_poses_every_row_s_body_as_the_reference_does(device):
    cases = [made(*size) for size in SIZES]
    meshes = [skin.mesh(**case.mesh) for case in cases]
    weights, bones = ([device.array(getattr(case, name)) for case in cases] for name in ("weights", "bones"))
    posed = Bodies(device, meshes, weights, bones).pose()
    for case, (vertices, normals) in zip(cases, posed, strict=True):
        want, smooth = case.wanted()
        np.testing.assert_allclose(vertices, want, atol=2e-5)
        np.testing.assert_allclose(normals, smooth, atol=5e-4)


def test_rows_beyond_the_live_ones_are_left_alone(device):
    cases = [made(*SIZES[2]), made(*SIZES[3])]
    meshes = [skin.mesh(**case.mesh) for case in cases]
    weights, bones = ([device.array(getattr(case, name)) for case in cases] for name in ("weights", "bones"))
    bodies = Bodies(device, meshes, weights, bones)
    for table in bodies.tables:
        table._live.put(np.array([1], np.int32))
    (_, _), (vertices, normals) = bodies.pose()
    assert np.isnan(vertices).all() and np.isnan(normals).all()


def of(pack):
    """What kernels.skin.mesh takes of an avatar."""
    deltas = np.concatenate([pack.deltas, pack.residual]).astype(np.float32)
    return skin.mesh(pack.rest, pack.faces, pack.weld, pack.move_index, deltas, pack.skin_index, pack.skin_weight,
                     pack.normals_fixed, pack.rest_normal)  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_from_lips_to_a_posed_body_the_device_does_what_the_engine_does(device):
    packs = [avatar.load(avatar.find(name)) for name in ("maya", "kofi")]
    packs, frames = [*packs, packs[0]], [frame(number) for number in (5, 8, 10)]
    rules = device.array(layout.table("act", "Rules", [RULES]))
    told = device.array(layout.table("act", "Manners", [one.manners for one in frames]))
    motion, changed = unwritten(device, (3, SIZE)), unwritten(device, 3, np.int32)
    weights, (lid, gain) = unwritten(device, (3, 60)), map(device.array, lids())
    acts, poses, bones, kept = [], [], [], []
    for i, (one, pack) in enumerate(zip(frames, packs, strict=True)):
        bone, levels = bones_op.skeleton(**Body(pack).anatomy())
        bones.append(unwritten(device, (len(bone), 3, 4)))
        kept.append([device.array(a) for a in (one.face, one.contact, one.made, bone)])
        acts.append({"rules": rules, "manners": told.row(i), "face": kept[i][0], "contact": kept[i][1],
                     "made": kept[i][2], "motion": motion.row(i), "told": None, "changed": changed.row(i),
                     "lookahead": one.head})  # fmt: skip
        poses.append({"motion": motion.row(i), "skeleton": kept[i][3], "weights": weights.row(i), "bones": bones[i],
                      "N": len(bone), "levels": levels})  # fmt: skip
    bodies = Bodies(device, [of(pack) for pack in packs], [weights.row(i) for i in range(3)], bones)
    device.launch("act", "act", (1, 1, 3), (128,), device.rows("act", "Act", acts))
    device.launch("bones", "bones", (1, 1, 3), (64,), device.rows("bones", "Bones", poses), NECK_SHARE, lid, gain, 8)
    for one, pack, (vertices, normals) in zip(frames, packs, bodies.pose(), strict=True):
        want = Body(pack).pose(Motion.unpack(one.wanted.pack()))
        np.testing.assert_allclose(vertices, want.vertices, atol=2e-5)
        smooth = pack.normals_fixed == 0
        exact = reference.normals(vertices.astype(np.float64), pack.faces, pack.weld)
        np.testing.assert_allclose(normals[smooth], exact[smooth], atol=1e-4)
        # Where a face folds onto its neighbours the sum around a vertex is nearly nothing, and its direction anything.
        assert (np.abs(normals - want.normals).max(1) > 1e-3).sum() <= 2


def test_offsets_of_a_pack_lose_nothing_in_half_precision():
    pack = avatar.load(avatar.find("maya"))
    made_of = of(pack)
    deltas = np.concatenate([pack.deltas, pack.residual])
    np.testing.assert_array_equal(made_of["delta_xy"].view(np.float16), deltas[..., :2])
    np.testing.assert_array_equal(made_of["delta_z"].view(np.float16), deltas[..., 2])


def test_a_mesh_that_the_kernel_cannot_pose_is_refused():
    case = made(*SIZES[1]).mesh
    with pytest.raises(ValueError, match="64 shapes at most"):
        skin.mesh(**case | {"deltas": np.zeros((65, 2, 3), np.float32)})
    with pytest.raises(ValueError, match="loses"):
        skin.mesh(**case | {"deltas": np.full((7, 2, 3), 3.00037, np.float32)})


def test_cost_grows_with_the_bodies():
    assert cost.skin([(9, 4), (9, 4)]) == tuple(2 * value for value in cost.skin([(9, 4)]))
    assert cost.normals([(9, 4), (9, 4)]) == tuple(2 * value for value in cost.normals([(9, 4)]))
