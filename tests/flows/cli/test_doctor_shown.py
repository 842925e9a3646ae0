from __future__ import annotations

import io

from rich.console import Console

from flows.cli.doctor.installation import ENVIRONMENTS, MACHINE, PROGRAMS_ASIDE, Finding
from flows.cli.doctor.shown import print_findings

FINDINGS = [
    Finding("device", "ok", "cpu: a CPU [avx2]", group=MACHINE),
    Finding("NVIDIA driver", "missing", "not found", "nothing, if there is no GPU", MACHINE, waits=True),
    Finding("environment gguf", "ok", "Python 3.12", group=ENVIRONMENTS),
    Finding("environment vllm-cpu", "missing", "not built yet", "nothing: a sweep builds it", ENVIRONMENTS, waits=True),
    Finding("program tgi", "missing", "not on the PATH", "nothing", PROGRAMS_ASIDE, waits=True),
    Finding("environment openvino", "broken", "no [torch]", "delete it", ENVIRONMENTS),
    Finding("Prefect server", "unsafe", "answers without a login", "start it with a password"),
]


def _shown(findings: list[Finding], *, verbose: bool = False) -> list[str]:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    print_findings(findings, console, verbose=verbose)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_what_is_fine_is_a_line_a_group_and_what_is_not_has_its_fix() -> None:
    assert _shown(FINDINGS) == [
        "✓ machine: device: cpu: a CPU [avx2]; NVIDIA driver: not found",
        "✓ environments: 1 built (gguf); 1 not built yet: a sweep builds what it needs",
        "✓ programs: 1 missing: needed only by their engines",
        "✗ environment openvino (broken): no [torch]",
        "    delete it",
        "✗ Prefect server (unsafe): answers without a login",
        "    start it with a password",
        "2 problems. `bitfrontier doctor -v` lists everything.",
    ]


def test_where_nothing_needs_doing_it_says_so() -> None:
    assert _shown(FINDINGS[:5])[-1] == "No problem. `bitfrontier doctor -v` lists everything."


def test_verbose_lists_everything() -> None:
    lines = "\n".join(_shown(FINDINGS, verbose=True))
    for finding in FINDINGS:
        assert finding.subject in lines
        assert finding.remedy in lines
    assert "No problem" not in lines


def test_scripts_get_what_they_always_got() -> None:
    assert FINDINGS[1].as_data == {
        "subject": "NVIDIA driver",
        "state": "missing",
        "detail": "not found",
        "remedy": "nothing, if there is no GPU",
    }
