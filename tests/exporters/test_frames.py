from __future__ import annotations

import math

import numpy as np
import pytest

from engine.render.painter import Painter
from exporters.frames import answer, decibels, draw, picture
from exporters.painter import inputs_of
from exporters.render import OUTPUTS
from tests.exporters import graphs

SIZE = (64, 64)


def test_frames_are_inputs_of_the_painter_and_show_somebody_on_their_last_picture() -> None:
    net = graphs.net()
    feeds = list(draw(net, SIZE, ("leo",), 4))
    shapes = {name: tuple(value.shape) for name, value in inputs_of(Painter(net, 2), SIZE, 1).items()}
    for feed in feeds:
        assert {name: value.shape for name, value in feed.items()} | {"wanted": (1,)} == shapes
    before = [feed["cells"][..., 144:160] for feed in feeds]  # alpha of the previous picture
    assert before[1].max() > 128, "the second of a pair rests on the first"
    assert len({feed["motion"].tobytes() for feed in feeds}) == len({feed["view"].tobytes() for feed in feeds}) == 4
    assert feeds[0]["code"].any() and (feeds[0]["code"] == feeds[3]["code"]).all()


@pytest.mark.parametrize("steps", [1, 2])
def test_the_picture_of_an_answer_is_what_a_session_paints(steps: int) -> None:
    painter = Painter(graphs.net(), steps)
    feed = {name: value.numpy() for name, value in inputs_of(painter, SIZE, 1).items()}
    made = answer(painter, {**feed, "normal": inputs_of(Painter(graphs.net(), 2), SIZE, 1)["normal"].numpy()})
    assert list(made) == OUTPUTS
    painted = picture(feed, made)
    assert painted.shape == (*SIZE, 4) and (painted[..., :3] <= painted[..., 3:]).all() and painted.any()


def test_decibels_are_of_colours_where_somebody_is() -> None:
    one = np.full((8, 8, 4), 100, np.uint8)
    one[:4, :, 3] = 0
    other = one.copy()
    other[:4, :, :3] = 7  # nobody is there
    assert decibels([other], [one]) == math.inf
    other[4:, :, :3] += 1
    assert decibels([other], [one]) == pytest.approx(20 * math.log10(255))
