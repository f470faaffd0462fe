import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.viewpoint import PITCH_LIMIT, YAW_LIMIT, SpringState, Viewpoint, ViewSpring

TARGET = Viewpoint(yaw=0.8, pitch=-0.2, distance=1.4, pan_x=0.1)


@settings(deadline=None)
@given(st.floats(0.01, 0.2), st.floats(0.001, 0.3))
def test_two_half_steps_equal_one_step(half_life: float, dt: float) -> None:
    spring, state = ViewSpring(half_life), SpringState(Viewpoint())
    one, _ = spring.step(TARGET, state, dt)
    _, middle = spring.step(TARGET, state, dt / 2)
    two, _ = spring.step(TARGET, middle, dt / 2)
    assert two.yaw == pytest.approx(one.yaw, abs=1e-9) and two.distance == pytest.approx(one.distance, abs=1e-9)


def test_half_the_way_is_left_after_the_half_life() -> None:
    view, _ = ViewSpring(0.05).step(Viewpoint(yaw=1.0), SpringState(Viewpoint()), 0.05)
    assert view.yaw == pytest.approx(0.5)


def test_it_arrives_without_overshoot() -> None:
    spring, state, seen = ViewSpring(0.03), SpringState(Viewpoint()), []
    for _ in range(50):
        view, state = spring.step(TARGET, state, 0.04)
        seen.append(view.yaw)
    assert seen == sorted(seen) and max(seen) <= TARGET.yaw and seen[-1] == pytest.approx(TARGET.yaw)


def test_a_viewpoint_out_of_range_is_brought_to_the_nearest_one() -> None:
    view = Viewpoint(9, -9, 99, 9, 9).clamped()
    assert (view.yaw, view.pitch, view.distance) == (YAW_LIMIT, -PITCH_LIMIT, 3.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_viewpoint_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Viewpoint(yaw=bad).clamped()
