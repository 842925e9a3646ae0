"""What axe-core says of a page."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe

from tests.support.browser import Opened


def violations(opened: Opened) -> list[str]:
    """What axe finds that is serious."""
    violations = Axe().run(opened.page).response["violations"]
    return [
        f"{violation['id']}: {violation['nodes'][0]['html']}"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
    ]
