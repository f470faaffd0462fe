"""Performers: what acts everything but the lips, by rules or by the learned network, behind one ``step``.

Both take what is heard and how to behave, and give a performance vector (engine/motion/performance.py) a video frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.audio.logmel import BINS
from engine.backends import ort
from engine.clock import HOPS_PER_FRAME
from engine.motion.behaviour import Behaviour, BehaviourConfig, BehaviourState
from engine.motion.condition import CONDITION
from engine.motion.emotion import EXPRESSION_TABLE
from engine.motion.frame import ACTION_INDEX, K, numbers
from engine.motion.performance import PERFORMANCE, WINDOW

Array = NDArray[np.float32]

MODEL: Final = Path(__file__).parent.parent / "assets" / "performer_v1.onnx"
SILENT: Final = np.float32(-2.0)  # log-mel of no sound at all
SMILES: Final = tuple(ACTION_INDEX[name + side] for name in ("mouthSmile", "cheekSquint") for side in ("Left", "Right"))


@dataclass(frozen=True, slots=True)
class Heard:
    """What a performer acts on in one frame: log-mel (4, 80), the VAD's probability of speech, the condition vector
    (48,), the weight of each emotion (8,), and how varied it shall be."""

    mel: Array
    speech: float
    condition: Array
    emotion: Array
    temperature: float = 1.0


def drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """What the learned performer's codes are drawn with: in (0, 1), both ends open, for it takes logarithms of them."""
    return np.clip(rng.random(shape, np.float32), np.float32(1e-7), np.float32(1.0 - 1e-6))


class Performer(Protocol):
    """Acts one frame after the other. All its randomness comes from ``state.rng``."""

    def initial_state(self, seed: int) -> Any: ...
    def step(self, heard: Heard, state: Any) -> tuple[Array, Any]: ...


class RulesPerformer:
    """engine/motion/behaviour.py with the expression of the emotion over it. Its lookahead is 0: it acts on what it
    hears. ``temperature`` and style say nothing to it."""

    def __init__(self, config: BehaviourConfig) -> None:
        self._behaviour = Behaviour(config)

    def initial_state(self, seed: int) -> BehaviourState:
        """A state whose randomness is wholly given by ``seed``."""
        return self._behaviour.initial_state(seed)

    def step(self, heard: Heard, state: BehaviourState) -> tuple[Array, BehaviourState]:
        """(PERFORMANCE,) of one frame."""
        row = self._behaviour.perform(heard.speech, heard.mel, state)
        calm = 1.0 - min(float(heard.emotion.sum()), 1.0)
        for place in SMILES:
            row[place] *= calm  # a resting smile belongs to a neutral face alone
        row[:K] = np.maximum(row[:K], 0.0) + (heard.emotion @ EXPRESSION_TABLE)
        return np.clip(row, -3.2, 3.2), state


@dataclass(slots=True)
class PerformerState:
    """The network's memory (1, S), the mel of the frame before (4, 80), the frames it has made (2, PERFORMANCE), how
    many frames it has heard, and the random stream its codes are drawn with."""

    rng: np.random.Generator
    memory: Array
    before: Array
    made: Array
    heard: int = 0


class LearnedPerformer:
    """The residual VQ-VAE and its causal prior (engine/motion/performer.py, exported), two frames a run.

    When frame 2k is heard it makes frames 2k - L and 2k + 1 - L, where L is the lookahead that the condition tells it.
    Raises ValueError when the file is missing or is not such a network.
    """

    def __init__(self, path: Path = MODEL) -> None:
        if not path.is_file():
            raise ValueError(f'{path}: no performer network; reinstall visavis, or set performer = "rules"')
        self._program = ort.load(path, (1,))
        buffers = self._program.inputs(1)
        fixed = {"mel": (1, 2 * HOPS_PER_FRAME, BINS), "condition": (1, CONDITION), "temperature": (1, 1)}
        wrong = [name for name, shape in fixed.items() if name not in buffers or buffers[name].shape != shape]
        wrong += [name for name in ("noise", "state") if name not in buffers]
        if not wrong:
            outputs = self._program.run(1)
            shapes = {"motion": (1, WINDOW, PERFORMANCE), "next_state": buffers["state"].shape}
            wrong = [name for name, shape in shapes.items() if name not in outputs or outputs[name].shape != shape]
        if wrong:
            raise ValueError(f"{path}: not a performer network of this version (wrong or missing: {', '.join(wrong)})")
        self._memory = buffers["state"].shape[1]
        self._noise = buffers["noise"].shape

    def initial_state(self, seed: int) -> PerformerState:
        """A state whose randomness is wholly given by ``seed``."""
        rng = np.random.Generator(np.random.Philox(seed))
        memory = np.zeros((1, self._memory), np.float32)
        silence = np.full((HOPS_PER_FRAME, BINS), SILENT, np.float32)
        return PerformerState(rng, memory, silence, np.zeros((WINDOW, PERFORMANCE), np.float32))

    def step(self, heard: Heard, state: PerformerState) -> tuple[Array, PerformerState]:
        """(PERFORMANCE,) of the frame that is L behind the one heard."""
        place = state.heard % WINDOW
        if place == 0:
            self._run(heard, state)
        state.before[...] = heard.mel
        state.heard += 1
        return state.made[place].copy(), state

    def _run(self, heard: Heard, state: PerformerState) -> None:
        buffers = self._program.inputs(1)
        buffers["mel"][0, :HOPS_PER_FRAME], buffers["mel"][0, HOPS_PER_FRAME:] = state.before, heard.mel
        buffers["condition"][0], buffers["temperature"][0, 0] = heard.condition, heard.temperature
        buffers["noise"][...] = drawn(state.rng, self._noise)
        buffers["state"][...] = state.memory
        outputs = self._program.run(1)
        state.memory[...] = outputs["next_state"]
        state.made.ravel()[...] = numbers(outputs["motion"].ravel())
