"""An avatar inside another program: what comes out belongs together, ends exactly, and an interruption is heard."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from engine.clock import VOICE_FRAME, VOICE_RATE
from engine.engine import Engine
from streaming.integrations.moment import Ended, Moment
from streaming.integrations.player import BEHIND, MOST, STALL, Closed, Player, playing
from streaming.live import EngineFailure

from ..double import DoubleEngine
from ..harness import run, until
from .speech import pitch, tone


@pytest.fixture
def engine(tmp_path: Path) -> DoubleEngine:
    return DoubleEngine(tmp_path, side=64, cost_s=0.0)


def player_of(engine: DoubleEngine) -> Player:
    return Player(engine)  # type: ignore[arg-type]


async def until_over(player: Player, id: str) -> tuple[list[Moment], Ended]:
    """Moments up to the one in which segment ``id`` ends."""
    moments = []
    async for moment in player:
        moments.append(moment)
        for ended in moment.ended:
            if ended.id == id:
                return moments, ended
    raise AssertionError("the player ended")


def luma_of_mouth(moment: Moment) -> int:
    """How much of the double's picture is mouth."""
    assert moment.i420 is not None
    return int((moment.i420[: 64 * 64] == 60).sum())


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_what_was_pushed_comes_out_at_its_pitch_with_pictures_that_speak_it(engine: DoubleEngine, rate: int) -> None:
    async def work() -> None:
        async with playing(player_of(engine)) as player:
            id = player.begin(rate)
            await player.push(tone(0.4, rate), rate)
            player.end()
            moments, ended = await until_over(player, id)
            said = [moment for moment in moments if moment.segment == id]
            assert ended.position == pytest.approx(0.4, abs=0.002) and not ended.interrupted
            assert [moment.began for moment in said if moment.began] == [[id]] and said[0].began
            voice = np.concatenate([moment.voice for moment in said])
            assert pitch(voice) == pytest.approx(440, rel=0.01)
            assert np.abs(voice).sum() == pytest.approx(0.4 * VOICE_RATE * 8000 / 32768 * 2 / np.pi, rel=0.03)
            assert all(len(moment.voice) % VOICE_FRAME == 0 for moment in moments)
            assert (np.diff([moment.end for moment in said]) == [len(moment.voice) for moment in said[1:]]).all()
            silent = max((luma_of_mouth(moment) for moment in moments if moment.segment is None), default=0)
            assert all(luma_of_mouth(moment) > silent for moment in said[1:-1])

    run(work())


