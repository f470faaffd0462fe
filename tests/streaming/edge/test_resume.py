"""Sessions that go on: on another line, in another process, for whoever opened them and for nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import BehaviourConfig, EngineConfig, RenderConfig
from engine.engine import Engine
from engine.schedule.room import Room
from engine.snapshot import SnapshotError
from streaming import claim
from streaming.past import Past
from streaming.snapshots import Here
from streaming.tokens import Asker

from ..double import DoubleEngine
from ..harness import PATIENT, Settings, Viewer, run, serving, sessions, until
from ..test_access import NAMED, OTHER, STUDIO, public
from .harness import edged
from .test_workers import ask


async def opened(http: ClientSession, address: str, token: str = "", **fields: Any) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    status, said = await ask(http, f"{address}v1/sessions", "POST", json={"type": "agent", **fields}, headers=headers)
    assert status == 201, said
    return dict(said)


class Roomy(Engine):
    """Takes everybody, on however busy a machine: this is about who goes on, not about how many."""

    def room(self) -> Room:
        return Room()


@pytest.fixture(scope="module")
def real() -> Engine:
    small = RenderConfig(width=64, height=64, renderer="geometric")
    return Roomy(EngineConfig(render=small, behaviour=BehaviourConfig(performer="rules")))


def test_another_line_takes_the_place_of_the_first_and_the_session_goes_on(tmp_path: Path) -> None:
    async def work() -> None:
        engine = DoubleEngine(tmp_path, side=64, cost_s=0.001)
        async with serving(engine, Settings(stream=PATIENT)) as address, ClientSession() as http:
            first = await Viewer(address).open()
            await until(lambda: len(first.pictures) > 3, what="no pictures")
            second = await Viewer(address, options={"resume": first.id}).open()
            assert second.id == first.id
            await until(lambda: len(second.pictures) > 3 and second.heard("hello"), what="no pictures on the new line")
            await until(lambda: first.heard("bye"), what="the old line was not told")
            await first.close()
            seen, session = len(second.pictures), engine.opened[-1]
            second.say("viewpoint", yaw=0.2, pitch=0.0, distance=1.5, seq=1)
            await until(lambda: session.controls.viewpoint.yaw == 0.2, what="the new line does not steer")
            await until(lambda: len(second.pictures) > seen + 5, what="it ended with the old line")
            assert await sessions(address) == 1 and len(engine.opened) == 1
            assert (await opened(http, address, resume=first.id)) == {"id": first.id, "resumed": True}  # an agent joins
            broken = {"sdp": "v=0", "type": "offer", "resume": first.id}
            assert (await ask(http, f"{address}v1/sessions", "POST", json=broken))[1]["error"]["code"] == "bad_offer"
            seen = len(second.pictures)
            await until(lambda: len(second.pictures) > seen + 5, what="a bad offer ended it")
            await second.close()

    run(work())


def test_a_session_whose_worker_is_gone_goes_on_at_another_for_its_owner_alone(real: Engine) -> None:
    async def work() -> None:
        kept = Here()
        ours = Settings(server=public(), stream=PATIENT)
        async with (
            edged({"w1": real, "w2": real}, ours, snapshots=kept) as (told, workers),
            ClientSession() as http,
        ):
            address = told.partition("#")[0]
            name = (await opened(http, address, STUDIO, avatar="leo", seed=7))["id"]
            worker, _, own = name.partition("-")
            other = {"w1": "w2", "w2": "w1"}[worker]
            while (signed := await kept.get(name)) is None:
                await until(lambda: workers[worker].hub.lives[name].shown_pts > 0, 60, "nothing is painted")
                await _frames(workers[worker].hub.lives[name], 5)
            owner, data = claim.read(signed)
            assert owner is not None and owner.name == NAMED[0].name and STUDIO.encode() not in signed
            await workers[worker].stop()  # "the server stops": not what anybody wanted
            strangers = await opened(http, address, OTHER, resume=name)
            assert strangers["resumed"] is False and own not in strangers["id"]
            again = await opened(http, address, STUDIO, resume=name)
            assert again == {"id": f"{other}-{own}", "resumed": True}
            live = workers[other].hub.lives[again["id"]]
            assert (live.options.avatar, live.options.seed) == ("leo", 7)
            await until(lambda: live.shown_pts >= 0, 60, "it does not go on")
            past = Past.of(data)
            assert live.shown_pts * 3 >= past.taken + past.left_out - 3 * 1920  # not from the beginning
            assert await opened(http, address, STUDIO, resume=name) == again  # whoever else asks gets the same
            headers = {"Authorization": f"Bearer {STUDIO}"}
            assert (await ask(http, f"{address}v1/sessions/{again['id']}", headers=headers))[1]["state"] == "alive"
            assert (await ask(http, f"{address}v1/sessions/{again['id']}", "DELETE", headers=headers))[0] == 204
            assert await kept.get(again["id"]) is None  # it ended on purpose

    run(work(), 150)


async def _frames(live: Any, count: int) -> None:
    pts = live.shown_pts
    await until(lambda: live.shown_pts >= pts + 640 * count, 60, "it stands still")


def test_what_nobody_knows_begins_anew_and_what_is_no_id_is_refused(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(DoubleEngine(tmp_path, side=64, cost_s=0.001)) as address, ClientSession() as http:
            fresh = await opened(http, address, resume="0" * 24, avatar="ben")
            assert fresh["resumed"] is False and fresh["id"] != "0" * 24
            assert "resumed" not in await opened(http, address)
            for wrong in ("x", "../" + "0" * 24, "0" * 25, "W-" + "0" * 24, "a-b-" + "0" * 24, 3, None):
                status, said = await ask(
                    http, f"{address}v1/sessions", "POST", json={"type": "agent", "resume": wrong}
                )  # fmt: skip
                assert (status, said["error"]["code"]) == (400, "bad_field")
                assert "resume" in said["error"]["message"]

    run(work())


few = settings(max_examples=50, deadline=None)
owners = st.none() | st.builds(
    lambda name, id: Asker(name=name, id=id, scopes=frozenset()), st.text(max_size=64), st.text(max_size=64)
)


@few
@given(owners, st.binary(max_size=50))
def test_what_is_signed_is_read_with_its_owner(owner: Asker | None, data: bytes) -> None:
    assert claim.read(claim.sign(owner, data)) == (owner, data)


@few
@given(st.binary(max_size=60))
def test_junk_is_nobodys_snapshot(data: bytes) -> None:
    for junk in (data, claim.MARK + data, claim.sign(None, b"")[:-3] + data):
        try:
            owner, _ = claim.read(junk)
        except SnapshotError:
            continue
        assert owner is None or isinstance(owner.name, str)
