from __future__ import annotations

import io
import json
import re
from collections import defaultdict
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from evals.schema.load import DEFINITIONS, ClientLoad, LoadPoint, Request
from evals.schema.migrate import NewerSchema
from evals.schema.trial import Failure, Trial
from evals.stats.intervals import independent, percentile_interval
from reports.decision.frontier.frontier_probability import FLAT
from reports.decision.results import read_results
from reports.output.formatting import interval, milliseconds_sure, number
from reports.output.html_report import contents, render, write_report
from reports.output.json_data import as_data
from reports.output.render_plots import engine_mark
from reports.output.tabular import rows
from reports.output.terminal.summary import print_results
from tests.support.made_runs import write_run
from tests.support.made_trials import failed, speed, trial

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> $x^2$ & {{ 7*7 }}"


def _trials() -> list[Trial]:
    return [
        trial("none", 10, 2.0, 80),
        trial("rtn", 20, 1.0, 80, 2.05),
        failed("awq", "the server ended\nlog line"),
        failed("gptq", "no kernel", "unsupported"),
    ]


def test_a_failure_is_shown_with_cause_remedy_and_log(tmp_path: Path) -> None:
    failure = Failure("timeout", f"no answer {EVIL}", f"raise it {EVIL}", f"its last line {EVIL}")
    run = write_run(tmp_path, trial("none", 10, 2.0, 80), replace(failed("awq", "no answer"), failure=failure))
    text = write_report(run).read_text(encoding="utf-8")
    assert all(
        words in text for words in ("timeout: no answer &lt;script&gt;", "raise it &lt;script", "its last line &lt;")
    )
    assert "<script>alert(1)" not in text
    data = as_data(read_results(run))["cells"][1]["failure"]
    assert data == {"kind": "timeout", "cause": failure.cause, "remedy": failure.remedy, "log_tail": failure.log_tail}
    console = Console(record=True, width=400, file=io.StringIO())
    print_results(read_results(run), console, verbose=True)
    assert "failed: timeout" in console.export_text(clear=False).splitlines()[4]
    assert f"awq · e failed: timeout: no answer {EVIL}\n  raise it {EVIL}" in console.export_text()


def test_the_examples_before_each_question_are_shown(tmp_path: Path) -> None:
    base = trial("none", 10, 2.0, 80)
    asked = replace(base, scores=tuple(replace(score, num_fewshot=5) for score in base.scores))
    run = write_run(tmp_path, asked)
    assert "arc<br>5-shot accuracy, %" in write_report(run).read_text(encoding="utf-8")
    results = read_results(run)
    assert as_data(results)["shots"] == {"arc": "5-shot"}
    console = Console(record=True, width=400, file=io.StringIO())
    print_results(results, console, verbose=True)
    assert "tasks: arc 5-shot\n" in console.export_text()
    assert rows(results)[0]["arc shots"] == "5-shot"


def test_latencies_are_shown_by_the_definitions_of_the_code(tmp_path: Path) -> None:
    page = write_report(write_run(tmp_path, *_trials())).read_text(encoding="utf-8")
    described = (Path(__file__).resolve().parents[3] / "docs/reference/measurement.md").read_text(encoding="utf-8")
    for name, definition in DEFINITIONS.items():
        assert f"{name}: {definition}." in page
        assert f"**{name}**: {definition}." in described
    assert "output tokens − 1" not in page
    chunks = ((1.0, 3), (2.0, 5), (4.0, 9))  # the first chunk brings three tokens
    assert Request(0.0, chunks, 4.0, 10, 9).tpot_seconds == (4.0 - 1.0) / (9 - 3)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def _read(page: Path) -> _Reader:
    reader = _Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    return reader


