"""Hooks of MkDocs: README, CONTRIBUTING and CHANGELOG are pages of the site, links among all pages hold, and no page
loads anything from elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "developer/contributing.md",
    "CHANGELOG.md": "developer/changelog.md",
}
LINK = re.compile(r"\[([^\[\]]*)\]\((?!https?:)([^)#\s]+)(#[^)\s]*)?\)")
LOADED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?((?:https?:)?//[^\"'\s>]+)", re.IGNORECASE)
LINKED = re.compile(
    r"<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|preconnect|icon|preload))[^>]*\bhref=[\"']?((?:https?:)?//[^\"'\s>]+)"
)


def on_files(files: Files, config: Any) -> Files:
    for source, place in PAGES.items():
        files.append(File.generated(config, place, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links that lead out of docs/ in the repository lead to the site's pages, or are the names of files."""
    return relinked(markdown, page.file.src_uri)


def relinked(markdown: str, page: str) -> str:
    """`page` is the site's name of it, such as `reference/race.md`."""
    source = {place: ROOT / name for name, place in PAGES.items()}.get(page, DOCS / page)
    here = (DOCS / page).parent

    def link(match: re.Match[str]) -> str:
        words, place, fragment = match[1], match[2], match[3] or ""
        target = (source.parent / place).resolve()
        within = target.relative_to(ROOT).as_posix() if target.is_relative_to(ROOT) else ""
        if within in PAGES:
            target = DOCS / PAGES[within]
        elif not target.is_relative_to(DOCS):
            if not within or not target.exists():
                return match[0]  # the strict build refuses it
            return f"`{within}`" if within.endswith(words.strip("`")) else f"{words}: `{within}`"
        return f"[{words}]({os.path.relpath(target, here)}{fragment})"

    return LINK.sub(link, markdown)


def on_post_build(config: Any) -> None:
    """Raises PluginError where a page loads something from elsewhere."""
    if places := sorted(set(loaded_from_elsewhere(Path(config["site_dir"])))):
        raise PluginError(f"the site's pages load from elsewhere: {', '.join(places)}. Keep it beside them.")


def loaded_from_elsewhere(site: Path) -> Iterator[str]:
    """Addresses from which the pages of a built site take scripts, pictures and styles by themselves."""
    for file in site.rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        yield from LOADED.findall(text)
        yield from LINKED.findall(text)
