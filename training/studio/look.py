"""One person from several sides in one picture: the quickest way to judge hair, skin or cloth by the studio's camera.

python -m training.studio.look --avatar ada --yaw -60 0 60 --mood window --out /tmp/ada.png
python -m training.studio.look --number 7 --framing upper --size 384 --out /tmp/7.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import avatar, image
from engine.body.body import Body
from engine.motion.frame import ACTION_INDEX, Motion
from engine.render import camera
from engine.viewpoint import Viewpoint
from training.bake.identities import IDENTITIES
from training.studio import lights, places
from training.studio.lights import MOODS, Light
from training.studio.person import StudioPerson
from training.studio.photograph import Photographer
from training.studio.places import KINDS, Place

Array = NDArray[Any]


def views(
    person: StudioPerson, yaws: Sequence[float], pitch: float = 0.0, *, size: int = 512, framing: str = "head",
    light: Light | None = None, place: Place | None = None, motion: Motion | None = None, zoom: float = 1.0,
    photographer: Photographer | None = None,
) -> Array:  # fmt: skip
    """Photographs side by side, (size, size * n, 3) u8 sRGB. Angles in degrees; ``zoom`` narrows the field of view."""
    photographer = photographer or Photographer((size, size))
    photographer.load(person)
    pose, frame = Body(person.fine).pose(motion or Motion.rest()), camera.framing(framing)
    row = []
    for yaw in yaws:
        view = camera.camera(Viewpoint(np.radians(yaw), np.radians(pitch), frame.distance), frame, photographer.size)
        view = view._replace(focal=view.focal * zoom)
        shot = photographer.shoot(
            pose.vertices, pose.normals, view, light or lights.sample(3, "studio"), place or places.sample(4, "room")
        )
        row.append(shot.rgb)
    return np.concatenate(row, axis=1)


def of_pack(name: str) -> StudioPerson:
    """A shipped avatar as a studio person: what is photographed is the pack itself, without relief."""
    pack = avatar.load(avatar.find(name))
    return StudioPerson(0, IDENTITIES[name], pack, pack, np.zeros((64, 64), np.float32))


def main() -> None:
    """Reads the command line, writes a PNG."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--avatar", help="a shipped avatar, e.g. ada")
    who.add_argument("--number", type=int, help="a studio person's number")
    parser.add_argument("--yaw", type=float, nargs="+", default=[-60.0, 0.0, 35.0], help="degrees")
    parser.add_argument("--pitch", type=float, default=0.0, help="degrees")
    parser.add_argument("--framing", choices=sorted(camera.FRAMINGS), default="head")
    parser.add_argument("--zoom", type=float, default=1.0)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--mood", choices=MOODS, default="studio")
    parser.add_argument("--place", choices=KINDS, default="room")
    parser.add_argument("--seed", type=int, default=3, help="of light and place")
    parser.add_argument("--action", nargs="*", default=[], metavar="NAME=WEIGHT", help="e.g. jawOpen=0.5")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    motion = Motion.rest()
    for text in options.action:
        name, weight = text.split("=")
        motion.face[ACTION_INDEX[name]] = float(weight)
    if options.avatar:
        person = of_pack(options.avatar)
    else:
        from training.studio import person as people

        person = people.build(options.number)
    light, place = lights.sample(options.seed, options.mood), places.sample(options.seed, options.place)
    sheet = views(
        person, options.yaw, options.pitch, size=options.size, framing=options.framing, zoom=options.zoom,
        motion=motion, light=light, place=place,
    )  # fmt: skip
    options.out.write_bytes(image.encode_png(sheet))


if __name__ == "__main__":
    main()
