import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import compare, report

ROOT = Path(__file__).parents[2]
MACHINE = {"cpu": "A", "threads": 2, "gpu": [], "system": "S", "python": "3.11", "load_1min": 0.1}


def result(folder: Path, metrics: dict[str, Any], suite: str = "latency", **machine: Any) -> Path:
    document = {"suite": suite, "commit": "c", "date": "2026-01-01", "machine": MACHINE | machine, "metrics": metrics}
    report.save(folder / f"{suite}.json", document)
    return folder


def verdicts(a: dict[str, Any], b: dict[str, Any], tmp_path: Path) -> dict[str, str]:
    found = compare.folders(result(tmp_path / "a", a), result(tmp_path / "b", b))
    return {f"{row.metric}.{row.key}": row.verdict for row in found.rows}


def samples(middle: float, width: float, n: int) -> dict[str, Any]:
    return {"p50": middle, "p95": middle + width, "p99": middle + 1.5 * width, "n": n, "unit": "ms"}


def test_a_change_within_the_spread_is_none_and_one_beyond_it_is_named_by_its_direction(tmp_path: Path) -> None:
    few, many = samples(20, 10, 10), samples(20, 10, 100_000)
    assert verdicts({"engine_ms": few}, {"engine_ms": samples(22, 10, 10)}, tmp_path)["engine_ms.p50"] == "same"
    assert verdicts({"engine_ms": many}, {"engine_ms": samples(22, 10, 100_000)}, tmp_path)["engine_ms.p50"] == "worse"
    assert verdicts({"engine_ms": many}, {"engine_ms": samples(18, 10, 100_000)}, tmp_path)["engine_ms.p50"] == "better"


def test_the_tail_is_less_certain_than_the_middle() -> None:
    one = samples(20, 10, 400)
    spreads = [compare.spread(one, one, key) or 0.0 for key in ("p50", "p95", "p99")]
    assert spreads == sorted(spreads) and spreads[0] > 0


def test_frames_in_a_row_do_not_count_as_independent() -> None:
    one, more = samples(20, 10, 100), samples(20, 10, 2500)
    assert compare.spread(one, one, "p50") == compare.spread(more, more, "p50")


def test_intervals_that_do_not_overlap_are_a_change(tmp_path: Path) -> None:
    def figure(value: float) -> dict[str, Any]:
        return {"ours.x.f1_6": report.between(value, value - 0.02, value + 0.02, "F1")}

    a, b, c = (result(tmp_path / str(v), figure(v), "motion") for v in (0.70, 0.73, 0.75))
    assert compare.folders(a, b).rows[0].verdict == "same"
    assert compare.folders(a, c).rows[0].verdict == "better"
    assert compare.folders(c, a).rows[0].verdict == "worse"


def test_one_value_without_a_spread_is_never_called_better_or_worse(tmp_path: Path) -> None:
    assert verdicts({"fps": report.value(25, "1/s")}, {"fps": report.value(20, "1/s")}, tmp_path) == {
        "fps.value": "unsure"
    }


def test_nearer_to_zero_is_better_for_a_skew(tmp_path: Path) -> None:
    a = result(tmp_path / "a", {"av_skew_ms": samples(-30, 1, 1000)}, "stream")
    b = result(tmp_path / "b", {"av_skew_ms": samples(10, 1, 1000)}, "stream")
    assert {row.verdict for row in compare.folders(a, b).rows if row.key == "p50"} == {"better"}


def test_other_machines_and_missing_suites_are_said(tmp_path: Path) -> None:
    a = result(tmp_path / "a", {"engine_ms": samples(20, 1, 9)})
    b = result(tmp_path / "b", {"engine_ms": samples(20, 1, 9)}, cpu="B", load_1min=9.0)
    result(a, {}, "stream")
    said = " ".join(compare.folders(a, b).warnings)
    assert "A → B" in said and "busy machine: load 9.0" in said and "only in" in said and "stream" in said


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"suite": "x", "metrics": {"a": 1}}', '{"suite": "x", "metrics": 3}']
)
def test_what_is_no_result_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="broken.json is no result"):
        compare.load(path)


def test_two_suites_have_nothing_in_common(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        compare.folders(result(tmp_path / "a", {}), result(tmp_path / "b", {}, "stream"))


def test_fail_on_worse_is_the_exit_code(tmp_path: Path) -> None:
    a = result(tmp_path / "a", {"engine_ms": samples(20, 1, 5000), "fps": report.value(25, "1/s")})
    b = result(tmp_path / "b", {"engine_ms": samples(23, 1, 5000), "fps": report.value(25, "1/s")})

    def status(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "bench/run.py", "compare", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
        return done.returncode, done.stdout + done.stderr

    assert status(str(a), str(b))[0] == 0
    assert status(str(a), str(b), "--fail-on-worse", "10")[0] == 1
    code, said = status(str(a / "latency.json"), str(tmp_path / "nowhere"))
    assert code == 2 and "no such file or folder" in said


def test_kept_results_compare_with_themselves_without_a_change() -> None:
    found = compare.folders(ROOT / "bench" / "results", ROOT / "bench" / "results")
    assert len(found.rows) > 1000 and {row.verdict for row in found.rows} == {"same"}
    assert not compare.worse(found, 0.0)
    json.dumps([row.unit for row in found.rows])