@pytest.mark.usefixtures("drawn")
def test_the_page_holds_answer_figures_and_every_row(tmp_path: Path) -> None:
    page = write_report(write_run(tmp_path, *_trials()))
    text = page.read_text(encoding="utf-8")
    assert "Recommended: <strong>rtn</strong> in <strong>e</strong>" in text
    static = "".join(re.findall("<noscript>(.*?)</noscript>", text, re.DOTALL))
    assert static.count('<img src="data:image/png;base64,') == 4
    assert text.count('class="panel"') == 6
    assert "the server ended" in text
    assert "no kernel" in text
    for name in ("accuracy-throughput", "memory-throughput", "accuracy-latency"):
        assert (tmp_path / "figures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert "<svg" in (tmp_path / "figures" / f"{name}.svg").read_text()


def test_percentiles_of_too_few_requests_have_a_star(tmp_path: Path) -> None:
    waits = [0.1] * 72
    assert [milliseconds_sure(percentile_interval(independent(waits), percent)) for percent in (50, 95, 99)] == [
        "100",
        "100",
        "100*",
    ]
    assert milliseconds_sure(percentile_interval(independent(waits[:71]), 95)) == "100*"
    assert milliseconds_sure(None) == "–"
    page = write_report(write_run(tmp_path, *_trials())).read_text(encoding="utf-8")  # four requests in two repeats
    assert re.search(r'<td class="n">\d+\* \[–, –\] / \d+\* / \d+\*</td>', page)
    assert "a p50 needs 6 requests, a p95 72, a p99 368" in page


def test_a_trace_of_any_name_is_shown_as_text(tmp_path: Path) -> None:
    load = LoadPoint(None, 2, 10, 11, 3.0, "trace", trace=EVIL)
    result = replace(trial("none", 10, 2.0, 80), speed=(replace(speed(10), load=load),))
    page = write_report(write_run(tmp_path, result)).read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "onerror" not in re.sub(r"&lt;.*?&gt;|\\u003c.*?\\u003e", "", page)
    assert "replayed, 3 requests/s" in page


def test_who_is_fastest_at_which_concurrency_and_what_fails_is_left_out(tmp_path: Path) -> None:
    def curve(result: Trial, single: float, many: float) -> Trial:
        return replace(result, speed=(speed(single, 1), speed(many, 4)))

    broken = curve(trial("broken", 20, 1.0, 20, 4.0), 900.0, 900.0)
    run = write_run(
        tmp_path, curve(trial("none", 10, 2.0, 80), 10, 80), curve(trial("rtn", 20, 1.0, 80), 20, 40), broken
    )
    text = write_report(run).read_text(encoding="utf-8")
    section = text[text.index("Fastest by concurrency</h2>") : text.index("Accuracy (paired)</h2>")]
    assert "broken" not in section
    assert re.search(r"rtn · e</td><td>none · e</td><td[^>]*>10 / 11</td><td[^>]*>[12]\.", section)
    data = as_data(read_results(run))
    assert [(winner["concurrency"], winner["name"]) for winner in data["fastest"]] == [(1, "rtn · e"), (4, "none · e")]
    assert [(crossing["first"], crossing["then"]) for crossing in data["crossings"]] == [("rtn · e", "none · e")]
    assert data["answer"]["others"][0]["name"] == "rtn · e"
    assert data["answer"]["runner_up_ratio"]["value"] == pytest.approx(0.5, abs=0.01)


def test_an_open_load_and_its_warnings_are_shown(tmp_path: Path) -> None:
    load = LoadPoint(None, 20, 10, 11, 2.0, "poisson")
    result = replace(
        trial("none", 10, 2.0, 80),
        speed=(replace(speed(10), load=load, clients=(ClientLoad(1.0, 0.95, (0.0, 0.0, 0.0)),)),),
    )
    text = write_report(write_run(tmp_path, result)).read_text(encoding="utf-8")
    assert "2 requests/s, poisson<br>" in text
    assert "the load generator was the bottleneck: it used 95 % of its one core" in text
    assert "Fastest by concurrency</h2>" not in text


@pytest.mark.usefixtures("drawn")
def test_equal_trials_give_equal_bytes(tmp_path: Path) -> None:
    first = write_report(write_run(tmp_path / "a", *_trials())).read_bytes()
    second = write_report(write_run(tmp_path / "b", *_trials())).read_bytes()
    assert first == second
    assert (tmp_path / "a/figures/accuracy-latency.png").read_bytes() == (
        tmp_path / "b/figures/accuracy-latency.png"
    ).read_bytes()


@pytest.mark.usefixtures("drawn")
def test_nothing_in_a_trial_becomes_markup(tmp_path: Path) -> None:
    bad = [
        trial("none", 10, 2.0, 80, model=EVIL, engine=EVIL),
        trial("rtn", 20, 1.0, 78, model=EVIL, engine=EVIL, label=EVIL),
        failed(EVIL, EVIL),
    ]
    reader = _read(write_report(write_run(tmp_path, *bad)))
    assert [tag for tag, _ in reader.tags if tag in ("script", "iframe", "object", "link")] == ["script"] * 2
    assert not [attrs for _, attrs in reader.tags if any(name.startswith("on") for name in attrs)]
    assert all((attrs["src"] or "").startswith("data:image/png;base64,") for tag, attrs in reader.tags if tag == "img")


def test_the_page_asks_for_nothing_from_outside(tmp_path: Path) -> None:
    page = write_report(write_run(tmp_path, *_trials()))
    reader = _read(page)
    policy = next(
        attrs["content"] for tag, attrs in reader.tags if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert not [
        a
        for _, a in reader.tags
        if re.match(r"https?://|//", a.get("src") or a.get("xlink:href") or a.get("href") or "")
    ]


def test_a_sweep_without_a_single_result_still_has_a_report(tmp_path: Path) -> None:
    text = write_report(write_run(tmp_path, failed("none", "it broke"))).read_text()
    assert "<strong>No answer: no measured cell meets the limits.</strong>" in text
    assert "it broke" in text


def test_scripts_get_the_same_conclusions(tmp_path: Path) -> None:
    data = as_data(read_results(write_run(tmp_path, *_trials())))
    assert json.loads(json.dumps(data))["answer"]["cell"] == "rtn · e"
    assert [row["status"] for row in data["cells"]] == ["ok", "ok", "failed", "unsupported"]
    assert data["cells"][1]["output_tokens_per_second"]["value"] == pytest.approx(20, rel=0.05)


def test_a_baseline_is_that_of_its_own_model_and_engine(tmp_path: Path) -> None:
    trials = [trial("none", 10, 2, 80), trial("none", 10, 2, 40, engine="f"), trial("rtn", 10, 2, 40, engine="f")]
    results = read_results(write_run(tmp_path, *trials))
    assert results.cells[2].recovery is not None
    assert results.cells[2].recovery.value == 1.0


def test_a_trial_of_another_schema_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path, trial("none", 10, 2, 80))
    file = run / "trials" / "0.json"
    file.write_text(file.read_text().replace('"schema_version": 3', '"schema_version": 99'))
    with pytest.raises(NewerSchema, match=r"0\.json: schema version 99 is newer than this program's \(3\)"):
        read_results(run)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1234.5, "1234"), (123.45, "123"), (12.345, "12.3"), (1.2345, "1.23"), (0.01234, "0.01"), (float("inf"), "∞")],
)
def test_numbers_for_people(value: float, shown: str) -> None:
    assert number(value) == shown


