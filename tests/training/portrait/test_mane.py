"""Own hair: it is where the photograph has it, looks like it, and the pack stays sound."""

from dataclasses import replace

import numpy as np
import pytest

from engine import avatar as packs
from engine.avatar import REGIONS
from engine.motion.frame import Motion
from engine.render import reference
from engine.render.geometric import GeometricRenderer
from engine.viewpoint import Viewpoint

pytest.importorskip("PIL")
from tests.training.portrait.people import HAIR, perfect, photographed, shorn
from training.portrait import mane


@pytest.fixture(scope="module")
def dressed():
    avatar, photo, alpha, regions = photographed()
    return mane.own_hair(shorn(avatar), photo, perfect(avatar), alpha, regions)


def drawn(avatar):
    return reference.paint(replace(avatar, reference=None), (0.0,))


def test_hair_lies_where_the_photograph_has_it(dressed):
    _, _, _, regions = photographed()
    seen = drawn(dressed).regions[0] == HAIR
    wanted = regions == HAIR
    assert (seen & wanted).sum() / (seen | wanted).sum() > 0.85


def test_hair_has_the_photographs_colours(dressed):
    _, photo, _, regions = photographed()
    made = drawn(dressed)
    both = (made.regions[0] == HAIR) & (regions == HAIR)
    ratio = (made.photos[0][both].mean(0) + 8) / (photo[both].mean(0) + 8)
    assert (ratio > 0.6).all() and (ratio < 1.7).all()


def test_there_is_hair_at_the_back_of_the_head_too(dressed):
    view = Viewpoint(yaw=np.radians(70), distance=1.05)
    renderer = GeometricRenderer(dressed, (256, 256), "head", background=np.full((256, 256, 3), 255, np.uint8))
    bald = GeometricRenderer(
        shorn(photographed()[0]), (256, 256), "head", background=np.full((256, 256, 3), 255, np.uint8)
    )
    covered, _ = renderer.step(Motion.rest(), view, renderer.initial_state())
    without, _ = bald.step(Motion.rest(), view, bald.initial_state())
    more = (covered.alpha > 128) & (without.alpha < 128)
    back = more[:, :128] if more[:, :128].sum() > more[:, 128:].sum() else more[:, 128:]
    assert back[:140].sum() > 400


def test_the_pack_with_own_hair_is_sound(dressed, tmp_path):
    packs.save(dressed, tmp_path / "pack")
    assert packs.check(tmp_path / "pack") == []
    layers = dressed.layer
    assert (np.diff(layers.astype(int)) >= 0).all()  # what is blended comes last


def test_a_bald_head_stays_as_it_is():
    avatar, photo, alpha, regions = photographed()
    none = np.where(regions == HAIR, REGIONS.index("face"), regions).astype(np.uint8)
    bare = shorn(avatar)
    assert mane.own_hair(bare, photo, perfect(avatar), alpha, none) is bare


def test_hair_of_somebody_beside_is_left_out():
    avatar, photo, alpha, regions = photographed()
    fit = perfect(avatar)
    beside = regions.copy()
    x = int(fit.lens.origin[0] + 0.19 * fit.lens.scale)
    beside[60:200, x : x + 60] = HAIR
    share = mane._own(mane._filled(beside) * 1.0, fit)
    assert not share[:, x : x + 60].any()
    assert share[regions == HAIR].mean() > 0.9


def test_a_small_hole_in_hair_is_hair_and_a_face_in_it_is_not():
    regions = np.full((80, 80), HAIR, np.uint8)
    regions[10:14, 10:14] = REGIONS.index("torso")
    regions[30:50, 30:50] = REGIONS.index("face")
    filled = mane._filled(regions)
    assert filled[12, 12] and not filled[40, 40]
