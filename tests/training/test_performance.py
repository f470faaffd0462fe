"""The choreographer: reproducible, smooth, alive, on time, and never in the way of the lips."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from engine.clock import FPS
from engine.motion.blend import blend
from engine.motion.condition import CONDITION, KNOWN_AT, LISTENING_AT, SPEAKING_AT
from engine.motion.emotion import EMOTIONS
from engine.motion.frame import ACTION_INDEX, ACTIONS, CHANNELS
from engine.motion.generator import Compose
from engine.motion.lips import lip_gap
from engine.motion.performance import PERFORMANCE
from training.choreography.eyes import blink_times, looks
from training.choreography.mouth import BILABIAL, mouth_targets
from training.choreography.performance import act, perform
from training.choreography.sayings import SAYINGS, SELDOM
from training.choreography.show import of_sign
from training.choreography.stage import Meant, Script, Stage
from training.choreography.vocabulary import MEANINGS, VOCABULARY
from training.speech.phones import PHONES, Span

LIVELY = (0.7, 0.7, 0.7, 0.8)


def talk(seconds: float, seed: int, **mood: object) -> Script:
    """Somebody who speaks random phones in phrases, with stresses."""
    rng = np.random.default_rng(seed)
    spans: list[Span] = []
    at, stop = 40, int(seconds * 100) - 60
    while at < stop:
        for _ in range(int(rng.integers(12, 40))):
            length = int(rng.integers(5, 15))
            spans.append(Span(at, at + length, int(rng.integers(1, len(PHONES)))))
            at += length
        at += int(rng.integers(25, 90))
    spans = [s for s in spans if s.stop < stop]
    times = np.array([s.start / 100 for s in spans if PHONES[s.phone][0] in "AEIOU"])[::3]
    stresses = np.stack([times, rng.random(len(times))], axis=1)
    return Script(int(seconds * FPS), spans, stresses=stresses, style=LIVELY, **mood)  # type: ignore[arg-type]


def blinks_a_minute(script: Script, seed: int) -> float:
    """While speaking, or in all of a silent script."""
    stage = Stage.of([script])
    rng = np.random.default_rng(seed)
    times = blink_times(stage, looks(stage, rng), rng)
    where = stage.speaking if stage.speaking.any() else np.ones(stage.frames, bool)
    return 60.0 * sum(where[stage.at(t)] for t in times) / (where.sum() / FPS)


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_take() -> None:
    script = talk(12, 1, emotion="happy", intensity=0.65)
    one, two, other = (perform(script, seed).pack() for seed in (4, 4, 5))
    np.testing.assert_array_equal(one, two)
    assert one.shape == (300, PERFORMANCE) and one.dtype == np.float32
    assert np.abs(one - other).mean() > 0.01


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_everything_is_finite_in_range_and_no_faster_than_a_body(emotion: str) -> None:
    strength = 0.0 if emotion == "neutral" else 1.0
    meant = tuple(Meant(1.5 + 2.4 * k, name) for k, name in enumerate(MEANINGS[EMOTIONS.index(emotion) :: 4]))
    base = talk(30, 2)
    script = Script(base.frames, base.spans, (), base.stresses, emotion, strength, LIVELY, meant=meant)
    done = perform(script, 7)
    for channel in CHANNELS:
        if channel.name != "lip":
            values = getattr(done, channel.name)
            assert np.isfinite(values).all() and values.min() >= channel.low and values.max() <= channel.high
    assert np.abs(np.diff(done.joints, axis=0)).max() * FPS < 14.0  # rad/s
    assert np.degrees(np.abs(np.diff(done.head[:, :3], axis=0)).max()) * FPS < 260.0
    lids = [ACTIONS[k].startswith(("eyeBlink", "eyeWide")) for k in range(len(ACTIONS))]
    assert np.abs(np.diff(done.face[:, ~np.array(lids)], axis=0)).max() * FPS < 15.0


def test_blinks_come_as_often_as_published() -> None:
    speaking = [blinks_a_minute(talk(60, seed), seed) for seed in range(6)]
    idle = [blinks_a_minute(Script(1500), seed) for seed in range(6)]
    assert 19.0 < np.mean(speaking) < 33.0  # Bentivoglio et al. 1997: 26 in conversation
    assert 12.0 < np.mean(idle) < 22.0  # 17 at rest


def test_lids_shut_all_the_way_even_when_eyes_are_wide() -> None:
    done = perform(Script(1500, emotion="surprised", intensity=1.0), 3)
    shut = done.face[:, ACTION_INDEX["eyeBlinkLeft"]] > 0.97
    assert shut.any() and done.face[shut][:, ACTION_INDEX["eyeWideLeft"]].max() < 0.05


def test_beats_end_just_before_stressed_vowels() -> None:
    script = talk(60, 5)
    strokes = perform(script, 5).strokes
    beats = strokes[strokes[:, 2] < 0, 1]
    offsets = [np.min(np.abs(script.stresses[:, 0] - 0.04 - t)) for t in beats]
    assert len(beats) > 8 and np.max(offsets) < 0.02


def test_heads_nod_with_stresses_more_than_with_a_shuffled_voice() -> None:
    def moved(times: np.ndarray, speed: np.ndarray) -> float:
        rows = (times * FPS).astype(int)
        return float(np.mean([speed[max(r - 3, 0) : r + 4].max() for r in rows]))

    ours, shuffled = [], []
    for seed in range(5):
        script = talk(40, 20 + seed)
        speed = np.abs(np.diff(perform(script, seed).head[:, 0], prepend=0.0))
        strong = script.stresses[script.stresses[:, 1] > 0.7, 0]
        ours.append(moved(strong, speed))
        shuffled.append(moved((strong + 17.3) % 39.0, speed))
    assert np.mean(ours) > 1.2 * np.mean(shuffled)


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_closures_stay_closed_under_any_feeling(emotion: str) -> None:
    script = talk(12, 9, emotion=emotion, intensity=1.0)
    done = perform(script, 1)
    assert not done.face[:, ACTION_INDEX["mouthClose"]].any()
    target = mouth_targets(script.spans, script.frames)
    lips = Compose()(*map(torch.from_numpy, (target.open, target.closure, target.labiodental))).numpy()
    for start, stop, phone in script.spans:
        if PHONES[phone] in BILABIAL and stop < script.frames * 4:
            frames = range(start // 4, -(-stop // 4))
            gaps = [lip_gap(blend(lips[f], done.face[f], level=1.0)) for f in frames]
            assert min(gaps) <= 0.05


def test_silence_is_alive_and_listening_is_not_idling() -> None:
    idle, listening = (perform(Script(1500, listening=flag, style=LIVELY), 11) for flag in (False, True))
    for done in (idle, listening):
        for name in ("face", "gaze", "head", "joints"):
            windows = getattr(done, name)[:1500].reshape(15, 100, -1)
            assert (windows.std(1).max(1) > 1e-3).all(), name
    near = [float((np.hypot(*done.gaze.T) < 0.08).mean()) for done in (idle, listening)]
    assert near[1] > near[0] + 0.05  # who listens looks at who speaks
    nods = [np.abs(np.diff(done.head[:, 0])).max() for done in (idle, listening)]
    assert nods[1] > 1.5 * nods[0]


def test_feelings_show_in_face_head_and_tempo() -> None:
    sad, happy, neutral = (
        perform(talk(30, 3, emotion=name, intensity=value), 2)
        for name, value in (("sad", 1.0), ("happy", 1.0), ("neutral", 0.0))
    )
    frown, smile = ACTION_INDEX["mouthFrownLeft"], ACTION_INDEX["mouthSmileLeft"]
    assert sad.face[:, frown].mean() > 0.5 > 0.1 > neutral.face[:, frown].mean()
    assert happy.face[:, smile].mean() > 0.6 > 0.3 > neutral.face[:, smile].mean()
    assert sad.head[:, 0].mean() > neutral.head[:, 0].mean() + 0.08  # + is down
    assert sad.gaze[:, 1].mean() < neutral.gaze[:, 1].mean() - 0.03
    assert np.abs(np.diff(happy.head[:, :3], axis=0)).mean() > 1.5 * np.abs(np.diff(sad.head[:, :3], axis=0)).mean()


def test_more_style_is_more_motion() -> None:
    base = talk(40, 6)
    quiet, loud = (
        perform(Script(base.frames, base.spans, (), base.stresses, style=(value,) * 4), 1) for value in (0.1, 0.95)
    )
    assert len(loud.strokes) > 3 * max(len(quiet.strokes), 1)
    assert loud.head[:, :3].std() > 1.3 * quiet.head[:, :3].std()


def test_the_vocabulary_is_whole_and_every_sign_can_be_performed() -> None:
    assert len(MEANINGS) >= 24 and set(MEANINGS) == set(SAYINGS) and set(SELDOM) <= set(MEANINGS)
    from training.choreography.arms import AVERAGE

    rest = perform(Script(120), 1).joints
    for index, name in enumerate(MEANINGS):
        done = of_sign(name, 1, AVERAGE)
        assert len(done.strokes) == 1 and done.strokes[0, 2] == index
        assert abs(done.strokes[0, 1] - 2.0) < 0.6, name
        assert np.abs(done.joints[50] - rest[50]).max() > 0.3, name
        times = [step.time for step in VOCABULARY[name].steps]
        assert times == sorted(times)


def test_scripts_in_a_row_join_without_a_jump_and_conditions_say_what_is_there() -> None:
    meaning = np.full(32, 32**-0.5)
    rows = [talk(8, 1, emotion="angry", intensity=1.0, meaning=meaning), Script(150, listening=True),
            talk(8, 2, emotion="sad", intensity=0.35)]  # fmt: skip
    stage = Stage.of(rows)
    told = stage.conditions(lookahead=1)
    assert told.shape == (550, CONDITION) and told.dtype == np.float32
    assert told[100, EMOTIONS.index("angry")] == pytest.approx(1.0)
    assert told[540, EMOTIONS.index("sad")] == pytest.approx(0.35)
    np.testing.assert_array_equal(told[:, KNOWN_AT], np.arange(550) < 200)
    assert told[220:340, LISTENING_AT].all() and not told[220:340, SPEAKING_AT].any()
    joint = act(stage, 1).pack()
    assert np.abs(np.diff(joint[195:206, :52], axis=0)).max() < 0.75
    assert len(Stage.of(rows, 333).times) == 333 == len(act(Stage.of(rows, 333), 1).face)


def test_no_frames_are_no_frames_and_bad_scripts_are_refused() -> None:
    assert perform(Script(0), 1).pack().shape == (0, PERFORMANCE)
    assert perform(Script(1), 1).pack().shape == (1, PERFORMANCE)
    for bad in ({"frames": -1}, {"emotion": "joy"}, {"intensity": 2.0}, {"style": (0.5,)},
                {"stresses": np.zeros(3)}, {"stresses": np.full((1, 2), np.nan)},
                {"meaning": np.zeros(3)}):  # fmt: skip
        with pytest.raises(ValueError):
            Script(**{"frames": 10, **bad})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown sign 'curtsy'"):
        from training.choreography.arms import AVERAGE

        of_sign("curtsy", 1, AVERAGE)


def test_a_minute_takes_well_under_a_second() -> None:
    script = talk(60, 8, emotion="happy", intensity=0.65)
    perform(script, 0)
    start = time.process_time()
    perform(script, 1)
    assert time.process_time() - start < 1.5  # 0.15 s on a quiet core
