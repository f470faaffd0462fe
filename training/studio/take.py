"""The stage: one studio person in front of one camera, photographed clip by clip, with the guidance beside it."""

from __future__ import annotations

from collections.abc import Iterator

from engine.body.body import Body
from engine.motion.frame import Motion
from engine.render import camera
from engine.viewpoint import Viewpoint
from training.choreography.arms import Skeleton
from training.studio import lights, places
from training.studio.clips import Clip
from training.studio.guidance import Guide
from training.studio.lights import Light
from training.studio.person import StudioPerson, build
from training.studio.photograph import Photographer, Shot
from training.studio.places import Place
from training.studio.records import Record


class Studio:
    """A photographer and whoever is in front of the camera. ``size`` is the pictures' side in pixels.

    Opens a GL context, so it belongs to the thread that made it.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.photographer = Photographer((size, size))
        self.device = str(self.photographer.context.info["GL_RENDERER"])
        self._person: StudioPerson | None = None
        self._guides: dict[str, Guide] = {}

    def enter(self, person: int) -> Skeleton:
        """Lets the person with that number come in, and says how they are built."""
        if self._person is None or self._person.number != person:
            self.welcome(build(person))
        assert self._person is not None
        return Skeleton.of(self._person.avatar)

    def welcome(self, person: StudioPerson) -> None:
        """Puts somebody already built in front of the camera."""
        self._person = person
        self._guides = {}
        self._body = Body(person.fine)
        self._pose = self._body.allocate()
        self.photographer.load(person)

    def picture(self, motion: Motion, view: Viewpoint, framing: str, light: Light, place: Place) -> Shot:
        """One photograph of whoever is there."""
        pose = self._body.pose(motion, self._pose)
        seen = camera.camera(view, camera.framing(framing), (self.size, self.size))
        return self.photographer.shoot(pose.vertices, pose.normals, seen, light, place)

    def take(self, clip: Clip) -> Iterator[Record]:
        """The records of a clip, frame by frame. The clip's person must have entered."""
        if self._person is None or self._person.number != clip.person:
            raise ValueError(f"clip {clip.number} shows person {clip.person}, who has not entered")
        light, place = lights.sample(clip.light), places.sample(clip.place)
        guide = self._guide(clip.framing)
        guide.cut()
        behind: Viewpoint | None = None
        for frame, (motion, view) in enumerate(zip(clip.motions, clip.viewpoints, strict=True)):
            if clip.kind == "views":
                guide.cut()
            checksum = guide.draw(motion, view).checksum()
            shot = self.picture(motion, view, clip.framing, light, place)
            if view != behind:
                plate, behind = self.photographer.plate(guide.camera(view), light, place), view
            meta = clip.about(frame, self.size, light.to_json(), place.to_json(), checksum)
            yield Record(shot.rgb, shot.alpha, shot.region, plate, motion, clip.pcm[frame], meta)

    def _guide(self, framing: str) -> Guide:
        assert self._person is not None
        if framing not in self._guides:
            self._guides[framing] = Guide(self._person.avatar, (self.size, self.size), framing)
        return self._guides[framing]
