"""Making an avatar of oneself on the page, in a real headless Chromium; the enrolment is a double's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streaming.config import PortraitConfig, ServerConfig

from .double import DoubleEngine
from .harness import Settings, serving_thread
from .pages import MARKS, live, until, without_errors
from .picture import png
from .sending import go_on

pytestmark = MARKS
ENROL = (sys.executable, "-m", "tests.streaming.enroller")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


@pytest.fixture
def address(engine: DoubleEngine, folder: Path) -> Iterator[str]:
    with serving_thread(engine, Settings(portrait=PortraitConfig(folder=str(folder), max_mb=1.0)), ENROL) as found:
        yield found


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    context = browser.new_context(bypass_csp=True)  # a localStorage of its own
    with without_errors(context.new_page(), address, "#face-open") as found:
        yield found
    context.close()


def photograph(folder: Path, how: str = "well", name: str = "me.jpg") -> str:
    """A file whose first word tells the double what to do; browsers find no picture in it."""
    path = folder.with_name(name)
    path.write_text(f"{how} photograph")
    return str(path)


def fill(page: Any, path: str, name: str = "Eve") -> None:
    page.click("#face-open")
    page.set_input_files("#face-file", path)
    page.fill("#face-name", name)
    page.check("#face-consent")
    page.click("#face-make")


def own(page: Any) -> list[str]:
    found = page.evaluate("[...document.querySelectorAll('#avatars [data-avatar^=own]')].map((b) => b.dataset.avatar)")
    return list(found)


def test_a_photograph_becomes_an_avatar_and_talks(page: Any, folder: Path, engine: DoubleEngine) -> None:
    fill(page, photograph(folder, "held"))
    page.wait_for_function("document.querySelector('#face-share').value > 0.3")
    assert page.inner_text("#face-step") == "Fitting the head"
    go_on(folder)
    page.wait_for_selector("#face-report[src]")
    assert page.inner_text("#face-title") == "Eve"
    assert "The face is small" in page.inner_text("#face-warnings")
    (name,) = own(page)
    consent = (folder / name / "consent.txt").read_text()
    assert "agreed that an avatar is made" in consent and "30 days" in consent and "  " not in consent
    page.click("#face-start")
    live(page)
    assert engine.opened[-1].parts.renderer.avatar == name
    assert page.get_attribute(f"[data-avatar={name}]", "aria-checked") == "true"


def test_it_is_there_again_after_a_reload_and_can_be_deleted_for_good(page: Any, folder: Path) -> None:
    fill(page, photograph(folder))
    page.wait_for_selector("#face-report[src]")
    page.click("#face-close")
    page.reload()
    page.wait_for_selector("#avatars [data-avatar^=own] img[src]")
    page.click("#avatars [data-avatar^=own]")
    page.click("#face-show")
    page.wait_for_selector("#face-report[src]")
    assert "The face is small" in page.inner_text("#face-warnings")
    page.click("#face-close")
    page.click("#face-erase")
    assert page.inner_text("#face-erase") == "Delete for good?" and own(page)
    page.click("#face-erase")
    until(page, lambda: not own(page), "the avatar is still shown")
    until(page, lambda: not list(folder.iterdir()), "the avatar is still kept")
    assert page.get_attribute("[data-avatar=ada]", "aria-checked") == "true"
    page.reload()
    page.wait_for_selector("#avatars button")
    page.wait_for_timeout(300)
    assert own(page) == []


def test_others_do_not_see_it(page: Any, browser: Any, address: str, folder: Path) -> None:
    fill(page, photograph(folder))
    page.wait_for_selector("#face-report[src]")
    stranger = browser.new_context().new_page()
    stranger.goto(address)
    stranger.wait_for_selector("#avatars button img[src]")
    assert stranger.locator("#avatars button").count() == 2
    stranger.context.close()


def test_one_that_is_being_made_survives_a_reload(page: Any, folder: Path) -> None:
    fill(page, photograph(folder, "held"))
    page.wait_for_function("document.querySelector('#face-share').value > 0.2")
    page.reload()
    go_on(folder)
    page.wait_for_selector("#avatars [data-avatar^=own]")
    assert page.inner_text("#face-open") == "+\nYour own face" or "Your own face" in page.inner_text("#face-open")


def test_errors_are_told_in_words_and_nothing_that_was_typed_is_lost(page: Any, folder: Path) -> None:
    fill(page, photograph(folder, "badly"))
    page.wait_for_selector("#face-problem:not([hidden])")
    assert "No face was found" in page.inner_text("#face-problem")
    assert page.input_value("#face-name") == "Eve" and page.is_checked("#face-consent")
    page.click("#face-other")
    page.set_input_files("#face-file", photograph(folder, "well"))
    assert not page.is_visible("#face-problem")
    page.click("#face-make")
    page.wait_for_selector("#face-report[src]")


def test_photograph_name_and_consent_are_asked_for_before_anything_is_sent(page: Any, folder: Path) -> None:
    page.click("#face-open")
    page.click("#face-make")
    assert "Choose a photograph" in page.inner_text("#face-problem")
    page.set_input_files("#face-file", photograph(folder))
    page.wait_for_selector("#face-unseen:not([hidden])")  # the browser has looked at it: no picture
    page.click("#face-make")
    assert "name" in page.inner_text("#face-problem")
    page.fill("#face-name", "Eve")
    page.click("#face-make")
    assert "consent" in page.inner_text("#face-problem")
    big = folder.with_name("big.png")
    big.write_bytes(bytes(1_200_000))
    page.click("#face-other")
    page.set_input_files("#face-file", str(big))
    assert "1.2 MB, at most 1 are taken" in page.inner_text("#face-problem")
    page.set_input_files("#face-file", photograph(folder, name="notes.txt"))
    assert "notes.txt is no picture" in page.inner_text("#face-problem")
    assert not folder.exists()


def test_cancelling_leaves_nothing(page: Any, folder: Path) -> None:
    fill(page, photograph(folder, "slowly"))
    page.wait_for_function("document.querySelector('#face-share').value > 0.3")
    page.click("#face-cancel")
    assert page.is_visible("#face-choose")
    left = lambda: [path for path in folder.iterdir() if not path.name.startswith("pids-")]  # noqa: E731
    until(page, lambda: not left(), "something is left")
    assert page.evaluate("localStorage.getItem('visavis.faces')") == "[]"


def test_cancelling_while_it_is_sent_takes_it_back(page: Any, folder: Path) -> None:
    def late(route: Any) -> None:
        page.wait_for_timeout(600)
        route.continue_()

    page.route("**/v1/portraits", late)
    fill(page, photograph(folder, "long"))
    page.click("#face-cancel")
    page.wait_for_timeout(1500)
    assert page.is_visible("#face-choose") and not page.is_visible("#face-problem")
    until(page, lambda: not folder.exists() or not list(folder.iterdir()), "it goes on")
    assert own(page) == [] and "pending" not in (page.evaluate("localStorage.getItem('visavis.faces')") or "")


def test_the_camera_takes_a_picture_and_is_let_go(page: Any) -> None:
    page.click("#face-open")
    page.click("#face-shoot")
    page.wait_for_function("document.querySelector('#face-camera').videoWidth > 0")
    track = page.evaluate_handle("document.querySelector('#face-camera').srcObject.getTracks()[0]")
    page.click("#face-shoot")
    page.wait_for_function("document.querySelector('#face-image').naturalWidth > 300")
    assert track.evaluate("(t) => t.readyState") == "ended"
    page.click("#face-other")
    page.click("#face-shoot")
    page.wait_for_selector("#face-camera:not([hidden])")
    track = page.evaluate_handle("document.querySelector('#face-camera').srcObject.getTracks()[0]")
    page.keyboard.press("Escape")
    until(page, lambda: track.evaluate("(t) => t.readyState") == "ended", "the camera stays on")


def test_a_picture_dropped_on_the_page_opens_the_dialog(page: Any) -> None:
    page.evaluate(
        """(bytes) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], "me.png", { type: "image/png" }));
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        list(png(120)),
    )
    page.wait_for_selector("#face[open]")
    page.wait_for_selector("#face-image:not([hidden])")
    assert page.evaluate("document.activeElement.id") == "face-name"


