"""Photographs sent to the server: what comes of them, what they are refused for, and that nothing is left behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from streaming.config import PortraitConfig, ServerConfig
from tests.processes import alive

from .double import DoubleEngine
from .harness import Settings, Viewer, run, serving, until
from .sending import CONSENT, ENROL, ask, ended, form, go_on, in_folder, send, settings, told

SECRET = "a-secret-of-enough-length"


@pytest.fixture
def engine(tmp_path: Path) -> DoubleEngine:
    return DoubleEngine(tmp_path / "engine", side=64, cost_s=0.001)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def test_a_photograph_becomes_an_avatar_that_only_its_id_finds(engine: DoubleEngine, folder: Path) -> None:
    async def work() -> None:
        async with serving(engine, settings(folder), ENROL) as address:
            status, job = await send(address, "held", name=" Eve \n Müller ")
            assert (status, job["state"]) == (202, "waiting")
            name = job["id"]
            seen = await told(address, name, lambda a: 0.2 < a["share"] < 1)
            assert seen["step"] == "fitting the head"
            go_on(folder)
            made = await told(address, name, ended)
            assert (made["state"], made["share"]) == ("done", 1.0), made
            assert made["warnings"] == ["the face is small: the texture will be soft"]
            assert in_folder(folder) == [name]
            assert (folder / name / "consent.txt").read_text() == CONSENT
            assert [a["id"] for a in (await ask(address, "GET", "v1/avatars"))[1]["avatars"]] == ["ada", "ben"]
            about = (await ask(address, "GET", f"v1/avatars/{name}"))[1]
            assert (about["name"], about["own"]) == ("Eve Müller", True)
            for path in (f"v1/avatars/{name}/preview.png", made["report"]):
                assert (await ask(address, "GET", path))[1].startswith(b"\x89PNG")
            viewer = await Viewer(address, options={"avatar": name}).open()
            await until(lambda: viewer.heard("hello"), what="no hello")
            assert viewer.heard("hello")[0]["avatar"] == name
            for worn in ("ben", name):  # one after the other: of changes that wait only the last is made
                viewer.say("avatar", id=worn)
                await until(lambda worn=worn: viewer.heard("hello")[-1]["avatar"] == worn, what="no change")
            assert (await ask(address, "DELETE", f"v1/avatars/{name}"))[0] == 204
            assert in_folder(folder) == [] and engine.forgotten == [name]
            assert (await ask(address, "GET", f"v1/avatars/{name}"))[0] == 404
            viewer.say("avatar", id=name)
            await until(lambda: viewer.heard("error"), what="a removed avatar was worn")
            assert name not in viewer.heard("error")[0]["message"].partition("there are")[2]
            await viewer.close()

    run(work())


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("badly", "no face was found"), ("dead", "broke off (status 1)"), ("broken", "cannot be opened"),
        ("empty", "without an avatar"), ("killed", "was killed, perhaps for want of memory"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_told_in_words_and_leaves_nothing(
    engine: DoubleEngine, folder: Path, how: str, words: str
) -> None:
    async def work() -> None:
        async with serving(engine, settings(folder), ENROL) as address:
            job = (await send(address, how))[1]
            answer = await told(address, job["id"], ended)
            assert answer["state"] == "failed" and words in answer["error"]
            assert str(folder) not in answer["error"]
            assert in_folder(folder) == []
            again = (await send(address, "well"))[1]
            assert (await told(address, again["id"], ended))["state"] == "done"

    run(work())


def test_a_worker_that_prints_junk_is_still_understood(engine: DoubleEngine, folder: Path) -> None:
    async def work() -> None:
        async with serving(engine, settings(folder), ENROL) as address:
            job = (await send(address, "chatty"))[1]
            assert (await told(address, job["id"], ended))["state"] == "done"

    run(work())


def test_an_installation_without_the_maker_says_what_to_install(engine: DoubleEngine, folder: Path) -> None:
    async def work() -> None:
        missing = (sys.executable, "-m", "no_such_module_here")
        async with serving(engine, settings(folder), missing) as address:
            answer = await told(address, (await send(address))[1]["id"], ended)
            assert "pip install 'visavis[portrait]'" in answer["error"]

    run(work())


async def grandchild(folder: Path, name: str) -> int:
    path = folder / f"pids-{name}"
    await until(lambda: path.exists() and path.read_text(), what="the worker has not begun")
    return int(path.read_text())


def test_cancelling_ends_the_worker_and_its_children(engine: DoubleEngine, folder: Path) -> None:
    async def work() -> None:
        async with serving(engine, settings(folder), ENROL) as address:
            name = (await send(address, "slowly"))[1]["id"]
            child = await grandchild(folder, name)
            assert alive(child)
            assert (await ask(address, "DELETE", f"v1/portraits/{name}"))[0] == 204
            await until(lambda: not alive(child), what="a child of the worker lives on")
            assert in_folder(folder) == []
            assert (await ask(address, "GET", f"v1/portraits/{name}"))[0] == 404

    run(work())


def test_cancelling_what_is_done_takes_the_avatar_away(engine: DoubleEngine, folder: Path) -> None:
    async def work() -> None:
        async with serving(engine, settings(folder), ENROL) as address:
            name = (await send(address))[1]["id"]
            await told(address, name, ended)
            assert (await ask(address, "DELETE", f"v1/portraits/{name}"))[0] == 204
            assert in_folder(folder) == []

    run(work())


def test_an_enrolment_that_takes_too_long_is_ended_and_explained(engine: DoubleEngine, folder: Path) -> None:
    async def work() -> None:
        async with serving(engine, settings(folder, timeout_s=8.0), ENROL) as address:
            name = (await send(address, "slowly"))[1]["id"]
            child = await grandchild(folder, name)
            answer = await told(address, name, ended, 40.0)
            assert "longer than 8 s" in answer["error"]
            await until(lambda: not alive(child), what="a child of the worker lives on")  # killed is not gone at once
            assert in_folder(folder) == []

    run(work())


def test_stopping_the_server_ends_every_worker(engine: DoubleEngine, folder: Path) -> None:
    async def work() -> None:
        async with serving(engine, settings(folder), ENROL) as address:
            name = (await send(address, "slowly"))[1]["id"]
            await send(address, "well")
            child = await grandchild(folder, name)
        await until(lambda: not alive(child), what="a child of the worker lives on")
        assert in_folder(folder) == []

    run(work())


def test_those_who_wait_are_told_how_many_are_before_them_and_too_many_are_refused(
    engine: DoubleEngine, folder: Path
) -> None:
    async def work() -> None:
        async with serving(engine, settings(folder, queue=1), ENROL) as address:
            first, second = (await send(address, "slowly"))[1]["id"], (await send(address))[1]["id"]
            await grandchild(folder, first)
            assert (await told(address, second, bool))["ahead"] == 1
            status, answer = await send(address)
            assert (status, answer["error"]["code"]) == (503, "busy")
            await ask(address, "DELETE", f"v1/portraits/{first}")
            assert (await told(address, second, ended))["state"] == "done"

    run(work())


def test_a_session_goes_on_while_avatars_are_made(engine: DoubleEngine, folder: Path) -> None:
    async def work() -> None:
        async with serving(engine, settings(folder), ENROL) as address:
            viewer = await Viewer(address).open()
            await until(lambda: len(viewer.pictures) > 5, what="no pictures")
            job = (await send(address, b"well " + os.urandom(8_000_000)))[1]
            seen = len(viewer.pictures)
            await until(lambda: len(viewer.pictures) > seen + 10, what="the session stopped")
            assert (await told(address, job["id"], ended))["state"] == "done"
            await viewer.close()

    run(work())


@pytest.mark.parametrize(
    ("fields", "status", "code", "words"),
    [
        ({"consent": None}, 400, "no_consent", "consent"),
        ({"consent": "  "}, 400, "no_consent", "consent"),
        ({"consent": "x" * 1001}, 400, "bad_field", "1000"),
        ({"name": None}, 400, "bad_field", "name"),
        ({"name": "x" * 41}, 400, "bad_field", "40"),
        ({"name": "a\0b"}, 400, "bad_field", "cannot be shown"),
        ({"name": b"\xff\xfe"}, 400, "bad_field", "UTF-8"),
        ({"name": "x" * 5000}, 400, "bad_field", "40"),
        ({"age": "7"}, 400, "bad_field", "nothing else"),
        ({"how": b""}, 400, "bad_field", "photo"),
        ({"how": b"well" + bytes(1_100_000)}, 413, "too_large", "1 MB"),
    ],
)
def test_a_bad_form_is_refused_by_name(
    engine: DoubleEngine, folder: Path, fields: dict[str, Any], status: int, code: str, words: str
) -> None:
    async def work() -> None:
        async with serving(engine, settings(folder, max_mb=1.0), ENROL) as address:
            got, answer = await send(address, **fields)
            assert (got, answer["error"]["code"]) == (status, code)
            assert words in answer["error"]["message"]
            assert not folder.exists()

    run(work())


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{}", "application/json"), (b"", "multipart/form-data"), (b"junk", "multipart/form-data; boundary=x"),
        (b"--x\r\n\r\nhello\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (b"--x\r\nContent-Disposition: form-data; name=photo\r\n\r\nhel", "multipart/form-data; boundary=x"),
        (b"--x\r\nContent-Disposition: form-data; name=\"name\"\r\n" + b"A: b\r\n" * 500 + b"\r\n--x--",
         "multipart/form-data; boundary=x"),
    ],
)  # fmt: skip
def test_junk_instead_of_a_form_is_a_client_error(engine: DoubleEngine, folder: Path, body: bytes, kind: str) -> None:
    async def work() -> None:
        async with serving(engine, settings(folder), ENROL) as address:
            headers = {"Content-Type": kind}
            status, answer = await ask(address, "POST", "v1/portraits", data=body, headers=headers)
            assert 400 <= status < 500 and answer["error"]["message"]
            assert (await ask(address, "GET", "v1/health"))[0] == 200

    run(work())


def test_one_address_may_send_only_so_many(engine: DoubleEngine, folder: Path) -> None:
    async def work() -> None:
        async with serving(engine, settings(folder, per_hour=2), ENROL) as address:
            statuses = [(await send(address, consent=""))[0] for _ in range(4)]
            assert statuses == [400, 400, 429, 429]

    run(work())


def test_token_and_origin_are_asked_for(engine: DoubleEngine, folder: Path) -> None:
    async def work() -> None:
        guarded = Settings(
            server=ServerConfig(port=0, token=SECRET), portrait=PortraitConfig(folder=str(folder), public=True)
        )
        async with serving(engine, guarded, ENROL) as told_address:
            address = told_address.partition("#")[0]
            assert (await send(address))[0] == 401
            headers = {"Authorization": f"Bearer {SECRET}", "Origin": "https://evil.example"}
            assert (await ask(address, "POST", "v1/portraits", data=form(), headers=headers))[0] == 403
            del headers["Origin"]
            assert (await ask(address, "POST", "v1/portraits", data=form(), headers=headers))[0] == 202

    run(work())


@pytest.mark.parametrize(
    ("server", "portrait", "offered"),
    [
        ({}, {}, True), ({}, {"enabled": False}, False), ({"behind_proxy": True, "token": SECRET}, {}, False),
        ({"behind_proxy": True, "token": SECRET}, {"public": True}, True),
    ],
)  # fmt: skip
def test_a_server_that_others_reach_takes_photographs_only_when_told_to(
    engine: DoubleEngine, folder: Path, server: dict[str, Any], portrait: dict[str, Any], offered: bool
) -> None:
    async def work() -> None:
        chosen = Settings(
            server=ServerConfig(port=0, **server), portrait=PortraitConfig(folder=str(folder), **portrait)
        )
        async with serving(engine, chosen, ENROL) as told_address:
            address, headers = told_address.partition("#")[0], {"Authorization": f"Bearer {SECRET}"}
            found = (await ask(address, "GET", "v1/avatars", headers=headers))[1]
            assert found["portraits"]["enabled"] is offered
            status, answer = await ask(address, "POST", "v1/portraits", data=form(), headers=headers)
            assert status == (202 if offered else 403)
            assert offered or answer["error"]["code"] == "no_portraits"

    run(work())


def test_shipped_avatars_cannot_be_removed_and_paths_are_no_ids(engine: DoubleEngine, folder: Path) -> None:
    async def work() -> None:
        async with serving(engine, settings(folder), ENROL) as address:
            name = (await send(address))[1]["id"]
            await told(address, name, ended)
            assert (await ask(address, "DELETE", "v1/avatars/ada"))[1]["error"]["code"] == "not_own"
            for path in (f"..%2fkept%2f{name}", name.upper(), name[:-1], "own-", "%2e%2e"):
                assert (await ask(address, "DELETE", f"v1/avatars/{path}"))[0] == 404
                assert (await ask(address, "GET", f"v1/avatars/{path}/report.png"))[0] == 404
            assert in_folder(folder) == [name]

    run(work())
