"""The check of versions on copies of the tree: which edit it passes, which it fails, and what it says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from scripts import check_versions
from scripts.check_versions import RECORD, ROOT, all_versions, problems, record, syntax_digest

COMMAND = "uv run python -m scripts.check_versions --record"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the packages, recorded as it is."""
    for package in ("quant", "engines", "evals", "flows"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "scripts").mkdir()
    record(tmp_path, all_versions(tmp_path))
    return tmp_path


def _problems(tree: Path) -> list[str]:
    return problems(tree, all_versions(tree), json.loads((tree / RECORD).read_text()))


def _edit(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))


def test_the_tree_is_recorded() -> None:
    assert problems(ROOT, all_versions(ROOT), json.loads((ROOT / RECORD).read_text())) == []


def test_comments_docstrings_layout_and_the_order_of_imports_are_no_change(tree: Path) -> None:
    (tree / "flows" / "cli" / "doctor.py").open("a").write("# in a file that no version covers\n")
    file = tree / "evals" / "load" / "arrivals.py"
    _edit(file, '"""', '"""Another docstring. ')
    file.write_text(file.read_text() + "\n\n# a comment\n")
    assert _problems(tree) == []
    assert syntax_digest("import a\nimport b\nx = (1)") == syntax_digest("import b\nimport a\n\nx = 1  # one")
    assert syntax_digest('def f():\n    """A."""\n    return 1') == syntax_digest("def f():\n    return 1")
    assert syntax_digest("x = 1") != syntax_digest("x = 2")


@pytest.mark.parametrize(
    ("file", "before", "after", "named"),
    [
        ("quant/worker.py", "random.seed(seed)", "random.seed(seed + 1)", ["CALIBRATION_VERSION"]),
        ("flows/sources/calibration.py", "default_rng(spec.seed)", "default_rng(0)", ["CALIBRATION_VERSION"]),
        ("evals/accuracy/lm_eval_model.py", "+ 1) :]", "+ 1) // 2 :]", ["SCORING_VERSION"]),
        ("evals/accuracy/gates.py", "SANITY_FACTOR = 3.0", "SANITY_FACTOR = 9.0", ["GATES_VERSION"]),
        ("quant/checkpoints/source_grid.py", "LAYERS = 6", "LAYERS = 7", ["GATES_VERSION"]),
        ("quant/checkpoints/verify.py", "MOST_BESIDE = 1.5", "MOST_BESIDE = 2.5", ["GATES_VERSION"]),
        ("evals/scoring/requests.py", "import ", "import html\nimport ", ["READER_VERSION"]),
        ("engines/runtime/child_environment.py", "PCI_BUS_ID", "FASTEST_FIRST", ["SERVER_VERSION"]),
        ("engines/reference_server/decode.py", "import ", "import html\nimport ", ["SERVER_VERSION"]),
        ("evals/load/prompts.py", "choice(", "integers(", ["MEASUREMENT_VERSION"]),
        ("evals/stats/group_sequential.py", "import ", "import html\nimport ", ["SCORING_VERSION"]),
        ("evals/api/formats.py", "import ", "import html\nimport ", ["MEASUREMENT_VERSION", "READER_VERSION"]),
        ("quant/methods/gptq.py", "import ", "import html\nimport ", ["method gptq"]),
        ("engines/servers/vllm.py", "import ", "import html\nimport ", ["engine triton_vllm", "engine vllm"]),
        ("quant/tools/torchao.py", "import ", "import html\nimport ", ["method torchao"]),
    ],
)
def test_a_change_of_what_is_covered_names_the_version(
    tree: Path, file: str, before: str, after: str, named: list[str]
) -> None:
    text = (tree / file).read_text().replace("from __future__ import annotations\n", "")
    assert before in text
    (tree / file).write_text(text.replace(before, after, 1))
    lines = _problems(tree)
    assert sorted(line.split(" covers ")[0] for line in lines) == named
    for line in lines:
        assert f"covers {file}, which changed: raise it in " in line
        assert line.endswith(f"or record that results are unchanged: `{COMMAND}`")
    record(tree, all_versions(tree))
    assert _problems(tree) == []


def test_a_raised_version_is_recorded_with_the_same_command(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = check_versions.versions.SCORING_VERSION
    monkeypatch.setattr(check_versions.versions, "SCORING_VERSION", now + 1)
    _edit(tree / "evals" / "accuracy" / "lm_eval_model.py", "+ 1) :]", "+ 1) // 2 :]")
    assert _problems(tree) == [f"SCORING_VERSION is {now + 1} and recorded as {now}: `{COMMAND}`"]
    record(tree, all_versions(tree))
    assert _problems(tree) == []


def test_a_module_that_no_version_covers_fails(tree: Path) -> None:
    (tree / "engines" / "telemetry" / "clock.py").write_text("NOW = 0\n")
    assert _problems(tree) == [
        "engines/telemetry/clock.py is covered by no version: name it in COVERS or DECIDES_NO_RESULT of flows/versions.py"
    ]


def test_a_new_method_fails_until_it_is_recorded(tree: Path) -> None:
    (tree / "quant" / "methods" / "new.py").write_text("NEW = 1\n")
    new = check_versions.Covered("method new", 1, "quant/methods/new.py", ("quant/methods/new.py",))
    recorded = json.loads((tree / RECORD).read_text())
    assert problems(tree, [*all_versions(tree), new], recorded) == [
        f"method new (quant/methods/new.py) is new and not recorded, so nothing watches it: `{COMMAND}`"
    ]
    record(tree, [*all_versions(tree), new])
    assert problems(tree, [*all_versions(tree), new], json.loads((tree / RECORD).read_text())) == []
