"""kernels/act: what its reference and the engine's own Actor make of the same frame."""

from dataclasses import dataclass

import numpy as np
import pytest

from engine.motion import actor, blend, lips
from engine.motion.actor import Actor, Places
from engine.motion.frame import ACTION_INDEX, ACTIONS, HIGHEST, JOINT_INDEX, LOWEST, SIZE, Motion, numbers
from engine.motion.manner import Manner
from engine.render.picture import safe
from kernels import layout, nvrtc
from kernels.act import cost, reference
from tests.kernels.batch import compiles
from tests.kernels.conftest import unwritten

HEADS = 3
RULES = {
    "mouth": blend.MOUTH, "said": actor.SAID, "lost": blend.LOST, "gap": lips.GAP_VECTOR, "arms": actor.ARMS,
    "low": LOWEST, "high": HIGHEST, "eyes": np.array(actor.EYE_LIMITS), "rest_gap": lips.REST_GAP_MM,
    "pressed": blend.PRESSED_MM, "small": blend.SMALL, "yielding": blend.YIELD, "wander": actor.WANDER_HELD,
    "jaw": blend.JAW, "close": blend.CLOSE, "spine": JOINT_INDEX["spine"], "neck": JOINT_INDEX["neck"],
}  # fmt: skip


def manners(state, place, outside=None, own=False):
    """The struct Manners of an actor's state after ``prepare``."""
    turn, manner = state.turn, state.manner
    share, weight = state.actions()
    return {
        "voice": turn.voice, "level": turn.level, "hush": turn.hush, "gesture": state.gesture, "head": state.head,
        "held": state.held, "follow": state.follow.value, "aim": manner.aim.value,
        "share": np.zeros(52) if share is None else share, "weight": np.zeros(52) if weight is None else weight,
        "by_hand": share is not None, "outside": 0 if outside is None else 2 if own else 1, "place": place,
        "motion": np.full(SIZE, np.nan, np.float32) if outside is None else outside.pack(),
    }  # fmt: skip


@dataclass
class Rehearsed:
    """A performer that acts what it was given."""

    row: np.ndarray

    def initial_state(self, seed):
        return None

    def step(self, heard, state):
        return numbers(self.row), None


@dataclass
class Frame:
    """One session's frame: what the kernel is given, and what the engine's Actor makes of it."""

    manners: dict
    face: np.ndarray
    contact: np.ndarray | None
    made: np.ndarray
    head: int
    wanted: Motion


def frame(number: int) -> Frame:
    rng = np.random.default_rng(number)
    pick = lambda *of: of[rng.integers(len(of))]  # noqa: E731
    hand = tuple((str(name), float(rng.random())) for name in rng.choice(ACTIONS, rng.integers(4), replace=False))
    if number % 5 == 0:
        hand += (("mouthClose", 0.4),) if number % 2 else (("jawOpen", 0.9),)
    manner = Manner(
        gaze=pick("free", "viewer", (0.3, -0.2)), head=pick(0.0, 1.0, 1.4), gesture=pick(0.3, 1.0), actions=hand,
        interrupts=int(rng.integers(2)), thinking=number % 6 == 1,
    )  # fmt: skip
    face, contact = rng.uniform(-0.1, 1.1, (HEADS, 52)), rng.random((HEADS, 2))
    made = rng.normal(0, 0.4, (2, 96))
    outside = Motion.unpack(rng.normal(0, 0.8, SIZE).astype(np.float32)) if number % 4 > 1 else None
    own = number % 4 == 3
    if own and number % 5 == 1:  # lips that are shut anyway, not on purpose
        outside.face[:] = 0.0
        outside.face[[ACTION_INDEX["mouthRollLower"], ACTION_INDEX["mouthClose"]]] = 0.2, 0.005
        outside.face[ACTION_INDEX["mouthSmileLeft"]] = 0.1
    face, contact, made = (np.float32(a) for a in (face, contact, made))
    if number % 3 == 0:  # broken networks, broken sources
        face[:, rng.integers(52, size=3)] = np.float32([np.nan, np.inf, -np.inf])
        made[:, rng.integers(96, size=3)] = np.nan
        contact[0, 0] = np.nan
        if outside is not None:
            outside.joints[3, 1], outside.face[rng.integers(52)], outside.gaze[0] = np.nan, np.nan, np.inf
    place, head = number % 2, number % HEADS
    performed = Actor(Rehearsed(made[place]))
    state = performed.initial_state(number, Manner())
    for _ in range(rng.integers(1, 6)):
        speech = 0.0 if manner.thinking else float(pick(0.0, 0.1, 0.9))
        state = performed.prepare(manner, speech, Places((0.1, 0.0), tuple(rng.normal(0, 0.5, 2))), state)
    told = manners(state, place, outside, own)
    mouth = outside.face if own else face[head]
    spoken = None if own or number % 7 == 0 else contact
    motion, _ = performed.step(
        mouth, None if spoken is None else spoken[head], speech, np.zeros((4, 80), np.float32), manner, state, outside
    )
    return Frame(told, face, spoken, made, head, motion)


@pytest.mark.parametrize("arch", nvrtc.ARCHITECTURES)
def test_compiles(arch):
    compiles("act", arch)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_acts_as_the_engine_s_actor_does_in_every_row(device):
    frames = [frame(number) for number in range(60)]
    rules = device.array(layout.table("act", "Rules", [RULES]))
    told = device.array(layout.table("act", "Manners", [one.manners for one in frames]))
    count, kept, rows = len(frames), [], []
    motion, network = unwritten(device, (count + 1, SIZE)), unwritten(device, (count + 1, SIZE))
    changed = unwritten(device, count + 1, np.int32)
    for i, one in enumerate(frames):
        arrays = [None if a is None else device.array(a) for a in (one.face, one.contact, one.made)]
        kept.append(arrays)
        rows.append({
            "rules": rules, "manners": told.row(i), "face": arrays[0], "contact": arrays[1], "made": arrays[2],
            "motion": motion.row(i), "told": network.row(i) if i % 3 else None, "changed": changed.row(i),
            "lookahead": one.head,
        })  # fmt: skip
    table = device.rows("act", "Act", rows)
    device.launch("act", "act", (1, 1, count + 1), (128,), table)
    out, again, odd = motion.get(), network.get(), changed.get()
    assert np.isnan(out[count]).all() and odd[count] == -1
    assert sum(bool(one.manners["by_hand"]) for one in frames) > 10
    assert sum(one.manners["hush"] > 0.5 for one in frames) > 5
    for i, one in enumerate(frames):
        np.testing.assert_allclose(out[i], one.wanted.pack(), atol=1e-5, err_msg=str(i))
        spoken = None if one.contact is None else one.contact[one.head]
        want, wrong = reference.act(RULES, one.manners, one.face[one.head], spoken, one.made)
        np.testing.assert_allclose(out[i], want, atol=1e-5, err_msg=str(i))
        assert odd[i] == wrong
        np.testing.assert_array_equal(again[i], out[i] if i % 3 else np.nan)
        assert not safe(Motion.unpack(out[i]))[2]


def test_cost_grows_with_the_rows():
    assert cost.act(2)[0] < 2 * cost.act(1)[0] and cost.act(2)[1] == 2 * cost.act(1)[1]