def test_keyboard_alone_can_make_one(page: Any, folder: Path) -> None:
    page.focus("#face-open")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "face-file"
    page.set_input_files("#face-file", photograph(folder))
    order = []
    for _ in range(4):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id"))
    assert order == ["face-other", "face-name", "face-consent", "face-make"]
    page.focus("#face-name")
    page.keyboard.type("Eve")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#face-report[src]")
    assert page.evaluate("document.activeElement.id") == "face-start"
    nameless = page.evaluate(
        """[...document.querySelectorAll('#face button, #face input, #face progress, #face img, #face video')].filter(
        (e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length || e.alt)).map((e) => e.id)"""
    )
    assert nameless == []


def test_nothing_of_the_dialog_overflows_a_phone(page: Any) -> None:
    page.click("#face-open")
    for width in (360, 390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate(
            "document.querySelector('#face').scrollWidth <= document.querySelector('#face').clientWidth"
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_server_that_takes_no_photographs_offers_nothing(browser: Any, engine: DoubleEngine) -> None:
    for portrait, server in (({"enabled": False}, {}), ({}, {"behind_proxy": True, "token": "of sixteen letters"})):
        settings = Settings(server=ServerConfig(port=0, **server), portrait=PortraitConfig(**portrait))
        with serving_thread(engine, settings) as address:
            page = browser.new_page()
            page.goto(address)
            page.wait_for_selector("#avatars button img[src]")
            assert not page.is_visible("#face-open")
            page.close()
