"""The performance vector: everything a speaker does besides speech's lips, one row a video frame.

``face`` is added to the lips, ``gaze`` is eye in space relative to the viewer, ``head`` and ``joints`` as in Motion.
"""

from __future__ import annotations

from typing import Final

from engine.motion.frame import ACTION_INDEX, JOINT_INDEX, J, K

# Where each part lies in the vector; units and ranges as in engine.motion.frame.
FACE_AT: Final = slice(0, K)
GAZE_AT: Final = slice(K, K + 2)
HEAD_AT: Final = slice(GAZE_AT.stop, GAZE_AT.stop + 6)
JOINTS_AT: Final = slice(HEAD_AT.stop, HEAD_AT.stop + 3 * J)
PERFORMANCE: Final = JOINTS_AT.stop
WINDOW: Final = 2  # frames the performer makes at a time
assert PERFORMANCE == 96

_LIDS: Final = ("eyeBlink", "eyeWide", "eyeSquint", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp")
_EYES: Final = tuple(index for name, index in ACTION_INDEX.items() if name.startswith(_LIDS))
_TRUNK: Final = tuple(JOINTS_AT.start + 3 * JOINT_INDEX[name] + axis for name in ("spine", "neck") for axis in range(3))
# What moves together, and is coded together: channels of each group. Every channel is in exactly one.
GROUPS: Final[dict[str, tuple[int, ...]]] = {
    "body": tuple(i for i in range(JOINTS_AT.start, JOINTS_AT.stop) if i not in _TRUNK),
    "head": (*range(HEAD_AT.start, HEAD_AT.stop), *_TRUNK),
    "face": tuple(i for i in range(FACE_AT.stop) if i not in _EYES),
    "eyes": (*_EYES, *range(GAZE_AT.start, GAZE_AT.stop)),
}
assert sorted(sum(GROUPS.values(), ())) == list(range(PERFORMANCE))
