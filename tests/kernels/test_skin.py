"""kernels/skin: numba equals the reference on odd sizes, and writes every output."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.skin import cpu, reference

SIZES = [(1, 1, 1, 1), (5, 3, 2, 4), (61, 97, 17, 9), (257, 301, 131, 44)]  # V, F, M, N


def case(vertices: int, faces: int, moving: int, bones: int, actions: int = 7) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(vertices)
    weight = generator.random((vertices, 4)).astype(np.float32)
    weight[:, 3] *= generator.random(vertices) < 0.5  # some of the four are unused
    matrix = generator.normal(0, 1, (bones, 3, 4)).astype(np.float32)
    weights = generator.random(actions).astype(np.float32)
    weights[::3] = 0.0
    return {
        "rest": generator.normal(0, 1, (vertices, 3)).astype(np.float32),
        "faces": generator.integers(0, vertices, (faces, 3)).astype(np.int32),
        "weld": np.minimum(np.arange(vertices), vertices // 2).astype(np.int32),
        "move_index": generator.permutation(vertices)[:moving].astype(np.int32),
        "deltas": generator.normal(0, 1, (actions, min(moving, vertices), 3)).astype(np.float32),
        "weights": weights,
        "index": generator.integers(0, bones, (vertices, 4)).astype(np.uint8),
        "weight": weight / weight.sum(1, keepdims=True),
        "bones": matrix,
    }


@pytest.mark.parametrize("size", SIZES)
def test_blend_equals_the_reference(size: tuple[int, int, int, int]) -> None:
    c = case(*size)
    out, moved = np.full_like(c["rest"], np.nan), np.full(c["deltas"][0].size, np.nan, np.float32)
    flat = np.ascontiguousarray(c["deltas"].reshape(len(c["deltas"]), -1))
    cpu.blend(c["rest"], c["move_index"], flat, c["weights"], moved, out)
    want = reference.blend(c["rest"], c["move_index"], c["deltas"], c["weights"])
    np.testing.assert_allclose(out, want, atol=2e-5)


@pytest.mark.parametrize("size", SIZES)
def test_skin_equals_the_reference(size: tuple[int, int, int, int]) -> None:
    c = case(*size)
    out = c["rest"].copy()
    cpu.skin(out, c["index"], c["weight"], c["bones"])
    np.testing.assert_allclose(out, reference.skin(c["rest"], c["index"], c["weight"], c["bones"]), atol=2e-5)


@pytest.mark.parametrize("size", SIZES)
def test_rotate_writes_its_rows_and_no_other(size: tuple[int, int, int, int]) -> None:
    c = case(*size)
    rows = np.arange(0, len(c["rest"]), 2, dtype=np.int32)
    out = np.full_like(c["rest"], np.nan)
    cpu.rotate(rows, c["rest"][rows], c["index"], c["weight"], c["bones"], out)
    want = reference.rotate(c["rest"], c["index"], c["weight"], c["bones"])
    np.testing.assert_allclose(out[rows], want[rows], atol=1e-4)
    assert np.isnan(np.delete(out, rows, axis=0)).all()


@pytest.mark.parametrize("size", SIZES)
def test_normals_equal_the_reference(size: tuple[int, int, int, int]) -> None:
    c = case(*size)
    out, total = np.full_like(c["rest"], np.nan), np.full_like(c["rest"], np.nan)
    cpu.normals(c["rest"], c["faces"], c["weld"], total, out)
    np.testing.assert_allclose(out, reference.normals(c["rest"], c["faces"], c["weld"]), atol=2e-4)
    np.testing.assert_array_equal(out, out[c["weld"]])


def test_kinematics_equal_the_reference() -> None:
    generator = np.random.default_rng(3)
    parent = np.array([-1, 0, 1, 2, 2, 1, 5], np.int64)
    pivot, local = generator.normal(0, 1, (7, 3)), generator.normal(0, 0.7, (7, 6))
    local[3] = 0.0
    share = generator.normal(0, 0.5, 3)
    out = np.full((7, 3, 4), np.nan, np.float32)
    cpu.forward_kinematics(parent, pivot, local, 2, share, out)
    want = reference.forward_kinematics(parent, pivot, local, 2, share)
    np.testing.assert_allclose(out, want, atol=1e-5)


def test_a_turn_of_nothing_is_the_identity() -> None:
    out = np.full((3, 3), np.nan)
    cpu.axis_angle(0.0, 0.0, 0.0, out)
    np.testing.assert_allclose(out, np.eye(3), atol=1e-12)
