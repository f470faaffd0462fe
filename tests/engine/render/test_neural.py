"""The neural renderer around its network: stateful only through its state, and no input however bad reaches a pixel.

The network is a stand-in (toy.py) whose answer is known; what the real one looks like is bench/run.py render's to say.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from engine.config import EngineConfig, RenderConfig
from engine.engine import Engine
from engine.motion.frame import ACTION_INDEX, Motion
from engine.render import network, neural
from engine.render.composite import Backdrop, behind
from engine.stages import Stages
from engine.viewpoint import PITCH_LIMIT, YAW_LIMIT, Viewpoint
from kernels.compose import reference as compose
from tests.engine.render import toy
from tests.synthetic import make_avatar

SIZE = (64, 96)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return network.find(str(toy.save(tmp_path_factory.mktemp("toy"), SIZE)), threads=1, precision="f32")


@pytest.fixture(scope="module")
def renderer(weights):
    return neural.NeuralRenderer(make_avatar(), weights, SIZE, "head")


def turning(step):
    """A motion and a viewpoint for frame ``step`` of a small scene with everything moving."""
    motion = Motion.rest()
    motion.face[ACTION_INDEX["jawOpen"]] = 0.5 + 0.5 * np.sin(step)
    motion.head[1] = 0.05 * step
    return motion, Viewpoint(yaw=0.1 * step, distance=1.05)


def film(renderer, steps, state=None):
    state, frames = state or renderer.initial_state(), []
    for step in steps:
        picture, state = renderer.step(*turning(step), state)
        frames.append((picture.rgba.copy(), picture.rgb.copy(), picture.alpha.copy(), picture.mask.copy()))
    return frames, state


def same(one, two):
    for mine, theirs in zip(one, two, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_same_motion_gives_the_same_pictures_bit_for_bit(renderer, weights):
    again = neural.NeuralRenderer(make_avatar(), weights, SIZE, "head")
    same(film(renderer, range(5))[0], film(again, range(5))[0])


def test_hair_of_a_photograph_ends_where_the_guide_ends_and_other_hair_where_the_network_says(monkeypatch, weights):
    paint = neural.cells.paint

    def widened(*args):
        out = paint(*args)
        out[..., 3] = np.maximum(out[..., 3], 200)
        return out

    monkeypatch.setattr(neural.cells, "paint", widened)
    plain = make_avatar()
    own = replace(plain, meta=replace(plain.meta, look={**plain.meta.look, "hair": neural.PHOTOGRAPHED}))
    free, confined = (neural.NeuralRenderer(avatar, weights, SIZE, "head") for avatar in (plain, own))
    wide, tight = (film(renderer, range(1))[0][0][0] for renderer in (free, confined))
    cover = confined._known.hi[3]
    assert (wide[..., 3] >= 200).all() and (cover == 0).any()
    np.testing.assert_array_equal(tight[..., 3], np.minimum(wide[..., 3], cover))
    assert (tight[..., :3] <= tight[..., 3:]).all()


def test_in_pieces_it_paints_what_it_paints_in_one_go_and_two_states_do_not_mix(renderer):
    whole, _ = film(renderer, range(6))
    other, _ = film(renderer, range(9, 3, -1))
    mine, states, pieces = [[], []], [None, None], [(0, 1), (1, 3), (3, 6)]
    for begin, end in pieces:
        for k, steps in enumerate((range(begin, end), range(9 - begin, 9 - end, -1))):
            frames, states[k] = film(renderer, steps, states[k])
            mine[k] += frames
    same(whole, mine[0])
    same(other, mine[1])


def test_the_previous_picture_is_seen_until_a_cut_forgets_it(renderer):
    followed, state = film(renderer, range(3))
    fresh, _ = film(renderer, [2])
    assert np.abs(followed[-1][0].astype(int) - fresh[0][0]).max() > 3
    state.reset(False)
    going_on, _ = film(renderer, [3], state)
    whole, state = film(renderer, range(4))
    same(going_on, whole[-1:])
    state.reset()
    same(film(renderer, [2], state)[0], fresh)


def test_a_camera_that_jumps_is_a_cut(renderer):
    motion, view = turning(0)
    _, state = film(renderer, range(2))
    far = replace(view, yaw=view.yaw + 0.1 + math.radians(12.5))
    jumped, _ = renderer.step(motion, far, state)
    jumped = jumped.rgba.copy()
    fresh, _ = renderer.step(motion, far, renderer.initial_state())
    np.testing.assert_array_equal(jumped, fresh.rgba)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30, -50.0])
def test_a_motion_that_is_not_one_is_painted_clamped_and_counted(renderer, bad):
    motion, view = turning(0)
    for channel in (motion.face, motion.lip, motion.gaze, motion.head, motion.joints):
        channel.reshape(-1)[0] = bad
    before = renderer.clamped
    picture, _ = renderer.step(motion, view, renderer.initial_state())
    painted = picture.rgba.copy()
    assert renderer.clamped == before + 1
    expected, _ = renderer.step(motion.clipped(), view, renderer.initial_state())
    assert renderer.clamped == before + 1
    np.testing.assert_array_equal(painted, expected.rgba)
    assert (painted[..., :3] <= painted[..., 3:]).all()


def test_seeds_draw_different_noise_and_the_same_seed_the_same(renderer, weights):
    other = neural.NeuralRenderer(make_avatar(), weights, SIZE, "head", seed=1)
    assert (film(renderer, [0])[0][0][0] != film(other, [0])[0][0][0]).any()
    again = neural.NeuralRenderer(make_avatar(), weights, SIZE, "head", seed=1)
    same(film(other, [0])[0], film(again, [0])[0])


@pytest.mark.parametrize("backdrop", [Backdrop(), Backdrop("blur"), Backdrop("colour", (1, 200, 30))])
def test_the_picture_lies_over_its_background(renderer, backdrop):
    renderer.show(backdrop)
    rgba, rgb, alpha, _ = film(renderer, [1])[0][0]
    np.testing.assert_array_equal(rgb, compose.over(rgba, behind(backdrop, make_avatar(), SIZE)))
    np.testing.assert_array_equal(alpha, rgba[..., 3])
    assert alpha.min() == 0 and alpha.max() == 255 and not renderer.transparent


def test_a_cutout_has_straight_alpha(renderer):
    renderer.show(Backdrop("transparent"))
    rgba = film(renderer, range(2))[0][-1][0].astype(float)
    cutout, solid = renderer.cutout(), rgba[..., 3] > 0
    assert renderer.transparent
    np.testing.assert_array_equal(cutout[..., 3], rgba[..., 3])
    back = cutout[..., :3] * (cutout[..., 3:] / 255.0)
    assert np.abs(back - rgba[..., :3])[solid].max() <= 0.51 and not cutout[~solid][:, :3].any()


def test_stages_are_named(renderer):
    stages = Stages()
    renderer.step(*turning(0), renderer.initial_state(), stages)
    assert list(stages.times) == ["body", "raster", "guide", "network", "composite"]


def test_a_view_is_held_back_smoothly_and_untouched_inside():
    inside = Viewpoint(0.9, -0.2, 1.2, 0.05, -0.1)
    held = neural.within_reach(inside, 1.05)
    assert held == replace(inside, distance=held.distance) and held.distance == pytest.approx(1.2)
    far = [neural.within_reach(Viewpoint(yaw, yaw, 1.6 * math.exp(yaw)), 1.6) for yaw in np.linspace(-9, 9, 3601)]
    yaws, pitches = np.array([view.yaw for view in far]), np.array([view.pitch for view in far])
    distances = np.log([view.distance / 1.6 for view in far])
    for values, limit in ((yaws, YAW_LIMIT), (pitches, PITCH_LIMIT), (distances, math.log(2))):
        assert np.abs(values).max() <= limit + 1e-12
        slope = np.diff(values)
        assert (slope >= -1e-12).all() and np.abs(np.diff(slope)).max() < 5e-4  # neither back nor in a jerk


def test_weights_that_do_not_fit_are_refused_with_the_reason(tmp_path):
    avatar = make_avatar()
    path = toy.save(tmp_path, SIZE)
    with pytest.raises(ValueError, match=r"multiples of 32 pixels, not 100 x 70: set \[render\] .* to 96 x 64"):
        neural.NeuralRenderer(avatar, network.find(str(path)), (70, 100))
    with pytest.raises(ValueError, match="weights are not there"):
        neural.NeuralRenderer(avatar, network.find(str(tmp_path / "none.onnx")), SIZE)
    foreign = toy.save(tmp_path, SIZE, "foreign", motion="mouvement")
    with pytest.raises(ValueError, match=r"foreign.onnx is not of this version of visavis: motion is missing"):
        neural.NeuralRenderer(avatar, network.find(str(foreign)), SIZE)
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(ValueError, match="toy.onnx: not a network"):
        neural.NeuralRenderer(avatar, network.find(str(path)), SIZE)
    with pytest.raises(ValueError, match="framing must be one of"):
        neural.NeuralRenderer(avatar, network.find(str(foreign)), SIZE, "feet")


def test_a_session_paints_with_it_and_forgets_the_previous_picture_when_it_should(tmp_path):
    path = toy.save(tmp_path, (64, 64))
    render = RenderConfig(64, 64, renderer="neural", network=str(path), background="#102030", threads=1)
    engine = Engine(EngineConfig(render=render))
    session = engine.open(seed=3)
    session.push_voice(np.zeros(4 * 1920, np.float32))
    session.step()
    frame = session.step()
    assert frame.i420.shape == (96, 64) and frame.stages["network"] > 0 and frame.cutout is None and frame.clamped == 0
    assert session.state.render.history.started
    session.look_now()
    assert not session.state.render.history.started
    session.wear(engine.renderer("kofi", seed=3))
    assert not session.state.render.history.started and not session.state.render.previous.any()
