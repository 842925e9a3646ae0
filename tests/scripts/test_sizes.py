from __future__ import annotations

from pathlib import Path

from engines.runtime.own_packages import ROOT
from scripts.sizes import LINES, MODULES, too_large


def test_this_tree_is_small_enough() -> None:
    assert too_large(ROOT) == []


def test_what_is_larger_is_named(tmp_path: Path) -> None:
    for folder, count in (("quant/methods", MODULES + 5), ("flows/plan", MODULES + 1), ("evals/stats", MODULES)):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(count):
            (tmp_path / folder / f"m{number}.py").write_text("")
    (tmp_path / "evals/stats/m0.py").write_text("pass\n" * (LINES + 1))
    (tmp_path / "evals/stats/m1.py").write_text("pass\n" * LINES)
    assert too_large(tmp_path) == ["evals/stats/m0.py: 301 lines (at most 300)", "flows/plan: 13 modules (at most 12)"]
