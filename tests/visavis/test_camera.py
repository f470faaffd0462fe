"""Camera paths: they pass where they should, smoothly, and never leave what an avatar can be seen from."""

import math
from pathlib import Path

import numpy as np
import pytest

from engine.viewpoint import PITCH_LIMIT, YAW_LIMIT, Viewpoint
from visavis.camera import CameraError, orbit, read, still
from visavis.options import FRONT, camera_of


def angles(path, times):
    """Yaw, pitch (degrees) and distance, a row a time."""
    views = [path(float(time)) for time in times]
    return np.array([(math.degrees(v.yaw), math.degrees(v.pitch), v.distance) for v in views])


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "path.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_orbit_goes_to_both_sides_and_ends_where_it_began():
    times = np.linspace(0, 23, 2301)
    seen = angles(orbit(Viewpoint(math.radians(10), 0.0, 1.6), 40, 23), times)
    assert seen[:, 0].max() == pytest.approx(50, abs=0.01) and seen[:, 0].min() == pytest.approx(-30, abs=0.01)
    np.testing.assert_allclose(seen[0], seen[-1], atol=1e-9)
    np.testing.assert_allclose(seen[0], (10, 0, 1.6), atol=1e-9)
    assert (seen[:, 2] == 1.6).all() and 3 < np.abs(seen[:, 1]).max() < 6
    speed = np.abs(np.diff(seen[:, 0], axis=0)) * 100
    assert speed.max() < 30  # degrees a second
    assert np.abs(np.diff(seen[:, 0], 2)).max() < 0.01  # smooth


def test_an_orbit_of_a_film_that_nobody_knows_the_length_of_turns_on():
    path = orbit(Viewpoint(), 30)
    np.testing.assert_allclose(
        angles(path, [3.0, 13.0, 3.0 + 360 * 10]), np.tile(angles(path, [3.0]), (3, 1)), atol=1e-6
    )


def test_an_orbit_around_a_high_camera_stays_below_the_limit():
    seen = angles(orbit(Viewpoint(0.0, PITCH_LIMIT - 0.01), 60, 10), np.linspace(0, 10, 501))
    assert seen[:, 1].max() <= math.degrees(PITCH_LIMIT) + 1e-9


@pytest.mark.parametrize("degrees", [0, -5, 50, math.nan, math.inf])
def test_an_orbit_that_leaves_the_avatar_is_refused_with_how_far_it_may_go(degrees):
    with pytest.raises(CameraError, match="around yaw -30 goes more than 0 and at most 45 degrees"):
        orbit(Viewpoint(yaw=math.radians(-30)), degrees, 10)
    assert orbit(Viewpoint(yaw=math.radians(-30)), 45, 10)(2.5).yaw <= YAW_LIMIT


def test_keys_of_a_file_are_passed_smoothly_without_overshoot(tmp_path):
    path = read(
        written(tmp_path, "seconds,yaw,pitch,distance\n1,0,0,1.2\n2,30,5,1.0\n\n4,40,5,1.1\n5, -20 ,0,1.1\n"), 9.0
    )
    keys = angles(path, [1, 2, 4, 5])
    np.testing.assert_allclose(keys, [(0, 0, 1.2), (30, 5, 1.0), (40, 5, 1.1), (-20, 0, 1.1)], atol=1e-9)
    seen = angles(path, np.linspace(0, 6, 6001))
    assert seen[:, 0].max() <= 40 + 1e-9 and seen[:, 0].min() >= -20 - 1e-9 and seen[:, 2].min() >= 1.0 - 1e-9
    np.testing.assert_array_equal(seen[0], seen[900])  # it stays before the first
    np.testing.assert_array_equal(seen[-1], seen[5100])  # and after the last
    assert np.abs(np.diff(seen, 2, axis=0)).max() < 1e-3  # no step in its speed: one would be 0.01 and more
    on = seen[1000:4001, 0]
    assert (np.diff(on) >= -1e-12).all()


def test_columns_that_are_missing_are_frontal_at_the_framings_distance(tmp_path):
    assert angles(read(written(tmp_path, "Yaw,Seconds\n20,0\n"), 1.6), [0, 7]) == pytest.approx(
        np.array([(20, 0, 1.6)] * 2)
    )


def test_the_path_agrees_with_scipys_between_its_keys(tmp_path):
    interpolate = pytest.importorskip("scipy.interpolate")
    times, yaws = [0, 1, 2.5, 3, 6], [-10, 5, 9, 9.5, 60]
    rows = "\n".join(f"{t},{y}" for t, y in zip(times, yaws, strict=True))
    path = read(written(tmp_path, f"seconds,yaw\n{rows}\n"), 1.0)
    inner = np.linspace(1, 3, 41)  # ends differ on purpose: this camera starts and stops at rest
    np.testing.assert_allclose(angles(path, inner)[:, 0], interpolate.PchipInterpolator(times, yaws)(inner), atol=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names the columns"),
        ("1,2,3\n", "names the columns"),
        ("seconds,pitch\n0,1\n", "names the columns"),
        ("seconds,yaw,roll\n0,1,2\n", "names the columns"),
        ("seconds,yaw,yaw\n0,1,2\n", "names the columns"),
        ("seconds,yaw\n\n", "no place in it"),
        ("seconds,yaw\n0,1,2\n", "line 2: 2 values are expected"),
        ("seconds,yaw\n0,left\n", 'line 2: yaw must be a number, got "left"'),
        ("seconds,yaw\n0,nan\n", "line 2: yaw is from -75 to 75, got nan"),
        ("seconds,yaw\n0,0\n1,80\n", "line 3: yaw is from -75 to 75, got 80"),
        ("seconds,yaw,pitch\n0,0,26\n", "line 2: pitch is from -25 to 25"),
        ("seconds,yaw,distance\n0,0,0\n", "line 2: distance is from 0.45 to 3"),
        ("seconds,yaw\n-1,0\n", "line 2: seconds is from 0"),
        ("seconds,yaw\ninf,0\n", "line 2: seconds is from 0"),
        ("seconds,yaw\n1,0\n\n1,3\n", "line 4: seconds must grow"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path, text, message):
    with pytest.raises(CameraError, match=message):
        read(written(tmp_path, text), 1.0)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path):
    with pytest.raises(CameraError, match="no such file"):
        read(tmp_path / "none.csv", 1.0)
    (tmp_path / "noise.csv").write_bytes(bytes(range(256)))
    with pytest.raises(CameraError, match="not a CSV file"):
        read(tmp_path / "noise.csv", 1.0)
    with pytest.raises(CameraError, match="not a CSV file"):
        read(tmp_path, 1.0)


def test_a_place_an_orbit_and_a_file_are_chosen_from_the_command_line(tmp_path):
    front = Viewpoint(distance=1.6)
    path = written(tmp_path, "seconds,yaw\n0,20\n")
    assert camera_of("30,-5", None, None, front, 4.0)(3.0) == still(camera_of("30,-5", None, None, front, 4.0)(0))(9.0)
    assert math.degrees(camera_of("10,0,1.2", 40.0, None, front, 4.0)(1.0).yaw) == pytest.approx(50)
    assert camera_of(FRONT, None, path, front, 4.0)(1.0).distance == 1.6
    for more in (("10,0", None), (FRONT, 20.0)):
        with pytest.raises(ValueError, match="leave out --viewpoint and --orbit"):
            camera_of(more[0], more[1], path, front, 4.0)
