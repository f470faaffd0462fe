"""A training run goes on where it stopped, to the bit, and belongs to one process at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from training.run import Plan, Run

ROOT = Path(__file__).parents[2]


def run(folder: Path) -> Run:
    torch.manual_seed(0)
    return Run(folder, "model", torch.nn.Linear(3, 2), Plan(6, 0, 1e-2), {"size": 3})


def trained(one: Run, until: int = 6) -> Run:
    steps = iter(one)
    for step in steps:
        draws = torch.Generator().manual_seed(step)
        one.learn({"loss": one.net(torch.randn(4, 3, generator=draws)).square().mean()})
        if one.step == until < one.plan.steps:
            one.save()
            steps.close()  # as if it had been stopped
            break
    return one


def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole, stopped, later = run(tmp_path / "a"), run(tmp_path / "b"), run(tmp_path / "b")
    whole.open(False)
    stopped.open(False)
    trained(whole)
    trained(stopped, until=3)
    later.open(True)
    assert later.step == 3
    trained(later)
    for mine, theirs in zip(whole.averaged.parameters(), later.averaged.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def refused(folder: Path) -> bool:
    """Whether another process may not have the run."""
    code = f"from pathlib import Path; from tests.training.test_run import run; run(Path({str(folder)!r})).open(True)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "another process is training model" in done.stderr, done.stderr
    return done.returncode != 0


def test_a_run_belongs_to_one_process_at_a_time_and_is_free_afterwards(tmp_path: Path) -> None:
    first = run(tmp_path)
    first.open(False)
    assert refused(tmp_path)
    trained(first)
    assert not refused(tmp_path)
    with pytest.raises(ValueError, match="continue it with --resume"):
        run(tmp_path).open(False)
    again = run(tmp_path)
    again.open(True)
    assert again.step == 6
