"""What axe-core says of a page."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe

from tests.support.browser import Opened

TOO_LARGE = """() => [...document.querySelectorAll("*")].filter((element) => {
  const { x, width, height } = element.getBoundingClientRect();
  return Math.abs(x) > 20000 || width > 20000 || height > 200000;
}).map((element) => `too large: ${element.outerHTML.slice(0, 300)}`)"""


def violations(opened: Opened) -> list[str]:
    """What axe finds that is serious. It never ends on a page with an element of a billion pixels, which is a fault of
    its own, whether it is seen or cut off.
    """
    if too_large := opened.page.evaluate(TOO_LARGE):
        return too_large
    violations = Axe().run(opened.page).response["violations"]
    return [
        f"{violation['id']}: {violation['nodes'][0]['html']}"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
    ]
