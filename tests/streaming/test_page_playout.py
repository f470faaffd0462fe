"""How the page holds pictures and voice back: until they are together, and until a bad line shows nearly all."""

from __future__ import annotations

from typing import Any

import pytest

from .pages import MARKS, live, until

pytestmark = MARKS

LIPSYNC = """async (skewMs) => {
    const { LipSync } = await import("./web/lipsync.js");
    const pictures = { jitterBufferTarget: 0 }, voice = { jitterBufferTarget: 0 };
    // What the buffers add shows in the times, as with real ones; RTP time wraps in between.
    const played = () => 1e6 + skewMs - 36.5 + voice.jitterBufferTarget;
    voice.getSynchronizationSources = () => [{ rtpTimestamp: 500, timestamp: played() }];
    const lips = new LipSync(pictures, voice, () => 30);
    lips.close();
    lips.listening = true;
    lips.begun = -1e9;
    lips.stamps({ frames: [{ rtp: 2 ** 32 - 900, voice_rtp: 2 ** 32 - 460 }] });
    const skews = [];
    for (let k = 0; k < 400; k++) {
        lips.frame({ rtpTimestamp: 900, expectedDisplayTime: 1e6 + pictures.jitterBufferTarget });
        skews.push(lips.skew());
        lips.look();
    }
    return [skews[0], skews.at(-1), pictures.jitterBufferTarget, voice.jitterBufferTarget];
}"""


def test_both_wait_as_long_as_whoever_asks_for_most_and_lips_stay_with_the_voice(page: Any) -> None:
    waits = page.evaluate("""async () => {
        const { LipSync } = await import("./web/lipsync.js");
        const pictures = { jitterBufferTarget: 0 }, voice = { jitterBufferTarget: 30 }, seen = [];
        const lips = new LipSync(pictures, voice, () => 0);
        lips.close();
        for (const [ms, who] of [[200, "viewer"], [80, "line"], [300, "line"], [0, "viewer"], [0, "line"]]) {
            lips.hold(ms, who);
            seen.push([pictures.jitterBufferTarget, voice.jitterBufferTarget]);
        }
        return seen;
    }""")
    assert waits == [[200, 230], [200, 230], [300, 330], [300, 330], [0, 30]]


def test_the_page_counts_what_is_seen_and_on_this_line_nothing_waits(page: Any) -> None:
    page.click("#begin")
    live(page)
    looked = "(({ needs, before }) => needs.length > 1 && before.shown > 5)(visavis.state.connection.steadier)"
    until(page, lambda: page.evaluate(looked), "it never looks, or sees nothing")
    held, before, presented = page.evaluate(
        "(({ held, before, presented }) => [held, before, presented])(visavis.state.connection.steadier)"
    )
    assert held == 0 and presented > 5 and before["decoded"] > 5 and before["repaired"] == 0


STEADIER = """async (line) => {
    const { Steadier } = await import("./web/steadier.js");
    const told = [], video = { type: "inbound-rtp", timestamp: 0, framesDecoded: 0, retransmittedPacketsReceived: 0 };
    const receiver = { getStats: async () => new Map([["video", video]]) };
    const steadier = new Steadier(receiver, (ms) => told.push(ms));
    steadier.close();
    let at = 0, presentedFrames = 0;
    const held = [];
    for (const { lateMs, unseen, repaired, seconds } of line) for (let s = 0; s < seconds; s++) {
        const waits = Math.max(lateMs - steadier.held, 0), stands = waits > 0; // what is held back, nobody sees
        for (let k = 0; k < (stands ? 25 - unseen : 25); k++) {
            const gap = 40 + (stands && k === 0 ? waits : 0);
            steadier.frame({ expectedDisplayTime: at += gap, presentedFrames: ++presentedFrames });
        }
        video.timestamp += 1000;
        video.framesDecoded += 25;
        video.retransmittedPacketsReceived += repaired;
        await steadier.look();
        held.push(steadier.held);
    }
    return [held, told];
}"""
GOOD = {"lateMs": 0, "unseen": 0, "repaired": 0, "seconds": 10}
LOSSY = {"lateMs": 200, "unseen": 4, "repaired": 20, "seconds": 20}


def test_a_line_that_loses_packets_is_given_the_time_it_needs_and_it_is_taken_back_when_it_is_good(page: Any) -> None:
    held, told = page.evaluate(STEADIER, [GOOD, LOSSY, GOOD | {"seconds": 400}])
    assert held[:10] == [0] * 10  # a good line costs nothing
    assert 150 <= held[29] <= 200 and max(held) <= 200  # all are seen from then on: no more is waited
    assert held[35] == held[29] and held[-1] == 0
    assert len(told) < 20  # what does not change is not asked for again


@pytest.mark.parametrize("line", [
    {"lateMs": 200, "unseen": 4, "repaired": 0, "seconds": 20},  # late ones of a good line: waiting would not help
    {"lateMs": 200, "unseen": 1, "repaired": 20, "seconds": 20},  # nobody misses one of 25
    {"lateMs": 20, "unseen": 4, "repaired": 20, "seconds": 20},  # a compositor's, not the line's
])  # fmt: skip
def test_pictures_wait_for_nothing_but_a_lossy_line(page: Any, line: dict[str, float]) -> None:
    held, told = page.evaluate(STEADIER, [line])
    assert set(held) == {0} and not told


def test_no_line_is_so_bad_that_a_conversation_waits_for_it(page: Any) -> None:
    held, _ = page.evaluate(STEADIER, [LOSSY | {"lateMs": 2000, "seconds": 60}])
    assert max(held) == 340


@pytest.mark.parametrize("skew", [-300, -60, -10, 0, 20, 60, 300])
def test_whichever_comes_first_is_made_to_wait_until_lips_and_voice_meet(page: Any, skew: float) -> None:
    first, last, pictures, voice = page.evaluate(LIPSYNC, skew)
    assert first == pytest.approx(skew)
    assert abs(last) <= 15
    assert min(pictures, voice) == 0 and (max(pictures, voice) == 0 if abs(skew) <= 15 else pictures + voice > 0)
