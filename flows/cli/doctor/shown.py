"""What `bitfrontier doctor` prints: a line for each group of what is fine, and what needs doing with its fix."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.cli.doctor.installation import ENVIRONMENTS, PROGRAMS_ASIDE, SAMPLE_FILES, Finding
from quant.errors import counted, program

STYLES = {"ok": "green", "missing": "yellow", "unsafe": "red", "broken": "red"}
# of groups that are counted rather than described: what those are that are there, and what becomes of the others
COUNTED = {
    ENVIRONMENTS: ("built", "not built yet: a sweep builds what it needs"),
    PROGRAMS_ASIDE: ("on the PATH", "missing: needed only by their engines"),
    SAMPLE_FILES: ("fetched", "not fetched yet: a sweep fetches what it needs"),
}


def print_findings(findings: Sequence[Finding], console: Console, *, verbose: bool) -> None:
    """All of them in a table, or what is fine in groups and then what needs doing."""
    if verbose:
        console.print(_table(findings))
        return
    fine = [finding for finding in findings if finding.state == "ok" or finding.waits]
    for group in dict.fromkeys(finding.group for finding in fine):
        text = _fine([finding for finding in fine if finding.group == group])
        console.print(f"[green]✓[/green] {group}: {escape(text)}", highlight=False)
    wrong = [finding for finding in findings if finding not in fine]
    for finding in wrong:
        style, texts = STYLES[finding.state], (finding.subject, finding.state, finding.detail)
        console.print(f"[{style}]✗ {escape('{} ({}): {}'.format(*texts))}[/{style}]", highlight=False)
        console.print(f"    {finding.remedy}", markup=False, highlight=False)
    if fine:
        ending = "No problem." if not wrong else f"{counted(len(wrong), 'problem')}."
        console.print(f"{ending} `{program()} doctor -v` lists everything.", markup=False, highlight=False)


def _fine(group: Sequence[Finding]) -> str:
    there, others = COUNTED.get(group[0].group, ("", ""))
    if not there:
        return "; ".join(f"{finding.subject}: {finding.detail}" for finding in group)
    ready = [finding.subject.partition(" ")[2] for finding in group if finding.state == "ok"]
    parts = [f"{len(ready)} {there} ({', '.join(ready)})"] if ready else []
    waiting = len(group) - len(ready)
    return "; ".join([*parts, *([f"{waiting} {others}"] if waiting else [])])


def _table(findings: Sequence[Finding]) -> Table:
    table = Table("what", "state", "detail", "what to do")
    for finding in findings:
        style, texts = STYLES[finding.state], (finding.detail, finding.remedy)
        table.add_row(finding.subject, f"[{style}]{finding.state}[/{style}]", *map(escape, texts))
    return table
