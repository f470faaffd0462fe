from collections.abc import Iterator

import numpy as np
import pytest
from rich.console import Console

from bench import lively
from bench.motion import call
from bench.ours import Talker
from bench.prompts import Prompt
from engine.clock import FRAME, SAMPLE_RATE
from engine.motion.emotion import EMOTIONS
from engine.motion.frame import Motion
from engine.motion.manner import Manner
from tests.bench.test_motion import one
from training.speech.tools import MissingPackage


@pytest.fixture(scope="module")
def talker() -> Talker:
    return Talker(0)


@pytest.fixture
def prompt() -> Prompt:
    return next(one())


def test_what_the_judges_see_is_all_of_the_motion() -> None:
    rng = np.random.default_rng(0)
    motion = Motion.unpack(rng.random(Motion.rest().pack().size).astype(np.float32))
    row = lively.performance([motion])[0]
    assert row.shape == (96,) and np.array_equal(row[:52], motion.face) and np.array_equal(row[54:60], motion.head)
    assert np.array_equal(row[60:], motion.joints.ravel())


def test_seeds_part_everything_but_the_lips(talker: Talker, prompt: Prompt) -> None:
    got = lively._diverse(talker, prompt)
    assert got["diversity.head"]["value"] > 1e-4 and got["diversity.gaze"]["value"] > 1e-4
    assert got["diversity"]["value"] == pytest.approx(
        np.mean([got[f"diversity.{part}"]["value"] for part in ("face", "gaze", "head", "joints")]), abs=1e-3
    )
    assert got["diversity.lip_gap_mm"]["value"] < 0.5


def test_a_prompt_of_a_call_begins_where_its_sound_does(prompt: Prompt) -> None:
    joined = call([prompt, prompt, prompt])
    for start in lively._begins([prompt, prompt, prompt], joined):
        at = round(start * SAMPLE_RATE)
        assert np.array_equal(joined.pcm[at : at + prompt.pcm.size], prompt.pcm)


def test_stresses_of_a_call_are_judged_in_its_own_time(
    talker: Talker, prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    def judge(rows: list, times: list, talking: list, part: str) -> object:
        seen[part] = (rows, times, talking)
        return type("Beat", (), {"score": 0.5, "control": 0.4, "p_value": 0.01, "lag_ms": 80.0})()

    monkeypatch.setattr(lively, "_stressed", lambda _: np.array([1.1]))
    monkeypatch.setattr(lively, "beat_alignment", judge)
    got = lively._on_the_beat(talker, [prompt, prompt], call)
    assert got["beat_alignment"]["value"] == 0.5 and got["beat_alignment.hands.p"]["value"] == 0.01
    (rows,), (times,), (talking,) = seen["head"]
    assert times.tolist() == pytest.approx([1.48 + 1.1, 1.48 + 4 + 1.48 + 1.1], abs=0.05)
    assert len(rows) == len(talking) and talking[int(times[0] * 25)] and talking[int(times[1] * 25)] and not talking[0]


def test_an_emotion_counts_when_the_judge_names_the_one_that_was_asked_for(
    prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = pytest.importorskip("training.emotion_judge")

    class Sad:
        """A session that is always sad, whatever it is asked for, when it is asked strongly."""

        def perform(self, pcm: np.ndarray, seed: int, manner: Manner) -> object:
            motions = [Motion.rest() for _ in range(100)]
            for motion in motions:
                motion.face[0] = EMOTIONS.index("sad" if manner.intensity == 1.0 else manner.emotion) / 10
            return type("Shown", (), {"motion": motions})()

    monkeypatch.setattr(judge, "load_judge", lambda: None)
    monkeypatch.setattr(judge, "recognise", lambda _, face, head: EMOTIONS[round(10 * float(face[0, 0]))])
    got = {name: metric["value"] for name, metric in lively._felt(Sad(), [prompt]).items()}  # type: ignore[arg-type]
    assert got["emotion_acc.moderate"] == 1.0 and got["emotion_acc.strong"] == pytest.approx(1 / 8)
    assert got["emotion_acc"] == pytest.approx(9 / 16, abs=1e-3)
    assert got["emotion_acc.sad"] == 1.0 and got["emotion_acc.happy"] == 0.5


@pytest.mark.parametrize("error", [ValueError("no weights"), MissingPackage("no pyworld"), ImportError("no torch")])
def test_a_judge_that_is_not_here_is_named_and_the_others_judge(
    error: Exception, talker: Talker, prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_: object) -> Iterator[None]:
        raise error

    for name in ("_on_the_beat", "_felt", "_in_sync"):
        monkeypatch.setattr(lively, name, absent)
    monkeypatch.setattr(lively, "_diverse", lambda *_: {"diversity": {"value": 1.0, "unit": "rms"}})
    log = Console(record=True, width=200)
    assert lively.lively(talker, [prompt], call, True, log) == {"diversity": {"value": 1.0, "unit": "rms"}}
    assert log.export_text().count(str(error)) == 3


def test_a_call_is_whole_frames(prompt: Prompt) -> None:
    assert call([prompt]).pcm.size % FRAME == 0
