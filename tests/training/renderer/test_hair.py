"""Hair is outlined: what shows between strands belongs to it, a single strand does not."""

from __future__ import annotations

import numpy as np

from training.renderer.hair import HAIR, SKIN, outlined


def test_skin_between_strands_is_hair_and_a_single_strand_over_skin_is_skin() -> None:
    classes = np.full((2, 64, 96), SKIN, np.uint8)
    classes[:, 10:40, 10:40:2] = HAIR  # a beard: every other column
    classes[:, :, 70] = HAIR  # one strand
    classes[:, 50:, :20] = 0
    out = outlined(classes)
    assert (out[:, 14:36, 14:36] == HAIR).all()
    assert (out[:, :, 60:80] == SKIN).all()
    assert (out[:, 55:, :15] == 0).all(), "the background is nobody's hair"
    np.testing.assert_array_equal(out[1], out[0])


def test_solid_hair_and_a_strand_over_the_background_stay() -> None:
    classes = np.zeros((48, 48), np.uint8)
    classes[:20] = HAIR
    classes[20:, 30] = HAIR
    np.testing.assert_array_equal(outlined(classes), classes)