def test_segments_follow_each_other_and_each_ends_once_in_order(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with playing(player_of(engine)) as player:
            ids = []
            for _ in range(3):
                ids.append(player.begin(16_000))
                await player.push(tone(0.1, 16_000), 16_000)
            player.end()
            moments, _ = await until_over(player, ids[-1])
            assert [ended.id for moment in moments for ended in moment.ended] == ids
            assert [id for moment in moments for id in moment.began] == ids
            await player.said()

    run(work())


def test_an_interruption_silences_what_waits_and_says_how_much_was_heard(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with playing(player_of(engine)) as player:
            for _ in range(2):
                first, second = player.begin(24_000), player.begin(24_000)
                await player.push(tone(2.0), 24_000)
                player.end()
                heard: list[int] = []
                async for moment in player:
                    if moment.segment == second:
                        heard.append(len(moment.voice))
                    if len(heard) == 3:
                        break
                cut = player.interrupt()
                assert [ended.id for ended in cut][-1] == second and first not in [ended.id for ended in cut]
                assert cut[-1].interrupted
                assert sum(heard[1:]) <= cut[-1].position * VOICE_RATE + 1 <= sum(heard) + 2
                third = player.begin(24_000)
                await player.push(tone(0.15, hertz=1000), 24_000)
                player.end()
                moments, ended = await until_over(player, third)
                said = [moment for moment in moments if moment.segment is not None]
                assert not ended.interrupted and {moment.segment for moment in said} == {third}
                silent = np.concatenate([np.zeros(1), *(moment.voice for moment in moments if moment.segment is None)])
                assert np.abs(silent).max() == 0, "something was heard that had been interrupted"
                assert pitch(np.concatenate([moment.voice for moment in said])) == pytest.approx(1000, rel=0.02)

    run(work())


def test_nothing_is_said_while_nobody_listens_and_waiting_stays_bounded(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with playing(player_of(engine)) as player:
            await until(lambda: len(player._moments) >= STALL)
            id = player.begin(24_000)
            await player.push(tone(0.2), 24_000)
            player.end()
            await asyncio.sleep(0.5)
            assert STALL <= len(player._moments) <= MOST and len(player._voice) <= BEHIND
            moments, ended = await until_over(player, id)
            said = np.concatenate([moment.voice for moment in moments if moment.segment == id])
            assert ended.position == pytest.approx(0.2, abs=0.002)
            assert np.abs(said).sum() == pytest.approx(0.2 * VOICE_RATE * 8000 / 32768 * 2 / np.pi, rel=0.03)

    run(work())


def test_push_waits_while_the_queue_is_full_and_lets_go_when_interrupted(engine: DoubleEngine) -> None:
    async def work() -> None:
        player = Player(engine, max_queue_s=1)  # type: ignore[arg-type]
        async with playing(player):
            player.begin(16_000)
            pushing = asyncio.ensure_future(player.push(tone(30, 16_000), 16_000))
            reading = asyncio.ensure_future(until_over(player, "none"))
            await asyncio.sleep(0.2)
            assert not pushing.done()
            player.interrupt()
            await asyncio.wait_for(pushing, 20)
            reading.cancel()

    run(work())


def test_when_the_engine_fails_the_voice_goes_on_without_pictures(engine: DoubleEngine) -> None:
    async def work() -> None:
        async with playing(player_of(engine)) as player:
            id = player.begin(24_000)
            await player.push(tone(2.0), 24_000)
            player.end()
            moments = []
            async for moment in player:
                moments.append(moment)
                if moment.segment is not None:
                    engine.opened[-1].fail = True
                    break
            rest, ended = await until_over(player, id)
            assert isinstance(player.failure, RuntimeError) and rest[-1].i420 is None
            assert ended.position == pytest.approx(2.0, abs=0.002)
            said = np.concatenate([moment.voice for moment in [*moments, *rest] if moment.segment == id])
            assert np.abs(said).sum() == pytest.approx(2.0 * VOICE_RATE * 8000 / 32768 * 2 / np.pi, rel=0.05)
            player.begin(24_000)
            await player.push(tone(1), 24_000)
            assert [ended.interrupted for ended in player.interrupt()] == [True]

    run(work())


def test_an_avatar_that_cannot_be_opened_says_so_and_nothing_stays(engine: DoubleEngine) -> None:
    async def work() -> None:
        engine.fail_open = True
        player = player_of(engine)
        with pytest.raises(EngineFailure, match="never opens"):
            await player.start()
        with pytest.raises(Closed):
            player.begin(24_000)
        await player.close()

    run(work())


def test_closing_ends_the_reader_and_whoever_waits(engine: DoubleEngine) -> None:
    async def work() -> None:
        player = Player(engine, max_queue_s=1)  # type: ignore[arg-type]
        await player.start()
        player.begin(16_000)
        pushing = asyncio.ensure_future(player.push(tone(30, 16_000), 16_000))
        reading = asyncio.ensure_future(until_over(player, "none"))
        await asyncio.sleep(0.1)
        await player.close()
        with pytest.raises(Closed):
            await pushing
        with pytest.raises(AssertionError, match="ended"):
            await reading
        assert player.interrupt() == []

    run(work())


def test_the_real_engine_speaks(real_engine: Engine) -> None:
    async def work() -> None:
        async with playing(Player(real_engine)) as player:
            id = player.begin(24_000)
            await player.push(tone(0.5, hertz=200), 24_000)
            player.end()
            moments, ended = await until_over(player, id)
            assert player.size == (128, 128) and ended.position == pytest.approx(0.5, abs=0.002)
            said = [moment for moment in moments if moment.segment == id]
            assert said[-1].i420 is not None and len(said[-1].i420) == 128 * 128 * 3 // 2
            assert pitch(np.concatenate([moment.voice for moment in said])) == pytest.approx(200, rel=0.02)

    run(work())
