"""README and docs: short where they begin, and no link leads nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for place, fragment in LINK.findall(text):
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), place
        if fragment:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), flags=re.M)
            assert fragment[1:] in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}, fragment


def test_every_page_is_reached_from_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            places = [place for place, _ in LINK.findall(page.read_text(encoding="utf-8")) if place]
            waiting += [(page.parent / place).resolve() for place in places]
    assert set(PAGES) <= reached


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_figure_needs_a_script_from_elsewhere(page: Path) -> None:
    """The site's pages load nothing: mermaid would be shown as its code."""
    assert "```mermaid" not in page.read_text(encoding="utf-8")


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) < 8192
