"""The connection test page in a real headless Chromium: all well, and each thing that can be wrong named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streaming.config import ServerConfig

from .coturn import SECRET, TURNSERVER, coturn
from .double import DoubleEngine
from .harness import Settings, serving_thread
from .pages import CHROMIUM, FLAGS, MARKS, sessions, until_left, until_sessions

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = MARKS
TOKEN = "Zq3vKx81LmWp06RtYc57"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, "--use-fake-ui-for-media-stream"])
        yield launched
        launched.close()


def tried(
    browser: Any, address: str, *, mic: bool = True, broken: str = "", wait: int = 30
) -> dict[str, dict[str, Any]]:
    """The steps of the report, by id. ``broken``: JavaScript that runs before the page's."""
    page = browser.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    if broken:
        page.add_init_script(broken)
    try:
        base, _, fragment = address.partition("#")
        page.goto(f"{base}selftest?watch=2&wait={wait}#{fragment}")
        page.set_checked("#with-mic", mic)
        page.click("#begin")
        page.wait_for_selector("#begin:enabled:has-text('Again')", timeout=120_000)
        assert not problems
        steps = json.loads(page.evaluate("selftest.report()"))["steps"]
        for step in steps:
            assert page.get_attribute(f"#step-{step['id']}", "data-verdict") == step["verdict"]
            assert step["what"] in page.inner_text(f"#step-{step['id']}")
        return {step["id"]: step for step in steps}
    finally:
        page.close()


def test_where_all_is_well_it_says_so_and_leaves_nothing(browser: Any, tmp_path: Path) -> None:
    with serving_thread(DoubleEngine(tmp_path, side=128, cost_s=0.002)) as address:
        steps = tried(browser, address)
        page = browser.new_page()
        until_left(page, address)
        page.close()
    slow = steps["call"]["details"].get("firstMs", 0) > 3000  # that is the machine's, and so is how many pictures come
    assert steps["call"]["verdict"] == ("note" if slow else "ok"), steps["call"]
    assert not {id: step for id, step in steps.items() if step["verdict"] != "ok" and id not in ("call", "pictures")}
    assert steps["pictures"]["verdict"] != "skipped"
    assert steps["pictures"]["details"]["width"] == 128
    assert steps["call"]["details"]["protocol"] == "udp"


@pytest.mark.skipif(TURNSERVER is None, reason="no coturn on this machine (Debian: coturn)")
def test_turn_servers_are_tried_one_by_one(browser: Any, tmp_path: Path) -> None:
    with coturn(tmp_path) as port:
        turn = (f"turn:127.0.0.1:{port}", f"turn:127.0.0.1:{port}?transport=tcp")
        good = Settings(ServerConfig(port=0, turn=turn, turn_secret=SECRET))
        with serving_thread(DoubleEngine(tmp_path, side=64, cost_s=0.002), good) as address:
            assert tried(browser, address)["relays"]["verdict"] == "ok"
        wrong = Settings(ServerConfig(port=0, turn=turn, turn_secret="another"))
        with serving_thread(DoubleEngine(tmp_path, side=64, cost_s=0.002), wrong) as address:
            steps = tried(browser, address)
    assert steps["relays"]["verdict"] == "bad"
    assert "refuse the credentials" in steps["relays"]["do"]
    assert steps["call"]["verdict"] in ("ok", "note")  # it goes directly all the same


def test_a_full_server_and_a_missing_token_are_named(browser: Any, tmp_path: Path) -> None:
    engine = DoubleEngine(tmp_path, side=64, cost_s=0.002)
    with serving_thread(engine, Settings(ServerConfig(port=0, token=TOKEN))) as address:
        steps = tried(browser, address.partition("#")[0])
        assert steps["token"]["verdict"] == "bad"
        assert "#token=" in steps["token"]["do"]
        assert {steps[id]["verdict"] for id in ("ways", "relays", "call", "pictures", "messages")} == {"skipped"}
        assert steps["microphone"]["verdict"] == "ok"
    with serving_thread(engine, Settings(ServerConfig(port=0, max_sessions=1))) as address:
        page = browser.new_page()
        page.goto(address)
        page.click("#begin")
        until_sessions(page, address, 1, 20)
        steps = tried(browser, address, mic=False)
        assert steps["call"]["verdict"] == "bad"
        assert "all 1 sessions are taken" in steps["call"]["what"]
        assert "server.max_sessions" in steps["call"]["do"]
        assert sessions(address) == 1
        page.close()


NO_MEDIA = """
    const send = RTCPeerConnection.prototype.setRemoteDescription;
    RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
        const gone = sdp.replace(/^a=candidate:.*\\r\\n/gm, "")
            .replace(/^a=ice-pwd:.*/gm, `a=ice-pwd:${"x".repeat(24)}`);
        return send.call(this, { type, sdp: gone });
    };
"""
DENIED = """
    navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("denied", "NotAllowedError"); };
"""


def test_media_that_does_not_get_through_and_a_denied_microphone_are_named(browser: Any, tmp_path: Path) -> None:
    with serving_thread(DoubleEngine(tmp_path, side=64, cost_s=0.002)) as address:
        steps = tried(browser, address, broken=NO_MEDIA + DENIED, wait=2)
    assert steps["microphone"]["verdict"] == "note"
    assert "Allow it" in steps["microphone"]["do"]
    assert steps["call"]["verdict"] == "bad"
    assert "UDP does not get through" in steps["call"]["what"]
    assert "server.media_ports" in steps["call"]["do"]
    assert steps["pictures"]["verdict"] == "skipped"
