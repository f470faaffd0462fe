"""The page in a real headless Chromium, against a real server with the engine's double."""

from __future__ import annotations

import time
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streaming.config import ServerConfig

from .double import DoubleEngine
from .harness import Settings, serving_thread
from .pages import CHROMIUM, FLAGS, MARKS, live, sessions, until, until_left

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = MARKS


def test_start_shows_the_avatar_and_stop_ends_the_session(page: Any, address: str, engine: DoubleEngine) -> None:
    page.click("#begin")
    live(page)
    until(page, lambda: page.inner_text("#status") == "Connected", "it does not say that it is connected")
    until(page, lambda: "Mbit/s" in page.inner_text("#figures"), "no latency figures")
    assert page.inner_text("#total").endswith("ms")
    assert page.evaluate("document.querySelector('#video').muted")  # the microphone on loudspeakers would echo
    page.click("#start")
    until_left(page, address)
    assert page.inner_text("#status") == "Not connected"


def test_the_sample_is_heard_by_the_engine_and_comes_back(page: Any, engine: DoubleEngine) -> None:
    page.click("[data-source=sample]")
    page.click("#start")
    live(page)
    peak = 0.0

    def loud() -> bool:
        nonlocal peak
        inbox = engine.opened[-1].inbox._data
        peak = max(peak, float(np.abs(inbox).max()))
        return peak > 0.2

    until(page, loud, "the engine never heard the sample")
    assert not page.evaluate("document.querySelector('#video').muted")
    page.click("#mute")
    assert page.get_attribute("#mute", "aria-pressed") == "true"


def test_picture_and_voice_come_apart_so_that_neither_waits_for_the_other(page: Any) -> None:
    page.click("#begin")
    live(page)
    audio, video = page.evaluate("visavis.state.connection.pc.remoteDescription.sdp.match(/^a=msid:\\S+/gm)")
    assert audio != video
    page.click("#listen")
    assert not page.evaluate("document.querySelector('#video').muted")
    until(page, lambda: page.evaluate("visavis.state.connection.lips.skew()") is not None, "the skew is never known")
    page.click("#listen")
    targets = "(({ pictures, voice }) => [pictures.jitterBufferTarget, voice.jitterBufferTarget])"
    assert page.evaluate(f"{targets}(visavis.state.connection.lips)") == [0, 0]


def test_drag_wheel_and_keys_move_the_camera_and_double_click_resets(page: Any, engine: DoubleEngine) -> None:
    page.click("#begin")
    live(page)
    session = engine.opened[-1]
    box = page.locator("#stage").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 120, y + 40, steps=6)
    page.mouse.up()
    until(page, lambda: session.controls.viewpoint.yaw > 0.2, "drag left did not move the camera to the right")
    assert session.controls.viewpoint.pitch > 0.05
    page.mouse.wheel(0, -400)
    until(page, lambda: session.controls.viewpoint.distance < 1.5, "the wheel did not come closer")
    page.mouse.dblclick(x, y)
    until(page, lambda: session.controls.viewpoint.yaw == 0, "double-click did not reset")
    assert session.controls.viewpoint.distance == 1.6
    page.focus("#stage")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("+")
    until(page, lambda: session.controls.viewpoint.yaw > 0.05, "keys did not move the camera")


def test_what_is_chosen_while_the_line_opens_is_done_once_it_is(page: Any, engine: DoubleEngine) -> None:
    asked = page.evaluate("""() => {
        for (const what of ["#begin", "[data-avatar=ben]", "[data-framing=head]"]) document.querySelector(what).click();
        return visavis.state.connection.early.map((message) => message.type);
    }""")
    assert asked == ["avatar", "framing"]
    live(page)
    worn = lambda: engine.opened[-1].parts.renderer  # noqa: E731
    until(page, lambda: (worn().avatar, worn().framing) == ("ben", "head"), "it was not done")
    until(page, lambda: page.evaluate("visavis.state.avatar") == "ben", "the page shows what was before")


