"""Backgrounds: what people may write, what they get, and what they are told when it cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from engine import image
from engine.motion.frame import Motion
from engine.render.composite import Backdrop, behind, blurred, parse
from engine.render.geometric import GeometricRenderer
from engine.viewpoint import Viewpoint
from tests.synthetic import make_avatar


@pytest.mark.parametrize(
    ("text", "backdrop"),
    [
        ("avatar", Backdrop()),
        ("blur", Backdrop("blur")),
        ("transparent", Backdrop("transparent")),
        ("#0a10fF", Backdrop("colour", (10, 16, 255))),
        ("#f08", Backdrop("colour", (255, 0, 136))),
    ],
)
def test_words_and_colours_are_understood(text, backdrop):
    assert parse(text) == parse(text, files=False) == backdrop


@pytest.mark.parametrize("text", ["", "#12345", "red", "/etc/passwd", "../x.png"])
def test_anything_else_is_refused_and_files_only_where_they_are_allowed(text):
    with pytest.raises(ValueError, match='background must be "avatar", "blur"'):
        parse(text, files=False)


def test_an_image_file_covers_the_picture_and_a_bad_one_is_named(tmp_path):
    picture = np.zeros((40, 90, 3), np.uint8)
    picture[:, 45:] = 200
    (tmp_path / "a.png").write_bytes(image.encode_png(picture))
    out = behind(parse(str(tmp_path / "a.png")), make_avatar(), (32, 48))
    assert out.shape == (32, 48, 3) and (out[:, :20] == 0).all() and (out[:, -20:] == 200).all()
    (tmp_path / "b.png").write_bytes(image.encode_png(picture)[:60])
    with pytest.raises(ValueError, match="b.png: a png picture of 90x40 could not be decoded"):
        parse(str(tmp_path / "b.png"))
    with pytest.raises(ValueError, match="No such file"):
        parse(str(tmp_path / "c.png"))


def test_blur_keeps_the_light_and_takes_the_detail():
    noise = np.random.default_rng(0).integers(0, 256, (61, 83, 3)).astype(np.uint8)
    soft = blurred(noise, 4.0)
    assert abs(soft.mean() - noise.mean()) < 3 and soft.std() < 0.2 * noise.std()
    np.testing.assert_array_equal(blurred(np.full((9, 9, 3), 77, np.uint8), 3.0), 77)
    dot = np.zeros((81, 81, 3), np.uint8)
    dot[38:43, 38:43] = 255
    x = np.arange(81) - 40
    profile = blurred(dot, 5.0)[..., 0].astype(float).sum(0)
    assert np.sqrt((profile * x**2).sum() / profile.sum()) == pytest.approx(np.sqrt(5.0**2 + 2.0), rel=0.1)


def test_the_geometric_renderer_shows_each_of_them_and_cuts_out():
    renderer = GeometricRenderer(make_avatar(), (64, 64), "head", background=Backdrop("colour", (9, 8, 7)))
    motion, view = Motion.rest(), Viewpoint(distance=1.05)
    picture, state = renderer.step(motion, view, renderer.initial_state())
    assert picture.rgb[0, 0].tolist() == [9, 8, 7] and not renderer.transparent
    solid = picture.alpha == 255
    own = picture.rgb[solid].copy()
    renderer.show(Backdrop("transparent"))
    picture, _ = renderer.step(motion, view, state)
    cutout = renderer.cutout()
    assert renderer.transparent and cutout.shape == (64, 64, 4)
    assert np.abs(cutout[solid][:, :3].astype(int) - own).max() <= 1 and (cutout[picture.alpha == 0, :3] == 0).all()
    edge = (picture.alpha > 60) & (picture.alpha < 200)
    assert edge.any() and (cutout[edge][:, :3] >= picture.rgb[edge]).all()  # lighter than over black


def test_a_motion_that_is_not_finite_is_counted_by_the_geometric_renderer_too():
    renderer = GeometricRenderer(make_avatar(), (64, 64), "head")
    motion = Motion.rest()
    motion.head[0] = np.nan
    picture, _ = renderer.step(motion, Viewpoint(distance=1.05), renderer.initial_state())
    assert renderer.clamped == 1 and picture.alpha.max() == 255
