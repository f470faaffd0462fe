import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.motion.frame import ACTION_INDEX, ACTIONS, K
from engine.motion.generator import LEARNED, Compose
from engine.motion.lips import REST_GAP_MM, lip_gap
from training.choreography.mouth import BILABIAL, GESTURES, GLIDES, SAME_AS, MouthTargets, mouth_targets
from training.speech.phones import PHONE_INDEX, PHONES, Span


def track(names: list[str], lengths: list[int]) -> list[Span]:
    edges = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    return [Span(a, b, PHONE_INDEX[n]) for a, b, n in zip(edges, edges[1:], names, strict=False)]


def faces(target: MouthTargets) -> np.ndarray:
    return Compose()(*map(torch.from_numpy, (target.open, target.closure, target.labiodental))).numpy()


phone_tracks = st.lists(st.tuples(st.sampled_from(PHONES), st.integers(3, 25)), min_size=1, max_size=40)


def test_every_phone_has_a_gesture() -> None:
    for name in PHONES:
        assert name == "HH" or {SAME_AS.get(name, name), *GLIDES.get(name, ())} & set(GESTURES)


@settings(deadline=None, max_examples=60)
@given(phone_tracks, st.floats(0, 4))
def test_every_bilabial_shuts_the_lips_on_some_frame_that_it_overlaps(rows: list, start: float) -> None:
    spans = track([n for n, _ in rows], [d for _, d in rows])
    frames = spans[-1].stop // 4 + 3
    gap = lip_gap(faces(mouth_targets(spans, frames, start)))
    for a, b, phone in spans:
        if PHONES[phone] in BILABIAL and a >= start:
            touching = gap[max(0, int((a - start) // 4)) : int(np.ceil((b - start) / 4))]
            assert touching.min() < 0.0


@settings(deadline=None, max_examples=60)
@given(phone_tracks, st.floats(0, 4))
def test_actions_stay_in_range_and_only_the_mouth_moves(rows: list, start: float) -> None:
    spans = track([n for n, _ in rows], [d for _, d in rows])
    face = faces(mouth_targets(spans, spans[-1].stop // 4 + 1, start))
    assert np.isfinite(face).all() and face.min() >= 0.0 and face.max() <= 1.0
    for k, name in enumerate(ACTIONS):
        if not name.startswith(("jaw", "mouth", "tongue")):
            assert not face[:, k].any()


def test_silence_is_the_rest_pose() -> None:
    face = faces(mouth_targets(track(["SIL"], [400]), 100))
    assert np.abs(face).max() < 1e-6
    assert lip_gap(face) == pytest.approx(REST_GAP_MM, abs=1e-4)


def middle(name: str) -> np.ndarray:
    return faces(mouth_targets(track(["SIL", name, "SIL"], [40, 16, 40]), 24))[11]


def test_shapes_are_told_apart() -> None:
    gap = {name: float(lip_gap(middle(name))) for name in ("AA", "IY", "UW", "S", "M")}
    assert gap["AA"] > 10 > 6 > gap["IY"] > 2 and gap["UW"] < 5 and gap["S"] < 5 and gap["M"] < 0
    pucker, stretch = ACTION_INDEX["mouthPucker"], ACTION_INDEX["mouthStretchLeft"]
    assert middle("UW")[pucker] > 0.6 > 0.1 > middle("AA")[pucker]
    assert middle("IY")[stretch] > 0.3 > 0.05 > middle("UW")[stretch]
    assert middle("F")[ACTION_INDEX["mouthRollLower"]] > 0.5


def test_rounding_is_prepared_before_the_vowel() -> None:
    pucker = ACTION_INDEX["mouthPucker"]
    before_round = faces(mouth_targets(track(["SIL", "T", "UW", "SIL"], [40, 8, 16, 40]), 26))[10, pucker]
    before_spread = faces(mouth_targets(track(["SIL", "T", "IY", "SIL"], [40, 8, 16, 40]), 26))[10, pucker]
    assert before_round > before_spread + 0.1


def test_what_is_learned_covers_every_open_action() -> None:
    rng = np.random.default_rng(0)
    names = [PHONES[i] for i in rng.integers(0, len(PHONES), 300)]
    pose = mouth_targets(track(names, [8] * 300), 600).open
    moving = set(np.flatnonzero(pose.any(0)).tolist())
    assert moving <= set(LEARNED) and pose.shape == (600, K)