def test_avatar_framing_and_background_change_without_a_new_connection(
    page: Any, address: str, engine: DoubleEngine
) -> None:
    page.click("#begin")
    live(page)
    session = engine.opened[-1]
    page.click("[data-avatar=ben]")
    until(page, lambda: session.parts.renderer.avatar == "ben", "the avatar did not change")
    page.click("[data-framing=head]")
    until(page, lambda: session.parts.renderer.framing == "head", "the framing did not change")
    until(page, lambda: page.evaluate("visavis.orbit.rest.distance") == 1.05, "the page missed the new viewpoint")
    page.fill("#background-colour", "#204060")
    until(page, lambda: session.parts.renderer.backdrop.kind == "image", "the background did not change")
    assert session.parts.renderer.backdrop.picture[0, 0].tolist() == [0x20, 0x40, 0x60]
    assert sessions(address) == 1
    assert len(engine.opened) == 1


def test_mood_gaze_and_strength_reach_the_engine_and_outlive_the_session(page: Any, engine: DoubleEngine) -> None:
    page.click("[data-emotion=happy]")  # before there is a session
    page.click("#begin")
    live(page)
    until(page, lambda: engine.opened[-1].controls.manner.emotion == "happy", "the mood was not told")
    page.fill("#intensity", "0.3")
    until(page, lambda: engine.opened[-1].controls.manner.intensity == 0.3, "the intensity did not follow")
    page.click("#more > summary")
    page.click("[data-gaze=viewer]")
    until(page, lambda: engine.opened[-1].controls.manner.gaze == "viewer", "the gaze did not follow")
    page.click("[data-gaze=away]")
    until(page, lambda: engine.opened[-1].controls.manner.gaze == (0.55, -0.12), "the gaze did not turn away")
    page.fill("#gesture-strength", "0.5")
    page.fill("#about", "a very big fish")
    page.press("#about", "Enter")
    page.click("[data-at=listening]")
    until(page, lambda: engine.opened[-1].controls.manner.listening, "listening did not arrive")
    until(page, lambda: engine.opened[-1].controls.manner.meaning is not None, "the text did not arrive")
    page.click("#faces > summary")
    page.fill("[data-action=jawOpen]", "0.4")
    until(page, lambda: engine.opened[-1].controls.manner.actions == (("jawOpen", 0.4),), "the action did not arrive")
    page.click("#start")
    page.click("#begin")
    live(page)
    told = lambda m: m.meaning is not None and m.actions == (("jawOpen", 0.4),)  # noqa: E731
    until(page, lambda: told(engine.opened[-1].controls.manner), "the new session was not told")
    manner = engine.opened[-1].controls.manner
    assert len(engine.opened) == 2 and (manner.emotion, manner.intensity) == ("happy", 0.3)
    assert (manner.gesture, manner.listening) == (0.5, True)
    page.click("#release")
    until(page, lambda: engine.opened[-1].controls.manner.actions == (), "the action was not let go")
    page.click("[data-emotion=neutral]")
    until(page, lambda: engine.opened[-1].controls.manner.emotion == "neutral", "the mood stays")
    assert not page.is_visible("#intensity")


def test_interrupt_stops_the_sample_and_the_avatar(page: Any, engine: DoubleEngine) -> None:
    page.click("[data-source=sample]")
    page.click("#start")
    live(page)
    until(page, lambda: np.abs(engine.opened[-1].inbox._data).max() > 0.1, "the engine never heard the sample")
    page.click("#interrupt")
    until(page, lambda: engine.opened[-1].controls.manner.interrupts == 1, "the engine was not told")
    until(page, lambda: page.is_visible("#again"), "the sample goes on")


def test_a_file_that_is_not_sound_is_explained(page: Any, tmp_path: Path) -> None:
    page.click("[data-source=file]")
    bad = tmp_path / "notes.mp3"
    bad.write_text("these are only words")
    page.set_input_files("#file", str(bad))
    until(page, lambda: page.is_visible("#alert"), "no explanation")
    assert "notes.mp3 holds no sound" in page.inner_text("#alert-text")
    page.click("#alert-close")
    assert not page.is_visible("#alert")


