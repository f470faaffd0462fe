"""A stage without GL for tests: pictures that only depend on clip and frame, from a photographer in no hurry."""

import os
import time
from collections.abc import Iterator

import numpy as np

from training.choreography.arms import AVERAGE, Skeleton
from training.studio import lights, places
from training.studio.clips import Clip
from training.studio.records import Record

PACE = float(os.environ.get("STAGE_PACE", "0"))  # seconds a frame


class DoubleStage:
    """Takes noise for a picture."""

    device = "double"

    def __init__(self, size: int) -> None:
        self.size = size

    def enter(self, person: int) -> Skeleton:
        return AVERAGE

    def take(self, clip: Clip) -> Iterator[Record]:
        light, place = lights.sample(clip.light), places.sample(clip.place)
        for frame, motion in enumerate(clip.motions):
            time.sleep(PACE)
            dice = np.random.default_rng((clip.number, frame))
            rgb = dice.integers(256, size=(self.size, self.size, 3), dtype=np.uint8)
            region = dice.integers(14, size=(self.size, self.size), dtype=np.uint8)
            meta = clip.about(frame, self.size, light.to_json(), place.to_json(), clip.number * 100 + frame)
            plate = np.full_like(rgb, 90)
            yield Record(rgb, 255 * (region > 0).astype(np.uint8), region, plate, motion, clip.pcm[frame], meta)
