"""Each target of bench/fuzz.py for a moment, and that what it calls a crash is noticed. The long run: bench.fuzz."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bench import fuzz
from bench.fuzz_mutate import Mutator

COUNTS = {
    "message": 1500, "token": 500, "config": 300, "tape": 300, "pack": 6, "sound": 60, "photo": 60, "speech": 150,
    "sdp": 60, "offer": 30, "http": 150, "route": 150, "agent": 150, "channel": 200, "media": 200, "datagram": 200,
}  # fmt: skip


def test_every_target_is_tried_here() -> None:
    assert COUNTS.keys() == fuzz.TARGETS.keys()
    assert sum(share for _, share in fuzz.TARGETS.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("name", COUNTS)
def test_whatever_comes_is_answered(name: str) -> None:
    async def work() -> tuple[int, int]:
        done = taken = 0
        async with fuzz._open(name) as target:
            mutator = Mutator(target.seeds, target.words, seed=7)
            while done < COUNTS[name]:
                data = mutator.next()
                if b"candidate" in data:
                    continue  # could name any address; the long run has no network but loopback
                done += 1
                taken += await asyncio.wait_for(target.answer(data), fuzz.INPUT_S)
            if target.left is not None:
                await target.left()
        return done, taken

    done, taken = asyncio.run(work())
    assert done == COUNTS[name]
    assert 0 < taken < done or name in ("http", "datagram", "pack", "media", "speech"), (
        "all are taken, or none: that tries nothing"
    )


@pytest.mark.parametrize(("name", "inputs", "crashes"), [("raises", 60, 6), ("dies", 40, 2), ("leaks", 20, 1)])
def test_what_breaks_is_counted_and_kept(tmp_path: Path, name: str, inputs: int, crashes: int) -> None:
    outcome = fuzz._mutated(f"tests.fuzz.broken:{name}", inputs, 0, tmp_path)
    assert (outcome.inputs, outcome.crashes) == (inputs, crashes)
    assert outcome.said
    assert len(list(tmp_path.glob("crash-*"))) == crashes


def test_a_run_says_how_many_inputs_and_how_many_crashes_in_all_and_by_target() -> None:
    metrics = fuzz.run(inputs=40, seed=1, quick=True, targets=("message", "token")).metrics
    told = {name: metric["value"] for name, metric in metrics.items()}
    assert told["fuzz_inputs"] == told["message_inputs"] + told["token_inputs"] >= 40
    assert told["fuzz_crashes"] == told["message_crashes"] == told["token_crashes"] == 0


def test_the_same_seed_gives_the_same_inputs() -> None:
    one, two, other = (Mutator([b"abc", b'{"v": 1}'], [b"word"], seed) for seed in (3, 3, 4))
    rows = [[mutator.next() for _ in range(200)] for mutator in (one, two, other)]
    assert rows[0] == rows[1] != rows[2]