def test_a_sound_file_of_any_rate_plays(page: Any, engine: DoubleEngine, tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(96_000)
        tone = (12_000 * np.sin(np.arange(192_000) / 96_000 * 2 * np.pi * 300)).astype("<i2")
        file.writeframes(np.repeat(tone, 2).tobytes())
    page.click("[data-source=file]")
    page.set_input_files("#file", str(path))
    until(page, lambda: "tone.wav (2.0 s)" in page.inner_text("#file-name"), "the file was not read")
    page.click("#start")
    live(page)
    until(page, lambda: np.abs(engine.opened[-1].inbox._data).max() > 0.15, "the engine never heard the file")
    until(page, lambda: page.is_visible("#again"), "a file that has ended cannot be played again")
    page.click("#again")
    until(page, lambda: not page.is_visible("#again"), "it does not play again")


def test_keyboard_alone_can_choose_and_start(page: Any) -> None:
    page.focus("#source button[aria-checked=true]")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("[data-source=sample]", "aria-checked") == "true"
    page.focus("#begin")
    page.keyboard.press("Enter")
    live(page)
    page.keyboard.press("m")
    assert page.get_attribute("#mute", "aria-pressed") == "true"


def test_every_control_has_a_name(page: Any) -> None:
    nameless = page.evaluate(
        """[...document.querySelectorAll('button, input, select, canvas, video, [role]')].filter((e) =>
        !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length)).map((e) => e.outerHTML)"""
    )
    assert nameless == []


def test_nothing_overflows_a_phone(page: Any) -> None:
    for width in (360, 390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_reload_and_close_end_the_session_with_a_goodbye(browser: Any, address: str) -> None:
    page, other = browser.new_page(), browser.new_page()
    page.goto(address)
    page.click("#begin")
    live_without_eval(page)
    page.reload()
    until_left(page, address)
    page.click("#begin")
    live_without_eval(page)
    page.close(run_before_unload=True)
    until_left(other, address)
    other.close()


def live_without_eval(page: Any) -> None:
    page.wait_for_selector("#stage.live", timeout=30_000)


def test_a_killed_tab_is_gone_before_long(driver: Any, address: str) -> None:
    doomed = driver.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, "--use-fake-ui-for-media-stream"])
    page = doomed.new_page()
    page.goto(address)
    page.click("#begin")
    live_without_eval(page)
    assert sessions(address) == 1
    with pytest.raises(playwright.Error):  # the target is gone before it can answer
        page.goto("chrome://crash")
    begun = time.monotonic()
    while sessions(address):
        assert time.monotonic() - begun < 40, "the session of a killed tab is still there"
        time.sleep(0.1)
    doomed.close()


def test_a_denied_microphone_is_explained_and_the_avatar_still_comes(driver: Any, address: str) -> None:
    strict = driver.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, "--deny-permission-prompts"])
    page = strict.new_page()
    page.goto(address)
    page.click("#begin")
    live_without_eval(page)
    page.wait_for_selector("#alert:not([hidden])")
    assert "microphone is blocked" in page.inner_text("#alert-text")
    strict.close()


def test_the_token_is_asked_for_and_remembered(browser: Any, engine: DoubleEngine) -> None:
    with serving_thread(engine, Settings(server=ServerConfig(port=0, token="open sesame, please"))) as address:
        page = browser.new_page()
        page.goto(address.partition("#")[0])
        page.wait_for_selector("#token-dialog[open]")
        page.fill("#token", "open sesame, please")
        page.click("#token-dialog button")
        page.wait_for_selector("#avatars button")
        page.reload()
        page.wait_for_selector("#avatars button")
        page.close()
        page = browser.new_page()
        page.goto(address)  # as the server tells it, token included
        page.wait_for_selector("#avatars button")
        page.close()


def test_a_full_server_is_explained(browser: Any, engine: DoubleEngine) -> None:
    settings = Settings(server=ServerConfig(port=0, max_sessions=1, sessions_per_minute=100))
    with serving_thread(engine, settings) as address:
        first, second = browser.new_page(), browser.new_page()
        first.goto(address)
        first.click("#begin")
        live_without_eval(first)
        second.goto(address)
        second.click("#begin")
        second.wait_for_selector("#alert:not([hidden])")
        assert "sessions are taken" in second.inner_text("#alert-text")
        first.close()
        second.close()


def test_a_server_that_went_away_is_explained(browser: Any, engine: DoubleEngine) -> None:
    with serving_thread(engine) as address:
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("#avatars button")
        page.click("#begin")
        live_without_eval(page)
    page.wait_for_selector("#status[data-state=lost]", timeout=60_000)  # 3 s; 30 where its word was missed
    assert "server stops" in page.inner_text("#status") or "lost" in page.inner_text("#status")
    page.wait_for_selector("#start[data-running=false]", timeout=60_000)
    page.click("#start")
    page.wait_for_selector("#alert:not([hidden])")
    assert "cannot be reached" in page.inner_text("#alert-text")
    page.close()
