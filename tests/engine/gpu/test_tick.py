"""The whole fast path on the emulated device: what a session gets there is what it gets from the CPU."""

from __future__ import annotations

import dataclasses
import gc
import threading

import numpy as np
import pytest

from engine import avatar as packs
from engine import snapshot
from engine.clock import VOICE_FRAME
from engine.config import AvatarConfig, BehaviourConfig, EngineConfig, MotionConfig, RenderConfig
from engine.engine import Engine
from engine.gpu import wish
from engine.gpu.gpu import Gpu, GpuRenderer
from engine.gpu.networks import Rehearsal
from engine.gpu.session import GpuSession
from engine.gpu.tick import TURNS, Tick
from engine.motion import lips, perform
from engine.motion.frame import SIZE as MOTION
from engine.motion.frame import Motion
from engine.motion.manner import Manner
from engine.render import network
from engine.render.composite import Backdrop
from engine.scheduler import Ask
from engine.session import Controls, Source
from engine.stages import Stages
from engine.viewpoint import Viewpoint
from kernels import cuda
from kernels.emulator import build
from tests.synthetic import make_avatar

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no g++ on this machine")
torch = pytest.importorskip("torch")
SIZE = (64, 64)
ROOM = {"vertices": 11264, "triangles": 19200, "blended": 4096}
NEAR = 1.0  # mean difference of 255: reference and half a dozen kernels round each in their own way


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small network with random weights, and the CPU's graphs of it."""
    from engine.render.denoiser import DenoiserConfig, Renderer
    from exporters.render import export_encoder, export_frame, save_weights

    folder = tmp_path_factory.mktemp("small")
    torch.manual_seed(3)
    config = DenoiserConfig(widths=(16, 24, 32), depths=(1, 1, 1), embed=24, head=8, view_experts=3, mask_rank=2)
    net = Renderer(config).eval()
    export_frame(net, folder / "small.onnx")
    export_encoder(net, folder / "small_identity.onnx")
    save_weights(net, folder / "small.safetensors")
    return folder


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Two avatars: the synthetic one, and one of another shape and paint."""
    folder, made = tmp_path_factory.mktemp("people"), make_avatar()
    packs.save(dataclasses.replace(made, meta=dataclasses.replace(made.meta, id="one")), folder / "one")
    other = dataclasses.replace(
        made, meta=dataclasses.replace(made.meta, id="two"), rest=(made.rest * np.float32([1.1, 0.95, 1.0])),
        albedo=np.ascontiguousarray(made.albedo[..., [2, 0, 1, 3]]),
    )  # fmt: skip
    packs.save(other, folder / "two")
    return folder


def engine_of(files, people, lookahead=0, **more):
    render = RenderConfig(
        width=SIZE[1], height=SIZE[0], framing="head", network=str(files / "small.onnx"), precision="f32", threads=1
    )
    return Engine(
        EngineConfig(AvatarConfig("one", (str(people),)), motion=MotionConfig(lookahead), render=render, **more)
    )


@pytest.fixture(scope="module")
def engine(files, people):
    return engine_of(files, people)


class Both:
    """Lips and performer as the CPU runs them, the painter by torch: exporting it would take longer than all else."""

    steps, runs = (1, 2), "both"

    def __init__(self, device, files):
        from engine.backends.torch import Net, TorchNetworks
        from engine.render.painter import Painter
        from exporters.painter import inputs_of
        from exporters.render import OUTPUTS, load_weights

        painters = {count: Painter(load_weights(files / "small.safetensors"), count) for count in self.steps}
        nets = {f"painter{n}": Net.of(p, inputs_of(p, SIZE, 1), OUTPUTS) for n, p in painters.items()}
        painter = TorchNetworks(device, nets, "eager")
        files = {"lips": lips.MODEL, "performer": perform.MODEL, "painter1": lips.MODEL}
        self.by_name = {**dict.fromkeys(files, Rehearsal(device, files)), "painter": painter}
        self.capture = painter.capture

    def inputs(self, name):
        return self.by_name[name].inputs(name)

    def outputs(self, name):
        return self.by_name[name].outputs(name)

    def bind(self, name, *more):
        return self.by_name[name].bind(name, *more)


@pytest.fixture(scope="module")
def gpu(files):
    device = cuda.emulated()
    made = Gpu(
        Tick(device, Both(device, files), SIZE, most=4, **ROOM), network.find(str(files / "small.onnx"), 1, "f32")
    )
    yield made
    made.close()


def seated(engine, gpu, avatar, seed, manner=None, steps=1):
    """A session whose frames the GPU makes, otherwise as ``engine.open`` gives it."""
    parts = engine.open(avatar, seed=seed, manner=manner).parts
    parts.renderer = GpuRenderer(gpu, engine.avatar(avatar), "head", seed=seed, steps=steps)
    return GpuSession(parts, seed=seed, manner=manner)


def voice(frames, seed=0):
    rng = np.random.default_rng(seed)
    beat = 0.5 + 0.5 * np.sin(np.arange(frames * VOICE_FRAME) / 3000)
    return (0.2 * beat * rng.normal(size=frames * VOICE_FRAME)).astype(np.float32).clip(-1, 1)


def together(tick, sessions):
    """The next frame of every session, in one batch."""
    asks, heards = [], []
    for session in sessions:
        heards.append(session.hear(Stages()))
        renderer = session.parts.renderer
        wanted = wish.make(session, heards[-1], session.parts.actor.performer, renderer.noise_shape, renderer.worn)
        asks.append(Ask(renderer.seat, wanted, renderer.steps))
    answers = tick.collect(tick.submit(asks, max(ask.steps for ask in asks)))
    frames = []
    for session, heard, answer in zip(sessions, heards, answers, strict=True):
        frames.append(session._frame(heard, answer, Stages()))
        answer.release()
    return frames


def film(session, frames, seed):
    """So many frames of a session, one by one."""
    for i in range(frames):
        session.push_voice(voice(frames, seed)[i * VOICE_FRAME : (i + 1) * VOICE_FRAME])
        yield session.step()


def same(mine, theirs, about=""):
    np.testing.assert_allclose(mine.motion.pack(), theirs.motion.pack(), atol=1e-5, err_msg=about)
    np.testing.assert_allclose(mine.viseme, theirs.viseme, atol=1e-5, err_msg=about)
    assert (mine.pts, mine.control_seq, mine.interrupted) == (theirs.pts, theirs.control_seq, theirs.interrupted)
    assert mine.viewpoint == theirs.viewpoint and np.array_equal(mine.voice, theirs.voice)
    difference = np.abs(mine.i420.astype(int) - theirs.i420)
    assert difference.mean() < NEAR and np.percentile(difference, 98) <= 4, f"{about}: {difference.mean():.2f}"


def test_sessions_of_other_avatars_views_and_manners_in_one_batch_get_what_the_cpu_gives_each(engine, gpu):
    happy = Manner(emotion="happy", gaze="viewer", actions=(("browInnerUp", 0.8),))
    who = [("one", 3, None), ("two", 5, happy), ("one", 9, Manner(head=0.5, seed=4))]
    mine = [seated(engine, gpu, *one) for one in who]
    theirs = [engine.open(avatar, seed=seed, manner=manner) for avatar, seed, manner in who]
    frames = 5
    for i in range(frames):
        for k, pair in enumerate(zip(mine, theirs, strict=True)):
            for session in pair:
                session.push_voice(voice(frames, k)[i * VOICE_FRAME : (i + 1) * VOICE_FRAME])
                if i == 2:
                    session.control(Controls(Viewpoint(yaw=0.3 * k - 0.2, distance=1.0 + 0.1 * k), seq=k))
                if i == 3 and k == 1:
                    session.interrupt()
        for k, (one, other) in enumerate(zip(together(gpu.tick, mine), [s.step() for s in theirs], strict=True)):
            same(one, other, f"frame {i} of session {k}")


def test_the_graph_gives_what_the_same_work_gives_one_by_one(engine, files, gpu):
    device = cuda.emulated()
    eager = Gpu(Tick(device, Both(device, files), SIZE, most=1, eager=True, **ROOM), gpu.network)
    pictures = []
    for one in (gpu, eager):
        session = seated(engine, one, "one", 1)
        for i in range(3):
            session.push_voice(voice(3)[i * VOICE_FRAME : (i + 1) * VOICE_FRAME])
            frame = session.step()
        pictures.append((frame.i420.copy(), frame.motion.pack()))
    eager.close()
    assert np.array_equal(pictures[0][0], pictures[1][0]) and np.array_equal(pictures[0][1], pictures[1][1])


def test_rows_of_fewer_steps_in_a_batch_of_more_get_their_own_picture(engine, gpu):
    steps = (1, 2, 1)
    alone, mixed = ([seated(engine, gpu, "one", 7 + k, steps=n) for k, n in enumerate(steps)] for _ in range(2))
    for i in range(2):
        for session in (*alone, *mixed):
            session.push_voice(voice(2)[i * VOICE_FRAME : (i + 1) * VOICE_FRAME])
        wanted = [session.step() for session in alone]
        for k, (one, other) in enumerate(zip(together(gpu.tick, mixed), wanted, strict=True)):
            difference = np.abs(one.i420.astype(int) - other.i420)
            assert difference.max() <= 2, f"session {k} of {steps[k]} steps"
    assert not np.array_equal(wanted[0].i420, wanted[1].i420)


def test_sessions_on_threads_of_their_own_get_what_each_gets_alone(engine, gpu):
    count, frames = 3, 3
    alone = [[frame.i420.copy() for frame in film(seated(engine, gpu, "two", k), frames, k)] for k in range(count)]
    sessions, films = [seated(engine, gpu, "two", k) for k in range(count)], {}
    threads = [
        threading.Thread(target=lambda k=k: films.update({k: [f.i420.copy() for f in film(sessions[k], frames, k)]}))
        for k in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(count):
        for one, other in zip(films[k], alone[k], strict=True):
            assert np.abs(one.astype(int) - other).max() <= 2


@pytest.mark.parametrize("there", ["the GPU", "a CPU"])
def test_a_session_goes_on_from_a_snapshot(engine, gpu, there):
    whole, first = (seated(engine, gpu, "one", 6) for _ in range(2))
    samples, cut = voice(6), 3 * VOICE_FRAME
    for session in (whole, first):
        for start in range(0, cut, VOICE_FRAME):
            session.push_voice(samples[start : start + VOICE_FRAME])
            session.step()
    second = seated(engine, gpu, "two", 1) if there == "the GPU" else engine.open("two", seed=1)
    snapshot.restore(second, snapshot.take(first))
    for start in range(cut, len(samples), VOICE_FRAME):
        for session in (whole, second):
            session.push_voice(samples[start : start + VOICE_FRAME])
        one, other = whole.step(), second.step()
        near = 0.0 if there == "the GPU" else 1e-5
        np.testing.assert_allclose(one.motion.pack(), other.motion.pack(), atol=near, rtol=0)
        assert one.pts == other.pts and np.array_equal(one.voice, other.voice)


@pytest.mark.parametrize("chunk", [1111, 4000])
def test_frames_do_not_depend_on_how_the_voice_was_cut(engine, gpu, chunk):
    samples, films = voice(3), []
    for size in (len(samples), chunk):
        session, film = seated(engine, gpu, "one", 2), []
        for start in range(0, len(samples), size):
            session.push_voice(samples[start : start + size])
            while (frame := session.step()) is not None:
                film.append((frame.motion.pack(), frame.i420.copy()))
        films.append(film)
    assert len(films[0]) == len(films[1]) == 3
    for (a, picture_a), (b, picture_b) in zip(*films, strict=True):
        assert np.array_equal(a, b) and np.array_equal(picture_a, picture_b)


def test_the_lookahead_delays_frames_as_on_the_cpu(files, people):
    engine, device = engine_of(files, people, lookahead=1), cuda.emulated()
    ahead = Gpu(
        Tick(device, Both(device, files), SIZE, most=1, lookahead=1, **ROOM),
        network.find(str(files / "small.onnx"), 1, "f32"),
    )
    mine, theirs = seated(engine, ahead, "two", 1), engine.open("two", seed=1)
    for i in range(4):
        for session in (mine, theirs):
            session.push_voice(voice(4)[i * VOICE_FRAME : (i + 1) * VOICE_FRAME])
        one, other = mine.step(), theirs.step()
        assert (one is None) == (other is None) == (i == 0)
        if one is not None:
            same(one, other, f"frame {i}")
    ahead.close()


def test_another_source_and_rules_instead_of_a_network_move_it_as_on_the_cpu(files, people, gpu):
    engine = engine_of(files, people, behaviour=BehaviourConfig(performer="rules"))
    taped = Motion.unpack(np.random.default_rng(0).normal(0, 0.3, MOTION).astype(np.float32)).clipped()
    sources = (None, Source(lambda i: taped), Source(lambda i: taped if i else None, lips=False))
    for k, source in enumerate(sources):
        mine, theirs = seated(engine, gpu, "one", k), engine.open("one", seed=k)
        mine.source = theirs.source = source
        for i in range(3):
            for session in (mine, theirs):
                session.push_voice(voice(3)[i * VOICE_FRAME : (i + 1) * VOICE_FRAME])
            same(mine.step(), theirs.step(), f"source {k}, frame {i}")


def test_changing_the_avatar_keeps_what_was_heard_and_forgets_the_picture(engine, gpu):
    mine, theirs = seated(engine, gpu, "one", 4), engine.open("one", seed=4)
    for i in range(4):
        for session in (mine, theirs):
            session.push_voice(voice(4)[i * VOICE_FRAME : (i + 1) * VOICE_FRAME])
        if i == 2:
            mine.wear(GpuRenderer(gpu, engine.avatar("two"), "head", seed=4))
            theirs.wear(engine.renderer("two", seed=4))
            assert not mine.parts.renderer.seat.started
        same(mine.step(), theirs.step(), f"frame {i}")


def test_a_background_shows_from_the_next_picture_on_and_nothing_behind_is_see_through(engine, gpu):
    mine, theirs = seated(engine, gpu, "one", 6), engine.open("one", seed=6)
    for i, backdrop in enumerate((Backdrop("colour", (10, 200, 60)), Backdrop("transparent"))):
        for session in (mine, theirs):
            session.parts.renderer.show(backdrop)
            session.push_voice(voice(2)[i * VOICE_FRAME : (i + 1) * VOICE_FRAME])
        one, other = mine.step(), theirs.step()
        same(one, other)
        assert (one.cutout is None) == (other.cutout is None) == (i == 0)
    alpha = np.abs(one.cutout[..., 3].astype(int) - other.cutout[..., 3])
    assert alpha.mean() < NEAR and 0 < one.cutout[..., 3].mean() < 255


def test_a_motion_can_be_painted_without_a_voice(engine, gpu):
    mine = GpuRenderer(gpu, engine.avatar("one"), "head", seed=1)
    theirs = engine.renderer("one", "head", seed=1)
    broken = Motion.rest()
    broken.face[:3] = np.nan, 7.0, 0.5
    state, other = mine.initial_state(), theirs.initial_state()
    for motion in (Motion.rest(), broken):
        picture, state = mine.step(motion, Viewpoint(yaw=0.2), state)
        wanted, other = theirs.step(motion, Viewpoint(yaw=0.2), other)
        assert np.abs(picture.rgb.astype(int) - wanted.rgb).mean() < NEAR
    assert mine.clamped == theirs.clamped == 1


@pytest.mark.parametrize("what", ["record", "wait"])
def test_an_error_of_the_gpu_is_told_to_who_asked_and_later_frames_are_painted(engine, gpu, monkeypatch, what):
    mine = GpuRenderer(gpu, engine.avatar("one"), "head")

    def broken(*_):
        raise cuda.CudaError("broken")

    with monkeypatch.context() as patch:
        for staging in gpu.tick._stagings:
            patch.setattr(staging.done, what, broken)
        for _ in range(TURNS + 1):
            with pytest.raises(cuda.CudaError, match="broken"):
                mine.step(Motion.rest(), mine.default_viewpoint(), None)
    for _ in range(TURNS + 1):
        assert mine.step(Motion.rest(), mine.default_viewpoint(), None)[0].rgb.any()


def test_renderers_that_are_gone_leave_their_pinned_memory_to_the_next(engine, gpu, monkeypatch):
    def paint():
        renderer = GpuRenderer(gpu, engine.avatar("one"), "head")
        renderer.step(Motion.rest(), renderer.default_viewpoint(), None)
        assert renderer.seat.cutout is not None

    asked, pinned = [], gpu.tick.device.pinned
    monkeypatch.setattr(gpu.tick.device, "pinned", lambda *of: asked.append(of) or pinned(*of))
    for _ in range(4):
        paint()
        gc.collect()
    assert len(asked) <= 1


def test_a_gpu_with_little_memory_takes_fewer_at_a_time_and_says_so(files):
    device = cuda.emulated(64 << 20)
    tick = Tick(device, Both(device, files), SIZE, most=8, **ROOM)
    assert tick.buckets in ((1,), (1, 2), (1, 2, 4)) and "not 8" in tick.reduced and "memory is full" in tick.reduced
    assert set(tick.costs) == {(size, steps) for size in tick.buckets for steps in (1, 2)}
    with pytest.raises(cuda.OutOfMemory):
        Tick(cuda.emulated(1 << 20), Both(device, files), SIZE, most=8, **ROOM)


def test_what_does_not_fit_is_refused_in_words(engine, files, gpu):
    device = cuda.emulated()
    with pytest.raises(ValueError, match="multiples of 32 pixels, not 70 x 64"):
        Tick(device, Both(device, files), (64, 70))
    small = Tick(device, Both(device, files), SIZE, most=1, vertices=64, triangles=64, blended=64)
    with pytest.raises(ValueError, match='the GPU has room for 64, 64 and 64: set .render. device = "cpu"'):
        GpuRenderer(Gpu(small, gpu.network), engine.avatar("one"))
    with pytest.raises(ValueError, match="paints in 1, 2 steps, not 4"):
        GpuRenderer(gpu, engine.avatar("one"), steps=4)
    wrong = Both(device, files)
    sessions = wrong.by_name["lips"]._sessions
    sessions["lips"] = sessions["performer"]
    with pytest.raises(ValueError, match="lips network is not of this version: it has no gain"):
        Tick(device, wrong, SIZE, most=1, **ROOM)


def test_every_part_of_a_tick_is_timed_in_order(gpu):
    names = [name for name, _ in gpu.tick.trace(1)]
    order = ["logmel.logmel", "move.move", "lips", "performer", "move.move", "act.act", "bones.bones", "skin.skin",
             "rasterize.fill", "blend.accumulate", "guidance.sample", "cells.follow", "painter",
             "cells.show"]  # fmt: skip
    assert [name for name in names if name in order] == order
