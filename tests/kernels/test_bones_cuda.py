"""kernels/bones: its reference, and the bones and weights of the engine's own Body."""

import numpy as np
import pytest

from engine import avatar
from engine.body import body
from engine.motion.frame import ACTION_INDEX, HIGHEST, LOWEST, SIZE, Motion
from kernels import bones as op
from kernels import nvrtc
from kernels.bones import cost, reference
from tests.kernels.batch import compiles
from tests.kernels.conftest import unwritten
from tests.synthetic import make_avatar


def lids():
    """Actions that follow the gaze (8,), and what of yaw and pitch each takes (8, 2)."""
    toward = {"Up": (0, 1), "Down": (0, -1), "Out": (1, 0), "In": (-1, 0)}
    rows = []
    for side, outward in (("Left", 1), ("Right", -1)):
        for name, full in body.LID_FOLLOW:
            sign = outward if name in ("In", "Out") else 1
            rows.append((ACTION_INDEX[f"eyeLook{name}{side}"], sign * np.array(toward[name]) / full))
    return np.array([row[0] for row in rows], np.int32), np.array([row[1] for row in rows], np.float32)


def motions(count):
    rng = np.random.default_rng(3)
    whole = rng.normal(0, 0.6, (count, SIZE))
    whole[:2] = 0.0
    whole[2:4, 62:] = rng.normal(0, 3, (2, SIZE - 62))  # far over
    whole[4:6, 68:] *= 1e-10
    return np.clip(whole, LOWEST, HIGHEST).astype(np.float32)


@pytest.mark.parametrize("arch", nvrtc.ARCHITECTURES)
def test_compiles(arch):
    compiles("bones", arch)


def test_poses_every_row_s_skeleton_as_its_body_does(device):
    bodies = [body.Body(pack) for pack in (make_avatar(), avatar.load(avatar.find("maya")))] * 4
    told = motions(len(bodies))
    lid, gain = lids()
    rows, outs, weights = [], [], unwritten(device, (len(bodies) + 1, 60))
    for i, posed in enumerate(bodies):
        made, levels = op.skeleton(**posed.anatomy())
        outs.append(unwritten(device, (len(made), 3, 4)))
        rows.append({"motion": device.array(told[i]), "skeleton": device.array(made), "weights": weights.row(i),
                     "bones": outs[-1], "N": len(made), "levels": levels})  # fmt: skip
    table = device.rows("bones", "Bones", rows)
    device.launch("bones", "bones", (1, 1, len(rows) + 1), (64,), table, body.NECK_SHARE, device.array(lid),
                  device.array(gain), len(lid))  # fmt: skip
    shaped = weights.get()
    assert np.isnan(shaped[-1]).all()
    for i, posed in enumerate(bodies):
        want = posed.pose(Motion.unpack(told[i]))
        np.testing.assert_allclose(outs[i].get(), want.bones, atol=1e-5, err_msg=str(i))
        np.testing.assert_allclose(shaped[i], want._weights, atol=1e-6, err_msg=str(i))
        made = rows[i]["skeleton"].get()
        np.testing.assert_allclose(outs[i].get(), reference.bones(told[i], made, body.NECK_SHARE), atol=1e-5)
        np.testing.assert_allclose(shaped[i], reference.weights(told[i], lid, gain), atol=1e-6)


def test_a_skeleton_that_the_kernel_cannot_pose_is_refused():
    flat = np.zeros((65, 3)), np.zeros((65, 3, 3))
    with pytest.raises(ValueError, match="64 bones at most"):
        op.skeleton(np.arange(-1, 64), *flat, [], [], [], 0, 0, [])
    with pytest.raises(ValueError, match="parents come first"):
        op.skeleton(np.array([-1, 2, 1]), flat[0][:3], flat[1][:3], [], [], [], 0, 0, [])


def test_cost_grows_with_the_bones():
    assert cost.bones([54, 54]) == tuple(2 * value for value in cost.bones([54]))
