"""The photographer: one posed studio person, a camera, a light and a place, to a picture with its labels.

Works in view space of kernels.rasterize.Camera, so what it draws lies where the engine's guidance lies. Passes:
shadow maps, surfaces (who is seen, what they are made of), light by material, samples to pixels, light spread in
skin, film. The same inputs give the same bits on one machine and driver.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.avatar import REGIONS
from kernels.rasterize import Camera
from training.bake import eyes
from training.studio import gl, lights, places
from training.studio.figure import (
    CLOTH,
    EYE,
    HAIR,
    LABELS,
    POLISHED,
    RELIEF_GAIN,
    SKIN,
    STRAND,
    WET,
    Figure,
    eye_sheet,
    materials,
)
from training.studio.lights import Light
from training.studio.person import StudioPerson
from training.studio.places import Place

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
SUPERSAMPLE: Final = 2  # samples across a pixel; the resolve pass is written for two
KEY_SIZE, RIM_SIZE = 1024, 512  # texels across the shadow maps
SUBJECT: Final = np.array([0.0, -0.12, -0.05])  # the depth at which a picture is lit, metres
MARGIN: Final = 0.16  # metres around the picture that cast shadows into it
MAP_DEPTH: Final = 1.8  # metres that a shadow map spans
ROOM_LEVELS: Final = 5
HAIR_BLUR: Final = 0.65  # how much of the wider filter strands get
SHADERS: Final = {
    SKIN: "skin.frag", WET: "wet.frag", EYE: "eye_light.frag", HAIR: "hair.frag", CLOTH: "cloth.frag",
    POLISHED: "polished.frag",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shot:
    """One photograph: rgb (H,W,3) sRGB over its place, alpha (H,W) of the person, region (H,W) of REGIONS, all u8."""

    rgb: U8
    alpha: U8
    region: U8


class Photographer:
    """Draws pictures of ``size`` (H, W) with 4 samples a pixel. ``load`` somebody, then ``shoot``.

    Raises GlError when there is no EGL, ValueError on a bad size.
    """

    def __init__(self, size: tuple[int, int], device: int = 0) -> None:
        height, width = size
        if not (16 <= height <= 4096 and 16 <= width <= 4096):
            raise ValueError(f"picture size must be within 16..4096, got {height}x{width}")
        self.size = size
        self.context = context = gl.open_context(device)
        fine = (height * SUPERSAMPLE, width * SUPERSAMPLE)
        self._surfaces = gl.Target(context, fine, [(4, "f1"), (4, "f1"), (4, "f2")], depth=True)
        self._sorted = gl.Target(context, fine, [], depth=True)
        self._lit = gl.Target(context, fine, [(4, "f2")] * 3)
        self._lighting = context.framebuffer(self._lit.colours, self._sorted.depth)
        self._glazing = context.framebuffer(self._lit.colours, self._surfaces.depth)
        self._lighting.depth_mask = self._glazing.depth_mask = False
        self._pixels = gl.Target(context, size, [(4, "f2"), (4, "f2"), (4, "f2"), (1, "u1")])
        self._spread = [gl.Target(context, size, [(4, "f2")]) for _ in range(2)]
        self._picture = gl.Target(context, size, [(4, "f1")])
        self._key = gl.Target(context, (KEY_SIZE, KEY_SIZE), [], depth=True)
        self._rim = gl.Target(context, (RIM_SIZE, RIM_SIZE), [], depth=True)
        polar = {"OPEN_ANGLE": f"{eyes.OPEN_ANGLE:.7f}", "POWER": "0.65", "LIMBUS": f"{eyes.IRIS:.7f}"}
        self._draw = {
            "surface": gl.Program(context, "body.vert", "surface.frag"),
            "strand": gl.Program(context, "body.vert", "strand.frag"),
            "eye": gl.Program(context, "body.vert", "eye.frag", **polar),
            "shadow": gl.Program(context, "shadow.vert", "shadow.frag"),
            "shadow_strand": gl.Program(context, "shadow.vert", "shadow.frag", STRAND=1),
        }
        self._draw["hull"] = self._draw["strand"]
        self._sort = gl.Program(context, "screen.vert", "sort.frag", LABELS=LABELS)
        known = {"LABELS": LABELS, "BROWS": REGIONS.index("brows"), "LASHES": REGIONS.index("lashes")}
        self._light = {number: gl.Program(context, "screen.vert", name, **known) for number, name in SHADERS.items()}
        self._glass = gl.Program(context, "body.vert", "glass.frag")
        self._resolve = gl.Program(context, "screen.vert", "resolve.frag", STRAND=STRAND, SOFT=HAIR_BLUR)
        self._scatter = gl.Program(context, "screen.vert", "scatter.frag")
        self._develop = gl.Program(context, "screen.vert", "develop.frag")
        corners = context.buffer(np.array([-1, -1, 3, -1, -1, 3], np.float32).tobytes())
        passes = [self._sort, *self._light.values(), self._resolve, self._scatter, self._develop]
        self._screen = {p.name: context.vertex_array(p.program, [(corners, "2f", "corner")]) for p in passes}
        # Strands cover most samples: one level of detail in place of two saves a tenth of a frame's time.
        self._one_level = context.sampler(filter=(context.LINEAR_MIPMAP_NEAREST, context.LINEAR))
        self._figure: Figure | None = None
        self._meshes: dict[str, Any] = {}
        self._light_now: Light | None = None
        self._place_now: tuple[Place, Light] | None = None
        self._room: Any = None
        self._backdrop: Any = None
        self._constants()

    def load(self, person: StudioPerson) -> None:
        """Takes somebody in front of the camera; whoever was there leaves."""
        if self._figure is not None:
            for mesh in self._meshes.values():
                mesh.release()
            self._figure.release()
        figure = self._figure = Figure(self.context, person)
        body = [(figure.position, "3f", "position"), (figure.normal, "3f", "normal"), (figure.place, "2f", "place")]
        body.append((figure.own, "1f", "own"))
        cast = [(figure.position, "3f", "position"), (figure.place, "2f", "place")]
        self._meshes = {
            kind: self.context.vertex_array(self._draw[kind].program, body, figure.index, skip_errors=True)
            for kind in ("surface", "strand", "eye", "hull")
        }
        self._meshes["glass"] = self.context.vertex_array(self._glass.program, body, figure.index, skip_errors=True)
        self._meshes["shadow"] = self.context.vertex_array(
            self._draw["shadow"].program, cast[:1], figure.index, skip_errors=True
        )
        program = self._draw["shadow_strand"].program
        for lamp, index in zip(("key", "rim"), figure.thin, strict=True):
            if index is not None:
                self._meshes[lamp] = self.context.vertex_array(program, cast, index, skip_errors=True)

    def shoot(self, vertices: F32, normals: F32, camera: Camera, light: Light, place: Place) -> Shot:
        """Photographs the loaded person's ``fine`` mesh, posed: vertices and unit normals (V,3) f32, world space."""
        if self._figure is None:
            raise RuntimeError("nobody is loaded: call load(person) before shoot()")
        self._figure.pose(vertices, normals)
        self._hang(light, place)
        middle, reach = self._in_picture(camera)
        to_key = self._shadow(self._key, lamp_view(np.array(light.key.direction), middle, reach), "key")
        to_rim = self._shadow(self._rim, lamp_view(np.array(light.rim.direction), middle, reach), "rim")
        self._survey(vertices, camera)
        self._illuminate(camera, light, to_key, to_rim)
        self._expose(camera, light, place)
        picture = self._picture.read(0, np.uint8, 4)
        region = self._pixels.read(3, np.uint8, 1)
        return Shot(np.ascontiguousarray(picture[..., :3]), np.ascontiguousarray(picture[..., 3]), region[..., 0])

    def plate(self, camera: Camera, light: Light, place: Place) -> U8:
        """The place alone in the same light, on the same film: what is behind the person, (H, W, 3) sRGB."""
        self._hang(light, place)
        for target in (self._pixels, *self._spread):
            target.framebuffer.clear()
        self._develop_picture(camera, light, place, self._spread[1].colours[0])
        return np.ascontiguousarray(self._picture.read(0, np.uint8, 4)[..., :3])

    def release(self) -> None:
        """Gives the graphics card back."""
        self.context.release()

    def _constants(self) -> None:
        """Uniforms that never change."""
        height, width = self.size
        teeth = np.zeros(LABELS, np.float32)
        teeth[REGIONS.index("teeth")] = 1.0
        middle, half = eye_sheet()
        for program in (*self._draw.values(), self._glass):
            program.set(
                albedo=0, surface=1, relief=2, extent=(float(width * SUPERSAMPLE), float(height * SUPERSAMPLE)),
                relief_gain=RELIEF_GAIN, sheet=(*middle.tolist(), *half.tolist()),
            )  # fmt: skip
        self._sort.set(colour=0, material_of=materials(), level=0.5)
        for number, program in (*self._light.items(), (0, self._glass)):
            program.set(
                colour=0, surface=1, direction=2, depth=3, key_map=4, rim_map=5, room=6, level=number / 16.0,
                is_tooth=teeth, key_reach=MAP_DEPTH,
            )  # fmt: skip
        self._resolve.set(light=0, within=1, skin=2, colour=3, depth=4, level=0.5)
        self._scatter.set(within=0, skin=1, level=0.5)
        self._develop.set(light=0, within=1, skin=2, backdrop=3, level=0.5, backdrop_reach=float(places.REACH))

    def _hang(self, light: Light, place: Place) -> None:
        """Uploads the room to be mirrored and the backdrop when they are not those of the last picture."""
        import moderngl

        if light != self._light_now:
            if self._room is not None:
                self._room.release()
            base = 2 ** (ROOM_LEVELS + 2)
            sharp = lights.environment(light, True, base)
            self._room = gl.picture(self.context, sharp.astype(np.float32), mipmaps=True, repeat=True)
            for level in range(1, ROOM_LEVELS):  # roughness 0 to 1, and light.glsl asks for 1 + 3 * roughness
                small = lights.environment(light, False, base >> level)
                if level > 1:
                    small = lights.blurred(small, (level - 1) / 3)
                self._room.write(np.ascontiguousarray(small, np.float32).tobytes(), level=level)
            self._room.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
            harmonic = lights.harmonics(lights.environment(light))
            for program in (*self._light.values(), self._glass):
                program.set(harmonic=harmonic)
            self._light_now = light
        if (place, light) != self._place_now:
            if self._backdrop is not None:
                self._backdrop.release()
            backdrop = places.paint(place, light)
            self._backdrop = gl.picture(self.context, backdrop.picture)
            self._backdrop.repeat_x = backdrop.turns
            self._develop.set(backdrop_turns=backdrop.turns)
            self._place_now = (place, light)

    def _in_picture(self, camera: Camera) -> tuple[NDArray[np.float64], float]:
        """The world point in the middle of the picture, at the subject's distance, and half of what is seen there."""
        rotation = camera.rotation.astype(np.float64)
        away = float((rotation @ SUBJECT + camera.translation)[2])
        x, y = ((0.5 * n - c) / camera.focal for n, c in zip(self.size[::-1], camera.centre, strict=True))
        middle = rotation.T @ (np.array([x, y, 1.0]) * away - camera.translation)
        return middle, 0.5 * max(self.size) / camera.focal * away + MARGIN

    def _shadow(self, target: gl.Target, to_map: F32, lamp: str) -> F32:
        """Draws what the lamp behind ``to_map`` (see lamp_view) sees; returns ``to_map``."""
        assert self._figure is not None
        context = self.context
        target.framebuffer.use()
        target.framebuffer.clear(depth=1.0)
        context.enable_only(context.DEPTH_TEST)
        context.depth_func = "<"
        self._figure.albedo.use(0)
        for kind in ("shadow", "shadow_strand"):
            self._draw[kind].set(to_map=to_map)
        for group in self._figure.casting:
            self._meshes["shadow"].render(vertices=group.length, first=group.first)
        if lamp in self._meshes:
            self._one_level.use(0)
            self._meshes[lamp].render()
            self._one_level.clear(0)
        return to_map

    def _survey(self, vertices: F32, camera: Camera) -> None:
        """Draws the surfaces: colour and label, what they are made of, where they face."""
        assert self._figure is not None
        figure, context = self._figure, self.context
        scale = float(SUPERSAMPLE)
        lens = (camera.focal * scale, camera.centre[0] * scale, camera.centre[1] * scale, 0.0)
        self._surfaces.framebuffer.use()
        self._surfaces.framebuffer.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
        context.enable_only(context.DEPTH_TEST)
        context.depth_func, context.front_face = "<", "cw"
        for unit, texture in enumerate((figure.albedo, figure.surface, figure.relief)):
            texture.use(unit)
        axes, pivots = [], []
        for eye in figure.eyes:
            frame, centre = eye.frame(vertices)
            axes.append(frame @ camera.rotation.T)
            pivots.append(camera.rotation @ centre + camera.translation)
        for program in (*self._draw.values(), self._glass):
            program.set(turn=camera.rotation, shift=tuple(map(float, camera.translation)), lens=lens)
        self._draw["eye"].set(eye=np.stack(axes), pivot=np.stack(pivots))
        for group in figure.groups:
            if group.kind == "glass":
                continue
            if group.kind == "strand":
                context.disable(context.CULL_FACE)
                self._one_level.use(0)
                self._one_level.use(1)
            else:
                context.enable(context.CULL_FACE)
                self._one_level.clear(0)
                self._one_level.clear(1)
            self._draw[group.kind].set(label=group.label / 255.0, cut=float(group.kind == "strand"))
            self._meshes[group.kind].render(vertices=group.length, first=group.first)
        self._one_level.clear(0)
        self._one_level.clear(1)

    def _illuminate(self, camera: Camera, light: Light, to_key: F32, to_rim: F32) -> None:
        """Lights every sample by the shader of its material."""
        context, figure = self.context, self._figure
        assert figure is not None
        self._sorted.framebuffer.use()
        context.enable_only(context.DEPTH_TEST)
        context.depth_func = "1"
        self._surfaces.colours[0].use(0)
        self._screen["sort.frag"].render()
        self._lighting.use()
        self._lighting.clear(0.0, 0.0, 0.0, 0.0)
        context.depth_func = "=="
        for unit, texture in enumerate(
            (*self._surfaces.colours, self._surfaces.depth, self._key.depth, self._rim.depth, self._room)
        ):
            texture.use(unit)
        rotation = camera.rotation.astype(np.float64)
        world = np.eye(4)
        world[:3, :3], world[:3, 3] = rotation.T, -rotation.T @ camera.translation
        lamps = (light.key, light.fill, light.rim)
        scale = float(SUPERSAMPLE)
        shared = {
            "lens": (camera.focal * scale, camera.centre[0] * scale, camera.centre[1] * scale, 0.0),
            "to_world": camera.rotation.T,
            "lamp_direction": np.array([rotation @ lamp.direction for lamp in lamps]),
            "lamp_colour": np.array([lamp.colour for lamp in lamps]),
            "lamp_size": np.array([lamp.size for lamp in lamps]),
            "to_key": to_key @ world,
            "to_rim": to_rim @ world,
            "key_width": float(1.0 / np.linalg.norm(to_key[0, :3])),
            "lid_up": self._up(camera),
        }
        for program in self._light.values():
            program.set(**shared)
            self._screen[program.name].render()
        self._glaze(shared)

    def _glaze(self, shared: dict[str, Any]) -> None:
        """Lays see-through glass over what is lit."""
        assert self._figure is not None
        context, groups = self.context, [group for group in self._figure.groups if group.kind == "glass"]
        if groups:
            self._glazing.use()
            context.enable_only(context.DEPTH_TEST | context.BLEND)
            context.depth_func, context.blend_func = "<", (context.ONE, context.ONE_MINUS_SRC_ALPHA)
            self._glass.set(**shared)
            for group in groups:
                self._meshes["glass"].render(vertices=group.length, first=group.first)
            context.disable(context.BLEND)

    def _up(self, camera: Camera) -> tuple[float, float]:
        """The world's up in the picture."""
        x, y = camera.rotation[0, 1], camera.rotation[1, 1]
        size = max(float(np.hypot(x, y)), 1e-6)
        return float(x) / size, float(y) / size

    def _expose(self, camera: Camera, light: Light, place: Place) -> None:
        """Samples to pixels, light spread in skin, place and film."""
        context = self.context
        height, width = self.size
        context.disable(context.DEPTH_TEST)
        self._pixels.framebuffer.use()
        for unit, texture in enumerate((*self._lit.colours, self._surfaces.colours[0], self._surfaces.depth)):
            texture.use(unit)
        self._screen["resolve.frag"].render()
        self._pixels.colours[2].use(1)
        source = self._pixels.colours[1]
        for target, along in zip(self._spread, ((1.0 / width, 0.0), (0.0, 1.0 / height)), strict=True):
            target.framebuffer.use()
            source.use(0)
            self._scatter.set(along=along, focal=float(camera.focal))
            self._screen["scatter.frag"].render()
            source = target.colours[0]
        self._develop_picture(camera, light, place, source)

    def _develop_picture(self, camera: Camera, light: Light, place: Place, spread: Any) -> None:
        """Film: from radiance a pixel, and light ``spread`` in skin, to the picture."""
        gain = 1.0 if self._figure is None else self._figure.gain
        self.context.disable(self.context.DEPTH_TEST)
        self._picture.framebuffer.use()
        for unit, texture in enumerate((self._pixels.colours[0], spread, self._pixels.colours[2], self._backdrop)):
            texture.use(unit)
        self._develop.set(
            lens=(camera.focal, *camera.centre, 0.0), to_world=camera.rotation.T, exposure=light.exposure * gain,
            seed=float(place.seed % 65536),
        )  # fmt: skip
        self._screen["develop.frag"].render()


def lamp_view(toward: NDArray[np.float64], middle: NDArray[np.float64], reach: float) -> F32:
    """World to (place in the map, depth), (4,4), all 0..1: what lies within ``reach`` metres of ``middle``."""
    forward = -toward / np.linalg.norm(toward)
    helper = np.array([0.0, 1.0, 0.0]) if abs(forward[1]) < 0.95 else np.array([0.0, 0.0, 1.0])
    right = np.cross(forward, helper)
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    rows = np.stack([right / (2 * reach), up / (2 * reach), forward / MAP_DEPTH])
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = rows, 0.5 - rows @ middle
    return out.astype(np.float32)
