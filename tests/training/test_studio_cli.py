import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from engine import avatar as packs
from engine.motion.frame import ACTION_INDEX, Motion
from engine.viewpoint import Viewpoint
from tests.training.studio_double import DoubleStage
from training.choreography.arms import AVERAGE
from training.choreography.expression import EXPRESSIONS, drill, expressions, weights
from training.speech.corpus import Utterance, _save
from training.speech.phones import Span
from training.studio import judges
from training.studio.clips import Script
from training.studio.gl import GlError
from training.studio.judges import Meant, Sight, StudioError, measured, sights, verdicts
from training.studio.make import _about, make
from training.studio.plan import Plan, begin
from training.studio.shards import shard_name, write_shard
from training.studio.stats import facts


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    said = Utterance("espeak", "", np.random.default_rng(0).normal(0, 999, 32000).astype(np.int16), [Span(20, 60, 3)])
    _save(folder / "train-espeak-0000.npz", [said], 0)
    return folder


def say(*arguments: str | Path) -> Any:
    from training.studio.__main__ import app

    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})


def test_help_names_every_command() -> None:
    said = say("--help").output
    assert all(name in said for name in ("make", "contact-sheet", "stats", "check"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("make", "--clips", "4", "--size", "300"), "256 or 512"),
        (("make", "--clips", "0"), "--clips"),
        (("make", "--clips", "4", "--split", "test"), "held-out"),
        (("make", "--clips", "4", "--speech", "/nowhere"), "python -m training.speech make"),
        (("stats", "--out", "/nowhere"), "python -m training.studio make"),
        (("check", "--out", "/nowhere"), "python -m training.studio make"),
        (("contact-sheet", "cats"), "identities, views"),
    ],
)
def test_a_wrong_command_line_is_answered_with_what_would_be_right(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    where = () if "--out" in arguments or arguments[0] == "contact-sheet" else ("--out", str(tmp_path))
    result = say(*arguments, *where)
    assert result.exit_code != 0 and words in " ".join(result.output.split()), result.output
    assert "Traceback" not in result.output


class NoScreen:
    """A stage that cannot open, as where EGL is missing."""

    device = "none"

    def __init__(self, size: int) -> None:
        raise GlError("no OpenGL context: apt-get install libegl1")

    def enter(self, person: int) -> Any: ...

    def take(self, clip: Any) -> Any: ...


@pytest.mark.slow
def test_a_stage_that_cannot_open_says_why_from_its_worker(tmp_path: Path, speech: Path) -> None:
    with pytest.raises(GlError, match="apt-get install libegl1"):
        make(tmp_path, Plan.of(0, "train", 64, 4, speech), speech, 1, NoScreen, lambda progress: None)
    assert [path.name for path in tmp_path.glob("sitting-*")] == []


def data_set(folder: Path, speech: Path) -> Script:
    plan = begin(folder, Plan.of(0, "train", 64, 4, speech))
    script, stage = plan.script(speech), DoubleStage(64)
    clips = [script.clip(number, AVERAGE) for number in range(4)]
    made = {"device": "double", "processor": "another", "seconds": 2.0, "commit": "x"}
    write_shard(folder, shard_name(0), [(_about(clip), list(stage.take(clip))[:2]) for clip in clips], made)
    return script


def test_check_tells_a_whole_data_set_from_a_broken_one(tmp_path: Path, speech: Path) -> None:
    data_set(tmp_path, speech)
    result = say("check", "--out", tmp_path, "--speech", speech)
    assert "calls itself" in result.output and result.exit_code == 1  # two frames of each clip, not all
    shard = tmp_path / "sitting-000000.tar"
    shard.write_bytes(shard.read_bytes()[:-10])
    result = say("check", "--out", tmp_path, "--speech", speech, "--discard")
    assert "truncated" in result.output and not shard.exists()


def test_statistics_count_frames_people_and_cost(tmp_path: Path, speech: Path) -> None:
    data_set(tmp_path, speech)
    found = facts(tmp_path)
    assert found.cost["frames"].startswith("8 ") and "4.00 frames/s" in found.cost["speed"]
    for name in ("sex", "kind", "framing", "light"):
        assert sum(share for _, share in found.tables[name]) == pytest.approx(1.0)
    assert say("stats", "--out", tmp_path).exit_code == 0


def landmarks(lips: float, lids: float) -> dict[str, list[float]]:
    """Eyes 60 pixels apart."""
    at = {index: [0.0, 0.0] for index in judges.POINTS}
    for middle, (outer, inner) in zip((0.0, 60.0), judges.CORNERS, strict=True):
        at[outer], at[inner] = [middle - 10, 0.0], [middle + 10, 0.0]
    at[judges.LIPS[1]] = [0.0, lips]
    for pairs in judges.LIDS:
        for _, below in pairs:
            at[below] = [0.0, lids]
    return {str(index): place for index, place in at.items()}


def test_openings_are_measured_over_the_distance_of_the_eyes() -> None:
    mouth, eyes = measured(landmarks(lips=12.0, lids=6.0))
    assert mouth == pytest.approx(0.2) and eyes == pytest.approx(0.1)


def test_what_was_meant_follows_jaw_lids_and_viewpoint() -> None:
    meant, front = Meant(packs.load(packs.find("ada"))), Viewpoint(distance=1.05)

    def opening(**face: float) -> tuple[float, float, float]:
        motion = Motion.rest()
        for name, weight in face.items():
            motion.face[ACTION_INDEX[name]] = weight
        return meant.openings(motion, front, "head")

    shut, wide = opening(), opening(jawOpen=0.5)
    assert shut[0] < 0.03 < 0.15 < wide[0] and opening(jawOpen=0.25)[0] < wide[0]
    blinked = opening(eyeBlinkLeft=1.0, eyeBlinkRight=1.0)
    assert blinked[1] < 0.2 * shut[1] and 0.08 < shut[1] < 0.35


def test_verdicts_pass_what_follows_and_fail_what_does_not() -> None:
    dice = np.random.default_rng(0)
    good = [Sight(float(y), 40.0, True, True, o, o / 2, o + 0.01, o / 2, 0.97) for y, o in
            zip(dice.uniform(-44, 44, 80), dice.uniform(0, 0.3, 80), strict=True)]  # fmt: skip
    assert all(verdict.good for verdict in verdicts(good))
    blind = [s._replace(found=False, mouth=float("nan"), overlap=0.5) for s in good]
    assert not any(verdict.good for verdict in verdicts(blind) if verdict.wanted is not None)
    small = [s._replace(apart=12.0, mouth=0.1) for s in good[:40]]  # too small to measure: told, not judged
    drills = [s._replace(natural=False, mouth=0.1) for s in good[:40]]
    assert all(verdict.good for verdict in verdicts(good + small + drills))


def test_missing_judges_are_named_with_the_remedy(tmp_path: Path, speech: Path) -> None:
    script = Script(0, "train", (1,), speech)
    record = next(DoubleStage(64).take(script.clip(0, AVERAGE)))
    with pytest.raises(StudioError, match="mediapipe==0.10.21"):
        list(judges._ask([record], tmp_path / "python"))
    with pytest.raises(StudioError, match="the judges gave up"):
        list(judges._ask([record], Path(sys.executable)))  # our own python has no mediapipe
    assert list(sights([], Path(sys.executable), lambda done, of: None)) == []


def test_expressions_leave_the_jaw_and_most_of_the_lips_to_speech() -> None:
    speaking = np.ones(200, np.float32)
    jaw, smile = ACTION_INDEX["jawOpen"], ACTION_INDEX["mouthSmileLeft"]
    quiet, names = expressions(200, np.random.default_rng(5), 0 * speaking)
    loud, same = expressions(200, np.random.default_rng(5), speaking)
    assert names == same and set(names) <= set(EXPRESSIONS)
    assert not loud[:, jaw].any() and (loud[:, smile] <= 0.46 * quiet[:, smile] + 1e-6).all()
    for face in (quiet, loud, drill(200, np.random.default_rng(1))):
        assert face.min() >= 0 and face.max() <= 1 and np.abs(np.diff(face, axis=0)).max() < 0.3
    with pytest.raises(ValueError, match="unknown expression 'joy'"):
        weights("joy")


def test_a_manifest_is_plain_json(tmp_path: Path, speech: Path) -> None:
    data_set(tmp_path, speech)
    table = json.loads((tmp_path / "sitting-000000.json").read_text())
    assert [row["clip"] for row in table["clips"]] == [0, 1, 2, 3] and len(table["sha256"]) == 64
