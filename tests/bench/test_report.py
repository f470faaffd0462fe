import json
from pathlib import Path

import pytest

from bench import report


def test_a_spread_is_median_p95_p99_and_the_count() -> None:
    metric = report.spread(list(range(1, 101)), "ms")
    assert (metric["p50"], metric["n"], metric["unit"]) == (50.5, 100, "ms")
    assert metric["p50"] < metric["p95"] < metric["p99"]


def test_no_samples_give_no_figure() -> None:
    with pytest.raises(ValueError, match="no samples"):
        report.spread([], "ms")


def test_the_document_names_commit_date_and_machine(tmp_path: Path) -> None:
    result = report.document("latency", {"fps": report.value(25, "frames/s")})
    assert set(result) == {"suite", "commit", "date", "machine", "metrics"}
    assert result["machine"]["cpu"] and result["machine"]["threads"] >= 1
    report.save(tmp_path / "new" / "a.json", result)
    assert json.loads((tmp_path / "new" / "a.json").read_text()) == result
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.json"]
