"""Voice to lips at run time: the exported network behind one `step`. Knows ONNX Runtime, not torch.

Also home of what lips mean to the rest of the code: the viseme names and the gap a pose leaves between them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.audio.logmel import BINS
from engine.backends import ort
from engine.clock import HOPS_PER_FRAME
from engine.motion.frame import ACTION_INDEX, K

Array = NDArray[np.float32]

MODEL: Final = Path(__file__).parent.parent / "assets" / "motion_v2.onnx"
META: Final = "visavis.motion"  # of its metadata: JSON of generator.GeneratorConfig, and "format"

# Oculus (OVR) viseme reference set, in its order.
VISEMES: Final = ("sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "I", "O", "U")

# Opening between the lips at the midline that one action at weight 1 adds, in millimetres: measured on the
# baked body (mean of an adult woman and man; the 52 actions are linear, so gaps add).
LIP_GAP_MM: Final = {
    "jawOpen": 34.0, "mouthClose": -34.8, "mouthFunnel": 11.5, "mouthPucker": -2.8, "jawForward": 1.4,
    "mouthShrugLower": -5.0, "mouthShrugUpper": 3.5, "mouthRollLower": -3.2, "mouthRollUpper": -1.8,
    "mouthLowerDownLeft": 1.9, "mouthLowerDownRight": 1.9, "mouthUpperUpLeft": 2.0, "mouthUpperUpRight": 2.0,
    "mouthPressLeft": -1.2, "mouthPressRight": -1.2, "mouthSmileLeft": -1.5, "mouthSmileRight": -1.5,
    "mouthLeft": -1.4, "mouthRight": -1.4, "mouthStretchLeft": 0.3, "mouthStretchRight": 0.3,
    "mouthDimpleLeft": 0.2, "mouthDimpleRight": 0.2, "cheekPuff": -1.2,
}  # fmt: skip
REST_GAP_MM: Final = 0.2  # lips at rest just touch
GAP_VECTOR: Final[Array] = np.zeros(K, np.float32)
for _name, _gap in LIP_GAP_MM.items():
    GAP_VECTOR[ACTION_INDEX[_name]] = _gap


def lip_gap(face: Array) -> Array:
    """Millimetres between the lips at the midline for face actions (..., K); negative is pressed together."""
    return face @ GAP_VECTOR + np.float32(REST_GAP_MM)


class LipFrame(NamedTuple):
    """One video frame of lips, in the network's own buffers: the next step overwrites them.

    face (B, K) actions; contact (B, 2) closure and labiodental in [0, 1], already composed into the face; viseme
    (B, 15) probabilities in the order of VISEMES, and hop_viseme (B, 4, 15) those of its four hops of 10 ms.
    """

    face: Array
    contact: Array
    viseme: Array
    hop_viseme: Array


@dataclass(slots=True)
class LipState:
    """The network's memory, (B, S): about two seconds of what it heard."""

    memory: Array

    def reset(self, mask: NDArray[np.bool_]) -> None:
        """Forgets the rows of the batch where ``mask`` (B,) is true."""
        self.memory[mask] = 0.0


class LipSync:
    """Log-mel to mouth actions, causal, one 40 ms frame a step (engine/motion/generator.py, exported).

    With ``lookahead`` L the step that hears frame i returns the lips of frame i - L; the voice must be delayed as much.
    ``batches`` are the batch sizes it will be called with. Raises ValueError when the file is missing or is not a lip
    network with that lookahead.
    """

    def __init__(self, lookahead: int = 0, path: Path = MODEL, batches: Sequence[int] = (1,)) -> None:
        if not path.is_file():
            raise ValueError(f"{path}: no lip network; reinstall visavis, or export one with training.motion export")
        self._program = ort.load(path, batches)
        offered = json.loads(self._program.metadata.get(META, "{}")).get("lookaheads", [])
        if lookahead not in offered:
            raise ValueError(f"{path}: no lips for a lookahead of {lookahead} frames: it offers {offered}")
        head = offered.index(lookahead)
        missing = {*LipFrame._fields, "next_state"} - set(self._program.run(batches[0]))
        if missing:
            raise ValueError(f"{path}: not a lip network of this version (missing: {', '.join(sorted(missing))})")
        self._frames = {
            batch: LipFrame(*(self._program.run(batch)[kind][:, head] for kind in LipFrame._fields))
            for batch in batches
        }
        inputs = self._program.inputs(batches[0])
        self._memory, self.actions = inputs["state"].shape[1], inputs["gain"].shape[1]

    def initial_state(self, batch: int = 1) -> LipState:
        """State before the first frame."""
        return LipState(np.zeros((batch, self._memory), np.float32))

    def step(self, mel: Array, state: LipState, gain: Array | float = 1.0) -> tuple[LipFrame, LipState]:
        """(B, 4, 80) log-mel of one frame -> its lips.

        ``gain`` scales the open pose, per action of emotion.LIP_ACTIONS (broadcast to (B, 12)): how an emotion
        speaks. It does not touch the contacts. Raises ValueError for another shape.
        """
        if mel.ndim != 3 or mel.shape[1:] != (HOPS_PER_FRAME, BINS) or mel.shape[0] != state.memory.shape[0]:
            expected = (state.memory.shape[0], HOPS_PER_FRAME, BINS)
            raise ValueError(f"lips take log-mel {expected}, got {mel.shape}")
        batch = mel.shape[0]
        buffers = self._program.inputs(batch)
        buffers["mel"][...] = mel
        buffers["state"][...] = state.memory
        buffers["gain"][...] = gain
        state.memory[...] = self._program.run(batch)["next_state"]
        return self._frames[batch], state
