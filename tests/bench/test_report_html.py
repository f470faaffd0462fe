import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import compare, report, report_html, report_svg
from bench.report_charts import charts
from bench.run import SUITES

RESULTS = Path(__file__).parents[2] / "bench" / "results"
OPEN = {"meta", "tr", "td", "th"}  # what HTML lets nobody close


class Balanced(HTMLParser):
    """Fails when a tag is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in OPEN:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_of_the_kept_results_is_whole_and_needs_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "deep" / "report.html"
    report_html.write(RESULTS, page, SUITES)
    text = page.read_text(encoding="utf-8")
    parsed = Balanced()
    parsed.feed(text)
    assert parsed.stack == []
    assert not re.search(r"<script|<link|src=|href=\"(?!#)|url\(|@import", text)
    for suite, result in compare.load(RESULTS).items():
        assert f'id="{suite}"' in text
        for name in result["metrics"]:
            assert name in parsed.text
    assert [path.name for path in page.parent.iterdir()] == ["report.html"]


def test_every_plot_is_well_formed_and_shows_its_figures() -> None:
    found = list(charts(compare.load(RESULTS)))
    assert len(found) >= 4
    for chart in found:
        ElementTree.fromstring(report_svg.alone(chart.drawing))
        assert chart.note and "NaN" not in chart.drawing and "nan" not in chart.drawing


def test_a_run_over_time_is_drawn() -> None:
    samples = [20.0 + (k % 50 == 0) * 30 for k in range(1500)]
    result = report.document("latency", {"engine_ms": report.spread(samples, "ms")}, {"engine_ms": samples}, "ms")
    told = result["over_time"]["engine_ms"]
    assert told["n"] * len(told["p99"]) == 1500
    assert all(20 < high <= 50 for high in told["p99"]) and set(told["p50"]) == {20.0}
    assert any("over the run" in chart.drawing for chart in charts({"latency": result}))


def test_too_few_samples_have_no_course() -> None:
    assert "over_time" not in report.document("latency", {}, {"engine_ms": [1.0] * 149}, "ms")


def test_a_figure_without_a_spread_says_so_and_names_are_escaped() -> None:
    metrics = {"<b>&": report.value(1, "<i>"), "plain": report.spread([1, 2, 3], "ms")}
    page = report_html.html({"latency": report.document("latency", metrics)}, SUITES)
    assert "<b>&<" not in page and "&lt;b&gt;&amp;" in page and "none" in page and "n 3" in page


def test_a_figure_that_was_not_seen_says_so() -> None:
    metrics = {"recovery_s": report.value(float("nan"), "s"), "gap": report.value(float("inf"), "s")}
    page = report_html.html({"faults": report.document("faults", metrics)}, SUITES)
    assert "not seen" in page and "never" in page


def test_different_machines_are_said_loudly() -> None:
    one, other = report.document("latency", {}), report.document("stream", {})
    other["machine"] = {**other["machine"], "cpu": "another"}
    assert "different machines" in report_html.html({"latency": one, "stream": other}, SUITES)


def test_how_suites_went_is_on_the_page() -> None:
    rows = [{"suite": "gpu", "how": "skipped", "why": "no GPU", "seconds": 0.0},
            {"suite": "stream", "how": "failed", "why": "marks <unread>", "seconds": 3.0}]  # fmt: skip
    run = {"quick": True, "seconds": 90.0, "outcomes": rows}
    page = report_html.html({"latency": report.document("latency", {})}, SUITES, run)
    assert "0 of 2 suites done" in page and "no GPU" in page and "marks &lt;unread&gt;" in page


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no results"):
        report_html.write(tmp_path, tmp_path / "page.html", SUITES)


@pytest.mark.parametrize("low, high", [(0.0, 0.0), (1e-4, 3e5), (-3.0, 2.0), (7.0, 7.0)])
def test_axes_have_a_few_round_numbers(low: float, high: float) -> None:
    for log in (False, True) if low > 0 else (False,):
        scale = report_svg.scale([low, high], 0, 100, log)
        ticks = scale.ticks()
        assert 2 <= len(ticks) <= 13 and all(-1 <= scale(tick) <= 101 for tick in ticks)
