"""What an avatar is at, in one picture: idle, listening, thinking and speaking, four moments of each.

python -m bench.states --out docs/images/states.jpg
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import av
import numpy as np
import typer
from numpy.typing import NDArray

from engine import image
from engine.clock import FPS, VOICE_FRAME, VOICE_RATE
from engine.config import EngineConfig, RenderConfig
from engine.engine import Engine
from engine.motion.manner import Manner
from visavis.sound import read_voice

SPEECH: Final = Path(__file__).parents[1] / "streaming" / "web" / "sample.wav"
MOMENTS: Final = (2.0, 3.4, 4.8, 7.6)  # seconds after the session began
CROP: Final = (slice(20, 340), slice(96, 416))  # of 512 x 512
STATES: Final = (Manner(), Manner(listening=True), Manner(thinking=True), Manner())  # the last one speaks


def _moments(engine: Engine, avatar: str, seed: int, manner: Manner, voice: NDArray[np.float32]) -> NDArray[np.uint8]:
    """One column: (4 * 320, 320, 3)."""
    session, wanted, found = engine.open(avatar, seed=seed), {round(FPS * t) for t in MOMENTS}, []
    session.control(replace(session.controls, manner=manner))
    painted = 0
    for start in range(0, len(voice), VOICE_FRAME):
        session.push_voice(voice[start : start + VOICE_FRAME])
        while (frame := session.step()) is not None:
            if painted in wanted:
                picture = av.VideoFrame.from_ndarray(frame.i420, format="yuv420p").to_ndarray(format="rgb24")
                found.append(picture[CROP])
            painted += 1
    return np.concatenate(found)


def main(
    out: Annotated[Path, typer.Option(help="The JPEG.")],
    avatar: Annotated[str, typer.Option(help="Who.")] = "maya",
    renderer: Annotated[str, typer.Option(help="neural or geometric.")] = "neural",
    seed: Annotated[int, typer.Option(help="Which chance.")] = 5,
) -> None:
    """Paints it."""
    engine = Engine(EngineConfig(render=RenderConfig(width=512, height=512, renderer=renderer)))
    length = int((MOMENTS[-1] + 0.5) * VOICE_RATE)
    said = np.concatenate(list(read_voice(SPEECH, max_seconds=600)))[:length]
    voices = [np.zeros(length, np.float32)] * 3 + [said]
    columns = [_moments(engine, avatar, seed, *pair) for pair in zip(STATES, voices, strict=True)]
    sheet = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.concatenate(columns, 1)), format="rgb24")
    small = sheet.reformat(width=sheet.width // 5 * 4, height=sheet.height // 5 * 4)
    out.write_bytes(image.encode_jpeg(small.to_ndarray(format="rgb24"), quality=3))  # type: ignore[arg-type]


if __name__ == "__main__":
    typer.run(main)
