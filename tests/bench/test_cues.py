from pathlib import Path

import numpy as np
import pytest

from bench.cues import CLASSES_8, Cue, has_shapes, paint_cues, read_cues, write_cues
from engine.motion.lips import VISEMES


def test_a_hop_shows_the_last_row_that_is_not_after_its_centre() -> None:
    track = paint_cues([Cue(0.015, "aa"), Cue(0.0351, "PP", 0.2)], 6)
    assert [VISEMES[i] for i in track.said] == ["sil", "aa", "aa", "aa", "PP", "PP"]
    assert track.opening.tolist() == pytest.approx([0, 1, 1, 1, 0.2, 0.2])


def test_rows_are_painted_in_the_order_of_the_file() -> None:
    track = paint_cues([Cue(0.02, "aa"), Cue(0.0, "O")], 4)
    assert [VISEMES[i] for i in track.said] == ["O"] * 4


def test_e_is_a_shape_of_rhubarb_only_beside_other_shapes() -> None:
    assert not has_shapes([[Cue(0, "E")], [Cue(0, "aa")]])
    assert has_shapes([[Cue(0, "E")], [Cue(0, "X")]])
    track = paint_cues([Cue(0, "E")], 1, shapes=True)
    assert CLASSES_8[track.eight[0]] == "round" and track.said[0] == -1
    with pytest.raises(ValueError, match="mixed viseme names"):
        has_shapes([[Cue(0, "aa"), Cue(1, "X")]])


def test_cues_survive_the_file(tmp_path: Path) -> None:
    cues = [Cue(0.0, "sil"), Cue(0.1234, "PP", 0.25)]
    write_cues(tmp_path / "new" / "a.csv", cues)
    assert read_cues(tmp_path / "new" / "a.csv") == cues
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.csv"]


def test_names_may_carry_the_prefix_of_oculus_and_openings_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("time,viseme\n0.5,viseme_PP\n")
    assert read_cues(path) == [Cue(0.5, "PP", None)]


@pytest.mark.parametrize(
    ("text", "says"),
    [("when,what\n1,aa\n", "expected the columns"), ("time,viseme\nsoon,aa\n", "a.csv:2"), ("", "expected the columns"),
     ("time,viseme,open\n0,aa,nan\n", "not a finite number"), ("time,viseme\n0.1\n", "a.csv:2")],
)  # fmt: skip
def test_a_broken_file_is_refused_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=says):
        read_cues(tmp_path / "a.csv")


def test_silence_comes_before_the_first_row() -> None:
    assert not paint_cues([Cue(1.0, "aa")], 50).said.any() and np.all(paint_cues([], 5).eight == 0)