def test_no_estimate_is_a_dash() -> None:
    assert interval(None) == "–"


def test_no_two_engines_look_the_same() -> None:
    assert len({engine_mark(number) for number in range(12)}) == 12


def test_the_command_for_the_checkpoint_has_what_the_sweep_changed_of_its_plan(tmp_path: Path) -> None:
    """Without it the plan as it is written may name no such method, or make another checkpoint."""
    changes = {"sets": ["calibration.samples=8", "name=a b"], "only": ["rtn*"], "exclude": []}
    run = write_run(tmp_path, *_trials(), changes=changes, data_root="data")
    answer = contents(read_results(run))["quantize_commands"]
    assert answer == ["bitfrontier quantize PLAN rtn --data-root data --set calibration.samples=8 --set 'name=a b'"]


@pytest.mark.parametrize("others", [[], ["a library's own words"], ["calibration: too few"], 3, None, [4]])
def test_what_was_wrong_with_a_calibration_is_on_the_page(tmp_path: Path, others: object) -> None:
    words = "calibration: 41 of 64 experts get none of the 7 tokens"
    warned = trial("gptq", 20, 1.0, 80)
    ours = [words, *others] if isinstance(others, list) else others
    warned = replace(warned, checkpoint={**(warned.checkpoint or {}), "warnings": ours})
    folder = write_run(tmp_path / "run", trial("none", 10, 2.0, 80), warned)
    page = write_report(folder).read_text(encoding="utf-8")
    assert (words in page) is isinstance(others, list)
    assert ("calibration: too few" in page) is (others == ["calibration: too few"])
    assert "a library&#39;s own words" not in page.split("<script")[0]


def test_a_row_that_is_decided_but_for_holm_s_correction_says_so(tmp_path: Path) -> None:
    """Nine of a hundred answers lost, by each of fourteen cells: p is 0.004, and no more questions are asked for."""
    cells = [trial(f"rtn{number}", 20, 1.0, 71, 2.01) for number in range(14)]
    page = write_report(write_run(tmp_path, trial("none", 10, 2.0, 80), *cells)).read_text()
    assert page.count('<td class="n">– (Holm)</td>') == 14


def test_the_prior_that_is_named_is_the_one_that_is_drawn_by(tmp_path: Path) -> None:
    run = write_run(tmp_path, trial("none", 10, 2.0, 80), trial("rtn", 20, 1.0, 80, 2.05))
    write_report(run)
    assert f"flat prior of {FLAT:g})" in render(
        contents(read_results(run)), defaultdict(str, {"accuracy-throughput": "x"})
    )
