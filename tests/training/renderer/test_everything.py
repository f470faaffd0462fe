"""Making data in a given time: lanes side by side, stopped at the end, and what is too little is said."""

import subprocess
import sys
import time

import pytest

from training.renderer import everything

MAKER = "import sys, pathlib; f = pathlib.Path(sys.argv[1]); f.mkdir(parents=True); (f / 'plan.json').touch()"
COOK = "import sys, pathlib, time; f = pathlib.Path(sys.argv[1]); f.mkdir(parents=True); {clip}; time.sleep({seconds})"


def starting(monkeypatch, seconds=0.0, clip="(f / 'a.clip').touch()", fails=False):
    started = []

    def start(module, *words):
        told = dict(zip(words[1::2], words[2::2], strict=True)) if module == "training.studio" else {}
        started.append((module, told.get("--seed"), told.get("--split")))
        script = "raise SystemExit(3)" if fails else MAKER if told else COOK.format(clip=clip, seconds=seconds)
        folder = words[list(words).index("--out") + 1]
        return subprocess.Popen([sys.executable, "-c", script, str(folder)], start_new_session=True)

    monkeypatch.setattr(everything, "_start", start)
    return started


def test_lanes_are_data_sets_of_their_own_seeds_beside_one_to_judge_by(tmp_path, monkeypatch):
    started = starting(monkeypatch)
    everything.gather(tmp_path, tmp_path, 200, clips=9, workers=4, lanes=3, enough=3)
    makers = [one[1:] for one in started if one[0] == "training.studio"]
    assert makers == [(0, "held-out"), (0, "train"), (1, "train"), (2, "train")]
    assert len(list((tmp_path / "cooked" / "train").rglob("*.clip"))) == 3


def test_what_is_not_done_in_time_is_stopped(tmp_path, monkeypatch):
    starting(monkeypatch, seconds=600)
    began = time.monotonic()
    everything.gather(tmp_path, tmp_path, 12.0, clips=2, workers=1, enough=1)
    assert time.monotonic() - began < 120


def test_too_little_data_and_a_maker_that_fails_are_said(tmp_path, monkeypatch):
    starting(monkeypatch, clip="0")
    with pytest.raises(ValueError, match="gave 0 clips; 2 at least"):
        everything.gather(tmp_path / "a", tmp_path, 20, clips=2, workers=1, enough=2)
    starting(monkeypatch, fails=True)
    with pytest.raises(ValueError, match="failed; what went wrong"):
        everything.gather(tmp_path / "b", tmp_path, 20, clips=2, workers=1)
