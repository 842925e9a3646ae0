"""The site: links of README and CONTRIBUTING, which lie outside of docs/, lead to its pages; no page loads from elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from mkdocs.exceptions import PluginError

from scripts.docs_site.hooks import DOCS, PAGES, ROOT, loaded_from_elsewhere, on_post_build, relinked


@pytest.mark.parametrize(
    ("page", "markdown", "wanted"),
    [
        ("index.md", "[races](docs/reference/race.md#starts)", "[races](reference/race.md#starts)"),
        ("index.md", "![first](docs/results/first-screen.png)", "![first](results/first-screen.png)"),
        ("developer/contributing.md", "[a](docs/architecture.md)", "[a](../architecture.md)"),
        ("reference/methods.md", "[a](../../CONTRIBUTING.md)", "[a](../developer/contributing.md)"),
        ("reference/race.md", "[a](../results/quick-start.md)", "[a](../results/quick-start.md)"),
        ("reference/engines.md", "[evidence](../../mkdocs.yml)", "evidence: `mkdocs.yml`"),
        ("reference/engines.md", "[`mkdocs.yml`](../../mkdocs.yml)", "`mkdocs.yml`"),
        ("reference/engines.md", "[a](https://example.org/x.md)", "[a](https://example.org/x.md)"),
        ("reference/engines.md", "[a](../../no-such-file.md)", "[a](../../no-such-file.md)"),  # refused by --strict
        ("reference/engines.md", "[a](../../../outside.md)", "[a](../../../outside.md)"),
    ],
)
def test_links_lead_to_pages_of_the_site(page: str, markdown: str, wanted: str) -> None:
    assert relinked(markdown, page) == wanted


def test_pages_from_outside_docs_are_there() -> None:
    assert all((ROOT / source).exists() for source in PAGES)
    assert not any((DOCS / place).exists() for place in PAGES.values())


def test_what_a_page_loads_from_elsewhere_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<a href="https://example.org">a link</a><script src="assets/own.js"></script>')
    on_post_build({"site_dir": str(tmp_path)})
    page.write_text(
        '<script async src="https://example.org/a.js"></script><img alt="" src=//example.org/b.png>'
        '<link rel="stylesheet" href="https://example.org/c.css"><link rel="canonical" href="https://example.org/">'
    )
    wanted = {"https://example.org/a.js", "//example.org/b.png", "https://example.org/c.css"}
    assert set(loaded_from_elsewhere(tmp_path)) == wanted
    with pytest.raises(PluginError, match=r"load from elsewhere: //example\.org/b\.png.*Keep it beside them"):
        on_post_build({"site_dir": str(tmp_path)})
