"""The page in Chromium with hostile text in it: nothing runs but the script that is ours."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from evals.schema.trial import Trial
from tests.support.browser import Opened, needs_chromium
from tests.support.made_trials import failed
from tests.support.planted_page import page_trials, write_page_run

pytestmark = [needs_chromium, pytest.mark.usefixtures("drawn")]

HOSTILE = (
    "<script>alert(1)</script>\"'`><img src=x onerror=alert(2)></script><!--<svg/onload=alert(3)>"
    "${1}{{7*7}}‮rtl &lt;b&gt;\\u003cscript\\u003e\n​"
) + "x" * 10_000


def test_hostile_text_is_text_everywhere(browser: Browser, tmp_path: Path) -> None:
    """In every text field of trials and of the sweep; nothing runs, nothing is asked for, and the page still works."""
    trials = [_hostile(result) for result in page_trials()[:4]]
    broken = replace(failed(HOSTILE, HOSTILE), model=HOSTILE, engine=HOSTILE, device=HOSTILE)
    about = {"name": HOSTILE, "models": [HOSTILE], "notes": [HOSTILE], "device": HOSTILE, "command": HOSTILE}
    about |= {"plan": HOSTILE, "versions": {HOSTILE: HOSTILE}, "memory_source": HOSTILE}
    folder = write_page_run(
        tmp_path / "run", [*trials, broken], **about, price={"per_device_hour": 1.0, "currency": HOSTILE}
    )
    opened = Opened(browser, folder / "report.html")
    opened.page.locator("#drawer > summary").click()
    opened.page.get_by_role("button", name="research").click()
    opened.page.locator("#chart .cell.on").first.hover()  # a lopsided interval has its middle elsewhere
    opened.settle()
    assert opened.page.evaluate(
        "[document.scripts.length, document.images.length, document.querySelectorAll('b').length]"
    ) == [2, 0, 0]
    assert HOSTILE[:40] in opened.page.locator("h1").inner_text()
    assert HOSTILE[:40] in opened.page.locator("#ranked th").first.text_content()
    assert HOSTILE[:40] in opened.page.locator(".tip strong").inner_text()
    assert opened.faults == []


def _hostile(result: Trial) -> Trial:
    gates = tuple(replace(gate, name=HOSTILE, detail=HOSTILE) for gate in result.gates)
    scores = tuple(replace(score, task=HOSTILE, group=HOSTILE) for score in result.scores)
    checkpoint = {**(result.checkpoint or {}), HOSTILE: HOSTILE}
    facts = {"command": HOSTILE, "kernel_warnings": HOSTILE, HOSTILE: HOSTILE}
    texts = {"model": HOSTILE, "method_label": f"{result.method} {HOSTILE}", "engine": HOSTILE, "device": HOSTILE}
    return replace(
        result, gates=gates, scores=scores, checkpoint=checkpoint, facts=facts, provenance={HOSTILE: HOSTILE}, **texts
    )


def test_the_only_script_that_may_run_is_ours(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert re.search(r"default-src 'none'; script-src 'sha256-[A-Za-z0-9+/]{43}='; ", policy[1])
    assert "unsafe-inline" not in policy[1].split("style-src")[0]
